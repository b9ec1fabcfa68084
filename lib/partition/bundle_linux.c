// SPDX-License-Identifier: Apache-2.0
// "linux" of a bundle, but for its resources.
#include "lib/partition/bundle_parts.h"

#include "lib/base/cleanup.h"
#include "lib/partition/mountopt.h"
#include "lib/partition/seccomp.h"
#include "lib/partition/strv.h"

#include <string.h>

// ---- namespaces --------------------------------------------------------------------------------

// The first five must be there: a partition always has its own. The rest may.
static const char *const namespaces[] = {"pid", "mount", "uts", "ipc", "network", "cgroup", "time"};
#define NAMESPACES_REQUIRED 5

static int read_namespace(const struct jsonread *r, unsigned *seen, struct error *err)
{
	static const char *const keys[] = {"type", "path", NULL};
	_cleanup_free_ char *type = NULL, *path = NULL;
	int there = jsonread_string(r, "type", &type, err);
	if (there <= 0)
		return there < 0 ? -1 : jsonread_wrong(r, "type", err, "is missing");
	if (bundle_only(r, keys, err) < 0 || bundle_string(r, "path", &path, err) < 0)
		return -1;
	if (path)
		return jsonread_unknown(r, "path", err,
					"a partition joins no namespace of the host (%.20s)", type);
	for (unsigned i = 0; i < ARRAY_SIZE(namespaces); i++) {
		if (strcmp(namespaces[i], type))
			continue;
		if (*seen & (1u << i))
			return jsonread_wrong(r, "type", err, "\"%s\" is there twice", type);
		*seen |= 1u << i;
		return 0;
	}
	return jsonread_unknown(r, "type", err, "\"%.20s\" is not honoured", type);
}

static int read_namespaces(const struct jsonread *r, struct error *err)
{
	const json_t *array;
	unsigned seen = 0;
	int there = jsonread_array(r, "namespaces", &array, err);
	if (there < 0)
		return -1;
	for (size_t i = 0; there && i < json_array_size(array); i++) {
		struct jsonread item;
		if (jsonread_item(r, "namespaces", array, i, &item, err) < 0 ||
		    read_namespace(&item, &seen, err) < 0)
			return -1;
	}
	for (unsigned i = 0; i < NAMESPACES_REQUIRED; i++)
		if (!(seen & (1u << i)))
			return jsonread_unknown(
				r, "namespaces", err,
				"\"%s\" is missing, a partition shares none with the host",
				namespaces[i]);
	return 0;
}

// ---- devices -----------------------------------------------------------------------------------

// The nodes that every partition has, with mode 0666 and owner root.
static bool is_standard_device(const char *path, const char *type, int64_t major, int64_t minor)
{
	static const struct {
		const char *path;
		int64_t major, minor;
	} devices[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
		       {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		if (!strcmp(devices[i].path, path))
			return !strcmp(type, "c") && devices[i].major == major &&
			       devices[i].minor == minor;
	return false;
}

static int read_device(const struct jsonread *r, struct error *err)
{
	static const char *const keys[] = {"path",     "type", "major", "minor",
					   "fileMode", "uid",  "gid",   NULL};
	_cleanup_free_ char *path = NULL, *type = NULL;
	int64_t major = -1, minor = -1, mode = 0666, uid = 0, gid = 0;
	if (bundle_only(r, keys, err) < 0 || jsonread_string(r, "path", &path, err) < 0 ||
	    jsonread_string(r, "type", &type, err) < 0 ||
	    jsonread_i64(r, "major", &major, err) < 0 ||
	    jsonread_i64(r, "minor", &minor, err) < 0 ||
	    jsonread_i64(r, "fileMode", &mode, err) < 0 || jsonread_i64(r, "uid", &uid, err) < 0 ||
	    jsonread_i64(r, "gid", &gid, err) < 0)
		return -1;
	if (!path || !type)
		return jsonread_wrong(r, path ? "type" : "path", err, "is missing");
	if (!is_standard_device(path, type, major, minor))
		return jsonread_unknown(r, "path", err, "%.100s is not honoured", path);
	if ((mode & 07777) != 0666 || uid || gid)
		return jsonread_unknown(r, mode == 0666 ? "uid" : "fileMode", err,
					"%s has mode 438 (octal 0666) and belongs to root", path);
	return 0;
}

// ---- masked and read-only paths, filter of system calls ----------------------------------------

static int read_paths(struct bundle *b, const struct jsonread *r, const char *key, const char *as,
		      struct error *err)
{
	char **list = NULL;
	int there = jsonread_strings(r, key, &list, err), failed = 0;
	for (char **path = list; there > 0 && *path && !failed; path++)
		if (!mountopt_normalise(*path) || !strcmp(*path, "/"))
			failed = jsonread_unknown(r, key, err, "\"%.100s\" is not honoured", *path);
	strv_free(list);
	if (there < 0 || failed)
		return -1;
	if (!there)
		bundle_note(b, "%s.%s: is absent, those of every partition are used", r->path, key);
	return bundle_strings(r, key, b->def, as, err) < 0 ? -1 : 0;
}

static int read_seccomp(struct bundle *b, const struct jsonread *r, struct error *err)
{
	struct jsonread profile;
	struct error why = {0};
	int there = jsonread_object(r, "seccomp", &profile, err);
	if (there < 0)
		return -1;
	if (!there || !json_object_size(profile.object)) {
		bundle_note(b, "%s.seccomp: is absent, the default profile is used", r->path);
		return bundle_put(b->def, "seccomp", json_string("default"), err);
	}
	if (seccomp_check(profile.object, b->capabilities, &why) < 0) {
		if (why.id == ERR_NOMEM)
			return error_set(err, why.id, "%s", why.message);
		return error_set(err, ERR_BUNDLE, "%s.%s", profile.path, why.message);
	}
	return bundle_put(b->def, "seccomp", json_deep_copy(profile.object), err);
}

// ---- the rest ----------------------------------------------------------------------------------

static int read_propagation(const struct jsonread *r, struct error *err)
{
	static const char *const fine[] = {"private", "rprivate", "slave", "rslave", NULL};
	_cleanup_free_ char *value = NULL;
	int there = bundle_string(r, "rootfsPropagation", &value, err);
	if (there > 0 && !strv_has((char *const *)fine, value))
		return jsonread_unknown(r, "rootfsPropagation", err, "\"%.40s\" is not honoured",
					value);
	return there < 0 ? -1 : 0;
}

static int read_personality(const struct jsonread *top, struct error *err)
{
	static const char *const keys[] = {"domain", NULL};
	_cleanup_free_ char *domain = NULL;
	struct jsonread r;
	int there = jsonread_object(top, "personality", &r, err);
	if (there <= 0 || !json_object_size(r.object))
		return there < 0 ? -1 : 0;
	if (bundle_only(&r, keys, err) < 0 || bundle_string(&r, "domain", &domain, err) < 0)
		return -1;
	if (!domain)
		return jsonread_wrong(&r, "domain", err, "is missing");
	if (strcmp(domain, "LINUX"))
		return jsonread_unknown(&r, "domain", err, "\"%.40s\" is not honoured", domain);
	return 0;
}

// The layout of control groups is ours. What podman puts into every bundle says nothing about what
// its user wants.
static int read_cgroups_path(struct bundle *b, const struct jsonread *r, struct error *err)
{
	static const char *const podman[] = {
		"machine.slice:libpod:", "user.slice:libpod:", "/libpod_parent/libpod-"};
	_cleanup_free_ char *path = NULL;
	int there = bundle_string(r, "cgroupsPath", &path, err);
	if (there <= 0)
		return there;
	for (size_t i = 0; i < ARRAY_SIZE(podman); i++) {
		if (strncmp(path, podman[i], strlen(podman[i])))
			continue;
		bundle_note(b, "%s.cgroupsPath: is left out, partitions have their own layout",
			    r->path);
		return 0;
	}
	return jsonread_unknown(r, "cgroupsPath", err, "\"%.100s\" is not honoured", path);
}

int bundle_linux(struct bundle *b, const struct jsonread *top, struct error *err)
{
	static const char *const keys[] = {
		"namespaces",    "devices",           "resources",   "seccomp",     "maskedPaths",
		"readonlyPaths", "rootfsPropagation", "personality", "cgroupsPath", NULL};
	struct jsonread r;
	int there = jsonread_object(top, "linux", &r, err);
	if (there <= 0)
		return there < 0 ? -1
				 : jsonread_unknown(top, "linux", err,
						    "is missing, and with it the namespaces");
	if (bundle_only(&r, keys, err) < 0 || read_namespaces(&r, err) < 0 ||
	    bundle_each(&r, "devices", read_device, err) < 0 || bundle_resources(b, &r, err) < 0 ||
	    read_seccomp(b, &r, err) < 0 ||
	    read_paths(b, &r, "maskedPaths", "masked_paths", err) < 0 ||
	    read_paths(b, &r, "readonlyPaths", "readonly_paths", err) < 0 ||
	    read_propagation(&r, err) < 0 || read_personality(&r, err) < 0)
		return -1;
	return read_cgroups_path(b, &r, err);
}
