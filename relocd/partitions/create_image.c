// SPDX-License-Identifier: Apache-2.0
#include "relocd/partitions/create_image.h"

#include "lib/base/cleanup.h"
#include "lib/partition/passwd.h"
#include "lib/partition/signame.h"
#include "lib/storage/image.h"

#include <string.h>

// ExposedPorts, Labels and Healthcheck say nothing to us; all others are honoured or noted.

static const json_t *value_of(const json_t *config, const char *key)
{
	const json_t *value = json_object_get(config, key);
	return json_is_null(value) ? NULL : value;
}

// The command: of the entrypoint, and of what follows it.
static json_t *command_of(const json_t *config, const json_t *given, struct error *err)
{
	json_t *args = json_array();
	json_array_extend(args, (json_t *)value_of(config, "Entrypoint"));
	json_array_extend(args, (json_t *)(given ?: value_of(config, "Cmd")));
	if (json_array_size(args))
		return args;
	json_decref(args);
	error_set(err, ERR_DEFINITION, "the image names no command: give one after --");
	return NULL;
}

static int set_user(json_t *process, const char *rootfs, const char *spec, struct error *err)
{
	struct passwd_user user;
	json_t *groups = json_array();
	if (passwd_find(rootfs, spec, &user, err) < 0) {
		json_decref(groups);
		return error_set(err, ERR_IMAGE, "the image has no user \"%.200s\"", spec);
	}
	for (size_t i = 0; i < user.group_count; i++)
		json_array_append_new(groups, json_integer(user.groups[i]));
	json_object_set_new(process, "uid", json_integer(user.uid));
	json_object_set_new(process, "gid", json_integer(user.gid));
	json_object_set_new(process, "groups", groups);
	return 0;
}

// The one that the request names comes first; numbers in its definition need no lookup.
static int choose_user(json_t *process, const char *rootfs, const json_t *config,
		       const json_t *body, struct error *err)
{
	const char *wanted = json_string_value(json_object_get(body, "user"));
	const char *own = json_string_value(value_of(config, "User"));
	if (!wanted && json_object_get(json_object_get(body, "process"), "uid"))
		return 0;
	if (!wanted)
		wanted = own;
	return wanted && *wanted ? set_user(process, rootfs, wanted, err) : 0;
}

static int set_environment(json_t *process, const json_t *config, struct error *err)
{
	static const char path[] = "PATH=";
	const json_t *env = value_of(config, "Env");
	size_t i;
	json_t *entry;
	bool has_path = false;
	_cleanup_json_ json_t *list = json_array();
	json_array_foreach (env, i, entry) {
		const char *text = json_string_value(entry);
		if (!text || !strchr(text, '=') || *text == '=')
			return error_set(err, ERR_IMAGE,
					 "the image has an environment that is not KEY=value");
		has_path = has_path || !strncmp(text, path, strlen(path));
		json_array_append(list, entry);
	}
	if (!has_path)
		json_array_insert_new(list, 0,
				      json_string("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
						  "/usr/bin:/sbin:/bin"));
	json_object_set(process, "env", list);
	return 0;
}

static void note_volumes(const json_t *config, json_t *notes)
{
	const char *path;
	json_t *unused;
	json_object_foreach ((json_t *)value_of(config, "Volumes"), path, unused) {
		(void)unused;
		json_array_append_new(
			notes, json_sprintf("the image declares a volume at %.200s: it lies in the "
					    "partition's own layer and travels with it; --volume "
					    "puts it elsewhere",
					    path));
	}
}

static int set_stop_signal(json_t *definition, const json_t *config, struct error *err)
{
	const char *name = json_string_value(value_of(config, "StopSignal"));
	if (!name || !*name)
		return 0;
	if (signame_number(name) < 0)
		return error_set(err, ERR_IMAGE, "the image wants to be stopped by \"%.40s\"",
				 name);
	json_object_set_new(definition, "stop_signal", json_string(name));
	return 0;
}

static json_t *definition_of(const json_t *config, const char *digest, const json_t *body,
			     json_t *notes, struct error *err)
{
	char rootfs[PATH_MAX];
	const char *cwd = json_string_value(value_of(config, "WorkingDir"));
	const json_t *args = json_object_get(json_object_get(body, "process"), "args");
	_cleanup_json_ json_t *definition =
		json_pack("{s:{s:s, s:s}, s:s, s:s, s:{}}", "image", "reference",
			  json_string_value(json_object_get(body, "image")), "digest", digest,
			  "rootfs", "", "storage", "copied", "process");
	json_t *process = json_object_get(definition, "process");
	json_t *command = command_of(config, args, err);
	store_path(digest, "rootfs", rootfs);
	if (!process || !command)
		return NULL;
	json_object_set_new(process, "args", command);
	if (cwd && *cwd)
		json_object_set_new(process, "cwd", json_string(cwd));
	if (choose_user(process, rootfs, config, body, err) < 0 ||
	    set_environment(process, config, err) < 0 ||
	    set_stop_signal(definition, config, err) < 0)
		return NULL;
	note_volumes(config, notes);
	return json_incref(definition);
}

json_t *create_from_image(const json_t *body, int descriptor, json_t *notes, int *image,
			  struct error *err)
{
	const char *reference = json_string_value(json_object_get(body, "image"));
	char digest[STORE_DIGEST_MAX];
	if (!reference) {
		error_set(err, ERR_USAGE, "\"image\" must be a text as oci:/path:tag");
		return NULL;
	}
	_cleanup_close_ int fd = image_import(reference, descriptor, NULL, digest, err);
	_cleanup_json_ json_t *config = fd < 0 ? NULL : image_config(fd, digest, err);
	json_t *definition = config ? definition_of(config, digest, body, notes, err) : NULL;
	if (definition)
		*image = take_fd(&fd);
	return definition;
}
