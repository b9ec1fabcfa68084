// SPDX-License-Identifier: Apache-2.0
// Definition -> JSON.
#include "lib/partition/definition.h"

#include "lib/base/cleanup.h"
#include "lib/partition/caps.h"
#include "lib/partition/mountopt.h"
#include "lib/partition/rlimit.h"

#include <stdio.h>
#include <sys/resource.h>

// json_pack's "o" takes ownership and fails the whole object when one part is NULL.

static json_t *write_strings(char *const *list)
{
	json_t *array = json_array();
	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

static json_t *write_capabilities(uint64_t set)
{
	json_t *array = json_array();
	char name[CAPS_NAME_MAX];
	for (int i = 0; i < 64; i++)
		if (set & (1ull << i) && caps_name(i, name))
			json_array_append_new(array, json_string(name));
	return array;
}

static json_t *write_groups(const struct partition_process *p)
{
	json_t *array = json_array();
	for (size_t i = 0; i < p->group_count; i++)
		json_array_append_new(array, json_integer(p->groups[i]));
	return array;
}

static json_int_t limit_value(uint64_t value)
{
	return value == RLIM_INFINITY ? -1 : (json_int_t)value;
}

static json_t *write_rlimits(const struct partition_process *p)
{
	json_t *array = json_array();
	for (size_t i = 0; i < p->rlimit_count; i++) {
		const struct partition_rlimit *limit = &p->rlimits[i];
		json_array_append_new(array, json_pack("{s:s, s:I, s:I}", "type",
						       rlimit_name(limit->resource), "soft",
						       limit_value(limit->soft), "hard",
						       limit_value(limit->hard)));
	}
	return array;
}

static json_t *write_process(const struct partition_process *p)
{
	return json_pack("{s:o, s:o, s:s, s:I, s:I, s:o, s:o, s:b, s:o}", "args",
			 write_strings(p->args), "env", write_strings(p->env), "cwd", p->cwd, "uid",
			 (json_int_t)p->uid, "gid", (json_int_t)p->gid, "groups", write_groups(p),
			 "capabilities", write_capabilities(p->capabilities), "no_new_privileges",
			 (int)p->no_new_privileges, "rlimits", write_rlimits(p));
}

static json_t *write_options(const struct partition_mount *mount)
{
	json_t *array = json_array();
	const char *word;
	for (unsigned n = 0; (word = mountopt_word(mount->flags, n)); n++)
		json_array_append_new(array, json_string(word));
	if (mount->recursive)
		json_array_append_new(array, json_string("rbind"));
	if (mount->type == MOUNT_TMPFS)
		json_array_append_new(array, json_sprintf("mode=%o", (unsigned)mount->mode));
	return array;
}

static json_t *write_mounts(const struct partition_def *def)
{
	json_t *array = json_array();
	for (size_t i = 0; i < def->mount_count; i++) {
		const struct partition_mount *mount = &def->mounts[i];
		json_t *item = json_pack("{s:s, s:s, s:o}", "destination", mount->destination,
					 "type", mount->type == MOUNT_BIND ? "bind" : "tmpfs",
					 "options", write_options(mount));
		if (mount->source)
			json_object_set_new(item, "source", json_string(mount->source));
		if (mount->storage)
			json_object_set_new(item, "storage", json_string(mount->storage));
		if (mount->volume)
			json_object_set_new(item, "volume", json_true());
		json_array_append_new(array, item);
	}
	return array;
}

// One is a string, as most have it; two are a list.
static json_t *write_gateways(const struct partition_network *network)
{
	if (!network->gateways[0])
		return json_null();
	return network->gateways[1] ? write_strings(network->gateways)
				    : json_string(network->gateways[0]);
}

static json_t *write_networks(const struct partition_def *def)
{
	json_t *array = json_array();
	for (size_t i = 0; i < def->network_count; i++) {
		const struct partition_network *network = &def->networks[i];
		json_array_append_new(
			array, json_pack("{s:s, s:o, s:o, s:s}", "bridge", network->bridge,
					 "addresses", write_strings(network->addresses), "gateway",
					 write_gateways(network), "mac", network->mac));
	}
	return array;
}

static json_t *write_image(const struct partition_def *def)
{
	if (!def->image)
		return NULL;
	return json_pack("{s:s, s:s}", "reference", def->image, "digest", def->image_digest);
}

json_t *definition_to_json(const struct partition_def *def)
{
	_cleanup_json_ json_t *json =
		json_pack("{s:s, s:s, s:s, s:s, s:o*, s:b, s:s, s:s}", "name", def->name, "uuid",
			  def->uuid, "type", definition_type_name(def->type), "rootfs", def->rootfs,
			  "image", write_image(def), "readonly", (int)def->readonly, "storage",
			  def->storage, "stop_signal", def->stop_signal);
	_cleanup_json_ json_t *inside =
		json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I}}", "process",
			  write_process(&def->process), "hostname", def->hostname, "seccomp",
			  json_deep_copy(def->seccomp), "mounts", write_mounts(def), "masked_paths",
			  write_strings(def->masked_paths), "readonly_paths",
			  write_strings(def->readonly_paths), "resources", "memory_bytes",
			  (json_int_t)def->memory_bytes, "cpu_millis", (json_int_t)def->cpu_millis,
			  "pids", (json_int_t)def->pids);
	_cleanup_json_ json_t *around =
		json_pack("{s:o, s:o, s:o, s:i, s:b, s:s, s:I, s:s, s:I, s:o}", "networks",
			  write_networks(def), "dns", write_strings(def->dns), "groups",
			  write_strings(def->groups), "priority", def->priority, "autostart",
			  (int)def->autostart, "restart", def->restart, "grace_ms",
			  (json_int_t)def->grace_ms, "owner", def->owner, "epoch",
			  (json_int_t)def->epoch, "cpu_features", write_strings(def->cpu_features));
	if (!json || !inside || !around || json_object_update(json, inside) < 0 ||
	    json_object_update(json, around) < 0)
		return NULL;
	if (def->revision)
		json_object_set_new(json, "revision", json_integer((json_int_t)def->revision));
	if (def->pending)
		json_object_set_new(json, "pending", json_deep_copy(def->pending));
	return take_ptr(json);
}
