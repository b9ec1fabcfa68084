// SPDX-License-Identifier: Apache-2.0
// New partitions: from a definition or a bundle to a row in the table.
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/partition/bundle.h"
#include "lib/partition/caps.h"
#include "relocd/partitions/create_bundle.h"
#include "relocd/partitions/create_image.h"
#include "relocd/partitions/images.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/partitions/volumes.h"

#include <stdarg.h>
#include <string.h>

// Drops the variables that `more` sets anew: of two a program may find either.
static json_t *env_without(const json_t *base, const json_t *more)
{
	json_t *kept = json_array(), *entry, *other;
	size_t i, j;
	json_array_foreach (base, i, entry) {
		const char *text = json_string_value(entry);
		size_t length = text ? strcspn(text, "=") + 1 : 0;
		bool replaced = false;
		json_array_foreach (more, j, other)
			replaced = replaced || (text && json_is_string(other) &&
						!strncmp(json_string_value(other), text, length));
		if (!replaced)
			json_array_append(kept, entry);
	}
	return kept;
}

// Puts the items of `base` in front of those of `more`, where both are lists.
static void prepend(json_t *more_owner, const char *key, const json_t *base)
{
	json_t *more = json_object_get(more_owner, key);
	if (!json_is_array(base) || !json_is_array(more))
		return;
	json_t *both = json_copy((json_t *)base);
	json_array_extend(both, more);
	json_object_set_new(more_owner, key, both);
}

// {"bundle":"/dir", more...}: the bundle's definition with `more` on top; environment variables and
// mounts are added to those of the bundle, everything else replaces.
static void merge(json_t *definition, const json_t *body)
{
	static const char *const not_of_definition[] = {"bundle", "image",   "user",
							"start",  "cap_add", "cap_drop"};
	_cleanup_json_ json_t *more = json_deep_copy(body);
	for (size_t i = 0; i < ARRAY_SIZE(not_of_definition); i++)
		json_object_del(more, not_of_definition[i]);
	prepend(more, "mounts", json_object_get(definition, "mounts"));
	json_t *process = json_object_get(more, "process");
	_cleanup_json_ json_t *env =
		env_without(json_object_get(json_object_get(definition, "process"), "env"),
			    json_object_get(process, "env"));
	prepend(process, "env", env);
	json_object_update_recursive(definition, more);
}

// Of an image: the command is put together of both, and where its files are is not a choice.
static json_t *definition_of_image(const json_t *body, int source, json_t *notes, int *image,
				   struct error *err)
{
	json_t *definition = create_from_image(body, source, notes, image, err);
	if (!definition)
		return NULL;
	_cleanup_json_ json_t *args =
		json_incref(json_object_get(json_object_get(definition, "process"), "args"));
	merge(definition, body);
	json_object_set(json_object_get(definition, "process"), "args", args);
	const char *storage = json_string_value(json_object_get(definition, "storage"));
	if (!storage || !strcmp(storage, "copied"))
		return definition;
	json_decref(definition);
	error_set(err, ERR_DEFINITION,
		  "storage: what a partition writes above its image is on its host and is copied "
		  "in a move");
	return NULL;
}

static json_t *definition_of_body(const json_t *body, int source, json_t **notes, int *image,
				  struct error *err)
{
	const json_t *given = json_object_get(body, "definition");
	const json_t *bundle = json_object_get(body, "bundle");
	const json_t *from_image = json_object_get(body, "image");
	if (!!given + !!bundle + !!from_image != 1) {
		error_set(err, ERR_USAGE,
			  "the request needs \"definition\", \"bundle\" or \"image\", one of them");
		return NULL;
	}
	if (from_image) {
		*notes = json_array();
		return definition_of_image(body, source, *notes, image, err);
	}
	if (given) {
		if (!json_is_object(given)) {
			error_set(err, ERR_DEFINITION, "\"definition\" must be an object");
			return NULL;
		}
		*notes = json_array();
		return json_deep_copy(given);
	}
	if (!json_is_string(bundle)) {
		error_set(err, ERR_USAGE, "\"bundle\" must be the path of a folder");
		return NULL;
	}
	json_t *definition = source < 0 ? bundle_read(json_string_value(bundle), notes, err)
					: create_from_bundle(source, notes, err);
	if (definition)
		merge(definition, body);
	return definition;
}

static void note(json_t *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(json_t *notes, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_array_append_new(notes, json_string(text));
}

static void note_copied_volumes(const json_t *definition, json_t *notes)
{
	size_t i;
	json_t *mount;
	json_array_foreach (json_object_get(definition, "mounts"), i, mount) {
		const char *storage = json_string_value(json_object_get(mount, "storage"));
		const char *source = json_string_value(json_object_get(mount, "source"));
		if (storage && source && !strcmp(storage, "copied"))
			note(notes,
			     "volume %s is on this host only: this partition cannot be moved",
			     source);
	}
}

int partition_complete(const struct config *c, json_t *definition, json_t *notes, struct error *err)
{
	size_t i;
	json_t *network;
	json_array_foreach (json_object_get(definition, "networks"), i, network) {
		if (json_is_object(network) && !json_object_get(network, "bridge"))
			json_object_set_new(network, "bridge", json_string(c->bridge));
	}
	const char *rootfs = json_string_value(json_object_get(definition, "rootfs"));
	bool shared = rootfs && volumes_shared(c, rootfs);
	if (!json_object_get(definition, "storage"))
		json_object_set_new(definition, "storage",
				    json_string(shared ? "shared" : "copied"));
	const char *storage = json_string_value(json_object_get(definition, "storage"));
	if (rootfs && *rootfs && storage && !strcmp(storage, "copied"))
		note(notes, "%s is on this host only (%s): this partition cannot be moved", rootfs,
		     shared ? "--storage copied"
			    : "not below a folder of storage: shared in relocd.yaml");
	if (volumes_complete(c, definition, err) < 0)
		return -1;
	note_copied_volumes(definition, notes);
	return 0;
}

// What the host knows better than the caller. The uuid is needed before the definition is read.
static void take_on(const struct config *c, json_t *definition)
{
	char uuid[DEFINITION_UUID_LENGTH + 1];
	json_object_set_new(definition, "owner", json_string(c->host));
	json_object_set_new(definition, "epoch", json_integer(1));
	json_object_del(definition, "revision");
	json_object_del(definition, "pending");
	if (json_is_string(json_object_get(definition, "uuid")))
		return;
	definition_make_uuid(uuid);
	json_object_set_new(definition, "uuid", json_string(uuid));
}

static int uuid_free(struct daemon *d, const struct partition_def *def, struct error *err)
{
	for (const struct partition *p = d->partitions; p; p = p->next)
		if (!strcmp(p->row.uuid, def->uuid))
			return error_set(err, ERR_NAME_TAKEN, "partition %s has the uuid %s",
					 p->row.name, def->uuid);
	return 0;
}

static int check_new(struct daemon *d, const struct partition_def *def, const json_t *definition,
		     struct error *err)
{
	const struct partition *p = partition_find(d, def->name);
	if (p && p->row.state == STATE_DEPARTED)
		error_set(err, ERR_NAME_TAKEN, "partition %s has moved to %s", def->name,
			  p->row.departed_to);
	else if (p)
		error_set(err, ERR_NAME_TAKEN, "partition %s exists (%s)", def->name,
			  state_name(p->row.state));
	else if (uuid_free(d, def, err) == 0)
		return partition_addresses_free(d, definition, def->name, err);
	return -1;
}

static int add_new(struct daemon *d, const struct partition_def *def, json_t *definition,
		   struct error *err)
{
	struct registry_partition row = {.definition = definition,
					 .state = STATE_DEFINED,
					 .epoch = 1,
					 .exit_code = -1,
					 .revision = 1};
	snprintf(row.name, sizeof(row.name), "%s", def->name);
	snprintf(row.uuid, sizeof(row.uuid), "%s", def->uuid);
	daemon_lock(d);
	int failed = check_new(d, def, definition, err) < 0 || !partition_add(d, &row, err);
	daemon_unlock(d);
	return failed ? -1 : 0;
}

// The name is asked for first: a refusal leaves no volumes behind.
static int check_host(struct daemon *d, const struct partition_def *def, struct error *err)
{
	_cleanup_json_ json_t *definition = definition_to_json(def);
	daemon_lock(d);
	int failed = check_new(d, def, definition, err);
	daemon_unlock(d);
	if (failed || lifecycle_check_host(def, err) < 0 || volumes_check(&d->config, def, err) < 0)
		return -1;
	return volumes_make(&d->config, def, err);
}

static int change_each(uint64_t *set, const json_t *names, bool add, struct error *err)
{
	size_t i;
	json_t *name;
	json_array_foreach (names, i, name) {
		const char *text = json_string_value(name);
		if (text && !add && !strcmp(text, "ALL")) {
			*set = 0;
			continue;
		}
		int number = text ? caps_number(text) : -1;
		if (number < 0)
			return error_set(err, ERR_DEFINITION, "%s: no such capability",
					 text ? text : "?");
		*set = add ? *set | 1ull << number : *set & ~(1ull << number);
	}
	return 0;
}

// "cap_drop" and "cap_add" change what the definition or the bundle has; in this order, so that
// dropping ALL and adding a few gives those few.
static int change_capabilities(struct partition_def *def, const json_t *body, struct error *err)
{
	if (change_each(&def->process.capabilities, json_object_get(body, "cap_drop"), false, err))
		return -1;
	return change_each(&def->process.capabilities, json_object_get(body, "cap_add"), true, err);
}

static int check_keys(const json_t *body, struct error *err)
{
	static const char *const known[] = {"definition", "start", "cap_add", "cap_drop"};
	const char *key;
	json_t *value;
	if (!json_object_get(body, "definition"))
		return 0; // beside a bundle stand the definition's own keys
	json_object_foreach ((json_t *)body, key, value) {
		bool found = false;
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			found = found || !strcmp(known[i], key);
		if (!found)
			return error_set(err, ERR_USAGE, "the request's body has a key \"%s\"",
					 key);
	}
	return 0;
}

// *image is held until the table names it.
static int create(struct daemon *d, const json_t *body, int source, char name[REGISTRY_NAME_MAX],
		  json_t **notes, int *image, struct error *err)
{
	_cleanup_json_ json_t *given = NULL;
	if (check_keys(body, err) < 0 ||
	    !(given = definition_of_body(body, source, notes, image, err)))
		return -1;
	take_on(&d->config, given);
	if (partition_complete(&d->config, given, *notes, err) < 0)
		return -1;
	_cleanup_definition_ struct partition_def *def = definition_from_json(given, err);
	if (!def)
		return -1;
	snprintf(name, REGISTRY_NAME_MAX, "%s", def->name);
	if (change_capabilities(def, body, err) < 0 || check_host(d, def, err) < 0) {
		error_at(err, d->config.host, def->name, NULL);
		return -1;
	}
	_cleanup_json_ json_t *complete_form = definition_to_json(def);
	if (!complete_form)
		return error_set(err, ERR_NOMEM, "no memory for a definition");
	if (add_new(d, def, complete_form, err) < 0) {
		error_at(err, d->config.host, def->name, NULL);
		return -1;
	}
	log_info("partition %s: created", def->name);
	return 0;
}

int partition_create(struct daemon *d, const json_t *body, int source, char name[REGISTRY_NAME_MAX],
		     json_t **notes, struct error *err)
{
	int image = -1, failed = create(d, body, source, name, notes, &image, err);
	if (image >= 0)
		close(image);
	if (failed && json_object_get(body, "image")) {
		daemon_lock(d);
		images_collect(d); // it may have been unpacked for nothing
		daemon_unlock(d);
	}
	return failed;
}
