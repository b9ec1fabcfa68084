// SPDX-License-Identifier: Apache-2.0
#include "wparctl/options.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define SECCOMP_FILE_MAX (1 << 20)

static const char default_path[] =
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// ---- pieces -------------------------------------------------------------------------------------

static json_t *bad(struct error *err, const char *option, const char *text, const char *wanted)
{
	error_set(err, ERR_USAGE, "--%s \"%s\": %s", option, text, wanted);
	return NULL;
}

static const char net_wanted[] = "parts are bridge=BR, address=CIDR, gateway=IP, mac=MAC";

static int net_part(json_t *net, const char *key, const char *value)
{
	json_t *addresses = json_object_get(net, "addresses");
	if (!value[0])
		return -1;
	if (!strcmp(key, "address"))
		return json_array_append_new(addresses, json_string(value));
	if (!strcmp(key, "mac") && !strcmp(value, "auto"))
		return 0; // made from the partition's uuid
	if (strcmp(key, "bridge") && strcmp(key, "gateway") && strcmp(key, "mac"))
		return -1;
	return json_object_get(net, key) ? -1 : json_object_set_new(net, key, json_string(value));
}

json_t *options_net(const char *text, struct error *err)
{
	_cleanup_json_ json_t *net = json_pack("{s:[]}", "addresses");
	_cleanup_free_ char *parts = strdup(text);
	char *rest = parts;
	for (char *part; (part = strsep(&rest, ","));) {
		char *value = strchr(part, '=');
		if (!value)
			return bad(err, "net", text, net_wanted);
		*value++ = 0;
		if (net_part(net, part, value) < 0)
			return bad(err, "net", text, net_wanted);
	}
	return json_incref(net);
}

json_t *options_volume(const char *text, struct error *err)
{
	static const char wanted[] = "SRC:DST[:ro] with absolute paths is wanted";
	_cleanup_free_ char *parts = strdup(text);
	char *rest = parts;
	const char *source = strsep(&rest, ":"), *destination = strsep(&rest, ":");
	const char *access = rest ?: "rw";
	if (!source || !destination || source[0] != '/' || destination[0] != '/' ||
	    (strcmp(access, "ro") && strcmp(access, "rw")))
		return bad(err, "volume", text, wanted);
	return json_pack("{s:s, s:s, s:s, s:[s, s]}", "destination", destination, "type", "bind",
			 "source", source, "options", "bind", access)
		       ?: bad(err, "volume", text, "is not text in UTF-8");
}

static int read_id(const char *text, size_t length, json_int_t *id)
{
	*id = 0;
	if (!length)
		return -1;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		*id = *id * 10 + (text[i] - '0');
		if (*id >= UINT32_MAX) // which means "no change" to the kernel
			return -1;
	}
	return 0;
}

int options_user(const char *text, json_int_t *uid, json_int_t *gid, struct error *err)
{
	size_t length = strcspn(text, ":");
	if (!read_id(text, length, uid)) {
		*gid = *uid;
		if (!text[length] || !read_id(text + length + 1, strlen(text + length + 1), gid))
			return 0;
	}
	return error_set(err, ERR_USAGE, "--user \"%s\": numbers are wanted: UID or UID:GID", text);
}

json_t *options_env(const struct args *args, struct error *err)
{
	_cleanup_json_ json_t *env = json_array();
	const char *text;
	for (size_t at = 0; (text = args_next(args, "env", &at));) {
		if (text[0] == '=' || !strchr(text, '='))
			return bad(err, "env", text, "KEY=VALUE is wanted");
		if (json_array_append_new(env, json_string(text)) < 0)
			return bad(err, "env", text, "is not text in UTF-8");
	}
	return json_incref(env);
}

// ---- the definition -----------------------------------------------------------------------------

// Sets a key to a text option where it was given.
static int set_text(json_t *object, const char *key, const char *value, struct error *err)
{
	if (value && json_object_set_new(object, key, json_string(value)) < 0)
		return error_set(err, ERR_USAGE, "\"%s\" is not text in UTF-8", value);
	return 0;
}

// All values of an option as a list, where it was given at all.
static int set_list(json_t *object, const char *key, const struct args *args, const char *option,
		    struct error *err)
{
	_cleanup_json_ json_t *list = json_array();
	const char *text;
	for (size_t at = 0; (text = args_next(args, option, &at));)
		if (json_array_append_new(list, json_string(text)) < 0)
			return error_set(err, ERR_USAGE, "\"%s\" is not text in UTF-8", text);
	if (json_array_size(list))
		json_object_set(object, key, list);
	return 0;
}

static int set_path(json_t *object, const char *key, const char *path, struct error *err)
{
	char here[PATH_MAX], whole[PATH_MAX * 2];
	if (!path || path[0] == '/')
		return set_text(object, key, path, err);
	if (!path[0])
		return error_set(err, ERR_USAGE, "--%s \"\": a directory is wanted", key);
	if (!getcwd(here, sizeof(here)))
		return error_sys(err, ERR_SYSTEM, errno, "cannot find the current directory");
	snprintf(whole, sizeof(whole), "%s/%s", here, path);
	return set_text(object, key, whole, err);
}

static int set_networks(json_t *definition, const struct args *args, struct error *err)
{
	_cleanup_json_ json_t *networks = json_array();
	const char *text;
	for (size_t at = 0; (text = args_next(args, "net", &at));) {
		json_t *net = options_net(text, err);
		if (!net)
			return -1;
		json_array_append_new(networks, net);
	}
	if (args_has(args, "address") || args_has(args, "bridge")) {
		if (json_array_size(networks))
			return error_set(err, ERR_USAGE,
					 "--address and --bridge do not go together with --net");
		json_t *net = json_pack("{s:[]}", "addresses");
		json_array_append_new(networks, net);
		if (set_list(net, "addresses", args, "address", err) < 0 ||
		    set_text(net, "bridge", args_value(args, "bridge"), err) < 0)
			return -1;
	}
	if (json_array_size(networks))
		json_object_set(definition, "networks", networks);
	return 0;
}

static int set_volumes(json_t *definition, const struct args *args, struct error *err)
{
	_cleanup_json_ json_t *mounts = json_array();
	const char *text;
	for (size_t at = 0; (text = args_next(args, "volume", &at));) {
		json_t *mount = options_volume(text, err);
		if (!mount)
			return -1;
		json_array_append_new(mounts, mount);
	}
	if (json_array_size(mounts))
		json_object_set(definition, "mounts", mounts);
	return 0;
}

static int set_resources(json_t *definition, const struct args *args, struct error *err)
{
	_cleanup_json_ json_t *resources = json_object();
	const char *memory = args_value(args, "memory"), *cpus = args_value(args, "cpus");
	const char *pids = args_value(args, "pids");
	uint64_t bytes;
	uint32_t millis;
	json_int_t count;
	if (memory) {
		if (units_parse_size(memory, &bytes, err) < 0)
			return error_wrap(err, "--memory");
		json_object_set_new(resources, "memory_bytes", json_integer((json_int_t)bytes));
	}
	if (cpus) {
		if (units_parse_cpus(cpus, &millis, err) < 0)
			return error_wrap(err, "--cpus");
		json_object_set_new(resources, "cpu_millis", json_integer(millis));
	}
	if (pids) {
		if (read_id(pids, strlen(pids), &count) < 0 || count == 0)
			return error_set(err, ERR_USAGE,
					 "--pids \"%s\": a number above 0 is wanted", pids);
		json_object_set_new(resources, "pids", json_integer(count));
	}
	if (json_object_size(resources))
		json_object_set(definition, "resources", resources);
	return 0;
}

// What a command finds when nothing is said of its environment must not vanish because one variable
// is; a bundle brings its own.
static json_t *whole_env(const struct args *args, struct error *err)
{
	json_t *env = options_env(args, err);
	size_t i;
	json_t *entry;
	if (!env || args_has(args, "bundle"))
		return env;
	json_array_foreach (env, i, entry)
		if (!strncmp(json_string_value(entry), "PATH=", 5))
			return env;
	json_array_insert_new(env, 0, json_string(default_path));
	return env;
}

static int set_process(json_t *definition, const struct args *args, struct error *err)
{
	_cleanup_json_ json_t *process = json_object();
	const char *user = args_value(args, "user");
	json_int_t uid, gid;
	if (args->command && args->command[0]) {
		json_t *words = json_array();
		json_object_set_new(process, "args", words);
		for (char **word = args->command; *word; word++)
			if (json_array_append_new(words, json_string(*word)) < 0)
				return error_set(err, ERR_USAGE, "\"%s\" is not text in UTF-8",
						 *word);
	}
	if (user) {
		if (options_user(user, &uid, &gid, err) < 0)
			return -1;
		json_object_set_new(process, "uid", json_integer(uid));
		json_object_set_new(process, "gid", json_integer(gid));
	}
	if (args_has(args, "env")) {
		json_t *env = whole_env(args, err);
		if (!env)
			return -1;
		json_object_set_new(process, "env", env);
	}
	if (json_object_size(process))
		json_object_set(definition, "process", process);
	return 0;
}

// The words go as they are; anything else names a file, which is read here: relocd opens no files
// by names from its clients.
static int set_seccomp(json_t *definition, const char *value, struct error *err)
{
	if (!value || !strcmp(value, "default") || !strcmp(value, "unconfined"))
		return set_text(definition, "seccomp", value, err);
	struct error why;
	json_error_t where;
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, value, SECCOMP_FILE_MAX, &why);
	if (!text)
		return error_set(err, ERR_USAGE, "--seccomp: %s", why.message);
	json_t *filter = json_loads(text, JSON_REJECT_DUPLICATES, &where);
	if (!json_is_object(filter)) {
		json_decref(filter);
		return error_set(err, ERR_USAGE, "--seccomp: %s, line %d: %s", value,
				 filter ? 1 : where.line,
				 filter ? "it is not an object" : where.text);
	}
	json_object_set_new(definition, "seccomp", filter);
	return 0;
}

static int set_all(json_t *definition, const struct args *args, struct error *err)
{
	if (set_text(definition, "name", args->names[0], err) < 0 ||
	    set_text(definition, "type", args_value(args, "type"), err) < 0 ||
	    set_text(definition, "hostname", args_value(args, "hostname"), err) < 0 ||
	    set_text(definition, "storage", args_value(args, "storage"), err) < 0 ||
	    set_list(definition, "dns", args, "dns", err) < 0 ||
	    set_path(definition, "rootfs", args_value(args, "rootfs"), err) < 0 ||
	    set_seccomp(definition, args_value(args, "seccomp"), err) < 0 ||
	    set_networks(definition, args, err) < 0 || set_volumes(definition, args, err) < 0 ||
	    set_resources(definition, args, err) < 0)
		return -1;
	return set_process(definition, args, err);
}

json_t *options_create(const struct args *args, struct error *err)
{
	const char *bundle = args_value(args, "bundle");
	if (!bundle == !args_value(args, "rootfs")) {
		error_set(err, ERR_USAGE, "create: either --bundle DIR or --rootfs DIR is wanted");
		return NULL;
	}
	_cleanup_json_ json_t *definition = json_object();
	if (set_all(definition, args, err) < 0)
		return NULL;
	json_t *body =
		bundle ? json_incref(definition) : json_pack("{s:O}", "definition", definition);
	if (set_path(body, "bundle", bundle, err) < 0 ||
	    set_list(body, "cap_add", args, "cap-add", err) < 0 ||
	    set_list(body, "cap_drop", args, "cap-drop", err) < 0) {
		json_decref(body);
		return NULL;
	}
	if (args_has(args, "start"))
		json_object_set_new(body, "start", json_true());
	return body;
}
