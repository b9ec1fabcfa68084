// SPDX-License-Identifier: Apache-2.0
// The file, the top level and the root of a bundle; see bundle_process.c, bundle_mounts.c,
// bundle_linux.c and bundle_resources.c for the sections.
#include "lib/partition/bundle.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/bundle_parts.h"
#include "lib/partition/definition.h"
#include "lib/partition/mountopt.h"
#include "lib/partition/strv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_MAX (4u << 20) // profiles of system calls are the long ones, some 100 KiB

// ---- shared by the sections --------------------------------------------------------------------

static bool is_empty(const json_t *value)
{
	return json_is_null(value) || json_is_false(value) ||
	       (json_is_string(value) && !json_string_length(value)) ||
	       (json_is_array(value) && !json_array_size(value)) ||
	       (json_is_object(value) && !json_object_size(value));
}

int bundle_only(const struct jsonread *r, const char *const *keys, struct error *err)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)r->object, key, value) {
		if (!strv_has((char *const *)keys, key) && !is_empty(value))
			return jsonread_unknown(r, key, err, "is not honoured");
	}
	return 0;
}

int bundle_string(const struct jsonread *r, const char *key, char **out, struct error *err)
{
	int there = jsonread_string(r, key, out, err);
	if (there <= 0 || **out)
		return there;
	free(*out);
	*out = NULL;
	return 0;
}

int bundle_put(json_t *into, const char *key, json_t *value, struct error *err)
{
	if (json_object_set_new(into, key, value) < 0)
		return error_set(err, ERR_NOMEM, "no memory for a definition");
	return 0;
}

int bundle_strings(const struct jsonread *r, const char *key, json_t *into, const char *as,
		   struct error *err)
{
	char **list = NULL;
	int there = jsonread_strings(r, key, &list, err);
	strv_free(list);
	if (there <= 0)
		return there;
	json_t *copy = json_deep_copy(json_object_get(r->object, key));
	return bundle_put(into, as, copy, err) < 0 ? -1 : 1;
}

char *bundle_host_path(const struct bundle *b, const struct jsonread *r, const char *key,
		       const char *path, struct error *err)
{
	char *joined = NULL;
	if (asprintf(&joined, "%s%s%s", *path == '/' ? "" : b->dir, *path == '/' ? "" : "/", path) <
	    0) {
		error_set(err, ERR_NOMEM, "no memory for a path");
		return NULL;
	}
	if (mountopt_normalise(joined) && strlen(joined) < PATH_MAX)
		return joined;
	free(joined);
	jsonread_unknown(r, key, err, "\"%.100s\" is too long or has a \"..\" in it", path);
	return NULL;
}

int bundle_each(const struct jsonread *r, const char *key,
		int (*read)(const struct jsonread *item, struct error *err), struct error *err)
{
	const json_t *array;
	int there = jsonread_array(r, key, &array, err);
	for (size_t i = 0; there > 0 && i < json_array_size(array); i++) {
		struct jsonread item;
		if (jsonread_item(r, key, array, i, &item, err) < 0 || read(&item, err) < 0)
			return -1;
	}
	return there < 0 ? -1 : 0;
}

void bundle_note(struct bundle *b, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_array_append_new(b->notes, json_string(text));
}

// ---- the top level -----------------------------------------------------------------------------

// Semantic Versioning 2.0.0: every 1.x.y can be read by a reader of the subset.
static bool is_version_1(const char *version)
{
	static const char digits[] = "0123456789";
	if (strncmp(version, "1.", 2))
		return false;
	const char *minor = version + 2;
	size_t length = strspn(minor, digits);
	if (!length || minor[length] != '.')
		return false;
	const char *patch = minor + length + 1;
	length = strspn(patch, digits);
	return length && (!patch[length] || strchr("-+", patch[length]));
}

static int read_version(const struct jsonread *top, struct error *err)
{
	_cleanup_free_ char *version = NULL;
	int there = jsonread_string(top, "ociVersion", &version, err);
	if (there < 0)
		return -1;
	if (!there)
		return jsonread_wrong(top, "ociVersion", err, "is missing");
	if (!is_version_1(version))
		return jsonread_unknown(top, "ociVersion", err, "\"%.40s\" is not a version 1.x.y",
					version);
	return 0;
}

static int read_root(struct bundle *b, const struct jsonread *top, struct error *err)
{
	static const char *const keys[] = {"path", "readonly", NULL};
	_cleanup_free_ char *given = NULL, *path = NULL;
	struct jsonread r;
	struct stat st;
	bool readonly = false;
	int there = jsonread_object(top, "root", &r, err);
	if (there <= 0)
		return there < 0 ? -1 : jsonread_wrong(top, "root", err, "is missing");
	if (bundle_only(&r, keys, err) < 0 || (there = bundle_string(&r, "path", &given, err)) < 0)
		return -1;
	if (!there)
		return jsonread_wrong(&r, "path", err, "is missing");
	if (jsonread_bool(&r, "readonly", &readonly, err) < 0 ||
	    !(path = bundle_host_path(b, &r, "path", given, err)))
		return -1;
	if (!strcmp(path, "/"))
		return jsonread_unknown(&r, "path", err, "must be a folder below /");
	if (stat(path, &st) < 0)
		return error_sys(err, ERR_ROOTFS_MISSING, errno, "root.path: %s", path);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ERR_ROOTFS_MISSING, "root.path: %s is not a folder", path);
	return bundle_put(b->def, "rootfs", json_string(path), err) < 0
		       ? -1
		       : bundle_put(b->def, "readonly", json_boolean(readonly), err);
}

static int read_hostname(struct bundle *b, const struct jsonread *top, struct error *err)
{
	_cleanup_free_ char *hostname = NULL;
	int there = bundle_string(top, "hostname", &hostname, err);
	if (there <= 0)
		return there;
	return bundle_put(b->def, "hostname", json_string(hostname), err);
}

static int read_annotations(struct bundle *b, const struct jsonread *top, struct error *err)
{
	struct jsonread r;
	const char *key;
	json_t *value;
	int there = jsonread_object(top, "annotations", &r, err);
	if (there <= 0 || !json_object_size(r.object))
		return there < 0 ? -1 : 0;
	json_object_foreach ((json_t *)r.object, key, value) {
		if (!json_is_string(value))
			return jsonread_wrong(&r, key, err, "must be a string");
	}
	bundle_note(b, "annotations: are not kept");
	return 0;
}

static int read_all(struct bundle *b, const struct jsonread *top, struct error *err)
{
	static const char *const keys[] = {"ociVersion", "root",        "process", "hostname",
					   "mounts",     "annotations", "linux",   NULL};
	if (read_version(top, err) < 0 || bundle_only(top, keys, err) < 0 ||
	    read_root(b, top, err) < 0 || bundle_process(b, top, err) < 0 ||
	    read_hostname(b, top, err) < 0 || bundle_mounts(b, top, err) < 0 ||
	    bundle_linux(b, top, err) < 0)
		return -1;
	return read_annotations(b, top, err);
}

// What was made must be readable as a definition: the rules of values (host names, KEY=value, two
// mounts at one place ...) are there, and the paths of these are the same in both.
static int check_result(const struct bundle *b, struct error *err)
{
	struct error why = {0};
	_cleanup_json_ json_t *trial = json_deep_copy(b->def);
	// Both are the caller's to give; only a system partition may come without a command.
	if (bundle_put(trial, "name", json_string("bundle"), err) < 0 ||
	    bundle_put(trial, "type", json_string("system"), err) < 0)
		return -1;
	_cleanup_definition_ struct partition_def *def = definition_from_json(trial, &why);
	if (def)
		return 0;
	return error_set(err, why.id == ERR_NOMEM ? ERR_NOMEM : ERR_BUNDLE, "%s", why.message);
}

json_t *bundle_convert(const json_t *config, const char *dir, json_t **notes, struct error *err)
{
	_cleanup_json_ json_t *def = json_object(), *sentences = json_array();
	struct bundle b = {.dir = dir, .def = def, .notes = sentences};
	struct jsonread top;
	if (!def || !sentences) {
		error_set(err, ERR_NOMEM, "no memory for a definition");
		return NULL;
	}
	if (*dir != '/') {
		error_set(err, ERR_BUNDLE_SYNTAX, "%s is not the absolute path of a bundle", dir);
		return NULL;
	}
	if (jsonread_open(&top, config, ERR_BUNDLE_SYNTAX, ERR_BUNDLE, err) < 0 ||
	    read_all(&b, &top, err) < 0 || check_result(&b, err) < 0)
		return NULL;
	if (notes)
		*notes = take_ptr(sentences);
	return take_ptr(def);
}

// ---- the text ----------------------------------------------------------------------------------

// A whole number that was read as a real one, as an integer again; what is too big for an exact
// real stays one, and only a limit that means "none" may be that.
static json_t *whole_number(const json_t *value)
{
	const double exact_max = 9007199254740992; // 2^53
	double real = json_real_value(value);
	bool exact = real >= -exact_max && real <= exact_max && (double)(json_int_t)real == real;
	return exact ? json_integer((json_int_t)real) : json_incref((json_t *)value);
}

static void restore_integers(json_t *value)
{
	size_t i;
	json_t *item;
	json_array_foreach (value, i, item) {
		if (json_is_real(item))
			json_array_set_new(value, i, whole_number(item));
		else
			restore_integers(item);
	}
	for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
		item = json_object_iter_value(at);
		if (json_is_real(item))
			json_object_iter_set_new(value, at, whole_number(item));
		else
			restore_integers(item);
	}
}

// RLIM_INFINITY is written as 18446744073709551615, which is no integer of jansson.
static json_t *parse(const char *text, size_t length, struct error *err)
{
	json_error_t why;
	json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
	if (!json && json_error_code(&why) == json_error_numeric_overflow) {
		json = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
				  &why);
		restore_integers(json);
	}
	if (!json)
		error_set(err, ERR_BUNDLE_SYNTAX, "config.json, line %d: %s", why.line, why.text);
	return json;
}

json_t *bundle_from_text(const char *text, size_t length, const char *dir, json_t **notes,
			 struct error *err)
{
	_cleanup_json_ json_t *config = parse(text, length, err);
	return config ? bundle_convert(config, dir, notes, err) : NULL;
}

json_t *bundle_read(const char *dir, json_t **notes, struct error *err)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct error why = {0};
	if (asprintf(&path, "%s/config.json", dir) < 0) {
		error_set(err, ERR_NOMEM, "no memory for a path");
		return NULL;
	}
	text = fdio_read_file(AT_FDCWD, path, CONFIG_MAX, &why);
	if (!text) {
		error_set(err, ERR_BUNDLE_SYNTAX, "%s", why.message);
		return NULL;
	}
	return bundle_from_text(text, strlen(text), dir, notes, err);
}
