// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
//
// criu-preload.so: loaded into the criu program (LD_PRELOAD or the loader's --preload).
//
// Reading the resource limits of another user's task through prlimit(2) takes CAP_SYS_RESOURCE.
// Where relocd does not have it (containers, sandboxes), CRIU can then dump no task of another
// user. The same numbers are public in /proc/PID/limits: when, and only when, the kernel answers
// EPERM to a pure query, answer from there. With the capability nothing ever gets here.
//
// CRIU asks through libc's syscall(), not prlimit(), hence the interposed syscall(). Only symbols
// that every glibc has are used: the object must load beside a libc other than the one it was
// built with.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
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
