// SPDX-License-Identifier: Apache-2.0
// Reading /proc/PID/maps: what the kernel writes is understood, anything else refused.
#include "lib/base/cleanup.h"
#include "lib/memory/maps.h"
#include "lib/memory/vmflags.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

static const char text[] =
	"00400000-00401000 r-xp 00000000 08:02 173521     /usr/bin/with space (deleted)\n"
	"00600000-00602000 rw-p 00001000 08:02 173521     /usr/bin/program\n"
	"00e03000-00e24000 rw-p 00000000 00:00 0          [heap]\n"
	"7f0000000000-7f0000200000 rw-p 00000000 00:10 7  /anon_hugepage (deleted)\n"
	"7f1000000000-7f1000001000 rw-s 00000000 00:01 9  /dev/zero (deleted)\n"
	"7f1000001000-7f1000002000 rw-s 00000000 00:01 0  /SYSV00000000 (deleted)\n"
	"7f1000002000-7f1000003000 rw-s 00000000 00:01 12 /memfd:name (deleted)\n"
	"7f1000003000-7f1000004000 rw-s 00000000 08:02 13 /memfd:not\n"
	"7f1000004000-7f1000005000 rw-p 00000000 00:01 12 /memfd:name (deleted)\n"
	"7f1000005000-7f1000006000 rw-s 00000000 00:0f 5  /[aio] (deleted)\n"
	"7f1000006000-7f1000007000 ---p 00000000 00:00 0 \n"
	"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0  [stack]\n"
	"7ffc00100000-7ffc00104000 r--p 00000000 00:00 0  [vvar]\n"
	"7ffc00104000-7ffc00106000 r-xp 00000000 00:00 0  [vdso]\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";

static void tells_kinds_apart(void **state)
{
	(void)state;
	static const enum vma_kind kinds[] = {
		VMA_FILE,      VMA_FILE,      VMA_ANONYMOUS, VMA_ANONYMOUS, VMA_SEGMENT,
		VMA_SEGMENT,   VMA_SEGMENT,   VMA_SHARED,    VMA_FILE,      VMA_SPECIAL,
		VMA_ANONYMOUS, VMA_ANONYMOUS, VMA_SPECIAL,   VMA_SPECIAL,   VMA_SPECIAL};
	_cleanup_maps_ struct maps maps;
	struct error err = {0};
	assert_int_equal(maps_parse(text, &maps, &err), 0);
	assert_int_equal(maps.count, ARRAY_SIZE(kinds));
	for (size_t i = 0; i < maps.count; i++)
		assert_int_equal(maps.list[i].kind, kinds[i]);
	assert_true(maps.list[3].huge);
	assert_false(maps.list[4].huge);
	assert_true(maps.list[5].sysv);
	assert_false(maps.list[6].sysv);
}

static void reads_all_fields(void **state)
{
	(void)state;
	_cleanup_maps_ struct maps maps;
	assert_int_equal(maps_parse(text, &maps, NULL), 0);
	const struct vma *v = &maps.list[1];
	assert_int_equal(v->start, 0x600000);
	assert_int_equal(v->end, 0x602000);
	assert_int_equal(v->offset, 0x1000);
	assert_int_equal(v->dev, makedev(8, 2));
	assert_int_equal(v->inode, 173521);
	assert_true(v->read && v->write && !v->execute);
	assert_true(maps.list[0].execute && !maps.list[0].write);
	assert_false(maps.list[10].read);
}

static void refuses_what_no_kernel_writes(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"x\n",
		"00400000 r-xp 00000000 08:02 1 /a\n",
		"00400000-00401000\n",
		"00400000-00401000 r-xp\n",
		"00400000-00401000 r-xq 00000000 08:02 1 /a\n",
		"00400000-00401000 prwx 00000000 08:02 1 /a\n",
		"00401000-00400000 r-xp 00000000 08:02 1 /a\n",
		"00400000-00400000 r-xp 00000000 08:02 1 /a\n",
		"00400000-00401001 r-xp 00000000 08:02 1 /a\n",
		"-0400000-00401000 r-xp 00000000 08:02 1 /a\n",
		"00400000-00401000 r-xp 00000000 08:02 -1 /a\n",
		"00400000-00401000 r-xp 00000000 0802 1 /a\n",
		"00400000-00401000 r-xp 00000000 ffffffffff:02 1 /a\n",
		"00400000-00401000 r-xp 00000000 08:02 1x /a\n",
		"00400000-00402000 r-xp 00000000 08:02 1 /a\n00401000-00403000 r-xp 00000000 08:02 "
		"1 /a\n",
		"00500000-00501000 r-xp 00000000 08:02 1 /a\n00400000-00401000 r-xp 00000000 08:02 "
		"1 /a\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct maps maps;
		struct error err = {0};
		if (maps_parse(bad[i], &maps, &err) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.id, ERR_PROTOCOL);
		assert_null(maps.list);
	}
}

static void takes_no_line_of_any_length(void **state)
{
	(void)state;
	size_t length = 40000;
	_cleanup_free_ char *line = malloc(length + 1);
	memset(line, 'a', length);
	line[length] = 0;
	memcpy(line, text, 46);
	struct maps maps;
	struct error err = {0};
	assert_int_equal(maps_parse(line, &maps, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
}

static void finds_locked_ones(void **state)
{
	(void)state;
	static const char smaps[] = "00e03000-00e24000 rw-p 00000000 00:00 0          [heap]\n"
				    "Size:                132 kB\n"
				    "VmFlags: rd wr mr mw me lo ac\n"
				    "00f00000-00f01000 rw-p 00000000 00:00 0 \n"
				    "VmFlags: rd wr lo\n"
				    "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0  [stack]\n"
				    "VmFlags: rd wr mr mw me gd ac\n";
	_cleanup_maps_ struct maps maps;
	assert_int_equal(maps_parse(text, &maps, NULL), 0);
	assert_int_equal(maps_add_flags(&maps, smaps, NULL), 0);
	for (size_t i = 0; i < maps.count; i++)
		assert_int_equal(maps.list[i].locked, i == 2);
}

static const struct vma *mapping_of(const struct maps *maps, const void *p)
{
	for (size_t i = 0; i < maps->count; i++)
		if (maps->list[i].start <= (uintptr_t)p && (uintptr_t)p < maps->list[i].end)
			return &maps->list[i];
	return NULL;
}

static void reads_a_process(void **state)
{
	(void)state;
	struct stat st;
	int memfd = memfd_create("of a test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(memfd, 8192), 0);
	void *segment = mmap(NULL, 8192, PROT_READ, MAP_SHARED, memfd, 0);
	void *locked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	// AddressSanitizer makes mlock() do nothing.
	assert_int_equal(syscall(SYS_mlock, locked, 4096), 0);
	_cleanup_close_ int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_maps_ struct maps maps;
	struct vmflags flags;
	assert_int_equal(vmflags_read(proc, &flags, NULL), 0);
	assert_int_equal(maps_read(proc, &maps, NULL), 0);
	assert_int_equal(maps_add_flags(&maps, flags.text, NULL), 0);
	vmflags_free(&flags);
	assert_int_equal(fstat(memfd, &st), 0);
	const struct vma *v = mapping_of(&maps, segment);
	assert_int_equal(v->kind, VMA_SEGMENT);
	assert_int_equal(v->dev, st.st_dev);
	assert_int_equal(v->inode, st.st_ino);
	assert_true(mapping_of(&maps, locked)->locked);
	assert_int_equal(mapping_of(&maps, &st)->kind, VMA_ANONYMOUS);
	assert_int_equal(mapping_of(&maps, text)->kind, VMA_FILE);
	munmap(segment, 8192);
	munmap(locked, 4096);
	close(memfd);
}

// A text of smaps by way of a folder, as the kernel has it.
static struct vmflags flags_of(const char *smaps)
{
	char folder[] = "/tmp/wpar-test-flags-XXXXXX";
	struct vmflags flags;
	assert_non_null(mkdtemp(folder));
	_cleanup_close_ int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = openat(dir, "smaps", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, smaps, strlen(smaps)), strlen(smaps));
	assert_int_equal(vmflags_read(dir, &flags, NULL), 0);
	unlinkat(dir, "smaps", 0);
	rmdir(folder);
	return flags;
}

static void keeps_flags_of_the_same_mappings(void **state)
{
	(void)state;
	struct vmflags flags = flags_of("1000-2000 rw-p 00000000 00:00 0 \n"
					"Size:                  4 kB\nVmFlags: rd wr lo \n"
					"5000-6000 r--p 00000000 00:00 0    [heap]\n"
					"Rss:                   4 kB\nVmFlags: rd \n");
	assert_string_equal(flags.text,
			    "1000-2000 rw-p 00000000 00:00 0 \nVmFlags: rd wr lo \n"
			    "5000-6000 r--p 00000000 00:00 0    [heap]\nVmFlags: rd \n");
	assert_int_equal(flags.length, strlen(flags.text));
	assert_true(vmflags_fit(&flags, "1000-2000 rw-p 00000000 00:00 0 \n"
					"5000-6000 r--p 00000000 00:00 0    [heap]\n"));
	assert_false(vmflags_fit(&flags, "1000-2000 rw-p 00000000 00:00 0 \n"));
	assert_false(vmflags_fit(&flags, "1000-2000 r--p 00000000 00:00 0 \n"
					 "5000-6000 r--p 00000000 00:00 0    [heap]\n"));
	assert_false(vmflags_fit(&flags, "1000-2000 rw-p 00000000 00:00 0 \n"
					 "5000-6000 r--p 00000000 00:00 0    [heap]\n"
					 "8000-9000 r--p 00000000 00:00 0 \n"));
	vmflags_free(&flags);
	assert_false(vmflags_fit(&flags, ""));
}

static void counts_mappings_whose_flags_changed(void **state)
{
	(void)state;
	struct vmflags a =
		flags_of("1000-2000 rw-p\nVmFlags: rd wr \n5000-6000 r--p\nVmFlags: rd \n");
	struct vmflags b =
		flags_of("1000-2000 rw-p\nVmFlags: rd wr dc \n5000-6000 r--p\nVmFlags: rd \n");
	struct vmflags c = flags_of("1000-2000 rw-p\nVmFlags: rd wr \n");
	assert_int_equal(vmflags_differ(&a, &a), 0);
	assert_int_equal(vmflags_differ(&a, &b), 1);
	assert_true(vmflags_differ(&a, &c) == SIZE_MAX);
	vmflags_free(&a);
	vmflags_free(&b);
	vmflags_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_kinds_apart),
		cmocka_unit_test(reads_all_fields),
		cmocka_unit_test(refuses_what_no_kernel_writes),
		cmocka_unit_test(takes_no_line_of_any_length),
		cmocka_unit_test(finds_locked_ones),
		cmocka_unit_test(reads_a_process),
		cmocka_unit_test(keeps_flags_of_the_same_mappings),
		cmocka_unit_test(counts_mappings_whose_flags_changed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
