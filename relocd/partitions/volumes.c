// SPDX-License-Identifier: Apache-2.0
#include "relocd/partitions/volumes.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/partition/name.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARED_FOLDER "/wpar-volumes"
#define STATE_FOLDER  "/volumes"

static bool below(const char *path, const char *folder)
{
	size_t length = strlen(folder);
	while (length > 1 && folder[length - 1] == '/')
		length--;
	return !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static bool really_below(const char *path, const char *folder)
{
	_cleanup_free_ char *whole = realpath(path, NULL), *above = realpath(folder, NULL);
	return whole && above && below(whole, above);
}

bool volumes_shared(const struct config *c, const char *path)
{
	for (size_t i = 0; i < c->shared_count; i++)
		if (below(path, c->shared[i]) &&
		    (access(path, F_OK) < 0 || really_below(path, c->shared[i])))
			return true;
	return false;
}

static const char *shared_folder(const struct config *c)
{
	struct stat st;
	for (size_t i = 0; i < c->shared_count; i++)
		if (stat(c->shared[i], &st) == 0 && S_ISDIR(st.st_mode))
			return c->shared[i];
	return NULL;
}

// ---- named ones ---------------------------------------------------------------------------------

// FOLDER/UUID/NAME and nothing else: what an administrator gave does not look like that.
static bool is_named_in(const char *source, const char *top, const char *folder, const char *uuid)
{
	char start[PATH_MAX];
	int n = snprintf(start, sizeof(start), "%s%s/%s/", top, folder, uuid);
	return n < (int)sizeof(start) && !strncmp(source, start, (size_t)n) &&
	       !strchr(source + n, '/') && name_check(source + n, NULL) == 0;
}

static bool is_named(const struct config *c, const char *source, const char *uuid)
{
	bool named = is_named_in(source, paths_state(), STATE_FOLDER, uuid);
	for (size_t i = 0; i < c->shared_count; i++)
		named = named || is_named_in(source, c->shared[i], SHARED_FOLDER, uuid);
	return named;
}

static int place(const struct config *c, json_t *mount, const char *uuid, struct error *err)
{
	const char *name = json_string_value(json_object_get(mount, "source"));
	const char *storage = json_string_value(json_object_get(mount, "storage"));
	const char *shared = storage && !strcmp(storage, "copied") ? NULL : shared_folder(c);
	struct error why;
	if (name_check(name, &why) < 0)
		return error_set(err, ERR_DEFINITION,
				 "volume \"%.80s\" is neither an absolute path nor a name", name);
	if (!shared && storage && !strcmp(storage, "shared"))
		return error_set(err, ERR_DEFINITION,
				 "volume %s: none of the folders of storage: shared is there",
				 name);
	json_object_set_new(mount, "source",
			    json_sprintf("%s%s/%s/%s", shared ?: paths_state(),
					 shared ? SHARED_FOLDER : STATE_FOLDER, uuid, name));
	json_object_set_new(mount, "storage", json_string(shared ? "shared" : "copied"));
	return 0;
}

int volumes_complete(const struct config *c, json_t *definition, struct error *err)
{
	const char *uuid = json_string_value(json_object_get(definition, "uuid"));
	size_t i;
	json_t *mount;
	json_array_foreach (json_object_get(definition, "mounts"), i, mount) {
		const char *type = json_string_value(json_object_get(mount, "type"));
		const char *source = json_string_value(json_object_get(mount, "source"));
		if (!source || !source[0] || (type && strcmp(type, "bind") != 0))
			continue;
		if (source[0] != '/' && json_is_true(json_object_get(mount, "volume"))) {
			if (place(c, mount, uuid ?: "", err) < 0)
				return -1;
		} else if (!json_object_get(mount, "storage")) {
			json_object_set_new(
				mount, "storage",
				json_string(volumes_shared(c, source) ? "shared" : "copied"));
		}
	}
	return 0;
}

static int make_one(const struct partition_mount *mount, const struct partition_def *def,
		    struct error *err)
{
	const struct partition_process *process = &def->process;
	_cleanup_free_ char *parent = strdup(mount->source);
	struct stat st;
	if (!parent)
		return error_set(err, ERR_NOMEM, "no memory for a path");
	*strrchr(parent, '/') = 0;
	if (lstat(mount->source, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	if (fdio_mkdir_p(parent, 0711, err) < 0)
		return -1;
	if (mkdir(mount->source, 0755) < 0 || lchown(mount->source, process->uid, process->gid) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot make the volume %s",
				 mount->source);
	return 0;
}

int volumes_make(const struct config *c, const struct partition_def *def, struct error *err)
{
	for (size_t i = 0; i < def->mount_count; i++)
		if (def->mounts[i].volume && is_named(c, def->mounts[i].source, def->uuid) &&
		    make_one(&def->mounts[i], def, err) < 0)
			return -1;
	return 0;
}

static void remove_one(const char *source)
{
	struct error err;
	_cleanup_free_ char *parent = strdup(source);
	if (fdio_remove_tree(AT_FDCWD, source, &err) < 0)
		log_error_of(&err, source);
	else
		log_info("volume %s: removed", source);
	if (!parent)
		return;
	*strrchr(parent, '/') = 0;
	rmdir(parent); // when it was the last one
}

void volumes_remove(const struct config *c, const json_t *definition)
{
	const char *uuid = json_string_value(json_object_get(definition, "uuid"));
	size_t i;
	json_t *mount;
	json_array_foreach (json_object_get(definition, "mounts"), i, mount) {
		const char *source = json_string_value(json_object_get(mount, "source"));
		if (uuid && source && json_is_true(json_object_get(mount, "volume")) &&
		    is_named(c, source, uuid))
			remove_one(source);
	}
}

// ---- all ----------------------------------------------------------------------------------------

static int check_one(const struct partition_mount *mount, struct error *err)
{
	const char *const own[] = {paths_state(), paths_run(), paths_etc()};
	struct stat st;
	if (stat(mount->source, &st) < 0)
		return error_sys(err, ERR_ROOTFS_MISSING, errno, "the volume %s for %s",
				 mount->source, mount->destination);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (really_below(mount->source, own[i]))
			return error_set(err, ERR_DEFINITION,
					 "the volume %s is in %s, which is relocd's own",
					 mount->source, own[i]);
	return 0;
}

int volumes_check(const struct config *c, const struct partition_def *def, struct error *err)
{
	for (size_t i = 0; i < def->mount_count; i++) {
		const struct partition_mount *mount = &def->mounts[i];
		if (mount->type == MOUNT_BIND && !is_named(c, mount->source, def->uuid) &&
		    check_one(mount, err) < 0)
			return -1;
	}
	return 0;
}
