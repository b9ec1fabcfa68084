// SPDX-License-Identifier: Apache-2.0
// Life of a definition and what is generated for it; see definition_read.c, definition_write.c.
#include "lib/partition/definition.h"

#include "lib/base/cleanup.h"
#include "lib/partition/strv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static void free_process(struct partition_process *process)
{
	strv_free(process->args);
	strv_free(process->env);
	free(process->cwd);
	free(process->groups);
	free(process->rlimits);
}

static void free_network(struct partition_network *network)
{
	free(network->bridge);
	strv_free(network->addresses);
	strv_free(network->gateways);
}

void definition_free(struct partition_def *def)
{
	if (!def)
		return;
	free_process(&def->process);
	for (size_t i = 0; i < def->mount_count; i++) {
		free(def->mounts[i].destination);
		free(def->mounts[i].source);
		free(def->mounts[i].storage);
	}
	for (size_t i = 0; i < def->network_count; i++)
		free_network(&def->networks[i]);
	free(def->mounts);
	free(def->networks);
	free(def->name);
	free(def->rootfs);
	free(def->image);
	free(def->stop_signal);
	free(def->storage);
	free(def->hostname);
	free(def->restart);
	free(def->owner);
	json_decref(def->seccomp);
	json_decref(def->pending);
	strv_free(def->masked_paths);
	strv_free(def->readonly_paths);
	strv_free(def->dns);
	strv_free(def->groups);
	strv_free(def->cpu_features);
	free(def);
}

struct partition_def *definition_from_text(const char *text, size_t length, struct error *err)
{
	json_error_t why;
	_cleanup_json_ json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
	if (!json) {
		error_set(err, ERR_DEFINITION, "line %d: %s", why.line, why.text);
		return NULL;
	}
	return definition_from_json(json, err);
}

static const char *const keys[] = {
	"name",
	"uuid",
	"type",
	"rootfs",
	"readonly",
	"storage",
	"process",
	"hostname",
	"seccomp",
	"mounts",
	"masked_paths",
	"readonly_paths",
	"resources.memory_bytes",
	"resources.cpu_millis",
	"resources.pids",
	"networks",
	"dns",
	"groups",
	"priority",
	"autostart",
	"restart",
	"grace_ms",
	"owner",
	"epoch",
	"cpu_features",
	"image",
	"stop_signal",
};

const char *definition_key(unsigned n)
{
	return n < ARRAY_SIZE(keys) ? keys[n] : NULL;
}

#define RESOURCES "resources."

static const char *resource_of(const char *key)
{
	size_t length = strlen(RESOURCES);
	return strncmp(key, RESOURCES, length) ? NULL : key + length;
}

json_t *definition_value(const json_t *definition, const char *key)
{
	const char *resource = resource_of(key);
	return resource ? json_object_get(json_object_get(definition, "resources"), resource)
			: json_object_get(definition, key);
}

int definition_put(json_t *definition, const char *key, json_t *value)
{
	const char *resource = resource_of(key);
	if (!resource)
		return json_object_set_new(definition, key, value);
	if (!json_is_object(json_object_get(definition, "resources")))
		json_object_set_new(definition, "resources", json_object());
	return json_object_set_new(json_object_get(definition, "resources"), resource, value);
}

json_t *definition_with(const json_t *definition, const json_t *pending)
{
	json_t *whole = json_deep_copy(definition), *value;
	const char *key;
	json_object_foreach ((json_t *)pending, key, value)
		definition_put(whole, key, json_deep_copy(value));
	return whole;
}

void definition_make_uuid(char uuid[DEFINITION_UUID_LENGTH + 1])
{
	uint8_t b[16];
	// Never short at this size, see getrandom(2); it waits for a seeded generator.
	while (getrandom(b, sizeof(b), 0) != sizeof(b))
		;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); // version 4, RFC 9562
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(uuid, DEFINITION_UUID_LENGTH + 1,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
}

void definition_make_mac(const char *uuid, unsigned index, char mac[DEFINITION_MAC_LENGTH + 1])
{
	uint64_t hash = 0xcbf29ce484222325; // FNV-1a
	for (const char *c = uuid; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3;
	hash = (hash ^ index) * 0x100000001b3;
	hash ^= hash >> 29; // fold the well-mixed upper bits into the 40 that are used
	// 02: locally administered, unicast (IEEE 802)
	snprintf(mac, DEFINITION_MAC_LENGTH + 1, "02:%02x:%02x:%02x:%02x:%02x",
		 (unsigned)(hash >> 32) & 255, (unsigned)(hash >> 24) & 255,
		 (unsigned)(hash >> 16) & 255, (unsigned)(hash >> 8) & 255, (unsigned)hash & 255);
}

const char *definition_type_name(enum partition_type type)
{
	return type == PARTITION_SYSTEM ? "system" : "application";
}
