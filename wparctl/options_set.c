// SPDX-License-Identifier: Apache-2.0
// The words of `set`.
#include "lib/base/cleanup.h"
#include "lib/base/units.h"
#include "wparctl/options.h"
#include "wparctl/yaml.h"

#include <string.h>
#include <strings.h>

// The object at a key, made when there is none.
static json_t *object_at(json_t *object, const char *key)
{
	json_t *inner = json_object_get(object, key);
	if (!json_is_object(inner)) {
		inner = json_object();
		json_object_set_new(object, key, inner);
	}
	return inner;
}

static int set_resource(json_t *patch, const char *key, const char *value, struct error *err)
{
	return options_resource(object_at(patch, "resources"), key, value, err);
}

static int set_list(json_t *patch, const char *key, const char *value, struct error *err)
{
	json_t *list = json_array();
	_cleanup_free_ char *words = strdup(value);
	char *rest = words;
	(void)err;
	for (char *word; (word = strsep(&rest, ","));)
		if (word[0])
			json_array_append_new(list, json_string(word));
	return json_object_set_new(patch, key, list);
}

static int set_flag(json_t *patch, const char *key, const char *value, struct error *err)
{
	bool yes = !strcasecmp(value, "yes") || !strcasecmp(value, "true");
	if (!yes && strcasecmp(value, "no") != 0 && strcasecmp(value, "false") != 0)
		return error_set(err, ERR_USAGE, "\"%s\": yes or no is wanted", value);
	return json_object_set_new(patch, key, json_boolean(yes));
}

static int set_text(json_t *patch, const char *key, const char *value, struct error *err)
{
	(void)err;
	return json_object_set_new(patch, key, json_string(value));
}

static int set_number(json_t *patch, const char *key, const char *value, struct error *err)
{
	json_t *number = yaml_read(value, strlen(value), key, err);
	if (json_is_integer(number))
		return json_object_set_new(patch, key, number);
	json_decref(number);
	return error_set(err, ERR_USAGE, "\"%s\": a number is wanted", value);
}

static int set_grace(json_t *patch, const char *key, const char *value, struct error *err)
{
	uint64_t ms;
	(void)key;
	if (units_parse_duration(value, &ms, err) < 0)
		return -1;
	return json_object_set_new(patch, "grace_ms", json_integer((json_int_t)ms));
}

static int set_user(json_t *patch, const char *key, const char *value, struct error *err)
{
	json_int_t uid, gid;
	(void)key;
	if (options_user(value, &uid, &gid, err) < 0)
		return -1;
	json_t *process = object_at(patch, "process");
	json_object_set_new(process, "uid", json_integer(uid));
	return json_object_set_new(process, "gid", json_integer(gid));
}

// "process.cwd": any key of the definition, its value in YAML; an empty one takes it away.
static int set_any(json_t *patch, const char *key, const char *value, struct error *err)
{
	_cleanup_free_ char *levels = strdup(key);
	char *rest = levels;
	json_t *at = patch;
	const char *level = strsep(&rest, ".");
	for (; rest; level = strsep(&rest, "."))
		at = object_at(at, level);
	json_t *read = yaml_read(value, strlen(value), key, err);
	return read ? json_object_set_new(at, level, read) : -1;
}

static const struct word {
	const char *key;
	int (*set)(json_t *patch, const char *key, const char *value, struct error *err);
} words[] = {
	{"memory", set_resource}, {"cpus", set_resource},   {"pids", set_resource},
	{"groups", set_list},     {"dns", set_list},        {"autostart", set_flag},
	{"restart", set_text},    {"hostname", set_text},   {"storage", set_text},
	{"type", set_text},       {"priority", set_number}, {"grace", set_grace},
	{"user", set_user},
};

static int set_word(json_t *patch, const char *key, const char *value, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i].key, key))
			return words[i].set(patch, key, value, err);
	return set_any(patch, key, value, err);
}

static bool is_key(const char *key)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_.";
	size_t length = strlen(key);
	return length && strspn(key, letters) == length && key[0] != '.' &&
	       key[length - 1] != '.' && !strstr(key, "..");
}

static int set_pair(json_t *patch, const char *pair, struct error *err)
{
	const char *value = strchr(pair, '=');
	_cleanup_free_ char *key = value ? strndup(pair, (size_t)(value - pair)) : NULL;
	if (!key || !is_key(key))
		return error_set(err, ERR_USAGE, "set: \"%s\": KEY=VALUE is wanted", pair);
	if (!strcmp(key, "name")) {
		error_set(err, ERR_USAGE, "set: the name is no such key");
		return error_hint(err, "wparctl rename NAME NEW");
	}
	if (set_word(patch, key, value + 1, err) < 0)
		return error_wrap(err, "set: %s", key);
	return 0;
}

json_t *options_set(const struct args *args, struct error *err)
{
	_cleanup_json_ json_t *patch = json_object();
	for (size_t i = 1; i < args->count; i++)
		if (set_pair(patch, args->names[i], err) < 0)
			return NULL;
	if (args_has(args, "on-next-start"))
		json_object_set_new(patch, "on_next_start", json_true());
	return take_ptr(patch);
}

const char *options_set_key(size_t n)
{
	return n < ARRAY_SIZE(words) ? words[n].key : NULL;
}
