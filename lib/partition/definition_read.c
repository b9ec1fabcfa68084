// SPDX-License-Identifier: Apache-2.0
// JSON -> definition: strict, with defaults. Networks: definition_networks.c.
#include "lib/partition/definition.h"

#include "lib/base/cleanup.h"
#include "lib/partition/caps.h"
#include "lib/partition/definition_parts.h"
#include "lib/partition/mountopt.h"
#include "lib/partition/name.h"
#include "lib/partition/rlimit.h"
#include "lib/partition/seccomp.h"
#include "lib/partition/signame.h"
#include "lib/partition/strv.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define LIST_MAX 64 // mounts, networks, rlimits, groups

static const char *const default_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"TERM=xterm",
	NULL,
};

// What shows or changes the host: as in the container engines' defaults.
static const char *const default_masked[] = {
	"/proc/acpi",
	"/proc/interrupts",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/sys/dev/block",
	"/sys/devices/virtual/powercap",
	"/sys/firmware",
	"/sys/fs/selinux",
	NULL,
};

static const char *const default_readonly[] = {
	"/proc/asound", "/proc/bus",           "/proc/fs", "/proc/irq",
	"/proc/sys",    "/proc/sysrq-trigger", NULL,
};

int definition_no_memory(struct error *err)
{
	return error_set(err, ERR_NOMEM, "no memory for a definition");
}

// Reads a string that must be one of the NULL-terminated choices; the first is the default.
static int read_choice(const struct jsonread *r, const char *key, const char *const *choices,
		       char **out, struct error *err)
{
	int there = jsonread_string(r, key, out, err);
	if (there < 0)
		return -1;
	if (!there && !(*out = strdup(choices[0])))
		return definition_no_memory(err);
	if (!strv_has((char *const *)choices, *out))
		return jsonread_wrong(r, key, err,
				      "\"%s\" is not one of the known values (%s, %s ...)", *out,
				      choices[0], choices[1]);
	return 0;
}

static int read_path(const struct jsonread *r, const char *key, char **out, struct error *err)
{
	int there = jsonread_string(r, key, out, err);
	if (there > 0 && (!mountopt_normalise(*out) || strlen(*out) >= PATH_MAX))
		return jsonread_wrong(r, key, err, "must be an absolute path without \"..\"");
	return there;
}

static int read_paths(const struct jsonread *r, const char *key, const char *const *otherwise,
		      char ***out, struct error *err)
{
	int there = jsonread_strings(r, key, out, err);
	if (there < 0)
		return -1;
	if (!there && !(*out = strv_new(otherwise)))
		return definition_no_memory(err);
	for (char **path = *out; *path; path++)
		if (!mountopt_normalise(*path) || !strcmp(*path, "/"))
			return jsonread_wrong(r, key, err, "\"%s\" is not an absolute path", *path);
	return 0;
}

int definition_list(const struct jsonread *r, const char *key, char ***out, struct error *err)
{
	int there = jsonread_strings(r, key, out, err);
	if (!there && !(*out = strv_new(NULL)))
		return definition_no_memory(err);
	return there < 0 ? -1 : 0;
}

// ---- process -----------------------------------------------------------------------------------

static int read_rlimit_value(const struct jsonread *r, const char *key, uint64_t *out,
			     struct error *err)
{
	int64_t value;
	int there = jsonread_i64(r, key, &value, err);
	if (there < 0)
		return -1;
	if (!there || value < -1)
		return jsonread_wrong(r, key, err, "must be a number (-1: no limit)");
	*out = value < 0 ? RLIM_INFINITY : (uint64_t)value;
	return 0;
}

static int read_rlimit(const struct jsonread *r, struct partition_rlimit *limit, struct error *err)
{
	static const char *const keys[] = {"type", "soft", "hard", NULL};
	_cleanup_free_ char *type = NULL;
	if (jsonread_only(r, keys, err) < 0 || jsonread_string(r, "type", &type, err) < 0)
		return -1;
	limit->resource = type ? rlimit_number(type) : -1;
	if (limit->resource < 0)
		return jsonread_wrong(r, "type", err,
				      "is not a resource limit (RLIMIT_NOFILE ...)");
	if (read_rlimit_value(r, "soft", &limit->soft, err) < 0 ||
	    read_rlimit_value(r, "hard", &limit->hard, err) < 0)
		return -1;
	if (limit->soft > limit->hard)
		return jsonread_wrong(r, "soft", err, "is above the hard limit");
	return 0;
}

static int read_rlimits(const struct jsonread *r, struct partition_process *p, struct error *err)
{
	const json_t *array;
	int there = jsonread_array(r, "rlimits", &array, err);
	if (there <= 0)
		return there;
	size_t count = json_array_size(array);
	if (count > LIST_MAX)
		return jsonread_wrong(r, "rlimits", err, "has more than %d items", LIST_MAX);
	if (!(p->rlimits = calloc(count + 1, sizeof(*p->rlimits))))
		return definition_no_memory(err);
	for (; p->rlimit_count < count; p->rlimit_count++) {
		struct jsonread item;
		if (jsonread_item(r, "rlimits", array, p->rlimit_count, &item, err) < 0 ||
		    read_rlimit(&item, &p->rlimits[p->rlimit_count], err) < 0)
			return -1;
	}
	return 0;
}

static int read_groups(const struct jsonread *r, struct partition_process *p, struct error *err)
{
	const json_t *array, *item;
	size_t i;
	int there = jsonread_array(r, "groups", &array, err);
	if (there <= 0)
		return there;
	if (json_array_size(array) > LIST_MAX)
		return jsonread_wrong(r, "groups", err, "has more than %d items", LIST_MAX);
	if (!(p->groups = calloc(json_array_size(array) + 1, sizeof(*p->groups))))
		return definition_no_memory(err);
	json_array_foreach (array, i, item) {
		json_int_t gid = json_integer_value(item);
		if (!json_is_integer(item) || gid < 0 || gid >= UINT32_MAX)
			return jsonread_wrong(r, "groups", err, "must be a list of group numbers");
		p->groups[p->group_count++] = (gid_t)gid;
	}
	return 0;
}

static int read_capabilities(const struct jsonread *r, struct partition_process *p,
			     struct error *err)
{
	const json_t *array, *item;
	size_t i;
	int there = jsonread_array(r, "capabilities", &array, err);
	p->capabilities = there ? 0 : caps_default();
	if (there <= 0)
		return there;
	json_array_foreach (array, i, item) {
		int number = json_is_string(item) ? caps_number(json_string_value(item)) : -1;
		if (number < 0)
			return jsonread_wrong(r, "capabilities", err, "\"%s\" is not a capability",
					      json_is_string(item) ? json_string_value(item) : "");
		p->capabilities |= 1ull << number;
	}
	return 0;
}

static int read_env(const struct jsonread *r, struct partition_process *p, struct error *err)
{
	int there = jsonread_strings(r, "env", &p->env, err);
	if (there < 0)
		return -1;
	if (!there && !(p->env = strv_new(default_env)))
		return definition_no_memory(err);
	for (char **entry = p->env; *entry; entry++)
		if (strcspn(*entry, "=") == 0 || !strchr(*entry, '='))
			return jsonread_wrong(r, "env", err, "\"%.40s\" is not KEY=value", *entry);
	return 0;
}

static int read_user(const struct jsonread *r, struct partition_process *p, struct error *err)
{
	uint64_t uid = 0, gid = 0;
	if (jsonread_u64(r, "uid", UINT32_MAX - 1, &uid, err) < 0)
		return -1;
	int there = jsonread_u64(r, "gid", UINT32_MAX - 1, &gid, err);
	p->uid = (uid_t)uid;
	p->gid = (gid_t)(there > 0 ? gid : uid);
	return there < 0 ? -1 : 0;
}

static int read_process(const struct jsonread *top, struct partition_def *def, struct error *err)
{
	static const char *const keys[] = {"args",    "env",          "cwd",
					   "uid",     "gid",          "groups",
					   "rlimits", "capabilities", "no_new_privileges",
					   NULL};
	struct partition_process *p = &def->process;
	struct jsonread r;
	int there = jsonread_object(top, "process", &r, err);
	if (there < 0)
		return -1;
	_cleanup_json_ json_t *none = there ? NULL : json_object();
	if (!there) {
		r = *top;
		r.object = none;
	}
	if (jsonread_only(&r, keys, err) < 0 || definition_list(&r, "args", &p->args, err) < 0 ||
	    read_env(&r, p, err) < 0 || read_path(&r, "cwd", &p->cwd, err) < 0 ||
	    read_user(&r, p, err) < 0 || read_groups(&r, p, err) < 0 ||
	    read_rlimits(&r, p, err) < 0 || read_capabilities(&r, p, err) < 0 ||
	    jsonread_bool(&r, "no_new_privileges", &p->no_new_privileges, err) < 0)
		return -1;
	if (!p->cwd && !(p->cwd = strdup("/")))
		return definition_no_memory(err);
	if (p->args[0] ? !*p->args[0] : def->type != PARTITION_SYSTEM)
		return jsonread_wrong(top, "process", err,
				      "an application partition needs a command (args)");
	return 0;
}

// ---- mounts ------------------------------------------------------------------------------------

static int read_mount_options(const struct jsonread *r, struct partition_mount *mount,
			      struct error *err)
{
	struct mountopt options = {.mode = 0};
	const json_t *array, *item;
	size_t i;
	int there = jsonread_array(r, "options", &array, err);
	if (there < 0)
		return -1;
	json_array_foreach (there ? array : NULL, i, item) {
		if (!json_is_string(item) || !mountopt_add(&options, json_string_value(item)))
			return jsonread_wrong(r, "options", err,
					      "\"%s\" is not a mount option here",
					      json_is_string(item) ? json_string_value(item) : "");
	}
	mount->flags = options.flags;
	mount->recursive = options.recursive && mount->type == MOUNT_BIND;
	mount->mode = options.mode ? options.mode : 01777;
	return 0;
}

static int read_mount_storage(const struct jsonread *r, struct partition_mount *mount,
			      struct error *err)
{
	static const char *const storages[] = {"shared", "copied", NULL};
	return read_choice(r, "storage", storages, &mount->storage, err) < 0
		       ? -1
		       : jsonread_bool(r, "volume", &mount->volume, err);
}

static int read_mount(const struct jsonread *r, struct partition_mount *mount, struct error *err)
{
	static const char *const keys[] = {"destination", "type",   "source", "options",
					   "storage",     "volume", NULL};
	static const char *const types[] = {"bind", "tmpfs", NULL};
	_cleanup_free_ char *type = NULL;
	if (jsonread_only(r, keys, err) < 0 ||
	    read_path(r, "destination", &mount->destination, err) < 0 ||
	    read_choice(r, "type", types, &type, err) < 0 ||
	    read_path(r, "source", &mount->source, err) < 0)
		return -1;
	mount->type = strcmp(type, "tmpfs") ? MOUNT_BIND : MOUNT_TMPFS;
	if (!mount->destination || !strcmp(mount->destination, "/"))
		return jsonread_wrong(r, "destination", err, "must be a path below /");
	if (mount->type == MOUNT_BIND && !mount->source)
		return jsonread_wrong(r, "source", err, "is missing");
	if (mount->type == MOUNT_TMPFS && mount->source)
		return jsonread_wrong(r, "source", err, "a tmpfs has none");
	if (mount->type == MOUNT_BIND && read_mount_storage(r, mount, err) < 0)
		return -1;
	if (mount->type == MOUNT_TMPFS &&
	    (json_object_get(r->object, "storage") || json_object_get(r->object, "volume")))
		return jsonread_wrong(r, "storage", err, "a tmpfs has none, it always travels");
	return read_mount_options(r, mount, err);
}

static bool mounted_by_us(const char *destination)
{
	static const char *const ours[] = {"/proc", "/sys",        "/dev", "/dev/pts", "/dev/shm",
					   "/run",  "/dev/mqueue", "/tmp", NULL};
	return strv_has((char *const *)ours, destination) || !strncmp(destination, "/proc/", 6) ||
	       !strncmp(destination, "/sys/", 5) || !strncmp(destination, "/run/.wpar", 10);
}

static int read_mounts(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	const json_t *array;
	int there = jsonread_array(r, "mounts", &array, err);
	if (there <= 0)
		return there;
	size_t count = json_array_size(array);
	if (count > LIST_MAX)
		return jsonread_wrong(r, "mounts", err, "has more than %d items", LIST_MAX);
	if (!(def->mounts = calloc(count + 1, sizeof(*def->mounts))))
		return definition_no_memory(err);
	for (size_t i = 0; i < count; i++) {
		struct jsonread item;
		struct partition_mount *mount = &def->mounts[i];
		def->mount_count = i + 1;
		if (jsonread_item(r, "mounts", array, i, &item, err) < 0 ||
		    read_mount(&item, mount, err) < 0)
			return -1;
		if (mounted_by_us(mount->destination))
			return jsonread_wrong(&item, "destination", err,
					      "%s is provided by the partition itself",
					      mount->destination);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(def->mounts[k].destination, mount->destination))
				return jsonread_wrong(&item, "destination", err,
						      "%s is there twice", mount->destination);
	}
	return 0;
}

// ---- the whole ---------------------------------------------------------------------------------

static bool is_uuid(const char *text)
{
	if (strlen(text) != DEFINITION_UUID_LENGTH)
		return false;
	for (size_t i = 0; i < DEFINITION_UUID_LENGTH; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	return true;
}

static bool is_digest(const char *text)
{
	static const char digits[] = "0123456789abcdef", algorithm[] = "sha256:";
	size_t head = sizeof(algorithm) - 1;
	return !strncmp(text, algorithm, head) && strspn(text + head, digits) == 64 &&
	       !text[head + 64];
}

// 1: there is one.
static int read_image(const struct jsonread *top, struct partition_def *def, struct error *err)
{
	static const char *const keys[] = {"reference", "digest", NULL};
	_cleanup_free_ char *digest = NULL;
	struct jsonread r;
	int there = jsonread_object(top, "image", &r, err);
	if (there <= 0)
		return there;
	if (jsonread_only(&r, keys, err) < 0 ||
	    jsonread_string(&r, "reference", &def->image, err) < 0 ||
	    jsonread_string(&r, "digest", &digest, err) < 0)
		return -1;
	if (!def->image)
		return jsonread_wrong(&r, "reference", err, "is missing");
	if (!digest || !is_digest(digest))
		return jsonread_wrong(&r, "digest", err, "must be sha256: and 64 digits");
	snprintf(def->image_digest, sizeof(def->image_digest), "%s", digest);
	return 1;
}

// Either a folder of the host, or an image.
static int read_root(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	int image = read_image(r, def, err);
	if (image < 0)
		return -1;
	if (!image) {
		int there = read_path(r, "rootfs", &def->rootfs, err);
		if (!there || (there > 0 && !strcmp(def->rootfs, "/")))
			return jsonread_wrong(r, "rootfs", err,
					      "must be the path of a folder below /");
		return there < 0 ? -1 : 0;
	}
	int there = jsonread_string(r, "rootfs", &def->rootfs, err);
	if (there > 0 && *def->rootfs)
		return jsonread_wrong(r, "rootfs", err, "must be empty beside an image");
	if (!there && !(def->rootfs = strdup("")))
		return definition_no_memory(err);
	return there < 0 ? -1 : 0;
}

static int read_stop_signal(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	int there = jsonread_string(r, "stop_signal", &def->stop_signal, err);
	if (there < 0)
		return -1;
	if (!there && !(def->stop_signal = strdup("SIGTERM")))
		return definition_no_memory(err);
	if (signame_number(def->stop_signal) < 0)
		return jsonread_wrong(r, "stop_signal", err, "is not the name of a signal");
	return 0;
}

static int read_identity(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	static const char *const types[] = {"application", "system", NULL};
	static const char *const storages[] = {"shared", "copied", NULL};
	_cleanup_free_ char *uuid = NULL, *type = NULL;
	if (jsonread_string(r, "name", &def->name, err) < 0 || name_check(def->name, err) < 0 ||
	    jsonread_string(r, "uuid", &uuid, err) < 0 ||
	    read_choice(r, "type", types, &type, err) < 0 ||
	    read_choice(r, "storage", storages, &def->storage, err) < 0)
		return -1;
	def->type = strcmp(type, "system") ? PARTITION_APPLICATION : PARTITION_SYSTEM;
	if (!uuid)
		definition_make_uuid(def->uuid);
	else if (is_uuid(uuid))
		memcpy(def->uuid, uuid, sizeof(def->uuid));
	else
		return jsonread_wrong(r, "uuid", err, "is not a UUID");
	return read_root(r, def, err) < 0 || jsonread_bool(r, "readonly", &def->readonly, err) < 0
		       ? -1
		       : 0;
}

static int read_hostname(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	int there = jsonread_string(r, "hostname", &def->hostname, err);
	if (there < 0)
		return -1;
	if (!there && !(def->hostname = strdup(def->name)))
		return definition_no_memory(err);
	size_t length = strlen(def->hostname);
	bool good = length >= 1 && length <= 63;
	for (const char *c = def->hostname; good && *c; c++)
		good = isalnum((unsigned char)*c) || strchr("-._", *c);
	return good ? 0
		    : jsonread_wrong(r, "hostname", err, "is not a host name of 1 to 63 letters");
}

static int read_seccomp(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	json_t *given = json_object_get(r->object, "seccomp");
	if (!given || json_is_null(given)) {
		def->seccomp = json_string("default");
		return def->seccomp ? 0 : definition_no_memory(err);
	}
	if (seccomp_check(given, def->process.capabilities, err) < 0)
		return error_wrap(err, "seccomp");
	def->seccomp = json_deep_copy(given);
	return def->seccomp ? 0 : definition_no_memory(err);
}

static int read_resources(const struct jsonread *top, struct partition_def *def, struct error *err)
{
	static const char *const keys[] = {"memory_bytes", "cpu_millis", "pids", NULL};
	struct jsonread r;
	int there = jsonread_object(top, "resources", &r, err);
	if (there <= 0)
		return there;
	if (jsonread_only(&r, keys, err) < 0 ||
	    jsonread_u64(&r, "memory_bytes", INT64_MAX, &def->memory_bytes, err) < 0 ||
	    jsonread_u64(&r, "cpu_millis", 100000000, &def->cpu_millis, err) < 0 ||
	    jsonread_u64(&r, "pids", 4194304, &def->pids, err) < 0)
		return -1;
	// The smallest quota of the kernel is 1 ms per period, which is 100 ms here.
	if (def->cpu_millis && def->cpu_millis < 10)
		return jsonread_wrong(&r, "cpu_millis", err, "must be at least 10");
	return 0;
}

static int read_policy(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	static const char *const restarts[] = {"no", "on-failure", "always", NULL};
	int64_t priority = 0;
	uint64_t grace = 10000;
	if (definition_list(r, "groups", &def->groups, err) < 0 ||
	    jsonread_i64(r, "priority", &priority, err) < 0 ||
	    jsonread_bool(r, "autostart", &def->autostart, err) < 0 ||
	    read_choice(r, "restart", restarts, &def->restart, err) < 0 ||
	    jsonread_u64(r, "grace_ms", 3600 * 1000, &grace, err) < 0 ||
	    read_stop_signal(r, def, err) < 0 ||
	    jsonread_string(r, "owner", &def->owner, err) < 0 ||
	    jsonread_u64(r, "epoch", INT64_MAX, &def->epoch, err) < 0 ||
	    definition_list(r, "cpu_features", &def->cpu_features, err) < 0)
		return -1;
	if (priority < -1000 || priority > 1000)
		return jsonread_wrong(r, "priority", err, "must be between -1000 and 1000");
	def->priority = (int)priority;
	def->grace_ms = (uint32_t)grace;
	for (char **group = def->groups; *group; group++)
		if (name_check(*group, NULL) < 0)
			return jsonread_wrong(r, "groups", err, "\"%.63s\" is not a valid name",
					      *group);
	if (!def->owner && !(def->owner = strdup("")))
		return definition_no_memory(err);
	return 0;
}

static int read_travelling(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	struct jsonread pending;
	int there = jsonread_object(r, "pending", &pending, err);
	if (there < 0 || jsonread_u64(r, "revision", INT64_MAX, &def->revision, err) < 0)
		return -1;
	if (there > 0 && json_object_size(pending.object) &&
	    !(def->pending = json_deep_copy(pending.object)))
		return definition_no_memory(err);
	return 0;
}

static int read_all(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	static const char *const keys[] = {
		"name",        "uuid",     "type",    "rootfs", "readonly",     "storage",
		"process",     "hostname", "seccomp", "mounts", "masked_paths", "readonly_paths",
		"resources",   "networks", "dns",     "groups", "priority",     "autostart",
		"restart",     "grace_ms", "owner",   "epoch",  "cpu_features", "image",
		"stop_signal", "revision", "pending", NULL};
	if (jsonread_only(r, keys, err) < 0 || read_identity(r, def, err) < 0 ||
	    read_process(r, def, err) < 0 || read_hostname(r, def, err) < 0 ||
	    read_seccomp(r, def, err) < 0 || read_mounts(r, def, err) < 0 ||
	    read_paths(r, "masked_paths", default_masked, &def->masked_paths, err) < 0 ||
	    read_paths(r, "readonly_paths", default_readonly, &def->readonly_paths, err) < 0 ||
	    read_resources(r, def, err) < 0 || definition_networks(r, def, err) < 0 ||
	    definition_dns(r, def, err) < 0 || read_policy(r, def, err) < 0 ||
	    read_travelling(r, def, err) < 0)
		return -1;
	return 0;
}

struct partition_def *definition_from_json(const json_t *json, struct error *err)
{
	struct jsonread r;
	if (jsonread_open(&r, json, ERR_DEFINITION, ERR_DEFINITION, err) < 0)
		return NULL;
	_cleanup_definition_ struct partition_def *def = calloc(1, sizeof(*def));
	if (!def) {
		definition_no_memory(err);
		return NULL;
	}
	if (read_all(&r, def, err) < 0)
		return NULL;
	return take_ptr(def);
}
