// SPDX-License-Identifier: Apache-2.0
// Finding the cgroup hierarchies of a host, whichever way it mounts them.
#include "lib/partition/cgroup.h"
#include "lib/partition/hierarchy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char v2_only[] =
	"25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw\n"
	"28 25 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

static const char hybrid[] =
	"32 25 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
	"34 32 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
	"35 32 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	"36 32 0:32 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
	"33 32 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	"90 32 0:31 / /mnt/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
	"91 32 0:32 /docker/x /sys/fs/cgroup/part rw - cgroup cgroup rw,freezer\n";

static void finds_v2_alone(void **state)
{
	(void)state;
	struct hierarchy list[HIERARCHY_MAX];
	assert_int_equal(hierarchy_parse(v2_only, list), 1);
	assert_true(list[0].v2);
	assert_string_equal(list[0].mount, "/sys/fs/cgroup");
	assert_false(hierarchy_has(&list[0], "freezer"));
}

static void finds_each_of_a_hybrid_once_and_v2_first(void **state)
{
	(void)state;
	struct hierarchy list[HIERARCHY_MAX];
	assert_int_equal(hierarchy_parse(hybrid, list), 4);
	assert_string_equal(list[0].mount, "/sys/fs/cgroup/unified");
	assert_string_equal(list[1].mount, "/sys/fs/cgroup/systemd");
	assert_true(hierarchy_has(&list[1], "name=systemd"));
	assert_true(hierarchy_has(&list[2], "cpuacct"));
	assert_false(hierarchy_has(&list[2], "cpua"));
	assert_true(hierarchy_has(&list[3], "freezer"));
}

static void survives_rubbish(void **state)
{
	(void)state;
	struct hierarchy list[HIERARCHY_MAX];
	assert_int_equal(hierarchy_parse("", list), 0);
	assert_int_equal(hierarchy_parse("\n\n - cgroup2\nx y z - cgroup2 a b", list), 0);
	char many[HIERARCHY_MAX * 200] = "";
	for (int i = 0; i < HIERARCHY_MAX + 5; i++) {
		char line[160];
		snprintf(line, sizeof(line), "1 2 0:%d / /c/%d rw - cgroup cgroup rw,name=n%d\n", i,
			 i, i);
		strcat(many, line);
	}
	assert_int_equal(hierarchy_parse(many, list), HIERARCHY_MAX);
}

static void finds_the_path_of_a_process(void **state)
{
	(void)state;
	struct hierarchy list[HIERARCHY_MAX];
	char path[64];
	const char *groups =
		"9:name=systemd:/init.scope\n4:cpu,cpuacct:/a:b/c\n0::/wpar/x/payload\n";
	hierarchy_parse(hybrid, list);
	assert_true(hierarchy_path_of(&list[0], groups, path, sizeof(path)));
	assert_string_equal(path, "/wpar/x/payload");
	assert_true(hierarchy_path_of(&list[1], groups, path, sizeof(path)));
	assert_string_equal(path, "/init.scope");
	assert_true(hierarchy_path_of(&list[2], groups, path, sizeof(path)));
	assert_string_equal(path, "/a:b/c");
	assert_false(hierarchy_path_of(&list[3], groups, path, sizeof(path)));
}

static void takes_no_name_that_leads_elsewhere(void **state)
{
	(void)state;
	struct error err = {0};
	assert_null(cgroup_open("../..", &err));
	assert_int_equal(err.id, ERR_NAME_INVALID);
	assert_int_equal(cgroup_remove("a/b", 0, &err), -1);
	assert_false(cgroup_exists("surely-no-such-partition"));
}

// Who ends a partition and who clears up after it do not wait for each other.
static void kills_what_is_gone_already(void **state)
{
	(void)state;
	struct error err = {0};
	char name[32];
	snprintf(name, sizeof(name), "unit-%d", (int)getpid());
	_cleanup_cgroup_ struct cgroup *cg = cgroup_create(name, &err);
	if (!cg) {
		fprintf(stderr, "skipped: no groups can be made here: %s\n", err.message);
		skip();
	}
	pid_t *pids;
	size_t count;
	assert_int_equal(cgroup_remove(name, deadline_in_ms(5000), &err), 0);
	assert_int_equal(cgroup_pids(cg, &pids, &count, &err), 0);
	assert_int_equal(count, 0);
	free(pids);
	assert_int_equal(cgroup_kill(cg, deadline_in_ms(5000), &err), 0);
	assert_false(cgroup_exists(name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_v2_alone),
		cmocka_unit_test(finds_each_of_a_hybrid_once_and_v2_first),
		cmocka_unit_test(survives_rubbish),
		cmocka_unit_test(finds_the_path_of_a_process),
		cmocka_unit_test(takes_no_name_that_leads_elsewhere),
		cmocka_unit_test(kills_what_is_gone_already),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
