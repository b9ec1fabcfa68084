// SPDX-License-Identifier: Apache-2.0
// "mounts" of a bundle: those that every partition has, and volumes.
#include "lib/partition/bundle_parts.h"

#include "lib/base/cleanup.h"
#include "lib/partition/mountopt.h"
#include "lib/partition/strv.h"

#include <string.h>

// Mounts that every partition has. The options are those that ask for what is there anyway or for
// less: ours are nosuid and, where there are no devices, nodev. "size=" and the like: any value.
struct standard {
	const char *destination;
	const char *types[3];
	const char *options[12];
};

static const struct standard standards[] = {
	{"/proc", {"proc"}, {"nosuid", "nodev", "noexec", "relatime", "rw"}},
	{"/sys", {"sysfs"}, {"nosuid", "nodev", "noexec", "relatime", "ro"}},
	{"/sys/fs/cgroup", {"cgroup", "cgroup2"}, {"nosuid", "nodev", "noexec", "relatime", "ro"}},
	{"/dev",
	 {"tmpfs"},
	 {"nosuid", "noexec", "relatime", "strictatime", "rw", "mode=755", "mode=0755", "size="}},
	{"/dev/pts",
	 {"devpts"},
	 {"nosuid", "noexec", "relatime", "rw", "newinstance", "ptmxmode=0666", "ptmxmode=666",
	  "mode=0620", "mode=620", "gid=5"}},
	{"/dev/mqueue", {"mqueue"}, {"nosuid", "nodev", "noexec", "relatime", "rw"}},
	{"/dev/shm",
	 {"tmpfs"},
	 {"nosuid", "nodev", "noexec", "relatime", "rw", "mode=1777", "mode=01777", "size="}},
	{"/run",
	 {"tmpfs"},
	 {"nosuid", "nodev", "relatime", "strictatime", "rw", "mode=755", "mode=0755", "size="}},
	{"/tmp",
	 {"tmpfs"},
	 {"nosuid", "nodev", "relatime", "strictatime", "rw", "mode=1777", "mode=01777", "size="}},
};

struct mount {
	struct jsonread r;
	char *destination, *type, *source;
	char **options;
};

static void cleanup_mount(struct mount *m)
{
	free(m->destination);
	free(m->type);
	free(m->source);
	strv_free(m->options);
}

static int no_option(const struct mount *m, const char *option, struct error *err)
{
	return jsonread_unknown(&m->r, "options", err, "\"%.60s\" is not honoured at %s", option,
				m->destination);
}

static void note_size(struct bundle *b, const struct mount *m)
{
	bundle_note(b, "%s.options: the size of %.200s is not limited by itself", m->r.path,
		    m->destination);
}

// ---- those that every partition has ------------------------------------------------------------

static const struct standard *find_standard(const char *destination)
{
	for (size_t i = 0; i < ARRAY_SIZE(standards); i++)
		if (!strcmp(standards[i].destination, destination))
			return &standards[i];
	return NULL;
}

static bool is_granted(const struct standard *s, const char *option)
{
	// Everything in a partition is private.
	if (!strcmp(option, "private") || !strcmp(option, "rprivate") ||
	    !strcmp(option, "defaults"))
		return true;
	for (const char *const *granted = s->options; *granted; granted++) {
		size_t length = strlen(*granted);
		if ((*granted)[length - 1] == '=' ? !strncmp(*granted, option, length)
						  : !strcmp(*granted, option))
			return true;
	}
	return false;
}

static int take_standard(struct bundle *b, const struct mount *m, const struct standard *s,
			 struct error *err)
{
	if (!strv_has((char *const *)s->types, m->type))
		return jsonread_unknown(&m->r, "type", err,
					"\"%.40s\" is not honoured at %s, a partition has %s there",
					m->type, s->destination, s->types[0]);
	for (char **option = m->options; *option; option++) {
		if (!is_granted(s, *option))
			return no_option(m, *option, err);
		if (!strncmp(*option, "size=", 5) && strcmp(s->destination, "/dev"))
			note_size(b, m);
	}
	if (!strcmp(s->types[0], "sysfs") && !strv_has(m->options, "ro"))
		bundle_note(b, "%s: /sys is read-only in a partition", m->r.path);
	if (!strcmp(s->types[0], "cgroup"))
		bundle_note(b, "%s: is left out, a partition does not see control groups",
			    m->r.path);
	return 0;
}

// ---- volumes -----------------------------------------------------------------------------------

static int check_place(const struct mount *m, struct error *err)
{
	static const char *const kernel[] = {"/proc/", "/sys/", "/run/.wpar"};
	bool ours = !strcmp(m->destination, "/");
	for (size_t i = 0; i < ARRAY_SIZE(kernel); i++)
		ours = ours || !strncmp(m->destination, kernel[i], strlen(kernel[i]));
	if (ours)
		return jsonread_unknown(&m->r, "destination", err, "%.100s is not honoured",
					m->destination);
	return 0;
}

static bool wants_bind(const struct mount *m)
{
	return strv_has(m->options, "bind") || strv_has(m->options, "rbind");
}

// A mode and a size are of a tmpfs, binding is of the other one.
static int check_options(struct bundle *b, const struct mount *m, bool bind, struct error *err)
{
	struct mountopt all = {.mode = 0};
	for (char **option = m->options; *option; option++) {
		struct mountopt one = {.mode = 0};
		bool sized = !strncmp(*option, "size=", 5), moded = !strncmp(*option, "mode=", 5);
		bool binds = !strcmp(*option, "bind") || !strcmp(*option, "rbind");
		if (!mountopt_add(&one, *option) || (bind ? sized || moded : binds) ||
		    (moded && !one.mode))
			return no_option(m, *option, err);
		mountopt_add(&all, *option);
	}
	if (all.size_given)
		note_size(b, m);
	if (all.recursive)
		bundle_note(b, "%s.options: nothing may be mounted below the source of %.200s",
			    m->r.path, m->destination);
	return 0;
}

static int put_volume(const struct bundle *b, const struct mount *m, bool bind, json_t *list,
		      struct error *err)
{
	_cleanup_free_ char *source = NULL;
	if (bind && !m->source)
		return jsonread_wrong(&m->r, "source", err, "is missing");
	if (bind && !(source = bundle_host_path(b, &m->r, "source", m->source, err)))
		return -1;
	json_t *options = json_array();
	for (char **option = m->options; *option; option++)
		json_array_append_new(options, json_string(*option));
	json_t *volume = json_pack("{s:s, s:s, s:s*, s:o}", "destination", m->destination, "type",
				   bind ? "bind" : "tmpfs", "source", source, "options", options);
	if (json_array_append_new(list, volume) < 0)
		return error_set(err, ERR_NOMEM, "no memory for a mount");
	return 0;
}

static int take_volume(struct bundle *b, const struct mount *m, json_t *list, struct error *err)
{
	bool bind = !strcmp(m->type, "bind") ||
		    ((!*m->type || !strcmp(m->type, "none")) && wants_bind(m));
	if (!bind && strcmp(m->type, "tmpfs"))
		return jsonread_unknown(&m->r, "type", err, "\"%.40s\" at %.100s is not honoured",
					m->type, m->destination);
	if (check_place(m, err) < 0 || check_options(b, m, bind, err) < 0)
		return -1;
	return put_volume(b, m, bind, list, err);
}

// ---- the list ----------------------------------------------------------------------------------

static int read_mount(struct mount *m, struct error *err)
{
	static const char *const keys[] = {"destination", "type", "source", "options", NULL};
	int there = jsonread_string(&m->r, "destination", &m->destination, err);
	if (there <= 0)
		return there < 0 ? -1 : jsonread_wrong(&m->r, "destination", err, "is missing");
	if (bundle_only(&m->r, keys, err) < 0 ||
	    jsonread_string(&m->r, "type", &m->type, err) < 0 ||
	    bundle_string(&m->r, "source", &m->source, err) < 0 ||
	    jsonread_strings(&m->r, "options", &m->options, err) < 0)
		return -1;
	if (!mountopt_normalise(m->destination))
		return jsonread_unknown(&m->r, "destination", err,
					"must be an absolute path without \"..\"");
	if ((!m->type && !(m->type = strdup(""))) ||
	    (!m->options && !(m->options = strv_new(NULL))))
		return error_set(err, ERR_NOMEM, "no memory for a mount");
	return 0;
}

static int take_mount(struct bundle *b, const struct jsonread *r, json_t *list, struct error *err)
{
	__attribute__((cleanup(cleanup_mount))) struct mount m = {.r = *r};
	if (read_mount(&m, err) < 0)
		return -1;
	const struct standard *standard = find_standard(m.destination);
	return standard ? take_standard(b, &m, standard, err) : take_volume(b, &m, list, err);
}

int bundle_mounts(struct bundle *b, const struct jsonread *top, struct error *err)
{
	_cleanup_json_ json_t *list = json_array();
	const json_t *array;
	int there = jsonread_array(top, "mounts", &array, err);
	if (there < 0)
		return -1;
	for (size_t i = 0; there && i < json_array_size(array); i++) {
		struct jsonread item;
		if (jsonread_item(top, "mounts", array, i, &item, err) < 0 ||
		    take_mount(b, &item, list, err) < 0)
			return -1;
	}
	return bundle_put(b->def, "mounts", json_incref(list), err);
}
