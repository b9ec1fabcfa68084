// SPDX-License-Identifier: Apache-2.0
// The tables of the steps of a move: what they can come to, and what they never can.
#include "relocd/move/steps.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <fcntl.h>
#include <string.h>

static const struct steps *const sides[] = {&steps_departure, &steps_arrival};

#define BIT(state) (1u << (state))

// All that can be reached from `from`, without the rows that `stop` names.
static unsigned reach(const struct steps *s, unsigned from, bool (*stop)(const struct step *row))
{
	unsigned before = 0;
	while (from != before) {
		before = from;
		for (size_t i = 0; i < s->count; i++)
			if (from & BIT(s->rows[i].at) && !(stop && stop(&s->rows[i])))
				from |= BIT(s->rows[i].next);
	}
	return from;
}

static bool is_of(const struct steps *s, enum move_phase state)
{
	return state == PHASE_CONNECT || steps_enters(s, state);
}

static void each_state_is_reached_and_left(void **state)
{
	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(sides); n++) {
		const struct steps *s = sides[n];
		unsigned all = reach(s, BIT(PHASE_CONNECT), NULL);
		for (size_t i = 0; i < s->count; i++)
			if (!(all & BIT(s->rows[i].at)) || s->rows[i].at >= PHASE_ENDS)
				fail_msg("%s: no way leads to %s", s->side,
					 phase_name(s->rows[i].at));
		for (enum move_phase p = PHASE_CONNECT; p < PHASE_ENDS; p++)
			if (is_of(s, p) && !(reach(s, BIT(p), NULL) >> PHASE_ENDS))
				fail_msg("%s: no way leads from %s to an end", s->side,
					 phase_name(p));
	}
}

// With a row for it in each state, what cannot happen never ends in a loop or in nothing.
static void each_state_can_fail(void **state)
{
	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(sides); n++)
		for (enum move_phase p = PHASE_CONNECT; p < PHASE_ENDS; p++) {
			const struct step *row = steps_find(sides[n], p, EVENT_FAILED);
			if (is_of(sides[n], p) && (!row || !row->action))
				fail_msg("%s cannot fail in %s", sides[n]->side, phase_name(p));
		}
}

static void nothing_is_said_twice(void **state)
{
	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(sides); n++)
		for (size_t i = 0; i < sides[n]->count; i++) {
			const struct step *row = &sides[n]->rows[i];
			if (steps_find(sides[n], row->at, row->event) != row)
				fail_msg("%s has two rows for %s in %s", sides[n]->side,
					 steps_event(row->event), phase_name(row->at));
		}
}

static void each_record_may_be_missing(void **state)
{
	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(sides); n++)
		for (size_t i = 0; i < sides[n]->count; i++) {
			const struct step *row = &sides[n]->rows[i];
			if (row->record != DECISION_NONE &&
			    !steps_find(sides[n], row->next, EVENT_UNRECORDED))
				fail_msg("%s: %s may be missing in %s", sides[n]->side,
					 decision_name(row->record), phase_name(row->next));
		}
}

// ---- commit.md ----------------------------------------------------------------------------------

// Every way into a state where something is done goes by this record: the rows that lead there have
// it, or come from where it has been written already.
static void expect_record(const struct steps *s, enum move_phase state, enum decision_type record,
			  unsigned after)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct step *row = &s->rows[i];
		if (row->next == state && row->action && row->at != state &&
		    !(after & BIT(row->at)) && row->record != record)
			fail_msg("%s comes from %s to %s without %s", s->side, phase_name(row->at),
				 phase_name(state), decision_name(record));
	}
}

static void what_a_record_permits_comes_after_it(void **state)
{
	(void)state;
	expect_record(&steps_departure, PHASE_PREPARE, DECISION_OPENED, 0);
	expect_record(&steps_departure, PHASE_RESTORE, DECISION_FINAL, 0);
	expect_record(&steps_departure, PHASE_COMMIT, DECISION_COMMIT, 0);
	expect_record(&steps_departure, PHASE_LEFT, DECISION_RELEASED, BIT(PHASE_RELEASE));
	expect_record(&steps_arrival, PHASE_PREPARE, DECISION_OPENED, 0);
	expect_record(&steps_arrival, PHASE_COMMIT, DECISION_PREPARED, 0);
	expect_record(&steps_arrival, PHASE_SWITCH, DECISION_RESUMING, 0);
	// The original is killed in one state, which only what follows RESUMING there leads to.
	for (size_t i = 0; i < steps_departure.count; i++) {
		const struct step *row = &steps_departure.rows[i];
		if (row->next == PHASE_RELEASE && row->at != PHASE_RELEASE &&
		    row->event != EVENT_RUNS && row->event != EVENT_LOST)
			fail_msg("the original is killed in %s after %s", phase_name(row->at),
				 steps_event(row->event));
	}
}

// From the last object on an abort is on disk before anything runs, unless the record with which
// that begins is not there: then nothing was sent.
static void an_abort_is_recorded_once_the_peer_may_vote(void **state)
{
	(void)state;
	for (enum move_phase at = PHASE_RESTORE; at < PHASE_ENDS; at++)
		for (size_t i = 0; i < steps_departure.count; i++) {
			const struct step *row = &steps_departure.rows[i];
			if (row->at != at || row->next != PHASE_RETURN || at == PHASE_RETURN)
				continue;
			if (at == PHASE_RESTORE && row->event == EVENT_UNRECORDED)
				continue;
			if (row->record != DECISION_ABORT && row->record != DECISION_REVOKED)
				fail_msg("from %s after %s it runs without a record",
					 phase_name(at), steps_event(row->event));
		}
}

static bool never_ran(const struct step *row)
{
	return row->event == EVENT_NEVER_RAN && row->record == DECISION_REVOKED;
}

static bool is_not_committed(const struct step *row)
{
	return never_ran(row) || (row->at == PHASE_COMMIT && row->event == EVENT_UNRECORDED);
}

static void only_never_ran_leads_back_from_the_commit(void **state)
{
	unsigned without = reach(&steps_departure, BIT(PHASE_COMMIT), is_not_committed);
	(void)state;
	assert_false(without & (BIT(PHASE_RETURN) | BIT(PHASE_ABORTED) | BIT(PHASE_REFUSED)));
	assert_true(without & BIT(PHASE_LEFT));
	assert_true(without & BIT(PHASE_IN_DOUBT));
	assert_true(reach(&steps_departure, BIT(PHASE_ASK), NULL) & BIT(PHASE_ABORTED));
}

static bool decides_against_it(const struct step *row)
{
	return row->event == EVENT_MESSAGE + WIRE_ABORT || row->event == EVENT_ENDED ||
	       (row->event == EVENT_DIED && row->record == DECISION_REFUSED) ||
	       (row->at == PHASE_COMMIT && row->event == EVENT_UNRECORDED);
}

static void a_vote_holds_until_the_source_decides(void **state)
{
	unsigned without = reach(&steps_arrival, BIT(PHASE_COMMIT), decides_against_it);
	(void)state;
	assert_false(without & (BIT(PHASE_ABORTED) | BIT(PHASE_REFUSED)));
	assert_true(without & BIT(PHASE_RUNS));
}

static bool is_unrecorded(const struct step *row)
{
	return row->event == EVENT_UNRECORDED;
}

static void what_was_resumed_is_never_cleared(void **state)
{
	unsigned after = reach(&steps_arrival, BIT(PHASE_SWITCH), is_unrecorded);
	(void)state;
	assert_int_equal(after, BIT(PHASE_SWITCH) | BIT(PHASE_RELEASE) | BIT(PHASE_RUNS) |
					BIT(PHASE_BROKEN));
	assert_false(reach(&steps_arrival, BIT(PHASE_RELEASE), NULL) & BIT(PHASE_BROKEN));
	assert_string_equal(steps_find(&steps_arrival, PHASE_RELEASE, EVENT_FAILED)->action,
			    "arrival_unconfirmed");
}

// ---- the machine --------------------------------------------------------------------------------

struct play {
	const struct step *rows[16]; // that were taken
	size_t count, next;
	int events[16]; // that their actions came to
	enum decision_type fails;
};

static int note_record(void *side, enum decision_type type, struct error *err)
{
	const struct play *p = side;
	return type == p->fails ? error_set(err, ERR_STORAGE, "the disk is gone") : 0;
}

static int note_act(void *side, size_t row, struct error *err)
{
	struct play *p = side;
	assert_true(p->count < ARRAY_SIZE(p->rows));
	p->rows[p->count] = &steps_departure.rows[row];
	if (p->events[p->count] < 0)
		error_set(err, ERR_PEER_UNREACHABLE, "the link is gone");
	return p->events[p->count++];
}

static enum move_phase play(struct play *p, unsigned first, struct report *r, struct error *err)
{
	static const struct steps_side side = {&steps_departure, note_record, note_act};
	*r = (struct report){.fd = -1, .listener = -1, .bulk = -1, .events = json_array()};
	enum move_phase end = steps_run(&side, p, r, first, err);
	assert_int_equal(end, r->state);
	return end;
}

static void the_rows_are_taken_one_after_the_other(void **state)
{
	static const char *const phases[] = {"validate", "prepare", "precopy", "freeze", "final",
					     "restore",  "commit",  "switch",  "release"};
	struct play p = {.events = {[7] = EVENT_RUNS, [8] = EVENT_KILLED}};
	struct report r;
	struct error err = {0};
	(void)state;
	assert_int_equal(play(&p, EVENT_DONE, &r, &err), PHASE_LEFT);
	assert_int_equal(p.count, 11);
	assert_string_equal(p.rows[10]->action, "departure_tell_done");
	assert_int_equal(json_array_size(r.events), ARRAY_SIZE(phases));
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		const json_t *event = json_array_get(r.events, i);
		assert_string_equal(json_string_value(json_object_get(event, "event")), "phase");
		assert_string_equal(json_string_value(json_object_get(event, "phase")), phases[i]);
		assert_string_equal(json_string_value(json_object_get(event, "cause")),
				    i < 8 ? "done" : "runs");
		assert_non_null(json_object_get(event, "time"));
	}
	json_decref(r.events);
}

static void what_has_no_row_is_a_failure(void **state)
{
	struct play p = {.events = {0, EVENT_KILLED}};
	struct report r;
	struct error err = {0};
	(void)state;
	assert_int_equal(play(&p, EVENT_DONE, &r, &err), PHASE_ABORTED);
	assert_int_equal(err.id, ERR_INTERNAL);
	assert_non_null(strstr(err.message, "killed"));
	assert_string_equal(p.rows[2]->action, "departure_return");
	json_decref(r.events);
}

static void without_its_record_nothing_is_done(void **state)
{
	struct play p = {.fails = DECISION_COMMIT};
	struct report r;
	struct error err = {0};
	(void)state;
	assert_int_equal(play(&p, EVENT_DONE, &r, &err), PHASE_ABORTED);
	assert_int_equal(err.id, ERR_STORAGE);
	for (size_t i = 0; i < p.count; i++)
		assert_string_not_equal(p.rows[i]->action, "departure_commit");
	json_decref(r.events);
}

static void messages_are_legal_in_their_states_only(void **state)
{
	struct error err = {0};
	(void)state;
	assert_int_equal(steps_check(&steps_departure, PHASE_RESTORE, WIRE_READY, "b", &err), 0);
	assert_int_equal(steps_check(&steps_departure, PHASE_SWITCH, WIRE_READY, "b", &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_int_equal(steps_check(&steps_arrival, PHASE_COMMIT, WIRE_COMMIT, "a", &err), 0);
	for (enum move_phase p = PHASE_CONNECT; p < PHASE_ENDS; p++)
		if (p != PHASE_COMMIT)
			assert_int_equal(steps_check(&steps_arrival, p, WIRE_COMMIT, "a", &err),
					 -1);
}

// ---- the page -----------------------------------------------------------------------------------

static void upper(char *text)
{
	for (; *text; text++)
		*text = (char)toupper((unsigned char)*text);
}

// As wpar-protocol(7) has it, without its backslashes.
static void page_row(const struct step *row, char line[128])
{
	char record[32];
	snprintf(record, sizeof(record), "%s",
		 row->record == DECISION_NONE ? "-" : decision_name(row->record));
	upper(record);
	snprintf(line, 128, "\n.It %s Ta %s Ta %s Ta %s\n", phase_name(row->at),
		 steps_event(row->event), record, phase_name(row->next));
}

static void expect_table(const char *page, const struct steps *s)
{
	char heading[64];
	size_t wanted = 0, there = 0;
	snprintf(heading, sizeof(heading), "\n.Ss Steps of the %s\n", s->side);
	const char *from = strstr(page, heading);
	assert_non_null(from);
	_cleanup_free_ char *section = strdup(from + 1);
	strstr(section, "\n.El")[1] = 0;
	for (size_t i = 0; i < s->count; i++) {
		char line[128];
		page_row(&s->rows[i], line);
		if (s->rows[i].event >= EVENT_MESSAGE && s->rows[i].at == s->rows[i].next)
			continue; // in the table of messages
		wanted++;
		if (!strstr(section, line))
			fail_msg("wpar-protocol(7) lacks, of the %s:%s", s->side, line);
	}
	for (const char *at = section; (at = strstr(at, "\n.It ")); at++)
		there++;
	assert_int_equal(there, wanted + 1); // and the heading
}

static void the_page_has_the_tables(void **state)
{
	_cleanup_free_ char *page = fdio_read_file(AT_FDCWD, "man/wpar-protocol.7", 1 << 20, NULL);
	char *to = page;
	(void)state;
	assert_non_null(page);
	for (const char *from = page; *from; from++)
		if (*from != '\\')
			*to++ = *from;
	*to = 0;
	expect_table(page, &steps_departure);
	expect_table(page, &steps_arrival);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_state_is_reached_and_left),
		cmocka_unit_test(each_state_can_fail),
		cmocka_unit_test(nothing_is_said_twice),
		cmocka_unit_test(each_record_may_be_missing),
		cmocka_unit_test(what_a_record_permits_comes_after_it),
		cmocka_unit_test(an_abort_is_recorded_once_the_peer_may_vote),
		cmocka_unit_test(only_never_ran_leads_back_from_the_commit),
		cmocka_unit_test(a_vote_holds_until_the_source_decides),
		cmocka_unit_test(what_was_resumed_is_never_cleared),
		cmocka_unit_test(the_rows_are_taken_one_after_the_other),
		cmocka_unit_test(what_has_no_row_is_a_failure),
		cmocka_unit_test(without_its_record_nothing_is_done),
		cmocka_unit_test(messages_are_legal_in_their_states_only),
		cmocka_unit_test(the_page_has_the_tables),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
