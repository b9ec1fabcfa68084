// SPDX-License-Identifier: Apache-2.0
// What a group's processes may do with devices, asked of the kernel itself. Needs root.
#include "lib/base/cleanup.h"
#include "lib/partition/devices.h"
#include "lib/partition/hierarchy.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cmocka.h>

// A group for this test, with one below it as partitions have.
struct place {
	char path[300], below[320];
	int folder;
};

static _Noreturn void skip_because(const char *reason)
{
	fprintf(stderr, "skipped: %s\n", reason);
	skip(); // leaves the test
	abort();
}

static const struct hierarchy *find(const struct hierarchy *list, size_t count, bool v2)
{
	for (size_t i = 0; i < count; i++)
		if (v2 ? list[i].v2 : hierarchy_has(&list[i], "devices"))
			return &list[i];
	return NULL;
}

static void make_place(struct place *place, bool v2)
{
	struct hierarchy list[HIERARCHY_MAX];
	size_t count = 0;
	if (geteuid() != 0)
		skip_because("only root makes control groups");
	hierarchy_find(list, &count, NULL);
	const struct hierarchy *h = find(list, count, v2);
	if (!h)
		skip_because(v2 ? "no cgroup v2 here" : "no v1 devices controller here");
	snprintf(place->path, sizeof(place->path), "%s/test_devices.%d", h->mount, (int)getpid());
	snprintf(place->below, sizeof(place->below), "%s/payload", place->path);
	if (mkdir(place->path, 0755) < 0)
		skip_because("control groups are read-only here");
	place->folder = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(place->folder >= 0);
}

static void remove_place(struct place *place)
{
	close(place->folder);
	assert_int_equal(rmdir(place->below), 0);
	assert_int_equal(rmdir(place->path), 0);
}

// Makes a node outside of the group and opens it inside.
static bool may_open(mode_t type, unsigned major, unsigned minor)
{
	char path[64];
	snprintf(path, sizeof(path), "/dev/test_devices.%d", (int)getppid());
	if (mknod(path, type | 0600, makedev(major, minor)) < 0 && errno == EPERM)
		return false;
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int why = errno;
	unlink(path);
	// No driver, no terminal: it got past the policy, which says EPERM.
	return fd >= 0 || why != EPERM;
}

// In a process of the group: 0, or the number of the first line that is not as it should be.
static int look(void)
{
	static const struct {
		mode_t type;
		unsigned major, minor;
		bool allowed;
	} cases[] = {{S_IFCHR, 1, 3, true},   {S_IFCHR, 1, 5, true},     {S_IFCHR, 1, 7, true},
		     {S_IFCHR, 1, 8, true},   {S_IFCHR, 1, 9, true},     {S_IFCHR, 5, 0, true},
		     {S_IFCHR, 5, 2, true},   {S_IFCHR, 136, 900, true}, {S_IFCHR, 1, 1, false},
		     {S_IFCHR, 1, 4, false},  {S_IFCHR, 1, 11, false},   {S_IFCHR, 5, 1, false},
		     {S_IFCHR, 4, 0, false},  {S_IFCHR, 10, 200, false}, {S_IFCHR, 137, 0, false},
		     {S_IFBLK, 1, 3, false},  {S_IFBLK, 7, 0, false},    {S_IFBLK, 8, 0, false},
		     {S_IFBLK, 136, 0, false}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (may_open(cases[i].type, cases[i].major, cases[i].minor) != cases[i].allowed)
			return (int)i + 1;
	return 0;
}

static void check_inside(const struct place *place)
{
	char procs[352];
	int status;
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", place->below);
	assert_true(mkdir(place->below, 0755) == 0 || errno == EEXIST);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(procs, O_WRONLY | O_CLOEXEC);
		_exit(fd < 0 || write(fd, "0", 1) != 1 ? 100 : look());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void v1_holds_for_groups_below(void **state)
{
	(void)state;
	struct place place = {.folder = -1};
	make_place(&place, false);
	struct error err = {0};
	assert_int_equal(devices_check_v1(place.folder, &err), -1);
	assert_int_equal(err.id, ERR_CGROUP);
	assert_int_equal(devices_confine_v1(place.folder, NULL), 0);
	assert_int_equal(devices_check_v1(place.folder, NULL), 0);
	check_inside(&place);
	// Too late now, and said so.
	assert_int_equal(devices_confine_v1(place.folder, &err), -1);
	assert_int_equal(err.id, ERR_CGROUP);
	remove_place(&place);
}

static void v2_holds_for_groups_below(void **state)
{
	(void)state;
	struct place place = {.folder = -1};
	struct error err = {0};
	make_place(&place, true);
	int done = devices_confine_v2(place.folder, &err);
	if (done < 0) {
		mkdir(place.below, 0755);
		remove_place(&place);
		skip_because("no BPF programs here");
	}
	check_inside(&place);
	assert_int_equal(devices_confine_v2(place.folder, NULL), 0);
	check_inside(&place);
	remove_place(&place);
}

static void says_when_it_cannot(void **state)
{
	(void)state;
	struct error err = {0};
	_cleanup_close_ int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(devices_confine_v1(folder, &err), -1);
	assert_int_equal(err.id, ERR_CGROUP);
	err = (struct error){0};
	assert_int_equal(devices_confine_v2(folder, &err), -1);
	assert_int_equal(err.id, ERR_CGROUP);
	assert_int_not_equal(err.sys, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(v1_holds_for_groups_below),
		cmocka_unit_test(v2_holds_for_groups_below),
		cmocka_unit_test(says_when_it_cannot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
