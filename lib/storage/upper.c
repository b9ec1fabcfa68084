// SPDX-License-Identifier: Apache-2.0
#include "lib/storage/upper.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/paths.h"
#include "lib/storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

static char *folder_path(const char *name, const char *which, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/partitions/%s/%s", paths_state(), name, which);
	return path;
}

char *upper_path(const char *name, char path[PATH_MAX])
{
	return folder_path(name, "upper", path);
}

int upper_make(const char *name, const char *digest, struct error *err)
{
	char upper[PATH_MAX], work[PATH_MAX], lower[PATH_MAX];
	struct stat st;
	upper_path(name, upper);
	if (stat(store_path(digest, "rootfs", lower), &st) < 0)
		return error_sys(err, ERR_IMAGE, errno, "the image %s is not on this host", digest);
	if (fdio_mkdir_p(folder_path(name, "work", work), 0700, err) < 0)
		return -1;
	if (mkdir(upper, 0700) < 0)
		return errno == EEXIST
			       ? 0
			       : error_sys(err, ERR_STORAGE, errno, "cannot make %s", upper);
	// The root of an overlay looks as that of its upper layer.
	if (chown(upper, st.st_uid, st.st_gid) < 0 || chmod(upper, st.st_mode & 07777) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot set the owner of %s", upper);
	return 0;
}

int upper_hold(const char *name, struct error *err)
{
	char path[PATH_MAX];
	_cleanup_close_ int fd =
		open(upper_path(name, path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return error_sys(err, ERR_STORAGE, errno, "%s is in use", path);
	return take_fd(&fd);
}

int upper_release(int fd, struct error *err)
{
	if (flock(fd, LOCK_UN) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot unlock an upper layer");
	return 0;
}

int upper_mount(const char *name, const char *digest, const char *where, struct error *err)
{
	// Relative, so that no path needs quoting. No handles of files and no index: they mean
	// nothing on the host to which the upper layer moves.
	char options[640], lower[PATH_MAX];
	const char *hex = strrchr(store_path(digest, NULL, lower), '/') + 1;
	snprintf(options, sizeof(options),
		 "lowerdir=images/%.64s/rootfs,upperdir=partitions/%.64s/upper,"
		 "workdir=partitions/%.64s/work,redirect_dir=on,metacopy=off,index=off,"
		 "nfs_export=off,xino=off",
		 hex, name, name);
	if (chdir(paths_state()) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot go to %s", paths_state());
	int mounted = mount("overlay", where, "overlay", MS_NODEV, options), sys = errno;
	if (chdir("/") < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot go to /");
	if (mounted < 0)
		return error_sys(err, ERR_STORAGE, sys, "cannot mount the root of %s", name);
	return 0;
}

int upper_discard(const char *name, struct error *err)
{
	char path[PATH_MAX];
	if (store_discard(upper_path(name, path), err) < 0)
		return -1;
	return store_discard(folder_path(name, "work", path), err);
}
