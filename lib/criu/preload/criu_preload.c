// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
//
// criu-preload.so: loaded into the criu program (LD_PRELOAD or the loader's --preload).
//
// Resource limits. Reading the resource limits of another user's task through prlimit(2) takes
// CAP_SYS_RESOURCE. Where relocd does not have it (containers, sandboxes), CRIU can then dump no
// task of another user. The same numbers are public in /proc/PID/limits: when, and only when, the
// kernel answers EPERM to a pure query, answer from there. With the capability nothing ever gets
// here.
//
// CRIU asks through libc's syscall(), not prlimit(), hence the interposed syscall(). Only symbols
// that every glibc has are used: the object must load beside a libc other than the one it was
// built with.
//
// The blank scan. In a dump whose memory relocd moves by itself (blank.h), the question which pages
// of a range there are is answered with "none": PAGEMAP_SCAN of CRIU's dump, and SEEK_DATA of the
// shared segments that are listed. CRIU then reads and sends nothing of them, in a time that does
// not grow with memory. The questions by which it finds out what the kernel can do, and keeps that
// for other dumps, go through. For the same reason it reads the flags of mappings that relocd has
// noted instead of /proc/PID/smaps, which the kernel makes by walking all page tables.
//
// Shared segments. CRIU restores one by reading the image into a mapping of it: for each page a
// fault, zeroes, and then the contents over them. Written to its file instead (sendfile(2)) the
// same takes two thirds of the time, and is charged to the same control group. What cannot be done
// so is read as before.
#include "lib/criu/preload/blank.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

// Big enough for the whole of /proc/PID/limits: 17 lines of 80 characters.
enum { LIMITS_SIZE = 4096 };

// The kernel's names (fs/proc/base.c, proc(5)), as they begin their lines.
static const char *const limit_names[] = {
	[RLIMIT_CPU] = "Max cpu time",
	[RLIMIT_FSIZE] = "Max file size",
	[RLIMIT_DATA] = "Max data size",
	[RLIMIT_STACK] = "Max stack size",
	[RLIMIT_CORE] = "Max core file size",
	[RLIMIT_RSS] = "Max resident set",
	[RLIMIT_NPROC] = "Max processes",
	[RLIMIT_NOFILE] = "Max open files",
	[RLIMIT_MEMLOCK] = "Max locked memory",
	[RLIMIT_AS] = "Max address space",
	[RLIMIT_LOCKS] = "Max file locks",
	[RLIMIT_SIGPENDING] = "Max pending signals",
	[RLIMIT_MSGQUEUE] = "Max msgqueue size",
	[RLIMIT_NICE] = "Max nice priority",
	[RLIMIT_RTPRIO] = "Max realtime priority",
	[RLIMIT_RTTIME] = "Max realtime timeout",
};

// As libc's own syscall() does it: the result or -errno, no errno touched.
static long kernel_call(long nr, const long a[6])
{
#if defined(__x86_64__)
	long ret;
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a[0];
	register long x1 __asm__("x1") = a[1];
	register long x2 __asm__("x2") = a[2];
	register long x3 __asm__("x3") = a[3];
	register long x4 __asm__("x4") = a[4];
	register long x5 __asm__("x5") = a[5];

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
	_Static_assert(0, "no system call sequence for this architecture");
#endif
}

static long with_errno(long ret)
{
	if (ret < 0 && ret > -4096) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}

static bool read_limits(pid_t pid, char buf[static LIMITS_SIZE])
{
	char path[64];
	size_t used = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while (used < LIMITS_SIZE - 1) {
		n = read(fd, buf + used, LIMITS_SIZE - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	close(fd);
	buf[used] = '\0';
	return used > 0;
}

// No strtoull(): newer headers bind it to a symbol that older libcs lack.
static const char *parse_limit(const char *p, uint64_t *value)
{
	static const char unlimited[] = "unlimited";

	while (*p == ' ')
		p++;
	if (strncmp(p, unlimited, sizeof(unlimited) - 1) == 0) {
		*value = RLIM64_INFINITY;
		return p + sizeof(unlimited) - 1;
	}
	if (*p < '0' || *p > '9')
		return NULL;
	for (*value = 0; *p >= '0' && *p <= '9'; p++)
		*value = *value * 10 + (uint64_t)(*p - '0');
	return p;
}

static bool public_limit(pid_t pid, unsigned int resource, uint64_t value[2])
{
	char buf[LIMITS_SIZE];
	const char *line, *name, *p;

	if (resource >= sizeof(limit_names) / sizeof(limit_names[0]) || !read_limits(pid, buf))
		return false;
	name = limit_names[resource];
	for (line = buf; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (strncmp(line, name, strlen(name)) != 0)
			continue;
		p = parse_limit(line + strlen(name), &value[0]);
		return p && parse_limit(p, &value[1]);
	}
	return false;
}

// The kernel's answer, or for a refused query what /proc says. a[]: pid, resource, new, old.
static long prlimit_call(const long a[6])
{
	long ret = kernel_call(SYS_prlimit64, a);
	uint64_t value[2];

	if (ret != -EPERM || a[2] != 0 || a[3] == 0)
		return ret;
	if (!public_limit((pid_t)a[0], (unsigned int)a[1], value))
		return ret;
	memcpy((void *)a[3], value, sizeof(value)); // struct rlimit64: current, maximum
	return 0;
}

// Reading all six arguments, passed or not, is what the assembly of libc's own does as well; the
// sanitizer sees a read beyond the caller's frame.
__attribute__((no_sanitize("address"))) EXPORT long syscall(long nr, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return with_errno(nr == SYS_prlimit64 ? prlimit_call(a) : kernel_call(nr, a));
}

EXPORT int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *new_limit,
		     struct rlimit64 *old_limit)
{
	const long a[6] = {pid, (long)resource, (long)new_limit, (long)old_limit, 0, 0};

	return (int)with_errno(prlimit_call(a));
}

// The same structure on 64-bit machines, the only ones we build for.
EXPORT int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new_limit,
		   struct rlimit *old_limit)
{
	return prlimit64(pid, resource, (const struct rlimit64 *)new_limit,
			 (struct rlimit64 *)old_limit);
}

// ---- the blank scan -----------------------------------------------------------------------------

// Of linux/fs.h since 6.7; Debian 12 has older headers.
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL       _IOWR('f', 16, struct scan)
#define CATEGORY_FILE    (1ull << 2)
#define CATEGORY_PFNZERO (1ull << 5)

// Nothing is hidden unless all of it can be read.
static bool read_blank(void *to, size_t size, size_t offset)
{
	const char *number = getenv(CRIU_BLANK_ENV);
	long fd = 0;

	if (!number || !*number)
		return false;
	for (; *number >= '0' && *number <= '9' && fd < 1 << 20; number++)
		fd = fd * 10 + (*number - '0');
	if (*number)
		return false;
	return kernel_call(SYS_pread64, (const long[6]){fd, (long)to, (long)size, (long)offset}) ==
	       (long)size;
}

// CRIU's question for pages to dump. Its probes ask for nothing (end 0), its search for guard pages
// has another mask.
static bool is_hidden_scan(const struct scan *scan)
{
	struct criu_blank_head head;

	return scan->size >= sizeof(*scan) && scan->end != 0 &&
	       scan->category_mask == (CATEGORY_PFNZERO | CATEGORY_FILE) &&
	       read_blank(&head, sizeof(head), 0) && head.tasks == 1;
}

// stat(2) by its number: fstat() has got its symbol in glibc 2.33 only.
static bool is_hidden_segment(int fd)
{
	struct criu_blank_head head;
	struct criu_blank_segment segment;
	struct stat st;

	if (!read_blank(&head, sizeof(head), 0) || head.segments == 0 ||
	    kernel_call(SYS_fstat, (const long[6]){fd, (long)&st}) != 0)
		return false;
	for (uint64_t i = 0; i < head.segments; i++) {
		if (!read_blank(&segment, sizeof(segment), sizeof(head) + i * sizeof(segment)))
			return false;
		if (segment.dev == st.st_dev && segment.inode == st.st_ino)
			return true;
	}
	return false;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	struct scan *scan;
	va_list ap;
	long arg;

	va_start(ap, request);
	arg = va_arg(ap, long);
	va_end(ap);
	scan = (struct scan *)arg;
	if (request == SCAN_IOCTL && scan && is_hidden_scan(scan)) {
		scan->walk_end = scan->end;
		return 0;
	}
	return (int)with_errno(kernel_call(SYS_ioctl, (const long[6]){fd, (long)request, arg}));
}

EXPORT off64_t lseek64(int fd, off64_t offset, int whence)
{
	if (whence == SEEK_DATA && is_hidden_segment(fd)) {
		errno = ENXIO; // no data from there to the end
		return -1;
	}
	return with_errno(kernel_call(SYS_lseek, (const long[6]){fd, offset, whence}));
}

EXPORT off_t lseek(int fd, off_t offset, int whence)
{
	return lseek64(fd, offset, whence);
}

// ---- shared segments ----------------------------------------------------------------------------

enum { FILL_LEAST = 1 << 20, PAGE = 4096 }; // bytes: less is not worth two more calls

// What was mapped last, if that is one: CRIU fills them one after the other. It may have gone
// again: there is no file of its name then.
static struct {
	uint64_t at, length, offset;
} segment;

static void note_segment(long at, uint64_t length, uint64_t offset)
{
	if (at < 0 && at > -4096)
		return;
	segment.at = (uint64_t)at;
	segment.length = (length + PAGE - 1) / PAGE * PAGE;
	segment.offset = offset;
}

EXPORT void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset)
{
	const long a[6] = {(long)at, (long)length, protection, flags, fd, offset};
	long got = kernel_call(SYS_mmap, a);

	if ((flags & MAP_TYPE) == MAP_SHARED && protection & PROT_WRITE)
		note_segment(got, length, (uint64_t)offset);
	else
		segment.length = 0;
	return (void *)with_errno(got);
}

// The kernel maps all of the segment, however long it is.
EXPORT void *shmat(int id, const void *at, int flags)
{
	struct shmid_ds about;
	long got = kernel_call(SYS_shmat, (const long[6]){id, (long)at, flags});

	if (kernel_call(SYS_shmctl, (const long[6]){id, IPC_STAT, (long)&about}) == 0)
		note_segment(got, about.shm_segsz, 0);
	return (void *)with_errno(got);
}

static long open_segment(void)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)segment.at,
		 (unsigned long)(segment.at + segment.length));
	return kernel_call(SYS_openat, (const long[6]){AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC});
}

// How much of it was written; less than 1: nothing.
static long fill_segment(int fd, uint64_t to, size_t count, off64_t from)
{
	long file, done;

	if (count < FILL_LEAST || segment.length == 0 || to < segment.at ||
	    to - segment.at > segment.length || count > segment.length - (to - segment.at))
		return 0;
	file = open_segment();
	if (file < 0)
		return 0;
	done = kernel_call(
		SYS_lseek,
		(const long[6]){file, (long)(to - segment.at + segment.offset), SEEK_SET});
	if (done >= 0)
		done = kernel_call(SYS_sendfile,
				   (const long[6]){file, fd, (long)&from, (long)count});
	kernel_call(SYS_close, (const long[6]){file});
	return done;
}

EXPORT ssize_t pread64(int fd, void *to, size_t count, off64_t from)
{
	long done = fill_segment(fd, (uint64_t)to, count, from);

	if (done < 1)
		done = kernel_call(SYS_pread64, (const long[6]){fd, (long)to, (long)count, from});
	return with_errno(done);
}

// ---- smaps --------------------------------------------------------------------------------------

// The pid whose /proc folder that is; 0: none.
static uint64_t pid_of_folder(int fd)
{
	char path[32], target[64];
	uint64_t pid = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return 0;
	target[n] = '\0';
	for (const char *p = strrchr(target, '/'); p && p[1]; p++) {
		if (p[1] < '0' || p[1] > '9')
			return 0;
		pid = pid * 10 + (uint64_t)(p[1] - '0');
	}
	return pid;
}

static bool find_smaps(uint64_t pid, struct criu_blank_smaps *found)
{
	struct criu_blank_head head;
	size_t at;

	if (pid == 0 || !read_blank(&head, sizeof(head), 0) || head.tasks != 1)
		return false;
	at = sizeof(head) + head.segments * sizeof(struct criu_blank_segment);
	for (uint64_t i = 0; i < head.smaps; i++, at += sizeof(*found)) {
		if (!read_blank(found, sizeof(*found), at))
			return false;
		if (found->pid == pid)
			return true;
	}
	return false;
}

// The text in a file of its own, which ends where it ends. -1: CRIU gets the kernel's.
static int open_smaps(const struct criu_blank_smaps *smaps)
{
	static char part[1 << 16];
	int fd = (int)kernel_call(SYS_memfd_create, (const long[6]){(long)"smaps", 1}); // CLOEXEC

	for (uint64_t done = 0; fd >= 0 && done < smaps->length;) {
		uint64_t left = smaps->length - done;
		size_t size = left < sizeof(part) ? (size_t)left : sizeof(part);

		if (!read_blank(part, size, smaps->offset + done) ||
		    kernel_call(SYS_pwrite64, (const long[6]){fd, (long)part, (long)size,
							      (long)done}) != (long)size) {
			close(fd);
			return -1;
		}
		done += size;
	}
	return fd < 0 ? -1 : fd;
}

EXPORT int openat64(int folder, const char *path, int flags, ...)
{
	struct criu_blank_smaps smaps;
	va_list ap;
	int mode, fd;

	va_start(ap, flags);
	mode = va_arg(ap, int); // passed or not: the kernel looks at it where it means something
	va_end(ap);
	if (strcmp(path, "smaps") == 0 && find_smaps(pid_of_folder(folder), &smaps) &&
	    (fd = open_smaps(&smaps)) >= 0)
		return fd;
	return (int)with_errno(
		kernel_call(SYS_openat, (const long[6]){folder, (long)path, flags, mode}));
}

EXPORT int openat(int folder, const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = va_arg(ap, int);
	va_end(ap);
	return openat64(folder, path, flags, mode);
}
