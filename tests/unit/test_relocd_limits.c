// SPDX-License-Identifier: Apache-2.0
// Hard resource limits and volumes, as both sides of a move look at them.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "relocd/move/hardlimits.h"
#include "relocd/move/storage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void reads_what_the_kernel_writes(void **state)
{
	(void)state;
	struct error err = {0};
	struct rlimit own;
	uint64_t most[RLIM_NLIMITS] = {0};
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, "/proc/self/limits", 1 << 16, &err);
	assert_non_null(text);
	hardlimits_read(text, most);
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		assert_int_equal(getrlimit(i, &own), 0);
		assert_true(most[i] == own.rlim_max);
	}
}

static void keeps_the_greatest(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"Max open files            1024                 4096                 files     \n",
		"Max open files            1024                 2048                 files     \n",
		"Max stack size            8388608              unlimited            bytes     \n",
	};
	uint64_t most[RLIM_NLIMITS] = {0};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		hardlimits_read(texts[i], most);
	assert_int_equal(most[RLIMIT_NOFILE], 4096);
	assert_true(most[RLIMIT_STACK] == RLIM_INFINITY);
	assert_int_equal(most[RLIMIT_CORE], 0);
}

// With CAP_SYS_RESOURCE a limit is raised, without it that is refused by name: never ignored.
static int try_to_take(void)
{
	struct error err = {0};
	struct rlimit low = {50, 100}, now;
	uint64_t wanted[RLIM_NLIMITS] = {0};
	if (setrlimit(RLIMIT_NOFILE, &low) < 0)
		return 1;
	wanted[RLIMIT_NOFILE] = 100;
	if (hardlimits_take(wanted, RLIM_NLIMITS, &err) < 0)
		return 2;
	wanted[RLIMIT_NOFILE] = 200;
	int taken = hardlimits_take(wanted, RLIM_NLIMITS, &err);
	getrlimit(RLIMIT_NOFILE, &now);
	if (taken == 0)
		return now.rlim_max == 200 && now.rlim_cur == 50 ? 0 : 3;
	return err.id == ERR_RLIMIT && strstr(err.message, "RLIMIT_NOFILE 200") ? 0 : 4;
}

static void takes_or_refuses_by_name(void **state)
{
	(void)state;
	int status;
	pid_t child = fork(); // the limit stays lowered
	if (child == 0)
		_exit(try_to_take());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void only_shared_volumes_move(void **state)
{
	(void)state;
	struct error err = {0};
	char top[] = "/tmp/test_storage.XXXXXX", shared[64], data[80], other[64], link[80];
	assert_non_null(mkdtemp(top));
	snprintf(shared, sizeof(shared), "%s/shared", top);
	snprintf(data, sizeof(data), "%s/data", shared);
	snprintf(link, sizeof(link), "%s/link", shared);
	snprintf(other, sizeof(other), "%s/shared-not", top);
	assert_int_equal(mkdir(shared, 0755) | mkdir(data, 0755) | mkdir(other, 0755), 0);
	assert_int_equal(symlink(other, link), 0);
	_cleanup_json_ json_t *start = json_pack("{s:[s]}", "shared", shared);
	struct partition_mount mount = {.type = MOUNT_BIND, .source = data, .storage = "shared"};
	struct partition_def def = {.mounts = &mount, .mount_count = 1};
	assert_int_equal(storage_check(start, &def, &err), 0);
	_cleanup_free_ uint64_t *inodes = NULL;
	size_t count;
	assert_int_equal(storage_inodes(&def, &inodes, &count, &err), 0);
	assert_int_equal(storage_compare(&def, inodes, count, &err), 0);
	inodes[0]++;
	assert_int_equal(storage_compare(&def, inodes, count, &err), -1);
	assert_int_equal(err.id, ERR_NOT_SHARED);
	assert_int_equal(storage_compare(&def, inodes, 0, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	mount.storage = "copied";
	assert_int_equal(storage_check(start, &def, &err), -1);
	assert_non_null(strstr(err.message, data));
	mount.storage = "shared";
	char *const outside[] = {other, link};
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		mount.source = outside[i];
		assert_int_equal(storage_check(start, &def, &err), -1);
		assert_int_equal(err.id, ERR_NOT_SHARED);
	}
	mount.source = "/nonexistent/volume";
	assert_int_equal(storage_check(start, &def, &err), -1);
	assert_int_equal(err.id, ERR_ROOTFS_MISSING);
	fdio_remove_tree(AT_FDCWD, top, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_the_kernel_writes),
		cmocka_unit_test(keeps_the_greatest),
		cmocka_unit_test(takes_or_refuses_by_name),
		cmocka_unit_test(only_shared_volumes_move),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
