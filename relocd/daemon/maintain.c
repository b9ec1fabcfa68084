// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/maintain.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/paths.h"
#include "lib/registry/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

static char *registry_path(char path[512])
{
	snprintf(path, 512, "%s/registry.db", paths_state());
	return path;
}

int maintain_backup(const char *file, struct error *err)
{
	char path[512];
	if (access(registry_path(path), F_OK) < 0)
		return error_set(err, ERR_REGISTRY, "there is no registry %s", path);
	return backup_write(path, file, err);
}

// The same lock as that of a running relocd (daemon.c).
static int lock_state(struct error *err)
{
	char path[512];
	if (fdio_mkdir_p(paths_state(), 0700, err) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/lock", paths_state());
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return take_fd(&fd);
	error_set(err, ERR_WRONG_STATE, "relocd runs on %s", paths_state());
	return error_hint(err, "stop it first: `systemctl stop relocd`; partitions run on");
}

int maintain_restore(const char *file, struct error *err)
{
	char path[512];
	_cleanup_close_ int lock = lock_state(err);
	return lock < 0 ? -1 : backup_restore(registry_path(path), file, err);
}
