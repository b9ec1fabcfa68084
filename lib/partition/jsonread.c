// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/jsonread.h"

#include "lib/partition/strv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct jsonread *r, enum error_id id, const char *key, struct error *err,
		const char *format, va_list args)
{
	char why[512], path[256];
	vsnprintf(why, sizeof(why), format, args);
	snprintf(path, sizeof(path), "%s%s%.60s", r->path, *r->path && key ? "." : "",
		 key ? key : "");
	return error_set(err, id, "%s%s%s", path, *path ? ": " : "", why);
}

int jsonread_wrong(const struct jsonread *r, const char *key, struct error *err, const char *format,
		   ...)
{
	va_list args;
	va_start(args, format);
	fail(r, r->wrong, key, err, format, args);
	va_end(args);
	return -1;
}

int jsonread_unknown(const struct jsonread *r, const char *key, struct error *err,
		     const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fail(r, r->unknown, key, err, format, args);
	va_end(args);
	return -1;
}

int jsonread_open(struct jsonread *r, const json_t *value, enum error_id wrong,
		  enum error_id unknown, struct error *err)
{
	*r = (struct jsonread){.object = value, .wrong = wrong, .unknown = unknown};
	if (!json_is_object(value))
		return error_set(err, wrong, "this is not a JSON object");
	return 0;
}

// The value under key when it is there and not null.
static const json_t *get(const struct jsonread *r, const char *key)
{
	const json_t *value = json_object_get(r->object, key);
	return json_is_null(value) ? NULL : value;
}

int jsonread_string(const struct jsonread *r, const char *key, char **out, struct error *err)
{
	const json_t *value = get(r, key);
	if (!value)
		return 0;
	if (!json_is_string(value))
		return jsonread_wrong(r, key, err, "must be a string");
	char *copy = strdup(json_string_value(value));
	if (!copy)
		return error_set(err, ERR_NOMEM, "no memory for a string");
	free(*out);
	*out = copy;
	return 1;
}

int jsonread_strings(const struct jsonread *r, const char *key, char ***out, struct error *err)
{
	const json_t *array, *item;
	size_t i;
	int there = jsonread_array(r, key, &array, err);
	if (there <= 0)
		return there;
	char **list = strv_new(NULL);
	if (!list)
		return error_set(err, ERR_NOMEM, "no memory for a list");
	json_array_foreach (array, i, item) {
		if (!json_is_string(item)) {
			strv_free(list);
			return jsonread_wrong(r, key, err, "must be a list of strings");
		}
		if (strv_add(&list, json_string_value(item)) < 0) {
			strv_free(list);
			return error_set(err, ERR_NOMEM, "no memory for a list");
		}
	}
	strv_free(*out);
	*out = list;
	return 1;
}

int jsonread_bool(const struct jsonread *r, const char *key, bool *out, struct error *err)
{
	const json_t *value = get(r, key);
	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return jsonread_wrong(r, key, err, "must be true or false");
	*out = json_is_true(value);
	return 1;
}

int jsonread_i64(const struct jsonread *r, const char *key, int64_t *out, struct error *err)
{
	const json_t *value = get(r, key);
	if (!value)
		return 0;
	if (!json_is_integer(value))
		return jsonread_wrong(r, key, err, "must be a whole number");
	*out = json_integer_value(value);
	return 1;
}

int jsonread_u64(const struct jsonread *r, const char *key, uint64_t max, uint64_t *out,
		 struct error *err)
{
	int64_t value;
	int there = jsonread_i64(r, key, &value, err);
	if (there <= 0)
		return there;
	if (value < 0 || (uint64_t)value > max)
		return jsonread_wrong(r, key, err, "must be between 0 and %llu",
				      (unsigned long long)max);
	*out = (uint64_t)value;
	return 1;
}

int jsonread_array(const struct jsonread *r, const char *key, const json_t **out, struct error *err)
{
	const json_t *value = get(r, key);
	if (!value)
		return 0;
	if (!json_is_array(value))
		return jsonread_wrong(r, key, err, "must be a list");
	*out = value;
	return 1;
}

static void descend(const struct jsonread *r, const char *key, struct jsonread *out)
{
	*out = (struct jsonread){.wrong = r->wrong, .unknown = r->unknown};
	snprintf(out->path, sizeof(out->path), "%s%s%s", r->path, *r->path ? "." : "", key);
}

int jsonread_object(const struct jsonread *r, const char *key, struct jsonread *out,
		    struct error *err)
{
	const json_t *value = get(r, key);
	if (!value)
		return 0;
	if (!json_is_object(value))
		return jsonread_wrong(r, key, err, "must be an object");
	descend(r, key, out);
	out->object = value;
	return 1;
}

int jsonread_item(const struct jsonread *r, const char *key, const json_t *array, size_t n,
		  struct jsonread *out, struct error *err)
{
	char indexed[64];
	snprintf(indexed, sizeof(indexed), "%s[%zu]", key, n);
	descend(r, indexed, out);
	out->object = json_array_get(array, n);
	if (!json_is_object(out->object))
		return jsonread_wrong(r, indexed, err, "must be an object");
	return 0;
}

int jsonread_only(const struct jsonread *r, const char *const *keys, struct error *err)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)r->object, key, value) {
		if (!strv_has((char *const *)keys, key))
			return jsonread_unknown(r, key, err, "unknown key");
	}
	return 0;
}
