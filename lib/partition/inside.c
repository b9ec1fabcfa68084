// SPDX-License-Identifier: Apache-2.0
// The sources of all binds are opened before the root changes and attached after it: from then on
// every path is looked up inside the partition, so that a link in its root filesystem (which is not
// ours to trust) can neither reach a file of the host nor have a folder made there.
#include "lib/partition/inside.h"

#include "lib/base/cleanup.h"
#include "lib/partition/strv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

// Detached copies of mounts, open_tree(2).
struct sources {
	int *binds;           // one for each bind of the stage
	int *nulls, *empties; // one for each masked path
	size_t mask_count;
};

static int clone_mount(const char *path, struct error *err)
{
	int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot take %s along", path);
	return fd;
}

// The process goes on to exec or to exit: nothing here is ever freed.
static int open_sources(struct sources *sources, const struct stage *stage,
			const struct partition_def *def, struct error *err)
{
	size_t masks = strv_length(def->masked_paths);
	const char *null = stage->binds[stage->null_mask].source;
	const char *empty = stage->binds[stage->empty_mask].source;
	*sources = (struct sources){.binds = calloc(stage->bind_count + 1, sizeof(int)),
				    .nulls = calloc(masks + 1, sizeof(int)),
				    .empties = calloc(masks + 1, sizeof(int)),
				    .mask_count = masks};
	if (!sources->binds || !sources->nulls || !sources->empties)
		return error_set(err, ERR_NOMEM, "no memory for mounts");
	for (size_t i = 0; i < stage->bind_count; i++)
		if ((sources->binds[i] = clone_mount(stage->binds[i].source, err)) < 0)
			return -1;
	for (size_t i = 0; i < masks; i++)
		if ((sources->nulls[i] = clone_mount(null, err)) < 0 ||
		    (sources->empties[i] = clone_mount(empty, err)) < 0)
			return -1;
	return 0;
}

static int change_root(const struct stage *stage, struct error *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make the mounts private");
	// The old root is stacked on the new one at the same place, and then taken off:
	// pivot_root(2).
	if (chdir(stage->root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot change the root to %s",
				 stage->root);
	return 0;
}

static int make_parents(const char *path, struct error *err)
{
	char part[PATH_MAX];
	for (size_t i = 1; path[i]; i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return error_sys(err, ERR_LAUNCH, errno, "cannot make folder %s", part);
	}
	return 0;
}

// /etc/resolv.conf may be a link to a file of /run that nobody has made yet.
static void follow_dangling(const char *path, char to[PATH_MAX])
{
	char link[PATH_MAX];
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	const char *slash = strrchr(path, '/');
	snprintf(to, PATH_MAX, "%s", path);
	if (n <= 0)
		return;
	link[n] = 0;
	if (link[0] == '/')
		strcpy(to, link);
	else
		snprintf(to, PATH_MAX, "%.*s/%s", (int)(slash - path), path, link);
}

// Makes the folders above a mount point and the mount point itself, as container engines do.
static int make_mount_point(const char *given, bool folder, struct error *err)
{
	char path[PATH_MAX];
	struct stat st;
	if (stat(given, &st) == 0)
		return 0;
	follow_dangling(given, path);
	if (make_parents(path, err) < 0)
		return -1;
	if (folder) {
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return error_sys(err, ERR_LAUNCH, errno, "cannot make folder %s", path);
		return 0;
	}
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return fd < 0 ? error_sys(err, ERR_LAUNCH, errno, "cannot make %s", path) : 0;
}

int inside_make_folder(const char *path, struct error *err)
{
	return make_mount_point(path, true, err);
}

static int mount_new(const char *type, const char *path, unsigned long flags, const char *data,
		     struct error *err)
{
	if (make_mount_point(path, true, err) < 0)
		return -1;
	if (mount(type, path, type, flags, data) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot mount %s", path);
	return 0;
}

static int attach(int source, const char *path, struct error *err)
{
	if (move_mount(source, "", AT_FDCWD, path,
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot mount %s", path);
	return 0;
}

static int attach_bind(int source, const struct stage_bind *bind, struct error *err)
{
	struct stat st;
	if (fstat(source, &st) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot look at %s", bind->source);
	if (make_mount_point(bind->destination, S_ISDIR(st.st_mode), err) < 0)
		return bind->optional ? 0 : -1;
	return attach(source, bind->destination, err);
}

static int mount_system(struct error *err)
{
	const unsigned long strict = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	if (mount_new("proc", "/proc", strict, NULL, err) < 0)
		return -1;
	return mount_new("sysfs", "/sys", strict | MS_RDONLY, NULL, err);
}

static int mount_below_dev(struct error *err)
{
	const char *pts = "newinstance,ptmxmode=0666,mode=0620,gid=5";
	if (mount_new("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, pts, err) < 0)
		return -1;
	return mount_new("mqueue", "/dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, err);
}

static int attach_all(const struct sources *sources, const struct stage *stage, struct error *err)
{
	for (size_t i = 0; i < stage->bind_count; i++) {
		const struct stage_bind *bind = &stage->binds[i];
		if (!bind->destination)
			continue;
		if (attach_bind(sources->binds[i], bind, err) < 0)
			return -1;
		if (!strcmp(bind->destination, "/dev") && mount_below_dev(err) < 0)
			return -1;
	}
	return 0;
}

static int mask_paths(const struct sources *sources, const struct partition_def *def,
		      struct error *err)
{
	for (size_t i = 0; i < sources->mask_count; i++) {
		const char *path = def->masked_paths[i];
		struct stat st;
		if (stat(path, &st) < 0) // another kernel may have it
			continue;
		const int *masks = S_ISDIR(st.st_mode) ? sources->empties : sources->nulls;
		if (attach(masks[i], path, err) < 0)
			return -1;
	}
	return 0;
}

static int make_readonly(char *const *paths, struct error *err)
{
	for (char *const *path = paths; *path; path++) {
		if (mount(*path, *path, NULL, MS_BIND, NULL) < 0) {
			if (errno == ENOENT)
				continue;
			return error_sys(err, ERR_LAUNCH, errno, "cannot protect %s", *path);
		}
		if (mount(NULL, *path, NULL,
			  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  NULL) < 0)
			return error_sys(err, ERR_LAUNCH, errno, "cannot protect %s", *path);
	}
	return 0;
}

int inside_mount(const struct stage *stage, const struct partition_def *def, struct error *err)
{
	struct sources sources;
	if (open_sources(&sources, stage, def, err) < 0 || change_root(stage, err) < 0 ||
	    mount_system(err) < 0 || attach_all(&sources, stage, err) < 0 ||
	    mask_paths(&sources, def, err) < 0 || make_readonly(def->readonly_paths, err) < 0)
		return -1;
	struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY};
	if (def->readonly && mount_setattr(AT_FDCWD, "/", 0, &readonly, sizeof(readonly)) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make the root read-only");
	return 0;
}
