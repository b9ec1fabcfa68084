// SPDX-License-Identifier: Apache-2.0
// Stands in for libFuzzer where that is not: runs a fuzz target over its corpus, or over the files
// that are named, as a unit test under the sanitizers of the build. Run from the top of the source
// tree.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char corpus[128];
static char **named;

// In memory of exactly that size, so that a read behind it is seen.
static void run_file(int folder, const char *path)
{
	struct stat st;
	_cleanup_close_ int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > INPUT_MAX)
		fail_msg("%s cannot be read, or is longer than %d bytes", path, INPUT_MAX);
	_cleanup_free_ uint8_t *bytes = malloc((size_t)st.st_size + !st.st_size);
	assert_non_null(bytes);
	assert_int_equal(fdio_read_all(fd, bytes, (size_t)st.st_size, NULL), 0);
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(bytes, (size_t)st.st_size);
}

static void test_corpus(void **state)
{
	_cleanup_closedir_ DIR *dir = opendir(corpus);
	struct dirent *entry;
	unsigned files = 0;
	(void)state;
	if (!dir)
		fail_msg("there is no %s: each target has a corpus to start with", corpus);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		run_file(dirfd(dir), entry->d_name);
		files++;
	}
	assert_true(files > 0);
}

static void test_named(void **state)
{
	(void)state;
	for (char **path = named; *path; path++)
		run_file(AT_FDCWD, *path);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest all[] = {cmocka_unit_test(test_corpus)};
	const struct CMUnitTest these[] = {cmocka_unit_test(test_named)};
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	snprintf(corpus, sizeof(corpus), "tests/fuzz/corpus/%s",
		 strncmp(name, "replay_", 7) ? name : name + 7);
	named = argv + 1;
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	return argc > 1 ? cmocka_run_group_tests(these, NULL, NULL)
			: cmocka_run_group_tests(all, NULL, NULL);
}
