// SPDX-License-Identifier: Apache-2.0
// Bundles: what `runc spec` writes is taken, the honoured subset arrives in the definition, and
// everything else is refused by its path.
#include "lib/partition/bundle.h"

#include "lib/base/cleanup.h"
#include "lib/partition/definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

static char dir[] = "/tmp/test_bundle.XXXXXX";

#define SETS "\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\""

// What `runc spec` writes on a host with control groups v2, with "terminal" made false.
static const char runc_spec[] =
	"{\"ociVersion\":\"1.2.0\",\"process\":{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0},"
	"\"args\":[\"sh\"],\"env\":["
	"\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"TERM=xterm\"],"
	"\"cwd\":\"/\",\"capabilities\":{\"bounding\":[" SETS "],\"effective\":[" SETS
	"],\"permitted\":[" SETS "]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1024}],"
	"\"noNewPrivileges\":true},\"root\":{\"path\":\"rootfs\",\"readonly\":true},"
	"\"hostname\":\"runc\",\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":"
	"[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":"
	"[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":"
	"[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":"
	"[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":"
	"[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
	"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}],"
	"\"linux\":{\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]},"
	"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},"
	"{\"type\":\"uts\"},{\"type\":\"mount\"},{\"type\":\"cgroup\"}],"
	"\"maskedPaths\":[\"/proc/acpi\",\"/proc/asound\",\"/proc/kcore\",\"/proc/keys\","
	"\"/proc/latency_stats\",\"/proc/timer_list\",\"/proc/timer_stats\",\"/proc/sched_debug\","
	"\"/sys/firmware\",\"/proc/scsi\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\","
	"\"/proc/sysrq-trigger\"]}}";

// Removes "a.b.c" from the object.
static void drop(json_t *object, const char *path)
{
	char part[64];
	const char *dot;
	while ((dot = strchr(path, '.'))) {
		snprintf(part, sizeof(part), "%.*s", (int)(dot - path), path);
		object = json_object_get(object, part);
		path = dot + 1;
	}
	assert_int_equal(json_object_del(object, path), 0);
}

// The bundle of `runc spec` with something removed (may be NULL) and something merged in.
static json_t *changed(const char *removed, const char *patch)
{
	json_t *config = json_loads(runc_spec, 0, NULL);
	assert_non_null(config);
	if (removed)
		drop(config, removed);
	if (patch) {
		json_error_t why;
		_cleanup_json_ json_t *more = json_loads(patch, 0, &why);
		if (!more)
			fail_msg("%s: %s", patch, why.text);
		json_object_update_recursive(config, more);
	}
	return config;
}

// Converts, adds a name and reads the result: what `create --bundle` does.
static struct partition_def *take(const char *patch)
{
	struct error err = {0};
	_cleanup_json_ json_t *config = changed(NULL, patch);
	_cleanup_json_ json_t *json = bundle_convert(config, dir, NULL, &err);
	if (!json)
		fail_msg("refused: %s", err.message);
	json_object_set_new(json, "name", json_string("web"));
	struct partition_def *def = definition_from_json(json, &err);
	if (!def)
		fail_msg("not a definition: %s", err.message);
	return def;
}

// ---- what is honoured --------------------------------------------------------------------------

static void takes_what_runc_writes(void **state)
{
	(void)state;
	char rootfs[64];
	snprintf(rootfs, sizeof(rootfs), "%s/rootfs", dir);
	_cleanup_definition_ struct partition_def *def = take(NULL);
	assert_string_equal(def->rootfs, rootfs);
	assert_true(def->readonly);
	assert_string_equal(def->hostname, "runc");
	assert_string_equal(def->process.args[0], "sh");
	assert_null(def->process.args[1]);
	assert_string_equal(def->process.env[1], "TERM=xterm");
	assert_string_equal(def->process.cwd, "/");
	assert_true(def->process.no_new_privileges);
	assert_int_equal(def->process.capabilities,
			 1ull << CAP_AUDIT_WRITE | 1ull << CAP_KILL | 1ull << CAP_NET_BIND_SERVICE);
	assert_int_equal(def->process.rlimit_count, 1);
	assert_int_equal(def->process.rlimits[0].resource, RLIMIT_NOFILE);
	assert_int_equal(def->process.rlimits[0].hard, 1024);
	assert_int_equal(def->mount_count, 0);
	assert_string_equal(def->masked_paths[1], "/proc/asound");
	assert_string_equal(def->readonly_paths[4], "/proc/sysrq-trigger");
	assert_null(def->readonly_paths[5]);
	assert_int_equal(def->memory_bytes, 0);
}

static void takes_the_process(void **state)
{
	(void)state;
	_cleanup_definition_ struct partition_def *def = take(
		"{\"process\":{\"args\":[\"/bin/a\",\"b\"],\"env\":[\"A=b\"],\"cwd\":\"/var//x/\","
		"\"user\":{\"uid\":33,\"gid\":34,\"umask\":18,\"additionalGids\":[5,6]},"
		"\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_CHOWN\"],\"permitted\":[],"
		"\"effective\":[],\"inheritable\":[\"CAP_KILL\"]},\"oomScoreAdj\":0,"
		"\"consoleSize\":{\"height\":25,\"width\":80},\"noNewPrivileges\":false}}");
	assert_string_equal(def->process.args[1], "b");
	assert_string_equal(def->process.env[0], "A=b");
	assert_null(def->process.env[1]);
	assert_string_equal(def->process.cwd, "/var/x");
	assert_int_equal(def->process.uid, 33);
	assert_int_equal(def->process.gid, 34);
	assert_int_equal(def->process.group_count, 2);
	assert_int_equal(def->process.groups[1], 6);
	assert_int_equal(def->process.capabilities, 1ull << CAP_KILL | 1ull << CAP_CHOWN);
	assert_false(def->process.no_new_privileges);
}

// Not the defaults of a partition: those would be more than what was asked for.
static void absent_means_none(void **state)
{
	(void)state;
	struct error err = {0};
	_cleanup_json_ json_t *config = changed("process.capabilities", NULL);
	drop(config, "process.env");
	_cleanup_json_ json_t *json = bundle_convert(config, dir, NULL, &err);
	assert_non_null(json);
	const json_t *process = json_object_get(json, "process");
	assert_true(json_is_array(json_object_get(process, "capabilities")));
	assert_int_equal(json_array_size(json_object_get(process, "capabilities")), 0);
	assert_true(json_is_array(json_object_get(process, "env")));
	assert_int_equal(json_array_size(json_object_get(process, "env")), 0);
}

static void takes_limits_without_end(void **state)
{
	(void)state;
	struct error err = {0};
	_cleanup_json_ json_t *config = changed("process.rlimits", NULL);
	_cleanup_free_ char *text = json_dumps(config, JSON_COMPACT);
	static const char from[] = "\"noNewPrivileges\"";
	char *at = strstr(text, from);
	assert_non_null(at);
	_cleanup_free_ char *whole = NULL;
	assert_true(asprintf(&whole,
			     "%.*s\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":7,"
			     "\"hard\":18446744073709551615}],%s",
			     (int)(at - text), text, at) > 0);
	_cleanup_json_ json_t *json = bundle_from_text(whole, strlen(whole), dir, NULL, &err);
	if (!json)
		fail_msg("refused: %s", err.message);
	json_object_set_new(json, "name", json_string("web"));
	_cleanup_definition_ struct partition_def *def = definition_from_json(json, &err);
	assert_non_null(def);
	assert_int_equal(def->process.rlimits[0].soft, 7);
	assert_int_equal(def->process.rlimits[0].hard, RLIM_INFINITY);
}

static void takes_volumes(void **state)
{
	(void)state;
	char source[64];
	snprintf(source, sizeof(source), "%s/data", dir);
	_cleanup_definition_ struct partition_def *def = take(
		"{\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		"{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"data\",\"options\":"
		"[\"rbind\",\"ro\",\"rprivate\"]},"
		"{\"destination\":\"/etc/a\",\"type\":\"none\",\"source\":\"/srv/a\",\"options\":"
		"[\"bind\",\"nodev\"]},"
		"{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":"
		"[\"rw\",\"nosuid\",\"nodev\",\"mode=755\"]},"
		"{\"destination\":\"/var/cache\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
		"\"options\":[\"noexec\",\"mode=0750\",\"size=1m\"]}]}");
	assert_int_equal(def->mount_count, 3);
	assert_string_equal(def->mounts[0].source, source);
	assert_int_equal(def->mounts[0].flags, MS_RDONLY);
	assert_true(def->mounts[0].recursive);
	assert_string_equal(def->mounts[1].destination, "/etc/a");
	assert_int_equal(def->mounts[1].type, MOUNT_BIND);
	assert_int_equal(def->mounts[1].flags, MS_NODEV);
	assert_int_equal(def->mounts[2].type, MOUNT_TMPFS);
	assert_int_equal(def->mounts[2].mode, 0750);
	assert_int_equal(def->mounts[2].flags, MS_NOEXEC);
}

static void takes_resources(void **state)
{
	(void)state;
	_cleanup_definition_ struct partition_def *def =
		take("{\"linux\":{\"resources\":{\"memory\":{\"limit\":536870912},"
		     "\"cpu\":{\"quota\":75000,\"period\":50000},\"pids\":{\"limit\":100}}}}");
	assert_int_equal(def->memory_bytes, 536870912);
	assert_int_equal(def->cpu_millis, 1500);
	assert_int_equal(def->pids, 100);
	_cleanup_definition_ struct partition_def *none =
		take("{\"linux\":{\"resources\":{\"memory\":{\"limit\":-1},\"cpu\":{\"quota\":-1,"
		     "\"period\":100000},\"pids\":{\"limit\":0}}}}");
	assert_int_equal(none->memory_bytes, 0);
	assert_int_equal(none->cpu_millis, 0);
	assert_int_equal(none->pids, 0);
}

static void takes_a_seccomp_profile(void **state)
{
	(void)state;
	_cleanup_definition_ struct partition_def *def =
		take("{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":["
		     "{\"names\":[\"reboot\"],\"action\":\"SCMP_ACT_ERRNO\"}]}}}");
	assert_string_equal(json_string_value(json_object_get(def->seccomp, "defaultAction")),
			    "SCMP_ACT_ALLOW");
	_cleanup_definition_ struct partition_def *without = take(NULL);
	assert_string_equal(json_string_value(without->seccomp), "default");
}

// Each of these changes nothing.
static void takes_what_asks_for_nothing(void **state)
{
	(void)state;
	static const char *const patches[] = {
		"{\"annotations\":{\"a\":\"b\"}}",
		"{\"hooks\":{},\"domainname\":\"\",\"linux\":{\"sysctl\":{},\"mountLabel\":\"\"}}",
		"{\"hooks\":null,\"linux\":{\"uidMappings\":[],\"intelRdt\":null}}",
		"{\"ociVersion\":\"1.0.2-dev\"}",
		"{\"linux\":{\"rootfsPropagation\":\"rslave\"}}",
		"{\"linux\":{\"personality\":{\"domain\":\"LINUX\"}}}",
		"{\"linux\":{\"cgroupsPath\":\"machine.slice:libpod:0123abcd\"}}",
		"{\"linux\":{\"resources\":{\"memory\":{\"disableOOMKiller\":false}}}}",
		"{\"linux\":{\"resources\":{\"devices\":[]}}}",
		"{\"linux\":{\"devices\":[{\"path\":\"/dev/null\",\"type\":\"c\",\"major\":1,"
		"\"minor\":3,\"fileMode\":438,\"uid\":0,\"gid\":0}]}}",
		"{\"process\":{\"apparmorProfile\":\"\",\"selinuxLabel\":\"\"}}",
		"{\"process\":{\"capabilities\":{\"ambient\":[\"CAP_KILL\"]}}}",
	};
	_cleanup_definition_ struct partition_def *plain = take(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
		_cleanup_definition_ struct partition_def *def = take(patches[i]);
		memcpy(def->uuid, plain->uuid, sizeof(def->uuid));
		_cleanup_json_ json_t *a = definition_to_json(plain), *b = definition_to_json(def);
		if (!json_equal(a, b))
			fail_msg("changed something: %s", patches[i]);
	}
}

static bool has_note(const json_t *notes, const char *start)
{
	size_t i;
	json_t *note;
	json_array_foreach (notes, i, note) {
		if (!strncmp(json_string_value(note), start, strlen(start)))
			return true;
	}
	return false;
}

static void notes_what_is_left_out(void **state)
{
	(void)state;
	struct error err = {0};
	_cleanup_json_ json_t *config =
		changed("linux.maskedPaths", "{\"annotations\":{\"a\":\"b\"}}");
	_cleanup_json_ json_t *notes = NULL;
	_cleanup_json_ json_t *json = bundle_convert(config, dir, &notes, &err);
	assert_non_null(json);
	assert_true(has_note(notes, "annotations: "));
	assert_true(has_note(notes, "mounts[3].options: the size of /dev/shm"));
	assert_true(has_note(notes, "mounts[6]: "));
	assert_true(has_note(notes, "linux.seccomp: "));
	assert_true(has_note(notes, "linux.maskedPaths: "));
	assert_false(has_note(notes, "linux.readonlyPaths: "));
	assert_null(json_object_get(json, "masked_paths"));
}

// ---- what is refused ---------------------------------------------------------------------------

struct refusal {
	enum error_id id;
	const char *path;    // how the message starts
	const char *patch;   // merged into the bundle of `runc spec`
	const char *removed; // taken from it
};

#define MOUNT(text)     "{\"mounts\":[{" text "}]}"
#define NAMESPACES      "{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"ipc\"}"
#define LINUX(text)     "{\"linux\":{" text "}}"
#define RESOURCES(text) "{\"linux\":{\"resources\":{" text "}}}"
#define PROCESS(text)   "{\"process\":{" text "}}"
#define SYNTAX          ERR_BUNDLE_SYNTAX

static const struct refusal top_level[] = {
	{ERR_BUNDLE, "ociVersion: ", "{\"ociVersion\":\"2.0.0\"}", NULL},
	{ERR_BUNDLE, "ociVersion: ", "{\"ociVersion\":\"1.0\"}", NULL},
	{ERR_BUNDLE, "ociVersion: ", "{\"ociVersion\":\"1.0.x\"}", NULL},
	{SYNTAX, "ociVersion: ", NULL, "ociVersion"},
	{SYNTAX, "ociVersion: ", "{\"ociVersion\":1}", NULL},
	{SYNTAX, "root: ", NULL, "root"},
	{SYNTAX, "root: ", "{\"root\":7}", NULL},
	{SYNTAX, "root.path: ", NULL, "root.path"},
	{SYNTAX, "root.readonly: ", "{\"root\":{\"readonly\":\"yes\"}}", NULL},
	{ERR_BUNDLE, "root.path: ", "{\"root\":{\"path\":\"../rootfs\"}}", NULL},
	{ERR_BUNDLE, "root.path: ", "{\"root\":{\"path\":\"/\"}}", NULL},
	{ERR_ROOTFS_MISSING, "root.path: ", "{\"root\":{\"path\":\"nothere\"}}", NULL},
	{ERR_ROOTFS_MISSING, "root.path: ", "{\"root\":{\"path\":\"/dev/null\"}}", NULL},
	{ERR_BUNDLE, "root.x: ", "{\"root\":{\"x\":1}}", NULL},
	{ERR_BUNDLE, "hostname: ", "{\"hostname\":\"a b\"}", NULL},
	{ERR_BUNDLE, "domainname: ", "{\"domainname\":\"example\"}", NULL},
	{ERR_BUNDLE, "hooks: ", "{\"hooks\":{\"poststop\":[{\"path\":\"/bin/true\"}]}}", NULL},
	{ERR_BUNDLE, "windows: ", "{\"windows\":{\"layerFolders\":[\"a\"]}}", NULL},
	{ERR_BUNDLE, "solaris: ", "{\"solaris\":{\"milestone\":\"a\"}}", NULL},
	{ERR_BUNDLE, "vm: ", "{\"vm\":{\"kernel\":{\"path\":\"/k\"}}}", NULL},
	{ERR_BUNDLE, "zos: ", "{\"zos\":{\"a\":1}}", NULL},
	{ERR_BUNDLE, "whatever: ", "{\"whatever\":0}", NULL},
	{SYNTAX, "annotations.a: ", "{\"annotations\":{\"a\":1}}", NULL},
};

static const struct refusal process[] = {
	{SYNTAX, "process: ", NULL, "process"},
	{SYNTAX, "process.cwd: ", NULL, "process.cwd"},
	{ERR_BUNDLE, "process.cwd: ", PROCESS("\"cwd\":\"tmp\""), NULL},
	{SYNTAX, "process.args: ", PROCESS("\"args\":\"sh\""), NULL},
	{SYNTAX, "process.args: ", PROCESS("\"args\":[1]"), NULL},
	{ERR_BUNDLE, "process.env: ", PROCESS("\"env\":[\"A\"]"), NULL},
	{ERR_BUNDLE, "process.terminal: ", PROCESS("\"terminal\":true"), NULL},
	{ERR_BUNDLE, "process.user.umask: ", PROCESS("\"user\":{\"umask\":63}"), NULL},
	{ERR_BUNDLE, "process.user.umask: ", PROCESS("\"user\":{\"umask\":0}"), NULL},
	{ERR_BUNDLE, "process.user.username: ", PROCESS("\"user\":{\"username\":\"a\"}"), NULL},
	{SYNTAX, "process.user.uid: ", PROCESS("\"user\":{\"uid\":-1}"), NULL},
	{SYNTAX, "process.user.additionalGids: ", PROCESS("\"user\":{\"additionalGids\":[-1]}"),
	 NULL},
	{ERR_BUNDLE, "process.commandLine: ", PROCESS("\"commandLine\":\"a\""), NULL},
	{ERR_BUNDLE, "process.apparmorProfile: ", PROCESS("\"apparmorProfile\":\"a\""), NULL},
	{ERR_BUNDLE, "process.selinuxLabel: ", PROCESS("\"selinuxLabel\":\"a\""), NULL},
	{ERR_BUNDLE, "process.oomScoreAdj: ", PROCESS("\"oomScoreAdj\":100"), NULL},
	{ERR_BUNDLE, "process.scheduler: ", PROCESS("\"scheduler\":{\"policy\":\"SCHED_FIFO\"}"),
	 NULL},
	{ERR_BUNDLE,
	 "process.ioPriority: ", PROCESS("\"ioPriority\":{\"class\":\"IOPRIO_CLASS_IDLE\"}"), NULL},
	{ERR_BUNDLE,
	 "process.execCPUAffinity: ", PROCESS("\"execCPUAffinity\":{\"initial\":\"0\"}"), NULL},
	{SYNTAX, "process.noNewPrivileges: ", PROCESS("\"noNewPrivileges\":1"), NULL},
	{ERR_BUNDLE, "process.rlimits[0].type: ",
	 PROCESS("\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]"), NULL},
	{SYNTAX, "process.rlimits[0].hard: ",
	 PROCESS("\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":1}]"), NULL},
	{SYNTAX, "process.rlimits[0].soft: ",
	 PROCESS("\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":-1,\"hard\":1}]"), NULL},
	{ERR_BUNDLE, "process.rlimits[0].soft: ",
	 PROCESS("\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":2,\"hard\":1}]"), NULL},
	{SYNTAX, "process.rlimits[1].type: ",
	 PROCESS("\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":1,\"hard\":1},"
		 "{\"type\":\"RLIMIT_CORE\",\"soft\":1,\"hard\":1}]"),
	 NULL},
};

#define CAPS(text)        PROCESS("\"capabilities\":{" text "}")
#define CAPS_OTHERS(text) PROCESS("\"user\":{\"uid\":9},\"capabilities\":{" text "}")

static const struct refusal capabilities[] = {
	{ERR_BUNDLE, "process.capabilities.permitted: ", CAPS("\"permitted\":[\"CAP_KILL\"]"),
	 NULL},
	{ERR_BUNDLE, "process.capabilities.permitted: ", NULL, "process.capabilities.permitted"},
	{ERR_BUNDLE, "process.capabilities.effective: ", CAPS("\"effective\":[]"), NULL},
	{ERR_BUNDLE,
	 "process.capabilities.inheritable: ", CAPS("\"inheritable\":[\"CAP_SYS_ADMIN\"]"), NULL},
	{ERR_BUNDLE, "process.capabilities.ambient: ", CAPS("\"ambient\":[\"CAP_SYS_ADMIN\"]"),
	 NULL},
	{ERR_BUNDLE, "process.capabilities.ambient: ", CAPS_OTHERS("\"ambient\":[\"CAP_KILL\"]"),
	 NULL},
	{ERR_BUNDLE, "process.capabilities.permitted: ",
	 CAPS_OTHERS("\"permitted\":[\"CAP_SYS_ADMIN\"]"), NULL},
	{ERR_BUNDLE, "process.capabilities.bounding: ", CAPS("\"bounding\":[\"CAP_NONE\"]"), NULL},
	{SYNTAX, "process.capabilities.bounding: ", CAPS("\"bounding\":[4]"), NULL},
	{SYNTAX, "process.capabilities.bounding: ", CAPS("\"bounding\":\"CAP_KILL\""), NULL},
	{ERR_BUNDLE, "process.capabilities.other: ", CAPS("\"other\":[\"CAP_KILL\"]"), NULL},
};

static const struct refusal mounts[] = {
	{SYNTAX, "mounts: ", "{\"mounts\":{}}", NULL},
	{SYNTAX, "mounts[0]: ", "{\"mounts\":[\"/proc\"]}", NULL},
	{SYNTAX, "mounts[0].destination: ", MOUNT("\"type\":\"proc\""), NULL},
	{ERR_BUNDLE, "mounts[0].destination: ",
	 MOUNT("\"destination\":\"data\",\"type\":\"bind\",\"source\":\"/a\""), NULL},
	{ERR_BUNDLE, "mounts[0].destination: ",
	 MOUNT("\"destination\":\"/\",\"type\":\"bind\",\"source\":\"/a\""), NULL},
	{ERR_BUNDLE, "mounts[0].destination: ",
	 MOUNT("\"destination\":\"/proc/sys\",\"type\":\"bind\",\"source\":\"/a\""), NULL},
	{ERR_BUNDLE, "mounts[0].destination: ",
	 MOUNT("\"destination\":\"/sys/fs/bpf\",\"type\":\"tmpfs\""), NULL},
	{ERR_BUNDLE, "mounts[0].type: ",
	 MOUNT("\"destination\":\"/proc\",\"type\":\"bind\",\"source\":\"/proc\""), NULL},
	{ERR_BUNDLE, "mounts[0].type: ",
	 MOUNT("\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/a\""), NULL},
	{ERR_BUNDLE, "mounts[0].type: ", MOUNT("\"destination\":\"/a\",\"type\":\"proc\""), NULL},
	{ERR_BUNDLE, "mounts[0].type: ", MOUNT("\"destination\":\"/a\",\"type\":\"overlay\""),
	 NULL},
	{ERR_BUNDLE, "mounts[0].type: ", MOUNT("\"destination\":\"/a\",\"source\":\"/b\""), NULL},
	{SYNTAX, "mounts[0].source: ", MOUNT("\"destination\":\"/a\",\"type\":\"bind\""), NULL},
	{ERR_BUNDLE, "mounts[0].source: ",
	 MOUNT("\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"../b\""), NULL},
	{ERR_BUNDLE, "mounts[0].options: \"hidepid=2\"",
	 MOUNT("\"destination\":\"/proc\",\"type\":\"proc\",\"options\":[\"hidepid=2\"]"), NULL},
	{ERR_BUNDLE, "mounts[0].options: \"rw\"",
	 MOUNT("\"destination\":\"/sys\",\"type\":\"sysfs\",\"options\":[\"rw\"]"), NULL},
	{ERR_BUNDLE, "mounts[0].options: \"mode=700\"",
	 MOUNT("\"destination\":\"/dev\",\"type\":\"tmpfs\",\"options\":[\"mode=700\"]"), NULL},
	{ERR_BUNDLE, "mounts[0].options: \"noexec\"",
	 MOUNT("\"destination\":\"/tmp\",\"type\":\"tmpfs\",\"options\":[\"noexec\"]"), NULL},
	{ERR_BUNDLE, "mounts[0].options: \"rshared\"",
	 MOUNT("\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"/b\",\"options\":["
	       "\"rshared\"]"),
	 NULL},
	{ERR_BUNDLE, "mounts[0].options: \"mode=755\"",
	 MOUNT("\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"/b\",\"options\":["
	       "\"mode=755\"]"),
	 NULL},
	{ERR_BUNDLE, "mounts[0].options: \"bind\"",
	 MOUNT("\"destination\":\"/a\",\"type\":\"tmpfs\",\"options\":[\"bind\"]"), NULL},
	{ERR_BUNDLE, "mounts[0].options: \"tmpcopyup\"",
	 MOUNT("\"destination\":\"/a\",\"type\":\"tmpfs\",\"options\":[\"tmpcopyup\"]"), NULL},
	{ERR_BUNDLE, "mounts[0].uidMappings: ",
	 MOUNT("\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"/b\",\"uidMappings\":[{}]"),
	 NULL},
	{ERR_BUNDLE, "mounts[1].destination: ",
	 MOUNT("\"destination\":\"/a\",\"type\":\"tmpfs\"},{\"destination\":\"/a/\","
	       "\"type\":\"tmpfs\""),
	 NULL},
};

static const struct refusal linux_section[] = {
	{ERR_BUNDLE, "linux: ", NULL, "linux"},
	{ERR_BUNDLE, "linux.namespaces: \"pid\"", NULL, "linux.namespaces"},
	{ERR_BUNDLE, "linux.namespaces: \"network\"", LINUX("\"namespaces\":[" NAMESPACES "]"),
	 NULL},
	{ERR_BUNDLE, "linux.namespaces[0].path: ",
	 LINUX("\"namespaces\":[{\"type\":\"network\",\"path\":\"/run/netns/a\"}]"), NULL},
	{ERR_BUNDLE, "linux.namespaces[4].type: \"user\"",
	 LINUX("\"namespaces\":[" NAMESPACES ",{\"type\":\"user\"}]"), NULL},
	{SYNTAX, "linux.namespaces[4].type: ",
	 LINUX("\"namespaces\":[" NAMESPACES ",{\"type\":\"pid\"}]"), NULL},
	{SYNTAX, "linux.namespaces[0].type: ", LINUX("\"namespaces\":[{}]"), NULL},
	{ERR_BUNDLE, "linux.uidMappings: ", LINUX("\"uidMappings\":[{\"size\":1}]"), NULL},
	{ERR_BUNDLE, "linux.gidMappings: ", LINUX("\"gidMappings\":[{\"size\":1}]"), NULL},
	{ERR_BUNDLE, "linux.sysctl: ", LINUX("\"sysctl\":{\"net.core.somaxconn\":\"9\"}"), NULL},
	{ERR_BUNDLE, "linux.timeOffsets: ", LINUX("\"timeOffsets\":{\"monotonic\":{}}"), NULL},
	{ERR_BUNDLE, "linux.mountLabel: ", LINUX("\"mountLabel\":\"a\""), NULL},
	{ERR_BUNDLE, "linux.intelRdt: ", LINUX("\"intelRdt\":{\"closID\":\"a\"}"), NULL},
	{ERR_BUNDLE, "linux.rootfsPropagation: ", LINUX("\"rootfsPropagation\":\"shared\""), NULL},
	{ERR_BUNDLE,
	 "linux.personality.domain: ", LINUX("\"personality\":{\"domain\":\"LINUX32\"}"), NULL},
	{ERR_BUNDLE, "linux.personality.flags: ",
	 LINUX("\"personality\":{\"domain\":\"LINUX\",\"flags\":[\"a\"]}"), NULL},
	{ERR_BUNDLE, "linux.cgroupsPath: ", LINUX("\"cgroupsPath\":\"/mine\""), NULL},
	{ERR_BUNDLE, "linux.maskedPaths: ", LINUX("\"maskedPaths\":[\"/\"]"), NULL},
	{ERR_BUNDLE, "linux.readonlyPaths: ", LINUX("\"readonlyPaths\":[\"proc\"]"), NULL},
	{ERR_BUNDLE, "linux.devices[0].path: ",
	 LINUX("\"devices\":[{\"path\":\"/dev/fuse\",\"type\":\"c\",\"major\":10,\"minor\":229}]"),
	 NULL},
	{ERR_BUNDLE, "linux.devices[0].path: ",
	 LINUX("\"devices\":[{\"path\":\"/dev/null\",\"type\":\"c\",\"major\":8,\"minor\":0}]"),
	 NULL},
	{ERR_BUNDLE, "linux.devices[0].fileMode: ",
	 LINUX("\"devices\":[{\"path\":\"/dev/null\",\"type\":\"c\",\"major\":1,\"minor\":3,"
	       "\"fileMode\":384}]"),
	 NULL},
	{ERR_BUNDLE, "linux.seccomp.listenerPath: ",
	 LINUX("\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/a\"}"), NULL},
	{ERR_BUNDLE, "linux.seccomp.syscalls[0].action: ",
	 LINUX("\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":["
	       "\"read\"],\"action\":\"SCMP_ACT_NOTIFY\"}]}"),
	 NULL},
	{SYNTAX, "linux.seccomp: ", LINUX("\"seccomp\":\"default\""), NULL},
};

static const struct refusal resources[] = {
	{ERR_BUNDLE, "linux.resources.memory.swap: ", RESOURCES("\"memory\":{\"swap\":1024}"),
	 NULL},
	{ERR_BUNDLE,
	 "linux.resources.memory.swappiness: ", RESOURCES("\"memory\":{\"swappiness\":0}"), NULL},
	{ERR_BUNDLE, "linux.resources.memory.disableOOMKiller: ",
	 RESOURCES("\"memory\":{\"disableOOMKiller\":true}"), NULL},
	{SYNTAX, "linux.resources.memory.limit: ", RESOURCES("\"memory\":{\"limit\":-2}"), NULL},
	{SYNTAX, "linux.resources.memory.limit: ", RESOURCES("\"memory\":{\"limit\":\"1G\"}"),
	 NULL},
	{ERR_BUNDLE, "linux.resources.cpu.shares: ", RESOURCES("\"cpu\":{\"shares\":512}"), NULL},
	{ERR_BUNDLE, "linux.resources.cpu.cpus: ", RESOURCES("\"cpu\":{\"cpus\":\"0-1\"}"), NULL},
	{ERR_BUNDLE,
	 "linux.resources.cpu.quota: ", RESOURCES("\"cpu\":{\"quota\":5,\"period\":100000}"), NULL},
	{ERR_BUNDLE, "linux.resources.cpu.quota: ",
	 RESOURCES("\"cpu\":{\"quota\":9223372036854775807,\"period\":1}"), NULL},
	{ERR_BUNDLE, "linux.resources.pids.limit: ", RESOURCES("\"pids\":{\"limit\":4194305}"),
	 NULL},
	{ERR_BUNDLE, "linux.resources.blockIO: ", RESOURCES("\"blockIO\":{\"weight\":9}"), NULL},
	{ERR_BUNDLE, "linux.resources.hugepageLimits: ",
	 RESOURCES("\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":1}]"), NULL},
	{ERR_BUNDLE, "linux.resources.network: ", RESOURCES("\"network\":{\"classID\":1}"), NULL},
	{ERR_BUNDLE, "linux.resources.rdma: ", RESOURCES("\"rdma\":{\"a\":{}}"), NULL},
	{ERR_BUNDLE, "linux.resources.unified: ", RESOURCES("\"unified\":{\"memory.high\":\"1\"}"),
	 NULL},
	{ERR_BUNDLE, "linux.resources.devices[1].allow: ",
	 RESOURCES("\"devices\":[{\"allow\":false},{\"allow\":true,\"type\":\"c\",\"major\":10}]"),
	 NULL},
	{ERR_BUNDLE, "linux.resources.devices[0]: ",
	 RESOURCES("\"devices\":[{\"allow\":false,\"type\":\"b\",\"access\":\"w\"}]"), NULL},
};

static void check_refusals(const struct refusal *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct refusal *c = &table[i];
		struct error err = {0};
		json_t *notes = NULL;
		_cleanup_json_ json_t *config = changed(c->removed, c->patch);
		_cleanup_json_ json_t *json = bundle_convert(config, dir, &notes, &err);
		if (json || err.id != c->id || strncmp(err.message, c->path, strlen(c->path)))
			fail_msg("%s %s: expected %s(%d), found %s(%d)", c->patch ? c->patch : "",
				 c->removed ? c->removed : "", c->path, c->id, err.message, err.id);
		assert_null(notes);
	}
}

static void refuses_by_name(void **state)
{
	(void)state;
	check_refusals(top_level, ARRAY_SIZE(top_level));
	check_refusals(process, ARRAY_SIZE(process));
	check_refusals(capabilities, ARRAY_SIZE(capabilities));
	check_refusals(mounts, ARRAY_SIZE(mounts));
	check_refusals(linux_section, ARRAY_SIZE(linux_section));
	check_refusals(resources, ARRAY_SIZE(resources));
}

static void names_where_the_text_is_wrong(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"7",
		"{\"ociVersion\":\"1.0.0\",\"ociVersion\":\"1.0.0\"}",
		"{\"a\":1e999}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct error err = {0};
		assert_null(bundle_from_text(texts[i], strlen(texts[i]), dir, NULL, &err));
		assert_int_equal(err.id, ERR_BUNDLE_SYNTAX);
	}
	struct error err = {0};
	assert_null(bundle_from_text("{\n\n7}", 5, dir, NULL, &err));
	assert_non_null(strstr(err.message, "line 3"));
	_cleanup_json_ json_t *config = changed(NULL, NULL);
	assert_null(bundle_convert(config, "relative", NULL, &err));
	assert_int_equal(err.id, ERR_BUNDLE_SYNTAX);
}

// ---- the folder --------------------------------------------------------------------------------

static void reads_a_folder(void **state)
{
	(void)state;
	char path[64];
	struct error err = {0};
	assert_null(bundle_read(dir, NULL, &err));
	assert_int_equal(err.id, ERR_BUNDLE_SYNTAX);
	assert_non_null(strstr(err.message, "config.json"));
	snprintf(path, sizeof(path), "%s/config.json", dir);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(runc_spec, file) >= 0);
	assert_int_equal(fclose(file), 0);
	_cleanup_json_ json_t *notes = NULL;
	_cleanup_json_ json_t *json = bundle_read(dir, &notes, &err);
	unlink(path);
	assert_non_null(json);
	assert_true(json_is_array(notes));
	assert_null(json_object_get(json, "name"));
}

static int make_folder(void **state)
{
	char path[64];
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/rootfs", dir);
	return mkdir(path, 0755);
}

static int remove_folder(void **state)
{
	char path[64];
	(void)state;
	snprintf(path, sizeof(path), "%s/rootfs", dir);
	return rmdir(path) < 0 ? -1 : rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_runc_writes),
		cmocka_unit_test(takes_the_process),
		cmocka_unit_test(absent_means_none),
		cmocka_unit_test(takes_limits_without_end),
		cmocka_unit_test(takes_volumes),
		cmocka_unit_test(takes_resources),
		cmocka_unit_test(takes_a_seccomp_profile),
		cmocka_unit_test(takes_what_asks_for_nothing),
		cmocka_unit_test(notes_what_is_left_out),
		cmocka_unit_test(refuses_by_name),
		cmocka_unit_test(names_where_the_text_is_wrong),
		cmocka_unit_test(reads_a_folder),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
