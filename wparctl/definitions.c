// SPDX-License-Identifier: Apache-2.0
// create, show, set, rename: definitions.
#include "lib/base/cleanup.h"
#include "wparctl/ctl.h"
#include "wparctl/options.h"
#include "wparctl/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static const char *name_in(const json_t *body)
{
	const json_t *definition = json_object_get(body, "definition");
	return json_text(definition ? definition : body, "name");
}

static bool names_host(const struct args *args)
{
	const char *value;
	for (size_t at = 0; (value = args_next(args, "connect", &at));)
		if (!strchr(value, '/'))
			return true;
	return false;
}

// The bundle is opened here, with our rights. A host that is asked for by name has files of its
// own: there the path is what counts.
static int pass_bundle(struct ctl *ctl, const struct args *args, json_t *body, struct error *err)
{
	const char *path = json_string_value(json_object_get(body, "bundle"));
	if (!path || names_host(args))
		return 0;
	_cleanup_close_ int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return error_sys(err, ERR_BUNDLE_SYNTAX, errno, "cannot open the bundle %s", path);
	int n = wpar_pass_fd(ctl->wpar, folder, err);
	if (n < 0)
		return -1;
	json_object_set_new(body, "bundle", json_sprintf("fd:%d", n));
	return 0;
}

int create_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *made = NULL;
	_cleanup_json_ json_t *body = options_create(args, &err);
	if (!body)
		return out_error(ctl, NULL, &err);
	const char *name = name_in(body);
	if (pass_bundle(ctl, args, body, &err) < 0 ||
	    wpar_create(ctl->wpar, json_incref(body), &made, &err) < 0)
		return out_error(ctl, name, &err);
	if (ctl->json)
		out_data(json_incref(made));
	out_notes(ctl, made);
	out_say(ctl, "%s: %s", name, args_has(args, "start") ? "created and started" : "created");
	return 0;
}

// ---- show ---------------------------------------------------------------------------------------

// A volume with a name lies in a folder of this one partition, ".../UUID/NAME": only the name means
// something to another.
static void name_volumes(json_t *definition)
{
	size_t i;
	json_t *mount;
	const char *uuid = json_text(definition, "uuid");
	json_array_foreach (json_object_get(definition, "mounts"), i, mount) {
		const char *source = json_text(mount, "source"), *name = strrchr(source, '/');
		size_t before = name ? (size_t)(name - source) : 0, length = strlen(uuid);
		if (json_is_true(json_object_get(mount, "volume")) && length && before > length &&
		    !strncmp(name - length, uuid, length) && name[-1 - (ssize_t)length] == '/')
			json_object_set_new(mount, "source", json_string(name + 1));
	}
}

// What relocd sets itself, and refuses or replaces when it is given.
static void drop_own_keys(json_t *definition)
{
	static const char *const keys[] = {"uuid", "owner", "epoch", "cpu_features"};
	name_volumes(definition);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		json_object_del(definition, keys[i]);
}

static void drop_nulls(json_t *value)
{
	size_t i;
	const char *key;
	void *safe;
	json_t *item;
	json_array_foreach (value, i, item)
		drop_nulls(item);
	json_object_foreach_safe(value, safe, key, item)
	{
		if (json_is_null(item))
			json_object_del(value, key);
		else
			drop_nulls(item);
	}
}

int show_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *partition = NULL;
	const char *name = args->names[0];
	if (wpar_partition(ctl->wpar, name, &partition, &err) < 0)
		return out_error(ctl, name, &err);
	json_t *definition = json_object_get(partition, "definition");
	drop_own_keys(definition);
	drop_nulls(definition);
	if (ctl->json) {
		out_data(json_incref(definition));
		return 0;
	}
	return yaml_write(definition, stdout, &err) < 0 ? out_error(ctl, name, &err) : 0;
}

// ---- set, rename --------------------------------------------------------------------------------

int set_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	char waits[512];
	_cleanup_json_ json_t *changed = NULL;
	const char *name = args->names[0];
	json_t *body = options_set(args, &err);
	if (!body)
		return out_error(ctl, NULL, &err);
	if (wpar_set(ctl->wpar, name, body, NULL, &changed, &err) < 0)
		return out_error(ctl, name, &err);
	if (ctl->json)
		out_data(json_incref(changed));
	out_notes(ctl, changed);
	json_joined(json_object_get(changed, "pending"), waits, sizeof(waits));
	out_say(ctl, "%s: set%s%s", name, waits[0] ? "; at its next start: " : "", waits);
	return 0;
}

int rename_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	struct results results;
	const char *name = args->names[0], *to = args->names[1];
	results_begin(&results, ctl);
	if (wpar_rename(ctl->wpar, name, to, &err) < 0) {
		results_bad(&results, name, &err);
	} else {
		out_say(ctl, "%s: renamed to %s", name, to);
		results_good(&results, to, NULL, NULL);
	}
	return results_end(&results);
}
