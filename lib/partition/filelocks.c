// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/filelocks.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FDINFO_MAX (1u << 20)

// "lock:	1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF"; the device in hexadecimal.
static bool parse(const char *line, struct filelock *lock)
{
	unsigned major, minor;
	if (sscanf(line, "lock:\t%*d: %15s %*s %*s %*d %x:%x:%lu", lock->kind, &major, &minor,
		   &lock->inode) != 4)
		return false;
	lock->filesystem = makedev(major, minor);
	return true;
}

bool filelock_next(const char **text, struct filelock *lock)
{
	for (const char *line = *text; *line;) {
		const char *end = line + strcspn(line, "\n");
		bool found = parse(line, lock);
		line = *end ? end + 1 : end;
		if (found) {
			*text = line;
			return true;
		}
	}
	return false;
}

// Memory with a name is a file of a filesystem that nobody mounts.
static bool is_memory(int folder, const char *fd)
{
	char path[32], link[PATH_MAX];
	snprintf(path, sizeof(path), "fd/%s", fd);
	ssize_t n = readlinkat(folder, path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	return !strncmp(link, "/memfd:", 7) || !strncmp(link, "/SYSV", 5);
}

int filelock_shared(int folder, const char *fd, const struct locality *l, struct filelock *lock)
{
	char path[32];
	snprintf(path, sizeof(path), "fdinfo/%s", fd);
	_cleanup_free_ char *text = fdio_read_file(folder, path, FDINFO_MAX, NULL);
	const char *at = text ? text : "";
	while (filelock_next(&at, lock))
		if (!locality_private(l, lock->filesystem) && !is_memory(folder, fd))
			return 1;
	return 0;
}
