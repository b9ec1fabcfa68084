// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/storage.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool below(const char *path, const char *folder)
{
	size_t length = strlen(folder);
	while (length > 1 && folder[length - 1] == '/')
		length--;
	return !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

// Wherever symbolic links lead.
static bool is_shared(const json_t *start, const char *path)
{
	_cleanup_free_ char *whole = realpath(path, NULL);
	size_t i;
	json_t *folder;
	json_array_foreach (json_object_get(start, "shared"), i, folder) {
		_cleanup_free_ char *top = realpath(json_string_value(folder), NULL);
		if (whole && top && below(whole, top))
			return true;
	}
	return false;
}

static int check_bind(const json_t *start, const struct partition_mount *mount, struct error *err)
{
	struct stat st;
	if (stat(mount->source, &st) < 0)
		return error_sys(err, ERR_ROOTFS_MISSING, errno, "volume %s", mount->source);
	if (strcmp(mount->storage, "shared") != 0)
		return error_set(err, ERR_NOT_SHARED,
				 "volume %s is of storage class %s, which this version cannot move",
				 mount->source, mount->storage);
	if (!is_shared(start, mount->source))
		return error_set(err, ERR_NOT_SHARED,
				 "volume %s is below none of the folders of storage: shared here",
				 mount->source);
	return 0;
}

int storage_check(const json_t *start, const struct partition_def *def, struct error *err)
{
	for (size_t i = 0; i < def->mount_count; i++)
		if (def->mounts[i].type == MOUNT_BIND &&
		    check_bind(start, &def->mounts[i], err) < 0)
			return -1;
	return 0;
}

int storage_inodes(const struct partition_def *def, uint64_t **list, size_t *count,
		   struct error *err)
{
	*count = 0;
	*list = calloc(def->mount_count + 1, sizeof(**list));
	if (!*list)
		return error_set(err, ERR_NOMEM, "no memory for volumes");
	for (size_t i = 0; i < def->mount_count; i++) {
		struct stat st;
		if (def->mounts[i].type != MOUNT_BIND)
			continue;
		if (stat(def->mounts[i].source, &st) < 0)
			return error_sys(err, ERR_ROOTFS_MISSING, errno, "volume %s",
					 def->mounts[i].source);
		(*list)[(*count)++] = st.st_ino;
	}
	return 0;
}

int storage_compare(const struct partition_def *def, const uint64_t *list, size_t count,
		    struct error *err)
{
	_cleanup_free_ uint64_t *here = NULL;
	size_t n, at = 0;
	if (storage_inodes(def, &here, &n, err) < 0)
		return -1;
	if (n != count)
		return error_set(err, ERR_PROTOCOL, "OFFER has %zu inode numbers for %zu volumes",
				 count, n);
	for (size_t i = 0; i < def->mount_count; i++)
		if (def->mounts[i].type == MOUNT_BIND && here[at] != list[at])
			return error_set(err, ERR_NOT_SHARED,
					 "volume %s is another one here than at the source",
					 def->mounts[i].source);
		else
			at += def->mounts[i].type == MOUNT_BIND;
	return 0;
}
