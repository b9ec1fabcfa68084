// SPDX-License-Identifier: Apache-2.0
// Sentences out of CRIU's logs.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/criu/failure.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct criu_failure of(const char *log)
{
	struct criu_failure f;

	criu_failure_of_text(log, &f);
	return f;
}

static void takes_the_first_error(void **state)
{
	struct criu_failure f = of("(00.000100) Warn  (criu/a.c:1): not this\n"
				   "(00.000200)      7: Error (criu/b.c:22): mnt: the cause\n"
				   "(00.000300) Error (criu/c.c:3): Dumping FAILED.\n");

	(void)state;
	assert_string_equal(f.text, "mnt: the cause");
	assert_int_equal(f.id, ERR_NONE);
}

static void passes_over_what_is_always_there(void **state)
{
	struct criu_failure f = of("(00.0) Error (criu/rlimit.c:42): rlimit: Can't set rlimit: "
				   "RLIMIT_NOFILE\n(00.1) Error (criu/b.c:2): the cause\n");

	(void)state;
	assert_string_equal(f.text, "the cause");
}

static void knows_io_uring(void **state)
{
	struct criu_failure f = of("(00.1) Error (criu/x.c:1): something before\n"
				   "(00.2) Error (criu/files-ext.c:98): Can't dump file 5 of that "
				   "type [600] (unknown anon_inode:[io_uring])\n");

	(void)state;
	assert_int_equal(f.id, ERR_IO_URING);
	assert_non_null(strstr(f.text, "io_uring, which CRIU cannot checkpoint"));
	assert_non_null(strstr(f.text, "file 5"));
}

static void knows_what_newer_kernels_make_of_it(void **state)
{
	// As CRIU 4.2.1 wrote it on Linux 6.18 for a task with an io_uring descriptor.
	struct criu_failure f =
		of("pie: 17474: Error (criu/pie/parasite.c:588): send_fds failed (-22)\n"
		   "Error (criu/parasite-syscall.c:280): Can't retrieve FDs from socket\n");

	(void)state;
	assert_int_equal(f.id, ERR_IO_URING);
	f = of("Error (criu/files-reg.c:1790): Can't lookup mount=15 for fd=3 path=/secretmem "
	       "(deleted)\n");
	assert_int_equal(f.id, ERR_UNDUMPABLE);
	assert_non_null(strstr(f.text, "memfd_secret"));
}

static void says_nothing_for_nothing(void **state)
{
	(void)state;
	assert_string_equal(of("").text, "");
	assert_string_equal(of("no newline, no error").text, "");
	assert_string_equal(of("Error (").text, "");
	assert_string_equal(of("Error (a.c:1)").text, "");
	assert_string_equal(of("\n\n\nError (a.c:1): \n").text, "");
}

static void keeps_one_clean_line(void **state)
{
	char log[2000] = "Error (a.c:1): bad \x1b[31m";
	struct criu_failure f;

	(void)state;
	memset(log + strlen(log), 'x', 1500);
	f = of(log);
	assert_null(strchr(f.text, '\x1b'));
	assert_true(strlen(f.text) < sizeof(f.text));
	assert_non_null(strstr(f.text, "bad ?[31mxxx"));
}

static void fills_an_error_from_a_file(void **state)
{
	char folder[] = "/tmp/test_failure.XXXXXX";
	_cleanup_close_ int dirfd = -1;
	struct error err = {0};
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(criu_failure_error(&err, ERR_CRIU_DUMP, "dump", dirfd, "dump.log", ""),
			 -1);
	assert_string_equal(err.message, "dump: CRIU gives no reason");
	criu_failure_error(&err, ERR_CRIU_DUMP, "dump", dirfd, "dump.log",
			   "Error (a.c:7): what RPC said\n");
	assert_string_equal(err.message, "dump: what RPC said");
	assert_int_equal(err.id, ERR_CRIU_DUMP);
	fd = openat(dirfd, "dump.log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	for (int i = 0; i < 2000; i++)
		fdio_write_all(fd,
			       "(00.1) pages: a line of a debug log, of which only the tail "
			       "is read\n",
			       66, NULL);
	fdio_write_all(fd, "(00.2) Error (a.c:1): in-flight: In-flight connection (l) for 3\n", 64,
		       NULL);
	close(fd);
	criu_failure_error(&err, ERR_CRIU_DUMP, "dump", dirfd, "dump.log",
			   "Error (a.c:7): what RPC said\n");
	assert_int_equal(err.id, ERR_UNDUMPABLE);
	assert_non_null(strstr(err.message, "dump: a listening socket has connections"));
	fdio_remove_tree(AT_FDCWD, folder, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_the_first_error),
		cmocka_unit_test(passes_over_what_is_always_there),
		cmocka_unit_test(knows_io_uring),
		cmocka_unit_test(knows_what_newer_kernels_make_of_it),
		cmocka_unit_test(says_nothing_for_nothing),
		cmocka_unit_test(keeps_one_clean_line),
		cmocka_unit_test(fills_an_error_from_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
