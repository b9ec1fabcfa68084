// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/locality.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MOUNTINFO_MAX (4u << 20)

// A whole overlay at the root is one that was mounted for this partition; a folder of an overlay is
// the host's, and may well be shared.
static void read_root_line(const char *line, struct locality *l)
{
	unsigned major, minor;
	char root[8], point[8], type[16] = "";
	const char *rest = strstr(line, " - ");
	if (sscanf(line, "%*d %*d %u:%u %7s %7s", &major, &minor, root, point) != 4 ||
	    strcmp(root, "/") != 0 || strcmp(point, "/") != 0 || !rest)
		return;
	if (sscanf(rest, " - %15s", type) == 1 && !strcmp(type, "overlay"))
		l->overlay = makedev(major, minor);
}

int locality_of(pid_t init, struct locality *l, struct error *err)
{
	char path[64];
	struct stat st;
	*l = (struct locality){0};
	snprintf(path, sizeof(path), "/proc/%d/root/dev", (int)init);
	if (stat(path, &st) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot look at %s", path);
	l->volatile_fs = st.st_dev;
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)init);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, MOUNTINFO_MAX, err);
	if (!text)
		return -1;
	char *rest = NULL;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		read_root_line(line, l);
	return 0;
}

bool locality_private(const struct locality *l, dev_t filesystem)
{
	return filesystem == l->volatile_fs || (l->overlay && filesystem == l->overlay);
}
