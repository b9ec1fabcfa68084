// SPDX-License-Identifier: Apache-2.0
// Packing volatile folders: what comes back, and what a hostile stream cannot do.
#include "images/folder.h"

#include "lib/base/fdio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[64];
static int from, to;

static int setup(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/test-folder-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	int dir = open(top, O_RDONLY | O_DIRECTORY);
	mkdirat(dir, "from", 0700);
	fchmodat(dir, "from", 0750, 0);
	mkdirat(dir, "to", 0700);
	from = openat(dir, "from", O_RDONLY | O_DIRECTORY);
	to = openat(dir, "to", O_RDONLY | O_DIRECTORY);
	close(dir);
	return from < 0 || to < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	close(from);
	close(to);
	return fdio_remove_tree(AT_FDCWD, top, NULL);
}

static void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	fchmod(fd, 0640);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void comes_back_the_same(void **state)
{
	(void)state;
	struct error err = {0};
	struct buf packed = BUF_INIT(1 << 20);
	put(from, "file", "hello");
	mkdirat(from, "sub", 0700);
	fchmodat(from, "sub", 01777, 0);
	put(from, "sub/inner", "");
	symlinkat("../outside", from, "sub/link");
	mkfifoat(from, "fifo", 0600);
	linkat(from, "file", from, "sub/twin", 0);
	assert_int_equal(folder_pack(from, &packed, &err), 0);
	assert_int_equal(folder_unpack(to, packed.data, packed.length, &err), 0);

	char *text = fdio_read_file(to, "sub/twin", 100, &err);
	assert_string_equal(text, "hello");
	free(text);
	struct stat a, b;
	assert_int_equal(fstatat(to, "file", &a, 0), 0);
	assert_int_equal(fstatat(to, "sub/twin", &b, 0), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(a.st_mode & 07777, 0640);
	assert_int_equal(fstatat(to, "sub", &a, 0), 0);
	assert_int_equal(a.st_mode & 07777, 01777);
	char link[32] = "";
	assert_int_equal(readlinkat(to, "sub/link", link, sizeof(link)), 10);
	assert_int_equal(fstatat(to, "fifo", &a, 0), 0);
	assert_true(S_ISFIFO(a.st_mode));
	assert_int_equal(fstat(to, &a), 0);
	assert_int_equal(a.st_mode & 07777, 0750);
	buf_free(&packed);
}

static void drops_setuid(void **state)
{
	(void)state;
	struct error err = {0};
	struct buf packed = BUF_INIT(1 << 20);
	put(from, "su", "x");
	fchmodat(from, "su", 06755, 0);
	assert_int_equal(folder_pack(from, &packed, &err), 0);
	assert_int_equal(folder_unpack(to, packed.data, packed.length, &err), 0);
	struct stat st;
	assert_int_equal(fstatat(to, "su", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	buf_free(&packed);
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	struct buf packed = BUF_INIT(1 << 20);
	put(from, "file", "hello");
	assert_int_equal(folder_pack(from, &packed, NULL), 0);
	for (size_t n = 0; n < packed.length; n++) {
		struct error err = {0};
		unlinkat(to, "file", 0);
		assert_int_equal(folder_unpack(to, packed.data, n, &err), -1);
		assert_int_equal(err.id, ERR_PROTOCOL);
	}
	buf_free(&packed);
}

// A stream that was tampered with: the same length of name, another name.
static void refuse_renamed(const char *name)
{
	struct error err = {0};
	struct buf packed = BUF_INIT(1 << 20);
	put(from, "AAAAAAAA", "hello");
	assert_int_equal(folder_pack(from, &packed, NULL), 0);
	uint8_t *at = memmem(packed.data, packed.length, "AAAAAAAA", 8);
	assert_non_null(at);
	memcpy(at, name, 8);
	assert_int_equal(folder_unpack(to, packed.data, packed.length, &err), -1);
	buf_free(&packed);
}

static void stays_beneath_the_folder(void **state)
{
	(void)state;
	symlinkat("/tmp", to, "ln");
	refuse_renamed("../other");
	refuse_renamed("/tmp/aaa");
	refuse_renamed("ln/aaaaa");
	refuse_renamed("aaaaa/..");
	char path[128];
	snprintf(path, sizeof(path), "%s/other", top);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access("/tmp/aaaaa", F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(drops_setuid, setup, teardown),
		cmocka_unit_test_setup_teardown(every_truncation_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(stays_beneath_the_folder, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
