// SPDX-License-Identifier: Apache-2.0
// The preload object, compiled in: this program's own syscall() and prlimit() are its.
#include "lib/criu/preload/criu_preload.c"

#include <setjmp.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

static void knows_every_limit(void **state)
{
	struct rlimit lower = {.rlim_cur = 123, .rlim_max = 456};
	uint64_t got[2];

	(void)state;
	assert_int_equal(setrlimit(RLIMIT_CORE, &lower), 0);
	for (unsigned int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit r;

		assert_int_equal(getrlimit((enum __rlimit_resource)i, &r), 0);
		assert_true(public_limit(getpid(), i, got));
		assert_int_equal(got[0], r.rlim_cur);
		assert_int_equal(got[1], r.rlim_max);
	}
	assert_true(public_limit(getpid(), RLIMIT_CORE, got));
	assert_int_equal(got[0], 123);
	assert_int_equal(got[1], 456);
	assert_false(public_limit(getpid(), RLIM_NLIMITS, got));
	assert_false(public_limit(999999999, RLIMIT_CORE, got));
}

static void passes_system_calls_through(void **state)
{
	struct stat st;
	void *p;

	(void)state;
	assert_int_equal(syscall(SYS_getpid), getpid());
	errno = 0;
	assert_int_equal(syscall(SYS_close, -1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(syscall(SYS_newfstatat, AT_FDCWD, "/", &st, 0), 0);
	// six arguments, and a result that looks negative as an int
	p = (void *)syscall(SYS_mmap, 0L, 4096L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(munmap(p, 4096), 0);
}

static void answers_queries_that_the_kernel_refuses(void **state)
{
	struct rlimit64 r = {0};
	struct rlimit64 set = {.rlim_cur = 1, .rlim_max = 1};
	long direct[6] = {1, RLIMIT_NOFILE, 0, (long)&r, 0, 0};

	(void)state;
	if (kernel_call(SYS_prlimit64, direct) != -EPERM && (getuid() != 0 || setuid(65534) < 0))
		skip();
	if (kernel_call(SYS_prlimit64, direct) != -EPERM)
		skip(); // somebody else's process is ours to ask here
	assert_int_equal(syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, 0L, &r), 0);
	assert_true(r.rlim_cur > 0);
	assert_true(r.rlim_max >= r.rlim_cur);
	assert_int_equal(prlimit64(1, RLIMIT_NOFILE, NULL, &r), 0);
	// Setting stays refused.
	assert_int_equal(syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, &set, &r), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(prlimit(1, RLIMIT_NOFILE, NULL, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_every_limit),
		cmocka_unit_test(passes_system_calls_through),
		cmocka_unit_test(answers_queries_that_the_kernel_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
