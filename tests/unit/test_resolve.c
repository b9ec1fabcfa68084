// SPDX-License-Identifier: Apache-2.0
// Every row of what the records of both sides mean, and that no pair of them lets two copies run.
#include "lib/registry/resolve.h"

#include "lib/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define OWN(type, lives)                                                 \
	{                                                                \
		.known = true, .alive = (lives), .last = DECISION_##type \
	}
#define SAYS(type)                                     \
	{                                              \
		.known = true, .last = DECISION_##type \
	}
#define SILENT                 \
	{                      \
		.known = false \
	}

static void the_source(void **state)
{
	static const struct {
		struct resolve_side own, peer;
		enum resolve_act act;
	} rows[] = {
		{OWN(OPENED, true), SILENT, RESOLVE_STAY},
		{OWN(ABORT, true), SILENT, RESOLVE_STAY},
		{OWN(NONE, true), SILENT, RESOLVE_STAY},
		{OWN(NONE, false), SILENT, RESOLVE_WAIT},
		{OWN(NONE, false), SAYS(NONE), RESOLVE_STAY},
		{OWN(NONE, false), SAYS(REFUSED), RESOLVE_STAY},
		{OWN(NONE, false), SAYS(OPENED), RESOLVE_WAIT},
		{OWN(NONE, false), SAYS(PREPARED), RESOLVE_WAIT},
		{OWN(NONE, false), SAYS(RESUMING), RESOLVE_WAIT},
		{OWN(FINAL, true), SILENT, RESOLVE_STAY},
		{OWN(FINAL, true), SAYS(PREPARED), RESOLVE_STAY},
		{OWN(FINAL, false), SILENT, RESOLVE_COMMIT},
		{OWN(COMMIT, true), SILENT, RESOLVE_WAIT},
		{OWN(COMMIT, true), SAYS(NONE), RESOLVE_WAIT},
		{OWN(COMMIT, true), SAYS(UNKNOWN), RESOLVE_WAIT},
		{OWN(COMMIT, true), SAYS(OPENED), RESOLVE_WAIT},
		{OWN(COMMIT, true), SAYS(PREPARED), RESOLVE_WAIT},
		{OWN(COMMIT, true), SAYS(RESUMING), RESOLVE_RELEASE},
		{OWN(COMMIT, true), SAYS(KEPT), RESOLVE_RELEASE},
		{OWN(COMMIT, true), SAYS(REFUSED), RESOLVE_REVOKE},
		{OWN(COMMIT, true), SAYS(GIVEN_UP), RESOLVE_REVOKE},
		{OWN(COMMIT, false), SAYS(RESUMING), RESOLVE_RELEASE},
		{OWN(RELEASED, true), SILENT, RESOLVE_RELEASE},
		{OWN(REVOKED, true), SAYS(REFUSED), RESOLVE_STAY},
		{OWN(KEPT, true), SILENT, RESOLVE_STAY},
		{OWN(GIVEN_UP, true), SILENT, RESOLVE_RELEASE},
		{OWN(UNKNOWN, true), SILENT, RESOLVE_WAIT},
		{OWN(UNKNOWN, true), SAYS(REFUSED), RESOLVE_WAIT},
		{OWN(UNKNOWN, true), SAYS(RESUMING), RESOLVE_RELEASE},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (resolve_source(&rows[i].own, &rows[i].peer) != rows[i].act)
			fail_msg("row %zu: %s, peer %s: %d", i, decision_name(rows[i].own.last),
				 decision_name(rows[i].peer.last),
				 (int)resolve_source(&rows[i].own, &rows[i].peer));
}

static void the_destination(void **state)
{
	static const struct {
		struct resolve_side own, peer;
		enum resolve_act act;
	} rows[] = {
		{OWN(NONE, true), SILENT, RESOLVE_RUNS},
		{OWN(NONE, false), SILENT, RESOLVE_CLEAR},
		{OWN(OPENED, true), SILENT, RESOLVE_CLEAR},
		{OWN(OPENED, false), SILENT, RESOLVE_CLEAR},
		{OWN(PREPARED, true), SILENT, RESOLVE_REFUSE},
		{OWN(PREPARED, false), SILENT, RESOLVE_REFUSE},
		{OWN(ABORT, true), SILENT, RESOLVE_CLEAR},
		{OWN(REFUSED, true), SILENT, RESOLVE_CLEAR},
		{OWN(GIVEN_UP, true), SILENT, RESOLVE_CLEAR},
		{OWN(RESUMING, true), SILENT, RESOLVE_RUNS},
		{OWN(RESUMING, false), SILENT, RESOLVE_LOST},
		{OWN(KEPT, false), SILENT, RESOLVE_REFUSE},
		{OWN(SETTLED, true), SILENT, RESOLVE_RUNS},
		{OWN(UNKNOWN, true), SILENT, RESOLVE_WAIT},
		{OWN(UNKNOWN, true), SAYS(COMMIT), RESOLVE_WAIT},
		{OWN(UNKNOWN, false), SAYS(NONE), RESOLVE_WAIT},
		{OWN(UNKNOWN, false), {.known = true, .kept = true}, RESOLVE_CLEAR},
		{OWN(UNKNOWN, true), {.known = true, .left = true}, RESOLVE_RUNS},
		{OWN(UNKNOWN, false), {.known = true, .left = true}, RESOLVE_LOST},
		{OWN(UNKNOWN, false), {.left = true}, RESOLVE_WAIT},
		{OWN(UNKNOWN, false), SAYS(ABORT), RESOLVE_CLEAR},
		{OWN(UNKNOWN, true), SAYS(REVOKED), RESOLVE_CLEAR},
		{OWN(UNKNOWN, true), SAYS(RELEASED), RESOLVE_RUNS},
		{OWN(UNKNOWN, false), SAYS(RELEASED), RESOLVE_LOST},
		{OWN(PREPARED, true), SAYS(COMMIT), RESOLVE_REFUSE},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (resolve_target(&rows[i].own, &rows[i].peer) != rows[i].act)
			fail_msg("row %zu: %s: %d", i, decision_name(rows[i].own.last),
				 (int)resolve_target(&rows[i].own, &rows[i].peer));
}

static bool runs_at_source(enum resolve_act act)
{
	return act == RESOLVE_STAY || act == RESOLVE_REVOKE;
}

// For all records that the order of a move allows at the same time: never two copies.
static void never_two_copies(void **state)
{
	static const struct {
		enum decision_type source, target;
	} together[] = {
		{DECISION_OPENED, DECISION_NONE},      {DECISION_OPENED, DECISION_OPENED},
		{DECISION_FINAL, DECISION_OPENED},     {DECISION_FINAL, DECISION_PREPARED},
		{DECISION_FINAL, DECISION_REFUSED},    {DECISION_ABORT, DECISION_PREPARED},
		{DECISION_ABORT, DECISION_OPENED},     {DECISION_ABORT, DECISION_NONE},
		{DECISION_COMMIT, DECISION_PREPARED},  {DECISION_COMMIT, DECISION_RESUMING},
		{DECISION_COMMIT, DECISION_REFUSED},   {DECISION_RELEASED, DECISION_RESUMING},
		{DECISION_RELEASED, DECISION_NONE},    {DECISION_REVOKED, DECISION_REFUSED},
		{DECISION_UNKNOWN, DECISION_RESUMING}, {DECISION_UNKNOWN, DECISION_PREPARED},
		{DECISION_COMMIT, DECISION_UNKNOWN},   {DECISION_GIVEN_UP, DECISION_KEPT},
		{DECISION_KEPT, DECISION_GIVEN_UP},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(together); i++)
		for (unsigned bits = 0; bits < 8; bits++) {
			struct resolve_side source = {
				.known = true, .alive = bits & 1, .last = together[i].source};
			struct resolve_side target = {
				.known = bits & 2, .alive = bits & 4, .last = together[i].target};
			bool there =
				target.alive && resolve_target(&target, &source) == RESOLVE_RUNS;
			// The file is there before anything is restored, and goes after all of
			// it, or when the release has been confirmed.
			if (target.last == DECISION_NONE && source.last != DECISION_RELEASED)
				there = false;
			if (runs_at_source(resolve_source(&source, &target)) && there)
				fail_msg("two copies: %s and %s, bits %u",
					 decision_name(source.last), decision_name(target.last),
					 bits);
		}
}

static void a_living_owner_decides(void **state)
{
	(void)state;
	for (enum decision_type t = DECISION_NONE; t <= DECISION_UNKNOWN; t++) {
		struct resolve_side own = {.known = true, .owned = true, .alive = true, .last = t};
		struct resolve_side peer = {.known = true, .last = DECISION_RESUMING};
		assert_int_equal(resolve_source(&own, &peer), RESOLVE_WAIT);
		assert_int_equal(resolve_target(&own, &peer), RESOLVE_WAIT);
	}
}

static void a_person_keeps(void **state)
{
	struct error err;
	struct resolve_side frozen = OWN(COMMIT, true), dead = OWN(COMMIT, false),
			    gone = OWN(GIVEN_UP, true), silent = SILENT,
			    voted = OWN(PREPARED, true);
	(void)state;
	// A peer that cannot be asked may run it: only a person who knows may go on.
	assert_int_equal(resolve_may_keep(&frozen, &silent, false, "a", "b", &err), -1);
	assert_int_equal(err.id, ERR_IN_DOUBT);
	assert_non_null(strstr(error_hint_of(&err), "--peer-is-dead"));
	assert_int_equal(resolve_may_keep(&frozen, &silent, true, "a", "b", &err), 0);
	assert_int_equal(resolve_may_keep(&frozen, &voted, false, "a", "b", &err), 0);
	assert_int_equal(resolve_may_keep(&dead, &silent, true, "a", "b", &err), -1);
	assert_int_equal(resolve_may_keep(&gone, &voted, true, "a", "b", &err), -1);
}

static void what_is_proposed(void **state)
{
	static const struct {
		struct resolve_side source, target;
		char keep;
	} rows[] = {
		{OWN(COMMIT, true), SILENT, 's'},
		{SILENT, OWN(PREPARED, true), 't'},
		{SILENT, OWN(RESUMING, true), 't'},
		{SILENT, OWN(PREPARED, false), 'w'},
		{OWN(COMMIT, true), OWN(PREPARED, true), 'w'},
		{OWN(COMMIT, true), OWN(NONE, false), 's'},
		{OWN(RELEASED, false), OWN(RESUMING, true), 'n'},
		{OWN(UNKNOWN, true), OWN(PREPARED, true), 's'},
		{OWN(UNKNOWN, true), OWN(REFUSED, false), 's'},
		{OWN(UNKNOWN, true), OWN(RESUMING, true), 'w'},
		{OWN(UNKNOWN, false), OWN(PREPARED, true), 't'},
		{OWN(COMMIT, true), OWN(UNKNOWN, true), 't'},
		{OWN(COMMIT, true), OWN(UNKNOWN, false), 's'},
		{OWN(FINAL, true), OWN(UNKNOWN, true), 'w'},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *why = NULL;
		char keep = resolve_propose(&rows[i].source, &rows[i].target, &why);
		if (keep != rows[i].keep || !why)
			fail_msg("row %zu: '%c'", i, keep);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_source),       cmocka_unit_test(the_destination),
		cmocka_unit_test(never_two_copies), cmocka_unit_test(a_living_owner_decides),
		cmocka_unit_test(a_person_keeps),   cmocka_unit_test(what_is_proposed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
