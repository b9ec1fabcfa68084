// SPDX-License-Identifier: Apache-2.0
// "process" of a bundle.
#include "lib/partition/bundle_parts.h"

#include "lib/base/cleanup.h"
#include "lib/partition/caps.h"
#include "lib/partition/mountopt.h"
#include "lib/partition/rlimit.h"

#include <string.h>

static int read_gids(const struct jsonread *r, json_t *process, struct error *err)
{
	const json_t *array, *item;
	size_t i;
	int there = jsonread_array(r, "additionalGids", &array, err);
	if (there <= 0)
		return there;
	json_array_foreach (array, i, item) {
		json_int_t gid = json_integer_value(item);
		if (!json_is_integer(item) || gid < 0 || gid >= UINT32_MAX)
			return jsonread_wrong(r, "additionalGids", err,
					      "must be a list of group numbers");
	}
	return bundle_put(process, "groups", json_deep_copy(array), err);
}

static int read_user(const struct jsonread *top, json_t *process, uint64_t *uid, struct error *err)
{
	static const char *const keys[] = {"uid", "gid", "umask", "additionalGids", NULL};
	uint64_t gid = 0, umask = 022;
	struct jsonread r;
	int there = jsonread_object(top, "user", &r, err);
	if (there < 0)
		return -1;
	if (there &&
	    (bundle_only(&r, keys, err) < 0 ||
	     jsonread_u64(&r, "uid", UINT32_MAX - 1, uid, err) < 0 ||
	     jsonread_u64(&r, "gid", UINT32_MAX - 1, &gid, err) < 0 ||
	     jsonread_u64(&r, "umask", 0777, &umask, err) < 0 || read_gids(&r, process, err) < 0))
		return -1;
	if (umask != 022)
		return jsonread_unknown(&r, "umask", err, "only 18 (octal 022) is honoured");
	return bundle_put(process, "uid", json_integer((json_int_t)*uid), err) < 0
		       ? -1
		       : bundle_put(process, "gid", json_integer((json_int_t)gid), err);
}

// ---- capabilities ------------------------------------------------------------------------------

static int read_set(const struct jsonread *r, const char *key, uint64_t *set, struct error *err)
{
	const json_t *array, *item;
	size_t i;
	int there = jsonread_array(r, key, &array, err);
	if (there <= 0)
		return there;
	json_array_foreach (array, i, item) {
		if (!json_is_string(item))
			return jsonread_wrong(r, key, err, "must be a list of strings");
		int number = caps_number(json_string_value(item));
		if (number < 0)
			return jsonread_unknown(r, key, err, "\"%.40s\" is not known here",
						json_string_value(item));
		*set |= 1ull << number;
	}
	return 0;
}

struct sets {
	uint64_t bounding, permitted, effective, inheritable, ambient;
};

// A partition has one set: the bounding one, which programs of root get as permitted and effective
// when they start (capabilities(7)), and programs of others do not. So for root these must be the
// same, and for others what they are makes no difference. The ambient set would make one for
// others.
static int check_sets(struct bundle *b, const struct jsonread *r, const struct sets *s, bool root,
		      struct error *err)
{
	if (root ? s->permitted != s->bounding : s->permitted & ~s->bounding)
		return jsonread_unknown(r, "permitted", err, "differs from the bounding set");
	if (root ? s->effective != s->bounding : s->effective & ~s->permitted)
		return jsonread_unknown(r, "effective", err, "differs from the bounding set");
	if (s->inheritable & ~s->bounding)
		return jsonread_unknown(r, "inheritable", err, "is larger than the bounding set");
	if (root ? s->ambient & ~s->bounding : s->ambient)
		return jsonread_unknown(r, "ambient", err, "%s",
					root ? "is larger than the bounding set"
					     : "is honoured for uid 0 only");
	if (s->inheritable)
		bundle_note(b, "%s.inheritable: is emptied, the bounding set is kept", r->path);
	return 0;
}

static int put_set(json_t *process, uint64_t set, struct error *err)
{
	char name[CAPS_NAME_MAX];
	json_t *list = json_array();
	for (int i = 0; i < 64; i++)
		if (set & (1ull << i) && caps_name(i, name))
			json_array_append_new(list, json_string(name));
	return bundle_put(process, "capabilities", list, err);
}

// Without the section a process has none, as in the other runtimes.
static int read_capabilities(struct bundle *b, const struct jsonread *top, json_t *process,
			     bool root, struct error *err)
{
	static const char *const keys[] = {"bounding",    "permitted", "effective",
					   "inheritable", "ambient",   NULL};
	struct sets s = {0};
	struct jsonread r;
	int there = jsonread_object(top, "capabilities", &r, err);
	if (there < 0)
		return -1;
	if (there &&
	    (bundle_only(&r, keys, err) < 0 || read_set(&r, "bounding", &s.bounding, err) < 0 ||
	     read_set(&r, "permitted", &s.permitted, err) < 0 ||
	     read_set(&r, "effective", &s.effective, err) < 0 ||
	     read_set(&r, "inheritable", &s.inheritable, err) < 0 ||
	     read_set(&r, "ambient", &s.ambient, err) < 0 || check_sets(b, &r, &s, root, err) < 0))
		return -1;
	b->capabilities = s.bounding;
	return put_set(process, s.bounding, err);
}

// ---- limits ------------------------------------------------------------------------------------

// Unsigned 64 bits; all ones, RLIM_INFINITY, arrive as the real number next to it.
static int read_limit(const struct jsonread *r, const char *key, json_int_t *limit,
		      struct error *err)
{
	const json_t *value = json_object_get(r->object, key);
	*limit = json_integer_value(value);
	if (json_is_real(value) && json_real_value(value) == 0x1p64)
		*limit = -1;
	else if (!json_is_integer(value) || *limit < 0)
		return jsonread_wrong(r, key, err, "must be a number that is not negative");
	return 0;
}

static int read_rlimit(const struct jsonread *r, json_t *list, struct error *err)
{
	static const char *const keys[] = {"type", "soft", "hard", NULL};
	_cleanup_free_ char *type = NULL;
	json_int_t soft, hard;
	const json_t *other;
	size_t i;
	int there = jsonread_string(r, "type", &type, err);
	if (there <= 0)
		return there < 0 ? -1 : jsonread_wrong(r, "type", err, "is missing");
	if (bundle_only(r, keys, err) < 0 || read_limit(r, "soft", &soft, err) < 0 ||
	    read_limit(r, "hard", &hard, err) < 0)
		return -1;
	if (rlimit_number(type) < 0)
		return jsonread_unknown(r, "type", err, "\"%.40s\" is not known here", type);
	json_array_foreach (list, i, other) {
		if (!strcmp(json_string_value(json_object_get(other, "type")), type))
			return jsonread_wrong(r, "type", err, "%s is there twice", type);
	}
	json_t *limit = json_pack("{s:s, s:I, s:I}", "type", type, "soft", soft, "hard", hard);
	if (json_array_append_new(list, limit) < 0)
		return error_set(err, ERR_NOMEM, "no memory for a resource limit");
	return 0;
}

static int read_rlimits(const struct jsonread *r, json_t *process, struct error *err)
{
	_cleanup_json_ json_t *list = json_array();
	const json_t *array;
	int there = jsonread_array(r, "rlimits", &array, err);
	if (there <= 0)
		return there;
	for (size_t i = 0; i < json_array_size(array); i++) {
		struct jsonread item;
		if (jsonread_item(r, "rlimits", array, i, &item, err) < 0 ||
		    read_rlimit(&item, list, err) < 0)
			return -1;
	}
	return bundle_put(process, "rlimits", json_incref(list), err);
}

// ---- the whole ---------------------------------------------------------------------------------

static int read_command(const struct jsonread *r, json_t *process, struct error *err)
{
	_cleanup_free_ char *cwd = NULL;
	// Both lists are always set: an absent environment is an empty one, not the default.
	if (bundle_put(process, "args", json_array(), err) < 0 ||
	    bundle_put(process, "env", json_array(), err) < 0 ||
	    bundle_strings(r, "args", process, "args", err) < 0 ||
	    bundle_strings(r, "env", process, "env", err) < 0)
		return -1;
	int there = bundle_string(r, "cwd", &cwd, err);
	if (there <= 0)
		return there < 0 ? -1 : jsonread_wrong(r, "cwd", err, "is missing");
	if (!mountopt_normalise(cwd))
		return jsonread_unknown(r, "cwd", err, "must be an absolute path without \"..\"");
	return bundle_put(process, "cwd", json_string(cwd), err);
}

static int read_flags(const struct jsonread *r, json_t *process, struct error *err)
{
	bool terminal = false, no_new_privileges = false;
	int64_t oom_score = 0;
	if (jsonread_bool(r, "terminal", &terminal, err) < 0 ||
	    jsonread_bool(r, "noNewPrivileges", &no_new_privileges, err) < 0 ||
	    jsonread_i64(r, "oomScoreAdj", &oom_score, err) < 0)
		return -1;
	if (terminal)
		return jsonread_unknown(r, "terminal", err,
					"is not honoured, the output goes to the console log");
	if (oom_score)
		return jsonread_unknown(r, "oomScoreAdj", err, "only 0 is honoured");
	return bundle_put(process, "no_new_privileges", json_boolean(no_new_privileges), err);
}

int bundle_process(struct bundle *b, const struct jsonread *top, struct error *err)
{
	// consoleSize: of no meaning without a terminal, says the specification.
	static const char *const keys[] = {
		"args",         "env",         "cwd",         "user",
		"capabilities", "terminal",    "consoleSize", "noNewPrivileges",
		"rlimits",      "oomScoreAdj", NULL};
	_cleanup_json_ json_t *process = json_object();
	uint64_t uid = 0;
	struct jsonread r;
	int there = jsonread_object(top, "process", &r, err);
	if (there <= 0)
		return there < 0 ? -1 : jsonread_wrong(top, "process", err, "is missing");
	if (bundle_only(&r, keys, err) < 0 || read_command(&r, process, err) < 0 ||
	    read_user(&r, process, &uid, err) < 0 ||
	    read_capabilities(b, &r, process, uid == 0, err) < 0 ||
	    read_rlimits(&r, process, err) < 0 || read_flags(&r, process, err) < 0)
		return -1;
	return bundle_put(b->def, "process", json_incref(process), err);
}
