// SPDX-License-Identifier: Apache-2.0
// The external mounts of a partition, as CRIU has to be told about them.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/keeper_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

struct mount_line {
	int id;
	dev_t device;
	char root[512], point[512]; // of the filesystem / where it is mounted
};

static bool parse_line(const char *line, struct mount_line *mount)
{
	unsigned major, minor;
	if (sscanf(line, "%d %*d %u:%u %511s %511s", &mount->id, &major, &minor, mount->root,
		   mount->point) != 5)
		return false;
	mount->device = makedev(major, minor);
	return true;
}

// The key of a mount of the volatile filesystem, from what part of it is mounted.
static const char *volatile_key(const struct keeper *k, const struct mount_line *mount)
{
	size_t length = strlen(k->stage.volatile_dir);
	for (size_t i = 0; i < k->stage.bind_count; i++) {
		const struct stage_bind *bind = &k->stage.binds[i];
		if (!strncmp(bind->origin, k->stage.volatile_dir, length) &&
		    !strcmp(bind->origin + length, mount->root))
			return bind->key;
	}
	return NULL;
}

// Which mount a path inside the partition lies on: symbolic links followed as it would. -1: none.
static int mount_at(int root, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	struct statx st;
	_cleanup_close_ int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
		return -1;
	return (int)st.stx_mnt_id;
}

// Volumes are binds of any filesystem, found by their destinations.
static const char *volume_key(const struct keeper *k, int root, const struct mount_line *mount)
{
	for (size_t i = 0; i < k->stage.bind_count; i++)
		if (!strncmp(k->stage.binds[i].key, "vol", 3) &&
		    mount_at(root, k->stage.binds[i].destination) == mount->id)
			return k->stage.binds[i].key;
	return NULL;
}

static json_t *dump_list(const struct keeper *k, struct error *err)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)k->pid);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, 4 << 20, err);
	snprintf(path, sizeof(path), "/proc/%d/root", (int)k->pid);
	_cleanup_close_ int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!text)
		return NULL;
	if (root < 0 || stat(k->stage.volatile_dir, &st) < 0) {
		error_sys(err, ERR_KEEPER, errno, "cannot look at the mounts");
		return NULL;
	}
	json_t *list = json_array();
	char *rest;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		struct mount_line mount;
		if (!parse_line(line, &mount) || !strcmp(mount.point, "/"))
			continue;
		const char *key = mount.device == st.st_dev ? volatile_key(k, &mount)
							    : volume_key(k, root, &mount);
		if (key)
			json_array_append_new(list, json_sprintf("mnt[%s]:%s", mount.point, key));
	}
	return list;
}

static json_t *restore_list(const struct keeper *k)
{
	json_t *list = json_array();
	for (size_t i = 0; i < k->stage.bind_count; i++)
		json_array_append_new(list, json_sprintf("mnt[%s]:%s", k->stage.binds[i].key,
							 k->stage.binds[i].source));
	return list;
}

json_t *keeper_mounts_json(const struct keeper *k, struct error *err)
{
	json_t *dump = k->state == KEEPER_RUNNING ? dump_list(k, err) : json_array();
	if (!dump)
		return NULL;
	return json_pack("{s:o, s:o, s:s}", "dump", dump, "restore", restore_list(k), "root",
			 k->stage.root);
}
