// SPDX-License-Identifier: Apache-2.0
// Whose a partition is, by what this host and another one say; and which registry is believed.
#include "relocd/partitions/ownership.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "relocd/daemon/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>

static void verdicts(void **state)
{
	static const struct {
		enum partition_state own;
		uint64_t own_epoch;
		struct ownership_claim claim;
		enum ownership_verdict verdict;
	} rows[] = {
		// A trace of it there speaks for us, whatever its epoch.
		{STATE_DEFINED, 3, {STATE_DEPARTED, 3, true}, OWNERSHIP_OURS},
		{STATE_DEFINED, 3, {STATE_DEPARTED, 9, true}, OWNERSHIP_OURS},
		// It runs there: never a second copy.
		{STATE_DEFINED, 3, {STATE_ACTIVE, 4, false}, OWNERSHIP_THEIRS},
		{STATE_DEFINED, 5, {STATE_ACTIVE, 4, false}, OWNERSHIP_THEIRS},
		{STATE_FAILED, 3, {STATE_IN_DOUBT, 4, false}, OWNERSHIP_THEIRS},
		{STATE_FAILED, 3, {STATE_MOVING, 3, false}, OWNERSHIP_THEIRS},
		{STATE_ACTIVE, 3, {STATE_ACTIVE, 4, false}, OWNERSHIP_CONFLICT},
		{STATE_ACTIVE, 5, {STATE_FROZEN, 4, false}, OWNERSHIP_CONFLICT},
		// Neither runs: the later epoch has it.
		{STATE_DEFINED, 3, {STATE_DEFINED, 4, false}, OWNERSHIP_THEIRS},
		{STATE_DEFINED, 5, {STATE_FAILED, 4, false}, OWNERSHIP_OURS},
		{STATE_DEFINED, 4, {STATE_DEFINED, 4, false}, OWNERSHIP_CONFLICT},
		// It runs here.
		{STATE_ACTIVE, 3, {STATE_DEFINED, 4, false}, OWNERSHIP_OURS},
		{STATE_ACTIVE, 3, {STATE_ARRIVING, 4, false}, OWNERSHIP_OURS},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (ownership_judge(rows[i].own, rows[i].own_epoch, &rows[i].claim) !=
		    rows[i].verdict)
			fail_msg("row %zu", i);
}

// ---- which registry is believed -----------------------------------------------------------------

static char folder[64];

static void open_daemon(struct daemon *d)
{
	struct error err = {0};
	*d = (struct daemon){0};
	if (config_parse("", "host: hostA\n", 12, &d->config, &err) < 0 ||
	    daemon_open(d, &err) < 0 || ownership_open(d, &err) < 0)
		fail_msg("%s", err.message);
}

static void close_daemon(struct daemon *d)
{
	events_close(d);
	partitions_free(d);
	daemon_close(d);
	char lock[96]; // of this process as long as it lives
	snprintf(lock, sizeof(lock), "%s/lock", folder);
	unlink(lock);
}

static void touch(const char *name)
{
	char path[96];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(fdio_replace_file(path, "x", 1, 0600, NULL), 0);
}

static void drop_registry(void)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		char path[96];
		snprintf(path, sizeof(path), "%s/registry.db%s", folder, ends[i]);
		unlink(path);
	}
}

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test_ownership.XXXXXX");
	assert_non_null(mkdtemp(folder));
	setenv("RELOCD_STATEDIR", folder, 1);
	setenv("RELOCD_RUNDIR", folder, 1);
	setenv("RELOCD_ETCDIR", folder, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return fdio_remove_tree(AT_FDCWD, folder, NULL);
}

static void join_cluster(void)
{
	touch("ca.pem");
	touch("host.pem");
	touch("host.key");
}

static void a_lost_registry_means_quarantine(void **state)
{
	struct daemon d;
	struct error err;
	(void)state;
	open_daemon(&d); // the first start ever
	assert_string_equal(d.quarantine, "");
	assert_int_equal(ownership_trust_local(&d, "nothing to trust", &err), -1);
	close_daemon(&d);
	join_cluster();
	open_daemon(&d); // the same registry
	assert_string_equal(d.quarantine, "");
	close_daemon(&d);
	drop_registry();
	open_daemon(&d);
	assert_string_not_equal(d.quarantine, "");
	assert_int_equal(ownership_check(&d, "db1", &err), -1);
	assert_int_equal(err.id, ERR_QUARANTINE);
	close_daemon(&d);
	open_daemon(&d); // it is not forgotten
	assert_string_not_equal(d.quarantine, "");
	assert_int_equal(ownership_trust_local(&d, "I know", &err), 0);
	assert_int_equal(ownership_check(&d, "db1", &err), 0);
	close_daemon(&d);
	open_daemon(&d);
	assert_string_equal(d.quarantine, "");
	close_daemon(&d);
}

// Without a cluster nobody else can have what is here.
static void a_host_alone_is_not_in_quarantine(void **state)
{
	struct daemon d;
	(void)state;
	open_daemon(&d);
	close_daemon(&d);
	drop_registry();
	open_daemon(&d);
	assert_string_equal(d.quarantine, "");
	close_daemon(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts),
		cmocka_unit_test_setup_teardown(a_lost_registry_means_quarantine, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_host_alone_is_not_in_quarantine, set_up,
						tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
