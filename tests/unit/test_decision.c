// SPDX-License-Identifier: Apache-2.0
// Decision files: order of records, torn and flipped bytes.
#include "lib/registry/decision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORD 128

static char folder[64];

static int setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/test-decision-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	char path[128];
	snprintf(path, sizeof(path), "%s/m-1.departure", folder);
	unlink(path);
	return rmdir(folder);
}

static struct decision *open_with_commit(void)
{
	struct error err = {0};
	struct decision *d = decision_create(folder, "m-1", DECISION_DEPARTURE, 7, "db1", &err);
	assert_non_null(d);
	assert_int_equal(decision_append(d, DECISION_FINAL, &err), 0);
	assert_int_equal(decision_append(d, DECISION_COMMIT, &err), 0);
	return d;
}

static enum decision_type read_back(void)
{
	uint64_t epoch = 0;
	enum decision_type type = decision_read(folder, "m-1", DECISION_DEPARTURE, &epoch);
	if (type != DECISION_NONE && type != DECISION_UNKNOWN)
		assert_int_equal(epoch, 7);
	return type;
}

static void overwrite(off_t at, unsigned char byte)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/m-1.departure", folder);
	int fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void reads_what_was_written(void **state)
{
	(void)state;
	assert_int_equal(read_back(), DECISION_NONE);
	struct decision *d = open_with_commit();
	assert_int_equal(read_back(), DECISION_COMMIT);
	assert_int_equal(decision_last(d), DECISION_COMMIT);
	decision_close(d, false);
	assert_int_equal(read_back(), DECISION_COMMIT);
}

static void refuses_a_broken_order(void **state)
{
	(void)state;
	struct error err = {0};
	struct decision *d = open_with_commit();
	assert_int_equal(decision_append(d, DECISION_ABORT, &err), -1);
	assert_int_equal(err.id, ERR_INTERNAL);
	assert_int_equal(read_back(), DECISION_COMMIT);
	assert_int_equal(decision_append(d, DECISION_RELEASED, &err), 0);
	decision_close(d, false);
}

static void is_made_once(void **state)
{
	(void)state;
	struct error err = {0};
	struct decision *d = open_with_commit();
	assert_null(decision_create(folder, "m-1", DECISION_DEPARTURE, 8, "db1", &err));
	assert_int_equal(read_back(), DECISION_COMMIT);
	decision_close(d, true);
	assert_int_equal(read_back(), DECISION_NONE);
}

static void forgives_a_torn_tail(void **state)
{
	(void)state;
	decision_close(open_with_commit(), false);
	overwrite(3 * RECORD + 1, 0x55); // the beginning of a fourth record
	assert_int_equal(read_back(), DECISION_COMMIT);
}

// However much of the last record was written, it was not made: nobody has acted on it.
static void a_torn_last_record_does_not_count(void **state)
{
	(void)state;
	decision_close(open_with_commit(), false);
	for (int at = RECORD - 1; at >= 0; at--) {
		overwrite(2 * RECORD + at, 0);
		enum decision_type last = read_back();
		if (last != DECISION_FINAL && (at <= RECORD - 8 || last != DECISION_UNKNOWN))
			fail_msg("%d bytes: %s", at, decision_name(last));
	}
}

// A record that was made, and whose owner has acted on it, is not taken for one that was not.
static void a_flipped_last_record_is_damage(void **state)
{
	unsigned char bytes[RECORD];
	char path[128];
	(void)state;
	decision_close(open_with_commit(), false);
	snprintf(path, sizeof(path), "%s/m-1.departure", folder);
	int fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, bytes, RECORD, 2 * RECORD), RECORD);
	close(fd);
	for (int bit = 0; bit < 8 * RECORD; bit++) {
		overwrite(2 * RECORD + bit / 8, (unsigned char)(bytes[bit / 8] ^ 1 << bit % 8));
		assert_int_equal(read_back(), DECISION_UNKNOWN);
		overwrite(2 * RECORD + bit / 8, bytes[bit / 8]);
	}
	assert_int_equal(read_back(), DECISION_COMMIT);
}

// A file is as long as it was made, before its first record.
static void a_file_that_lost_its_end_is_damage(void **state)
{
	char path[128];
	(void)state;
	decision_close(open_with_commit(), false);
	snprintf(path, sizeof(path), "%s/m-1.departure", folder);
	for (off_t length = 32 * RECORD - 1; length >= 0; length--) {
		assert_int_equal(truncate(path, length), 0);
		assert_int_equal(read_back(), length ? DECISION_UNKNOWN : DECISION_NONE);
	}
}

static void reports_damage_in_the_middle(void **state)
{
	(void)state;
	decision_close(open_with_commit(), false);
	overwrite(RECORD + 100, 0x55);
	assert_int_equal(read_back(), DECISION_UNKNOWN);
}

static void is_taken_over_from_a_dead_owner(void **state)
{
	(void)state;
	struct error err = {0};
	struct decision_facts facts;
	struct decision *d = open_with_commit();
	decision_look(folder, "m-1", DECISION_DEPARTURE, &facts);
	assert_true(facts.owned);
	assert_null(decision_open(folder, "m-1", DECISION_DEPARTURE, &err)); // its owner lives
	assert_int_equal(err.id, ERR_MOVE_BUSY);
	decision_close(d, false);
	d = decision_open(folder, "m-1", DECISION_DEPARTURE, &err);
	assert_non_null(d);
	assert_int_equal(decision_epoch(d), 7);
	assert_int_equal(decision_append(d, DECISION_ABORT, &err), -1);
	assert_int_equal(decision_append_as(d, DECISION_KEPT, 6, "older", &err), -1);
	assert_int_equal(decision_append_as(d, DECISION_KEPT, 8, "burnt down", &err), 0);
	decision_close(d, false);
	decision_look(folder, "m-1", DECISION_DEPARTURE, &facts);
	assert_false(facts.owned);
	assert_int_equal(facts.last, DECISION_KEPT);
	assert_int_equal(facts.epoch, 8);
	assert_string_equal(facts.note, "burnt down");
	assert_null(decision_open(folder, "m-2", DECISION_DEPARTURE, &err));
	assert_int_equal(err.id, ERR_MOVE_UNKNOWN);
}

static void is_found_by_partition(void **state)
{
	(void)state;
	char move[DECISION_MOVE_MAX];
	uint64_t newest;
	assert_false(decision_find(folder, DECISION_DEPARTURE, "db1", move, &newest));
	decision_close(open_with_commit(), false);
	assert_true(decision_find(folder, DECISION_DEPARTURE, "db1", move, &newest));
	assert_string_equal(move, "m-1");
	assert_int_equal(newest, 7);
	assert_false(decision_find(folder, DECISION_DEPARTURE, "db2", move, &newest));
	assert_false(decision_find(folder, DECISION_ARRIVAL, "db1", move, &newest));
}

static void goes_on_after_a_torn_tail(void **state)
{
	(void)state;
	struct error err = {0};
	decision_close(open_with_commit(), false);
	overwrite(3 * RECORD + 1, 0x55);
	struct decision *d = decision_open(folder, "m-1", DECISION_DEPARTURE, &err);
	assert_non_null(d);
	assert_int_equal(decision_append(d, DECISION_RELEASED, &err), 0);
	decision_close(d, false);
	assert_int_equal(read_back(), DECISION_RELEASED);
}

static void takes_no_damaged_file(void **state)
{
	(void)state;
	struct error err = {0};
	decision_close(open_with_commit(), false);
	overwrite(RECORD + 100, 0x55);
	assert_null(decision_open(folder, "m-1", DECISION_DEPARTURE, &err));
	assert_int_equal(err.id, ERR_STORAGE);
}

// Whoever reads meanwhile finds the damaged file, or the whole decision.
static void a_person_overrules_damage(void **state)
{
	(void)state;
	struct error err = {0};
	struct decision_facts facts;
	decision_close(open_with_commit(), false);
	overwrite(2 * RECORD + 20, 0x55);
	assert_int_equal(read_back(), DECISION_UNKNOWN);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(decision_overrule(folder, "m-1", DECISION_DEPARTURE, 7, "db1",
						   DECISION_KEPT, 8, "I know", &err),
				 0);
		decision_look(folder, "m-1", DECISION_DEPARTURE, &facts);
		assert_int_equal(facts.last, DECISION_KEPT);
		assert_int_equal(facts.epoch, 8);
		assert_false(facts.owned);
	}
	char path[128];
	snprintf(path, sizeof(path), "%s/m-1.departure.damaged", folder);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/m-1.departure.new", folder);
	assert_int_equal(access(path, F_OK), -1);
}

// ---- pruning ------------------------------------------------------------------------------------

// Leaves the file of a departure with these records behind.
static void leave(const char *move, const enum decision_type *records, size_t count)
{
	struct error err = {0};
	struct decision *d = decision_create(folder, move, DECISION_DEPARTURE, 7, "db1", &err);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(decision_append(d, records[i], &err), 0);
	decision_close(d, false);
}

static bool is_there(const char *move)
{
	uint64_t epoch;
	return decision_read(folder, move, DECISION_DEPARTURE, &epoch) != DECISION_NONE;
}

static bool is_open(const char *move, void *arg)
{
	return arg && !strcmp(move, arg);
}

static void prunes_what_has_ended(void **state)
{
	static const enum decision_type aborted[] = {DECISION_FINAL, DECISION_ABORT},
					committed[] = {DECISION_FINAL, DECISION_COMMIT},
					kept[] = {DECISION_FINAL, DECISION_COMMIT, DECISION_KEPT};
	static char watched[] = "m-3";
	char path[128];
	(void)state;
	leave("m-2", aborted, 2);
	leave("m-3", aborted, 2);
	leave("m-4", committed, 2);
	leave("m-5", kept, 3);
	leave("m-6", NULL, 0);
	assert_int_equal(decision_prune(folder, 1, is_open, NULL), 0); // none is that old
	assert_int_equal(decision_prune(folder, UINT64_MAX, is_open, watched), 1);
	assert_false(is_there("m-2"));
	// one that somebody holds
	struct error err = {0};
	struct decision *held = decision_open(folder, watched, DECISION_DEPARTURE, &err);
	assert_non_null(held);
	assert_int_equal(decision_prune(folder, UINT64_MAX, is_open, NULL), 0);
	decision_close(held, false);
	assert_int_equal(decision_prune(folder, UINT64_MAX, is_open, NULL), 1);
	assert_false(is_there(watched));
	for (int i = 4; i <= 6; i++) {
		snprintf(path, sizeof(path), "m-%d", i);
		assert_true(is_there(path)); // not over
		snprintf(path, sizeof(path), "%s/m-%d.departure", folder, i);
		unlink(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_what_was_written, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_a_broken_order, setup, teardown),
		cmocka_unit_test_setup_teardown(is_made_once, setup, teardown),
		cmocka_unit_test_setup_teardown(forgives_a_torn_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(a_torn_last_record_does_not_count, setup, teardown),
		cmocka_unit_test_setup_teardown(a_flipped_last_record_is_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_lost_its_end_is_damage, setup,
						teardown),
		cmocka_unit_test_setup_teardown(reports_damage_in_the_middle, setup, teardown),
		cmocka_unit_test_setup_teardown(is_taken_over_from_a_dead_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(is_found_by_partition, setup, teardown),
		cmocka_unit_test_setup_teardown(goes_on_after_a_torn_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_no_damaged_file, setup, teardown),
		cmocka_unit_test_setup_teardown(a_person_overrules_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(prunes_what_has_ended, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
