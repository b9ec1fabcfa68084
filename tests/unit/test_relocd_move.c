// SPDX-License-Identifier: Apache-2.0
// What both sides of a move share: lists of checks, facts about hosts and tasks.
#include "relocd/move/checks.h"
#include "relocd/move/facts.h"
#include "relocd/move/kernelpaths.h"
#include "relocd/move/talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void first_failure_is_the_error(void **state)
{
	(void)state;
	struct error why, err = {0};
	json_t *checks = json_array();
	checks_pass(checks, "hostA", "criu", "fine");
	assert_true(checks_ok(checks));
	checks_warn(checks, "hostB", "kernel", "differs", "look");
	assert_true(checks_ok(checks));
	error_set(&why, ERR_MEMORY, "too little");
	checks_fail(checks, "hostB", "memory", &why);
	error_set(&why, ERR_CPU, "too old");
	checks_fail(checks, "hostB", "cpu", &why);
	assert_false(checks_ok(checks));
	assert_int_equal(checks_error(checks, &err), -1);
	assert_int_equal(err.id, ERR_MEMORY);
	assert_string_equal(err.message, "too little");
	assert_string_equal(err.host, "hostB");
	json_decref(checks);
}

static void a_check_without_outcome_has_failed(void **state)
{
	(void)state;
	json_t *checks = json_pack("[{s:s}]", "check", "criu");
	assert_false(checks_ok(checks));
	json_decref(checks);
}

static void takes_little_where_little_is_free(void **state)
{
	(void)state;
	uint64_t available, total;
	assert_int_equal(facts_spare(0), 0);
	assert_int_equal(facts_spare(400 << 20), 100 << 20);
	assert_int_equal(facts_spare(64ull << 30), FACTS_SPARE_MAX);
	assert_int_equal(facts_spare(UINT64_MAX), FACTS_SPARE_MAX);
	assert_int_equal(facts_memory(&available, &total, NULL), 0);
	assert_true(available > 0 && available <= total);
}

static void names_missing_processor_features(void **state)
{
	(void)state;
	struct error err = {0};
	json_t *have = json_pack("[s, s]", "sse2", "avx2");
	json_t *more = json_pack("[s, s, s, s]", "sse2", "avx2", "avx512f", "amx_tile");
	assert_int_equal(facts_cpu_compare(have, have, &err), 0);
	assert_int_equal(facts_cpu_compare(have, more, &err), 0);
	assert_int_equal(facts_cpu_compare(more, have, &err), -1);
	assert_int_equal(err.id, ERR_CPU);
	assert_non_null(strstr(err.message, "avx512f amx_tile"));
	json_decref(have);
	json_decref(more);
}

static void knows_this_task(void **state)
{
	(void)state;
	struct facts_task task;
	struct error err = {0};
	size_t size = 32u << 20;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(facts_task(getpid(), &task, &err), 0);
	assert_true(task.inner > 0);
	assert_in_range(task.resident_bytes, size - (1u << 20),
			size * 4); // the counters of the kernel lag a little
	uint64_t before = task.resident_bytes;
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	assert_int_equal(facts_task(getpid(), &task, &err), 0);
	assert_true(task.resident_bytes < before + size / 2);
	munmap(shared, size);
	munmap(memory, size);
}

static void tells_folders_apart(void **state)
{
	(void)state;
	struct facts_folder a, b;
	struct error err = {0};
	assert_int_equal(facts_folder("/", &a, &err), 0);
	assert_int_equal(facts_folder("/proc", &b, &err), 0);
	assert_true(a.inode != b.inode || a.ctime_ns != b.ctime_ns);
	assert_int_equal(facts_folder("/no/such", &a, &err), -1);
	assert_int_equal(err.id, ERR_ROOTFS_MISSING);
}

static void lists_mounts_on_files_of_the_kernel(void **state)
{
	(void)state;
	static const char mountinfo[] = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
					"21 20 0:5 / /proc rw,nosuid - proc proc rw\n"
					"22 21 0:5 /sys /proc/sys ro,nosuid - proc proc rw\n"
					"23 21 0:40 /null /proc/meminfo rw - tmpfs wpar rw\n"
					"24 20 0:40 /trees/tmp /tmp rw - tmpfs wpar rw\n"
					"25 21 0:40 /empty /proc/no-such-thing ro - tmpfs wpar rw\n"
					"broken";
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	json_t *list = kernelpaths_read(mountinfo, root);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(json_array_get(list, 0)), "/proc/sys/");
	assert_string_equal(json_string_value(json_array_get(list, 1)), "/proc/meminfo");
	json_decref(list);
	close(root);
	list = kernelpaths_of(getpid(), NULL);
	assert_true(json_is_array(list));
	json_decref(list);
}

static void names_what_this_kernel_lacks(void **state)
{
	(void)state;
	static const struct {
		char *path;
		enum error_id id;
	} bad[] = {{"/proc/no-such-thing", ERR_VERSION},
		   {"/sys/no-such-thing/", ERR_VERSION},
		   {"/proc/meminfo/", ERR_VERSION},
		   {"/proc/sys", ERR_VERSION},
		   {"/etc/passwd", ERR_PROTOCOL},
		   {"/proc/../etc/passwd", ERR_PROTOCOL},
		   {"", ERR_PROTOCOL}};
	char *paths[] = {"/proc/sys/", "/proc/meminfo", NULL};
	struct error err = {0};
	assert_int_equal(kernelpaths_check(paths, 2, &err), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		paths[2] = bad[i].path;
		assert_int_equal(kernelpaths_check(paths, 3, &err), -1);
		assert_int_equal(err.id, bad[i].id);
		assert_non_null(strstr(err.message, bad[i].path));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_failure_is_the_error),
		cmocka_unit_test(a_check_without_outcome_has_failed),
		cmocka_unit_test(takes_little_where_little_is_free),
		cmocka_unit_test(names_missing_processor_features),
		cmocka_unit_test(knows_this_task),
		cmocka_unit_test(tells_folders_apart),
		cmocka_unit_test(lists_mounts_on_files_of_the_kernel),
		cmocka_unit_test(names_what_this_kernel_lacks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
