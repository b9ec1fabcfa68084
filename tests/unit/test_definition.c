// SPDX-License-Identifier: Apache-2.0
// Definitions: defaults, strictness, and that reading what was written changes nothing.
#include "lib/partition/definition.h"

#include "lib/base/cleanup.h"
#include "lib/partition/caps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <cmocka.h>

static const char minimal[] =
	"{\"name\":\"redis1\",\"rootfs\":\"/srv/shared/redis1\",\"process\":{\"args\":[\"/r\"]}}";

static const char full[] =
	"{\"name\":\"redis1\",\"uuid\":\"0b6a1b0e-5f3a-4c58-9d3e-1f2a3b4c5d6e\",\"type\":"
	"\"system\","
	"\"rootfs\":\"/srv//shared/redis1/\",\"readonly\":true,\"storage\":\"copied\","
	"\"process\":{\"args\":[\"/r\",\"--x\"],\"env\":[\"A=b\"],\"cwd\":\"/var\",\"uid\":999,"
	"\"gid\":998,\"groups\":[5,6],\"capabilities\":[\"CAP_KILL\",\"net_admin\"],"
	"\"no_new_privileges\":true,"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1024,\"hard\":-1}]},"
	"\"hostname\":\"redis1.example\",\"seccomp\":\"unconfined\","
	"\"mounts\":[{\"destination\":\"/data/\",\"type\":\"bind\",\"source\":\"/srv/d\","
	"\"options\":[\"ro\",\"rbind\"],\"storage\":\"copied\",\"volume\":true},{\"destination\":"
	"\"/var/cache\",\"type\":\"tmpfs\","
	"\"options\":[\"nosuid\",\"mode=0755\"]}],"
	"\"masked_paths\":[],\"readonly_paths\":[\"/proc/sys\"],"
	"\"resources\":{\"memory_bytes\":536870912,\"cpu_millis\":1500,\"pids\":100},"
	"\"networks\":[{\"bridge\":\"br0\",\"addresses\":[\"10.77.0.50/24\",\"fd77::50/64\"],"
	"\"gateway\":[\"10.77.0.1\",\"fd77::1\"],\"mac\":\"02:AA:00:00:00:01\"}],\"dns\":[\"10.77."
	"0.1\"],"
	"\"groups\":[\"web\"],\"priority\":-3,\"autostart\":true,\"restart\":\"always\","
	"\"grace_ms\":500,\"owner\":\"hostA\",\"epoch\":7,\"cpu_features\":[\"avx2\"]}";

static struct partition_def *read_text(const char *text, struct error *err)
{
	return definition_from_text(text, strlen(text), err);
}

static void fills_in_defaults(void **state)
{
	(void)state;
	struct error err = {0};
	_cleanup_definition_ struct partition_def *def = read_text(minimal, &err);
	assert_non_null(def);
	assert_int_equal(def->type, PARTITION_APPLICATION);
	assert_int_equal(strlen(def->uuid), 36);
	assert_int_equal(def->uuid[14], '4');
	assert_string_equal(def->hostname, "redis1");
	assert_string_equal(def->storage, "shared");
	assert_string_equal(def->process.cwd, "/");
	assert_string_equal(def->restart, "no");
	assert_int_equal(def->process.capabilities, caps_default());
	assert_int_equal(def->grace_ms, 10000);
	assert_string_equal(json_string_value(def->seccomp), "default");
	assert_non_null(def->masked_paths[0]);
	assert_non_null(def->process.env[0]);
	assert_int_equal(def->network_count, 0);
}

static void reads_everything(void **state)
{
	(void)state;
	struct error err = {0};
	_cleanup_definition_ struct partition_def *def = read_text(full, &err);
	assert_string_equal(err.message, "");
	assert_non_null(def);
	assert_string_equal(def->rootfs, "/srv/shared/redis1");
	assert_int_equal(def->process.gid, 998);
	assert_int_equal(def->process.capabilities, 1u << 5 | 1u << 12);
	assert_int_equal(def->process.rlimits[0].resource, RLIMIT_NOFILE);
	assert_true(def->process.rlimits[0].hard == RLIM_INFINITY);
	assert_string_equal(def->mounts[0].destination, "/data");
	assert_int_equal(def->mounts[0].flags, MS_RDONLY);
	assert_true(def->mounts[0].recursive);
	assert_int_equal(def->mounts[1].mode, 0755);
	assert_string_equal(def->networks[0].mac, "02:aa:00:00:00:01");
	assert_null(def->masked_paths[0]);
	assert_int_equal(def->priority, -3);
	assert_int_equal(def->epoch, 7);
}

static void writing_and_reading_is_the_identity(void **state)
{
	(void)state;
	const char *texts[] = {minimal, full};
	for (size_t i = 0; i < 2; i++) {
		struct error err = {0};
		_cleanup_definition_ struct partition_def *def = read_text(texts[i], &err);
		_cleanup_json_ json_t *first = definition_to_json(def);
		assert_non_null(first);
		_cleanup_definition_ struct partition_def *again =
			definition_from_json(first, &err);
		assert_non_null(again);
		_cleanup_json_ json_t *second = definition_to_json(again);
		assert_true(json_equal(first, second));
	}
}

// What travels beside it is there only when it was given, and what is pending can be put in.
static void carries_what_is_pending(void **state)
{
	(void)state;
	struct error err = {0};
	_cleanup_definition_ struct partition_def *plain = read_text(minimal, &err);
	_cleanup_json_ json_t *running = definition_to_json(plain);
	assert_null(json_object_get(running, "pending"));
	assert_null(json_object_get(running, "revision"));
	json_object_set_new(running, "revision", json_integer(4));
	json_object_set_new(running, "pending",
			    json_pack("{s:[s], s:i}", "dns", "10.0.0.1", "resources.pids", 7));
	_cleanup_definition_ struct partition_def *def = definition_from_json(running, &err);
	assert_non_null(def);
	assert_int_equal(def->revision, 4);
	assert_int_equal(def->pids, 0);
	_cleanup_json_ json_t *next = definition_with(running, def->pending);
	assert_int_equal(json_integer_value(definition_value(next, "resources.pids")), 7);
	assert_int_equal(json_array_size(definition_value(next, "dns")), 1);
	assert_int_equal(json_array_size(definition_value(running, "dns")), 0);
}

// definition_key() lists what a definition has.
static void every_key_is_known(void **state)
{
	(void)state;
	struct error err = {0};
	_cleanup_definition_ struct partition_def *def = read_text(full, &err);
	_cleanup_json_ json_t *json = definition_to_json(def), *copy = json_object();
	const char *key;
	for (unsigned n = 0; (key = definition_key(n)); n++)
		definition_put(copy, key, json_incref(definition_value(json, key)));
	assert_true(json_equal(json, copy));
}

static void mac_follows_from_uuid_and_index(void **state)
{
	(void)state;
	char a[18], b[18], c[18], d[18];
	definition_make_mac("0b6a1b0e-5f3a-4c58-9d3e-1f2a3b4c5d6e", 0, a);
	definition_make_mac("0b6a1b0e-5f3a-4c58-9d3e-1f2a3b4c5d6e", 0, b);
	definition_make_mac("0b6a1b0e-5f3a-4c58-9d3e-1f2a3b4c5d6e", 1, c);
	definition_make_mac("0b6a1b0e-5f3a-4c58-9d3e-1f2a3b4c5d6f", 0, d);
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
	assert_string_not_equal(a, d);
	assert_int_equal(strncmp(a, "02:", 3), 0);
}

// Each case: a key of the minimal definition replaced or added, and a word of the refusal.
static const struct {
	const char *key, *value, *word;
	enum error_id id;
} wrong[] = {
	{"colour", "\"red\"", "colour", ERR_DEFINITION},
	{"name", "\"../x\"", "x", ERR_NAME_INVALID},
	{"name", "7", "name", ERR_DEFINITION},
	{"rootfs", "\"relative\"", "rootfs", ERR_DEFINITION},
	{"rootfs", "\"/\"", "rootfs", ERR_DEFINITION},
	{"rootfs", "\"/srv/../etc\"", "rootfs", ERR_DEFINITION},
	{"rootfs", "null", "rootfs", ERR_DEFINITION},
	{"type", "\"vm\"", "type", ERR_DEFINITION},
	{"uuid", "\"x\"", "uuid", ERR_DEFINITION},
	{"hostname", "\"a b\"", "hostname", ERR_DEFINITION},
	{"process", "{\"args\":[]}", "command", ERR_DEFINITION},
	{"process", "{\"args\":[\"x\"],\"shell\":1}", "process.shell", ERR_DEFINITION},
	{"process", "{\"args\":[\"x\"],\"env\":[\"novalue\"]}", "process.env", ERR_DEFINITION},
	{"process", "{\"args\":[\"x\"],\"capabilities\":[\"CAP_FLY\"]}", "CAP_FLY", ERR_DEFINITION},
	{"process", "{\"args\":[\"x\"],\"capabilities\":[\"12\"]}", "12", ERR_DEFINITION},
	{"process", "{\"args\":[\"x\"],\"uid\":-1}", "process.uid", ERR_DEFINITION},
	{"process", "{\"args\":[\"x\"],\"uid\":4294967295}", "process.uid", ERR_DEFINITION},
	{"process",
	 "{\"args\":[\"x\"],\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":9,\"hard\":8}]}",
	 "rlimits[0].soft", ERR_DEFINITION},
	{"mounts", "[{\"destination\":\"/\",\"source\":\"/x\"}]", "destination", ERR_DEFINITION},
	{"mounts", "[{\"destination\":\"/proc/sys\",\"source\":\"/x\"}]", "/proc/sys",
	 ERR_DEFINITION},
	{"mounts", "[{\"destination\":\"/a\",\"source\":\"/x\",\"options\":[\"shared\"]}]",
	 "shared", ERR_DEFINITION},
	{"mounts",
	 "[{\"destination\":\"/a\",\"source\":\"/x\"},{\"destination\":\"/a/\",\"source\":\"/y\"}]",
	 "twice", ERR_DEFINITION},
	{"networks", "[{\"bridge\":\"br0/x\",\"addresses\":[]}]", "bridge", ERR_DEFINITION},
	{"networks", "[{\"bridge\":\"br0\",\"addresses\":[\"10.0.0.1\"]}]", "networks[0].addresses",
	 ERR_DEFINITION},
	{"networks", "[{\"bridge\":\"br0\",\"addresses\":[\"10.0.0.1/33\"]}]", "networks[0]",
	 ERR_DEFINITION},
	{"networks", "[{\"bridge\":\"br0\",\"mac\":\"01:00:00:00:00:00\"}]", "networks[0].mac",
	 ERR_DEFINITION},
	{"resources", "{\"memory_bytes\":-5}", "memory_bytes", ERR_DEFINITION},
	{"resources", "{\"swap\":1}", "resources.swap", ERR_DEFINITION},
	{"restart", "\"sometimes\"", "restart", ERR_DEFINITION},
	{"seccomp", "\"loose\"", "loose", ERR_DEFINITION},
	{"groups", "[\"a/b\"]", "groups", ERR_DEFINITION},
	{"dns", "[\"example.org\"]", "dns", ERR_DEFINITION},
	{"dns", "[\"10.0.0.1\",\"10.0.0.2\",\"10.0.0.3\",\"10.0.0.4\"]", "more than 3",
	 ERR_DEFINITION},
	{"networks",
	 "[{\"bridge\":\"b\",\"addresses\":[\"10.0.0.5/24\"],\"gateway\":\"10.0.1.1\"}]",
	 "networks[0].gateway", ERR_DEFINITION},
	{"networks",
	 "[{\"bridge\":\"b\",\"addresses\":[\"10.0.0.5/"
	 "24\"],\"gateway\":[\"10.0.0.1\",\"10.0.0.2\"]}]",
	 "second default gateway of IPv4", ERR_DEFINITION},
	{"networks",
	 "[{\"bridge\":\"b\",\"addresses\":[\"10.0.0.5/24\"]},{\"bridge\":\"c\",\"addresses\":"
	 "[\"10.0.0.5/16\"]}]",
	 "networks[1].addresses", ERR_DEFINITION},
	{"networks",
	 "[{\"bridge\":\"b\",\"mac\":\"02:00:00:00:00:01\"},{\"bridge\":\"b\",\"mac\":"
	 "\"02:00:00:00:00:01\"}]",
	 "networks[1].mac", ERR_DEFINITION},
	{"mounts", "[{\"destination\":\"/a\",\"source\":\"/x\",\"storage\":\"lent\"}]", "storage",
	 ERR_DEFINITION},
	{"mounts", "[{\"destination\":\"/a\",\"type\":\"tmpfs\",\"storage\":\"shared\"}]",
	 "mounts[0].storage", ERR_DEFINITION},
};

static void refuses_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct error err = {0};
		_cleanup_json_ json_t *json = json_loads(minimal, 0, NULL);
		json_object_set_new(json, wrong[i].key,
				    json_loads(wrong[i].value, JSON_DECODE_ANY, NULL));
		_cleanup_definition_ struct partition_def *def = definition_from_json(json, &err);
		if (def || !strstr(err.message, wrong[i].word))
			fail_msg("%s = %s: %s", wrong[i].key, wrong[i].value,
				 def ? "accepted" : err.message);
		assert_int_equal(err.id, wrong[i].id);
	}
}

static void takes_an_image_for_the_root(void **state)
{
	static const char digest[] =
		"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char text[512];
	struct error err = {0};
	(void)state;
	snprintf(text, sizeof(text),
		 "{\"name\":\"w\",\"rootfs\":\"\",\"process\":{\"args\":[\"/r\"]},"
		 "\"stop_signal\":\"SIGRTMIN+3\",\"image\":{\"reference\":\"oci:/i:t\","
		 "\"digest\":\"%s\"}}",
		 digest);
	_cleanup_definition_ struct partition_def *def = read_text(text, &err);
	assert_non_null(def);
	assert_string_equal(def->rootfs, "");
	assert_string_equal(def->image, "oci:/i:t");
	assert_string_equal(def->image_digest, digest);
	_cleanup_json_ json_t *written = definition_to_json(def);
	_cleanup_definition_ struct partition_def *again = definition_from_json(written, &err);
	assert_non_null(again);
	assert_string_equal(again->image_digest, digest);
	assert_string_equal(again->stop_signal, "SIGRTMIN+3");
}

static void refuses_a_wrong_image(void **state)
{
	static const char *const images[] = {
		"{\"name\":\"w\",\"process\":{\"args\":[\"/r\"]},\"image\":{\"reference\":\"oci:/"
		"i\"}}",
		"{\"name\":\"w\",\"process\":{\"args\":[\"/r\"]},\"image\":{\"reference\":\"oci:/"
		"i\","
		"\"digest\":\"sha256:../../../etc\"}}",
		"{\"name\":\"w\",\"rootfs\":\"/srv/x\",\"process\":{\"args\":[\"/r\"]},\"image\":{"
		"\"reference\":\"oci:/i\",\"digest\":"
		"\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}}",
		"{\"name\":\"w\",\"rootfs\":\"/r\",\"process\":{\"args\":[\"/r\"]},"
		"\"stop_signal\":\"SIGNOT\"}",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		struct error err = {0};
		assert_null(read_text(images[i], &err));
		assert_int_equal(err.id, ERR_DEFINITION);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fills_in_defaults),
		cmocka_unit_test(takes_an_image_for_the_root),
		cmocka_unit_test(refuses_a_wrong_image),
		cmocka_unit_test(reads_everything),
		cmocka_unit_test(writing_and_reading_is_the_identity),
		cmocka_unit_test(carries_what_is_pending),
		cmocka_unit_test(every_key_is_known),
		cmocka_unit_test(mac_follows_from_uuid_and_index),
		cmocka_unit_test(refuses_by_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
