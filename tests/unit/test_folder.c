// SPDX-License-Identifier: Apache-2.0
// Packing volatile folders: what comes back, and what a hostile stream cannot do.
#include "images/folder.h"

#include "lib/base/fdio.h"
#include "lib/storage/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
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

// ---- a tree that changes ------------------------------------------------------------------------

static int append(void *arg, const void *bytes, size_t length, struct error *err)
{
	return buf_append(arg, bytes, length, err);
}

// One round from `from` to `to`, fed in pieces of `piece` bytes.
static void round_trip(struct snapshot *s, struct folder_unpacker *u, size_t piece,
		       struct snapshot_round *round)
{
	struct buf bytes = BUF_INIT(16 << 20);
	const struct folder_sink sink = {append, &bytes};
	struct error err = {0};
	assert_int_equal(snapshot_send(s, from, false, &sink, round, &err), 0);
	for (size_t at = 0; at < bytes.length; at += piece) {
		size_t part = bytes.length - at < piece ? bytes.length - at : piece;
		assert_int_equal(folder_unpacker_feed(u, bytes.data + at, part, &err), 0);
	}
	assert_true(folder_unpacker_idle(u));
	buf_free(&bytes);
}

static void assert_same_file(const char *name)
{
	struct stat a, b;
	assert_int_equal(fstatat(from, name, &a, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(fstatat(to, name, &b, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(a.st_mode, b.st_mode);
	assert_int_equal(a.st_size, S_ISDIR(a.st_mode) ? a.st_size : b.st_size);
	assert_int_equal(a.st_rdev, b.st_rdev);
	assert_int_equal(a.st_mtim.tv_sec, b.st_mtim.tv_sec);
	assert_int_equal(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
	if (S_ISREG(a.st_mode))
		assert_int_equal(a.st_nlink, b.st_nlink);
}

static char *text_of(int dir, const char *name)
{
	char *text = fdio_read_file(dir, name, 1 << 20, NULL);
	assert_non_null(text);
	return text;
}

static void rounds_make_the_copy_equal(void **state)
{
	struct error err;
	struct snapshot_round round;
	struct stat st;
	(void)state;
	struct snapshot *s = snapshot_new(&err);
	struct folder_unpacker *u = folder_unpacker_new(to, true, &err);
	mkdirat(from, "d", 0750);
	mkdirat(from, "d/deep", 0700);
	put(from, "d/a", "one");
	put(from, "d/deep/b", "two");
	put(from, "gone", "x");
	put(from, "changes", "x");
	linkat(from, "d/a", from, "d/second", 0);
	mknodat(from, "socket", S_IFSOCK | 0640, 0);
	fchmodat(from, "d/deep/b", 04755, 0);
	int fd = openat(from, "sparse", O_RDWR | O_CREAT, 0600);
	assert_int_equal(pwrite(fd, "end", 3, 8 << 20), 3);
	assert_int_equal(ftruncate(fd, 9 << 20), 0);
	close(fd);
	round_trip(s, u, 1, &round);
	assert_true(round.entries >= 9);
	assert_same_file("d");
	assert_same_file("d/deep");
	assert_same_file("d/deep/b");
	assert_same_file("d/second");
	assert_same_file("socket");
	assert_same_file("sparse");
	assert_int_equal(fstatat(to, "sparse", &st, 0), 0);
	assert_true(st.st_blocks < 1000);

	unlinkat(from, "gone", 0);
	unlinkat(from, "d/deep/b", 0);
	unlinkat(from, "d/deep", AT_REMOVEDIR);
	put(from, "d/deep", "a file now");
	unlinkat(from, "changes", 0);
	mkdirat(from, "changes", 0711);
	put(from, "changes/in", "it");
	put(from, "d/a", "ONE, longer");
	round_trip(s, u, 100000, &round);
	assert_int_equal(fstatat(to, "gone", &st, 0), -1);
	assert_same_file("d");
	assert_same_file("d/deep");
	assert_same_file("changes");
	assert_same_file("changes/in");
	assert_same_file("d/a");
	char *text = text_of(to, "d/second");
	assert_string_equal(text, "ONE, longer");
	free(text);
	snapshot_free(s);
	folder_unpacker_free(u);
}

// Of a large file only blocks that changed are sent again, whatever happens to it in between.
static void large_files_are_patched(void **state)
{
	enum { SIZE = 1 << 20 };
	struct error err;
	struct snapshot_round round;
	(void)state;
	struct snapshot *s = snapshot_new(&err);
	struct folder_unpacker *u = folder_unpacker_new(to, true, &err);
	char *bytes = malloc(SIZE);
	memset(bytes, 'a', SIZE);
	int fd = openat(from, "large", O_RDWR | O_CREAT, 0600);
	assert_int_equal(pwrite(fd, bytes, SIZE, 0), SIZE);
	round_trip(s, u, 65536, &round);
	assert_true(round.bytes > SIZE);
	assert_int_equal(pwrite(fd, "changed", 7, 500000), 7);
	round_trip(s, u, 65536, &round);
	assert_in_range(round.bytes, 65536, 80000);
	char *text = text_of(to, "large");
	assert_memory_equal(text + 500000, "changed", 7);
	free(text);
	// Shorter, with a hole where there was data, and longer than before.
	assert_int_equal(ftruncate(fd, 300000), 0);
	round_trip(s, u, 65536, &round);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, 600000), 0);
	assert_int_equal(pwrite(fd, "end", 3, 600000), 3);
	round_trip(s, u, 65536, &round);
	assert_same_file("large");
	text = text_of(to, "large");
	for (int i = 0; i < 600000; i++)
		assert_int_equal(text[i], 0);
	assert_memory_equal(text + 600000, "end", 3);
	free(text);
	// Another file under its name, then a second name, then small.
	int other = openat(from, "other", O_RDWR | O_CREAT, 0600);
	memset(bytes, 'b', SIZE);
	assert_int_equal(pwrite(other, bytes, SIZE, 0), SIZE);
	assert_int_equal(renameat(from, "other", from, "large"), 0);
	round_trip(s, u, 65536, &round);
	text = text_of(to, "large");
	assert_memory_equal(text, bytes, SIZE - 1);
	free(text);
	linkat(from, "large", from, "second", 0);
	assert_int_equal(pwrite(other, "linked", 6, 0), 6);
	round_trip(s, u, 65536, &round);
	unlinkat(from, "large", 0);
	assert_int_equal(pwrite(other, "alone", 5, 0), 5);
	round_trip(s, u, 65536, &round);
	assert_same_file("second");
	text = text_of(to, "second");
	assert_memory_equal(text, "alone", 5);
	free(text);
	assert_int_equal(ftruncate(other, 5), 0);
	round_trip(s, u, 65536, &round);
	assert_same_file("second");
	close(other);
	close(fd);
	free(bytes);
	snapshot_free(s);
	folder_unpacker_free(u);
}

// What has settled is not sent again; one byte through a mapping is enough that it is.
static void only_changes_are_sent(void **state)
{
	struct error err;
	struct snapshot_round round;
	struct statfs fs;
	(void)state;
	assert_int_equal(fstatfs(from, &fs), 0);
	if (fs.f_type == TMPFS_MAGIC) {
		fputs("a tmpfs does not tell of writes through mappings: all is sent always\n",
		      stderr);
		skip();
	}
	struct snapshot *s = snapshot_new(&err);
	struct folder_unpacker *u = folder_unpacker_new(to, true, &err);
	put(from, "still", "still");
	put(from, "mapped", "before");
	int fd = openat(from, "mapped", O_RDWR);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	usleep(120000); // past the grain of change times
	round_trip(s, u, 4096, &round);
	assert_int_equal(round.entries, 3);
	round_trip(s, u, 4096, &round);
	assert_int_equal(round.entries, 0);
	map[0] = 'B';
	round_trip(s, u, 4096, &round);
	assert_int_equal(round.entries, 1);
	map[1] = 'E'; // its page may have been dirty all the time
	round_trip(s, u, 4096, &round);
	assert_int_equal(round.entries, 1);
	char *text = text_of(to, "mapped");
	assert_memory_equal(text, "BEfore", 6);
	free(text);
	munmap(map, 4096);
	close(fd);
	snapshot_free(s);
	folder_unpacker_free(u);
}

// An unpacker of volatile folders takes nothing that only an upper layer may bring.
static void plain_unpackers_refuse_more(void **state)
{
	struct error err = {0};
	struct buf bytes = BUF_INIT(1 << 20);
	const struct folder_sink sink = {append, &bytes};
	const struct folder_how how = {.whole = true};
	(void)state;
	mknodat(from, "socket", S_IFSOCK | 0640, 0);
	assert_int_equal(folder_stream(from, &how, &sink, &err), 0);
	assert_int_equal(folder_stream_end(&sink, &err), 0);
	assert_int_equal(folder_unpack(to, bytes.data, bytes.length, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	buf_free(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(drops_setuid, setup, teardown),
		cmocka_unit_test_setup_teardown(every_truncation_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(stays_beneath_the_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(rounds_make_the_copy_equal, setup, teardown),
		cmocka_unit_test_setup_teardown(only_changes_are_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(large_files_are_patched, setup, teardown),
		cmocka_unit_test_setup_teardown(plain_unpackers_refuse_more, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
