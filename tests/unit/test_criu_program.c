// SPDX-License-Identifier: Apache-2.0
// Finding a CRIU, how it is started, and the self-test around it, with stand-ins made of scripts.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/criu/program.h"
#include "lib/criu/selftest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
	char folder[64]; // RELOCD_CRIU_ROOT and RELOCD_LIBEXECDIR
	struct criu_program p;
	struct error err;
};

static void put(const struct fixture *f, const char *name, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(fdio_write_all(fd, text, strlen(text), NULL), 0);
	close(fd);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[256];

	strcpy(f->folder, "/tmp/test_program.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	setenv("RELOCD_CRIU_ROOT", f->folder, 1);
	setenv("RELOCD_LIBEXECDIR", f->folder, 1);
	snprintf(path, sizeof(path), "%s/4.9/lib", f->folder);
	assert_int_equal(fdio_mkdir_p(path, 0755, NULL), 0);
	put(f, "4.9/criu", "#!/bin/sh\n");
	put(f, "4.9/ld.so", "#!/bin/sh\n");
	snprintf(path, sizeof(path), "%s/current", f->folder);
	assert_int_equal(symlink("4.9", path), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(chdir("/"), 0);
	assert_int_equal(fdio_remove_tree(AT_FDCWD, f->folder, NULL), 0);
	free(f);
	return 0;
}

static void path_is(const struct fixture *f, const char *got, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	assert_string_equal(got, path);
}

static void prefers_the_private_one(void **state)
{
	struct fixture *f = *state;
	struct criu_argv a;

	assert_int_equal(criu_program_find("auto", "none", &f->p, &f->err), 0);
	criu_program_argv(&f->p, 7, &a);
	path_is(f, a.argv[0], "4.9/ld.so"); // the link `current` is resolved
	assert_string_equal(a.argv[1], "--library-path");
	path_is(f, a.argv[2], "4.9/lib");
	path_is(f, a.argv[3], "4.9/criu");
	assert_string_equal(a.argv[4], "--no-default-config");
	assert_string_equal(a.argv[5], "swrk");
	assert_string_equal(a.argv[6], "7");
	assert_null(a.argv[7]);
}

static void preloads_by_the_loader(void **state)
{
	struct fixture *f = *state;
	struct criu_argv a;

	put(f, "x.so", "");
	assert_int_equal(chdir(f->folder), 0);
	assert_int_equal(criu_program_find(NULL, "x.so", &f->p, &f->err), 0);
	criu_program_argv(&f->p, 7, &a);
	assert_string_equal(a.argv[3], "--preload");
	assert_string_equal(a.argv[4], "x.so");
	path_is(f, a.argv[5], "4.9/criu");
}

static void preloads_by_the_environment(void **state)
{
	struct fixture *f = *state;
	struct criu_argv a;

	put(f, "x.so", "");
	assert_int_equal(chdir(f->folder), 0);
	assert_int_equal(criu_program_find("/bin/true", "x.so", &f->p, &f->err), 0);
	criu_program_argv(&f->p, 3, &a);
	assert_string_equal(a.argv[0], "/usr/bin/env");
	assert_string_equal(a.argv[1], "LD_PRELOAD=x.so");
	assert_string_equal(a.argv[2], "/bin/true");
	assert_string_equal(a.argv[5], "3");
	assert_null(a.argv[6]);
}

static void refuses_what_is_none(void **state)
{
	struct fixture *f = *state;
	char path[256];

	assert_int_equal(criu_program_find("/nonexistent/criu", "none", &f->p, &f->err), -1);
	assert_int_equal(f->err.id, ERR_CRIU_MISSING);
	assert_int_equal(criu_program_find("/tmp", "none", &f->p, &f->err), -1);
	assert_int_equal(criu_program_find("auto", "/nonexistent.so", &f->p, &f->err), -1);
	assert_non_null(strstr(f->err.message, "/nonexistent.so"));
	snprintf(path, sizeof(path), "%s/4.9/ld.so", f->folder);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/current", f->folder);
	assert_int_equal(criu_program_find(path, "none", &f->p, &f->err), -1);
}

static void a_program_that_is_no_criu_is_unable(void **state)
{
	struct fixture *f = *state;
	struct criu_version v;

	assert_int_equal(criu_program_find("/bin/true", "none", &f->p, &f->err), 0);
	assert_int_equal(criu_program_version(&f->p, deadline_in_ms(5000), &v, &f->err), -1);
	assert_int_equal(f->err.id, ERR_CRIU_UNABLE);
	assert_non_null(strstr(f->err.message, "/bin/true does not work here"));
}

static void reports_what_the_self_test_says(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(criu_program_find("auto", "none", &f->p, &f->err), 0);
	put(f, "criu-selftest", "#!/bin/sh\necho it cannot\necho more\nexit 1\n");
	assert_int_equal(criu_selftest_run(&f->p, deadline_in_ms(5000), &f->err), -1);
	assert_int_equal(f->err.id, ERR_CRIU_UNABLE);
	assert_string_equal(f->err.message, "it cannot");
	// It is told which CRIU to test.
	put(f, "criu-selftest",
	    "#!/bin/sh\n[ \"$*\" = \"--quiet --criu ${0%/*}/4.9 --preload none\" ]\n");
	assert_int_equal(criu_selftest_run(&f->p, deadline_in_ms(5000), &f->err), 0);
	put(f, "criu-selftest", "#!/bin/sh\nexec sleep 100\n");
	assert_int_equal(criu_selftest_run(&f->p, deadline_in_ms(200), &f->err), -1);
	assert_int_equal(f->err.id, ERR_DEADLINE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(prefers_the_private_one),
		TEST(preloads_by_the_loader),
		TEST(preloads_by_the_environment),
		TEST(refuses_what_is_none),
		TEST(a_program_that_is_no_criu_is_unable),
		TEST(reports_what_the_self_test_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
