// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/resolve.h"

// A peer that has no say, or cannot be asked, is DECISION_UNKNOWN.
static enum decision_type word_of(const struct resolve_side *peer)
{
	return peer->known ? peer->last : DECISION_UNKNOWN;
}

// After the commit record: only what the destination has on disk can decide.
static enum resolve_act by_target(enum decision_type target)
{
	switch (target) {
	case DECISION_RESUMING:
	case DECISION_KEPT:
	case DECISION_SETTLED:
		return RESOLVE_RELEASE;
	case DECISION_REFUSED:
	case DECISION_GIVEN_UP:
		return RESOLVE_REVOKE;
	default:
		return RESOLVE_WAIT;
	}
}

// Of a move that has no record here: the host was restarted before it had one.
static bool never_began(const struct resolve_side *peer)
{
	return peer->known && (peer->last == DECISION_NONE || peer->last == DECISION_REFUSED);
}

enum resolve_act resolve_source(const struct resolve_side *own, const struct resolve_side *peer)
{
	if (own->owned)
		return RESOLVE_WAIT;
	switch (own->last) {
	case DECISION_OPENED: // the last object was not sent: nobody can have voted
	case DECISION_ABORT:
	case DECISION_REVOKED:
	case DECISION_KEPT:
	case DECISION_SETTLED:
		return RESOLVE_STAY;
	case DECISION_NONE: // before its beginning or after its end
		return own->alive || never_began(peer) ? RESOLVE_STAY : RESOLVE_WAIT;
	case DECISION_FINAL:
		return own->alive ? RESOLVE_STAY : RESOLVE_COMMIT;
	case DECISION_COMMIT:
		return by_target(word_of(peer));
	case DECISION_RELEASED:
	case DECISION_GIVEN_UP:
		return RESOLVE_RELEASE;
	default: // damaged: what runs there is the only evidence that helps
		return by_target(word_of(peer)) == RESOLVE_RELEASE ? RESOLVE_RELEASE : RESOLVE_WAIT;
	}
}

// A damaged file: only what the source has on disk can decide.
static enum resolve_act by_source(const struct resolve_side *source, bool alive)
{
	switch (word_of(source)) {
	case DECISION_ABORT:
	case DECISION_REVOKED:
	case DECISION_KEPT:
	case DECISION_SETTLED:
		return RESOLVE_CLEAR;
	case DECISION_RELEASED: // only when it ran here
		return alive ? RESOLVE_RUNS : RESOLVE_LOST;
	case DECISION_NONE: // it deletes its file at either end
		if (source->left)
			return alive ? RESOLVE_RUNS : RESOLVE_LOST;
		return source->kept ? RESOLVE_CLEAR : RESOLVE_WAIT;
	default:
		return RESOLVE_WAIT;
	}
}

// No record is no evidence: an arrival deletes its file both when it has cleared everything and
// when it has succeeded, so what runs is never killed for the lack of one.
enum resolve_act resolve_target(const struct resolve_side *own, const struct resolve_side *peer)
{
	if (own->owned)
		return RESOLVE_WAIT;
	switch (own->last) {
	case DECISION_NONE:
		return own->alive ? RESOLVE_RUNS : RESOLVE_CLEAR;
	case DECISION_OPENED: // it never voted: whatever was restored here has never run
	case DECISION_ABORT:
	case DECISION_REFUSED:
	case DECISION_GIVEN_UP:
		return RESOLVE_CLEAR;
	case DECISION_PREPARED: // CRIU has killed what it held when its client died
		return RESOLVE_REFUSE;
	case DECISION_KEPT:
		return own->alive ? RESOLVE_RUNS : RESOLVE_REFUSE;
	case DECISION_RESUMING:
	case DECISION_SETTLED:
		return own->alive ? RESOLVE_RUNS : RESOLVE_LOST;
	default:
		return by_source(peer, own->alive);
	}
}

// ---- a person decides ---------------------------------------------------------------------------

static bool target_is_running(const struct resolve_side *target)
{
	return target->known && target->alive &&
	       (target->last == DECISION_RESUMING || target->last == DECISION_SETTLED);
}

static bool is_over(const struct resolve_side *source, const struct resolve_side *target)
{
	if (source->known && (source->last == DECISION_RELEASED || source->last == DECISION_NONE))
		return !target->known || target->last == DECISION_RESUMING ||
		       target->last == DECISION_NONE || target->last == DECISION_REFUSED;
	return false;
}

// Nothing but a person's decision can follow from a damaged file, unless the other side runs it.
static bool needs_person(const struct resolve_side *source, const struct resolve_side *target)
{
	if (target->last == DECISION_UNKNOWN)
		return source->last == DECISION_COMMIT || source->last == DECISION_UNKNOWN ||
		       (source->last == DECISION_NONE && !source->kept && !source->left);
	return source->last == DECISION_UNKNOWN && by_target(target->last) != RESOLVE_RELEASE;
}

char resolve_propose(const struct resolve_side *source, const struct resolve_side *target,
		     const char **why)
{
	if (is_over(source, target)) {
		*why = "nothing is open: the move has ended";
		return 'n';
	}
	if (source->known && target->known && needs_person(source, target)) {
		*why = "the records of one host are damaged, and the other's do not say whose it "
		       "is";
		return target->alive && target->last == DECISION_UNKNOWN ? 't'
		       : source->alive                                   ? 's'
									 : 't';
	}
	if (source->known && target->known) {
		*why = "both hosts answer: they resolve it by their records within seconds";
		if (source->last != DECISION_COMMIT || target->last != DECISION_NONE)
			return 'w';
		*why = "the destination has no record of the move any more";
		return source->alive ? 's' : 't';
	}
	if (target_is_running(target)) {
		*why = "it runs at the destination; the source's copy is frozen or gone";
		return 't';
	}
	if (source->known && source->alive) {
		*why = "the destination does not answer, and only it knows whether it runs there: "
		       "if that host is certainly dead, keep the source's copy";
		return 's';
	}
	if (target->known && target->alive) {
		*why = "the source does not answer: if that host is certainly dead, keep the copy "
		       "that waits at the destination";
		return 't';
	}
	*why = "no living copy can be reached: bring the other host back";
	return 'w';
}

int resolve_may_keep(const struct resolve_side *own, const struct resolve_side *peer,
		     bool peer_is_dead, const char *host, const char *peer_host, struct error *err)
{
	if (!own->alive)
		return error_set(err, ERR_WRONG_STATE,
				 "the copy of %s is dead: there is nothing to keep", host);
	if (own->last == DECISION_GIVEN_UP || own->last == DECISION_RELEASED ||
	    own->last == DECISION_REFUSED)
		return error_set(err, ERR_WRONG_STATE, "%s has given its copy up (%s)", host,
				 decision_name(own->last));
	if (peer->known || peer_is_dead)
		return 0;
	error_set(err, ERR_IN_DOUBT,
		  "%s cannot be reached, so its copy cannot be killed first and may run",
		  peer_host);
	return error_hint(err,
			  "bring %s back; or make certain that it is off and add "
			  "--peer-is-dead",
			  peer_host);
}
