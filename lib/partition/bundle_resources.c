// SPDX-License-Identifier: Apache-2.0
// "linux.resources" of a bundle: limits of memory, processor time and processes.
#include "lib/partition/bundle_parts.h"

#include "lib/base/cleanup.h"

#include <string.h>

#define PERIOD_DEFAULT 100000 // microseconds, as in the kernel: cpu.max
#define MILLIS_MIN     10     // as in a definition
#define MILLIS_MAX     100000000
#define PIDS_MAX       4194304

// A limit; 0 and -1 (none, as the specification has it) leave *out alone.
static int read_limit(const struct jsonread *r, const char *key, int64_t *out, struct error *err)
{
	int64_t value = 0;
	if (jsonread_i64(r, key, &value, err) < 0)
		return -1;
	if (value < -1)
		return jsonread_wrong(r, key, err, "must be positive, or -1 for no limit");
	if (value > 0)
		*out = value;
	return 0;
}

static int read_memory(const struct jsonread *top, json_t *resources, struct error *err)
{
	static const char *const keys[] = {"limit", NULL};
	int64_t limit = 0;
	struct jsonread r;
	int there = jsonread_object(top, "memory", &r, err);
	if (there <= 0)
		return there;
	if (bundle_only(&r, keys, err) < 0 || read_limit(&r, "limit", &limit, err) < 0)
		return -1;
	return limit ? bundle_put(resources, "memory_bytes", json_integer(limit), err) : 0;
}

static int read_cpu(const struct jsonread *top, json_t *resources, struct error *err)
{
	static const char *const keys[] = {"quota", "period", NULL};
	int64_t quota = 0;
	uint64_t period = PERIOD_DEFAULT;
	struct jsonread r;
	int there = jsonread_object(top, "cpu", &r, err);
	if (there <= 0)
		return there;
	if (bundle_only(&r, keys, err) < 0 || read_limit(&r, "quota", &quota, err) < 0 ||
	    jsonread_u64(&r, "period", 1000000, &period, err) < 0)
		return -1;
	if (!quota)
		return 0;
	period = period ? period : PERIOD_DEFAULT;
	int64_t most = (int64_t)period * (MILLIS_MAX / 1000);
	json_int_t millis = quota > most ? MILLIS_MAX + 1 : quota * 1000 / (int64_t)period;
	if (millis < MILLIS_MIN || millis > MILLIS_MAX)
		return jsonread_unknown(&r, "quota", err,
					"is not between 0.01 and 100000 processors");
	return bundle_put(resources, "cpu_millis", json_integer(millis), err);
}

static int read_pids(const struct jsonread *top, json_t *resources, struct error *err)
{
	static const char *const keys[] = {"limit", NULL};
	int64_t limit = 0;
	struct jsonread r;
	int there = jsonread_object(top, "pids", &r, err);
	if (there <= 0)
		return there;
	if (bundle_only(&r, keys, err) < 0 || read_limit(&r, "limit", &limit, err) < 0)
		return -1;
	if (limit > PIDS_MAX)
		return jsonread_unknown(&r, "limit", err, "is above %d", PIDS_MAX);
	return limit ? bundle_put(resources, "pids", json_integer(limit), err) : 0;
}

// Only "no access to any device", which every runtime writes first. What a partition may open is
// the same for all of them (devices.h).
static int check_device(const struct jsonread *r, struct error *err)
{
	static const char *const keys[] = {"allow", "type", "major", "minor", "access", NULL};
	_cleanup_free_ char *type = NULL, *access = NULL;
	bool allow = false;
	int64_t major = -1, minor = -1;
	if (bundle_only(r, keys, err) < 0 || jsonread_bool(r, "allow", &allow, err) < 0 ||
	    bundle_string(r, "type", &type, err) < 0 ||
	    bundle_string(r, "access", &access, err) < 0 ||
	    jsonread_i64(r, "major", &major, err) < 0 || jsonread_i64(r, "minor", &minor, err) < 0)
		return -1;
	bool every = (!type || !strcmp(type, "a")) && (!access || !strcmp(access, "rwm")) &&
		     major == -1 && minor == -1;
	if (allow || !every)
		return jsonread_unknown(r, allow ? "allow" : NULL, err,
					"only the denial of all devices is honoured");
	return 0;
}

int bundle_resources(struct bundle *b, const struct jsonread *linux_section, struct error *err)
{
	static const char *const keys[] = {"memory", "cpu", "pids", "devices", NULL};
	_cleanup_json_ json_t *resources = json_object();
	struct jsonread r;
	int there = jsonread_object(linux_section, "resources", &r, err);
	if (there <= 0)
		return there;
	if (bundle_only(&r, keys, err) < 0 || bundle_each(&r, "devices", check_device, err) < 0 ||
	    read_memory(&r, resources, err) < 0 || read_cpu(&r, resources, err) < 0 ||
	    read_pids(&r, resources, err) < 0)
		return -1;
	return bundle_put(b->def, "resources", json_incref(resources), err);
}
