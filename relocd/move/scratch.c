// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/scratch.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>

#define LOG_MAX (4u << 20)

int scratch_open(struct error *err)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/scratch", paths_run());
	if (fdio_mkdir_p(path, 0700, err) < 0)
		return -1;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a private mount namespace");
	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	if (mount("wpar-images", path, "tmpfs", flags, "mode=0700,size=100%,huge=within_size") <
		    0 &&
	    mount("wpar-images", path, "tmpfs", flags, "mode=0700,size=100%") < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot mount a tmpfs on %s", path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot open %s", path);
	return fd;
}

void scratch_keep_log(int folder, const char *name, const char *move, char path[512])
{
	_cleanup_free_ char *text = fdio_read_file(folder, name, LOG_MAX, NULL);
	snprintf(path, 512, "%s/%s.%s", paths_moves(), move, name);
	if (!text || fdio_replace_file(path, text, strlen(text), 0600, NULL) < 0)
		path[0] = 0;
}
