// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/kernelpaths.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MOUNTINFO_MAX (4u << 20)
#define POINT_MAX     512

static bool is_of_kernel(const char *path)
{
	return !strncmp(path, "/proc/", 6) || !strncmp(path, "/sys/", 5);
}

json_t *kernelpaths_read(const char *mountinfo, int root)
{
	json_t *list = json_array();
	for (const char *line = mountinfo; *line;) {
		char point[POINT_MAX];
		struct stat st;
		size_t length = strcspn(line, "\n");
		// It is hidden if something was mounted above it later.
		if (sscanf(line, "%*d %*d %*s %*s %511s", point) == 1 && is_of_kernel(point) &&
		    fstatat(root, point + 1, &st, AT_SYMLINK_NOFOLLOW) == 0)
			json_array_append_new(
				list, json_sprintf("%s%s", point, S_ISDIR(st.st_mode) ? "/" : ""));
		line += length + (line[length] == '\n');
	}
	return list;
}

json_t *kernelpaths_of(pid_t pid, struct error *err)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
	_cleanup_free_ char *mountinfo = fdio_read_file(AT_FDCWD, path, MOUNTINFO_MAX, err);
	if (!mountinfo)
		return NULL;
	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	_cleanup_close_ int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) {
		error_sys(err, ERR_SYSTEM, errno, "cannot look at %s", path);
		return NULL;
	}
	return kernelpaths_read(mountinfo, root);
}

int kernelpaths_check(char *const *paths, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		const char *path = paths[i];
		struct stat st;
		if (!is_of_kernel(path) || strstr(path, "/../"))
			return error_set(err, ERR_PROTOCOL, "OFFER names the kernel's path %.200s",
					 path);
		bool folder = path[strlen(path) - 1] == '/';
		if (lstat(path, &st) < 0 || S_ISDIR(st.st_mode) != folder)
			return error_set(err, ERR_VERSION,
					 "the kernel here has no %s %.200s, which the partition "
					 "has masked or protected",
					 folder ? "folder" : "file", path);
	}
	return 0;
}
