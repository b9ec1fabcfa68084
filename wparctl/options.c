// SPDX-License-Identifier: Apache-2.0
#include "wparctl/options.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/units.h"
#include "wparctl/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define FILE_MAX (1 << 20)

static const char default_path[] =
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// ---- pieces -------------------------------------------------------------------------------------

static json_t *bad(struct error *err, const char *option, const char *text, const char *wanted)
{
	error_set(err, ERR_USAGE, "--%s \"%s\": %s", option, text, wanted);
	return NULL;
}

static const char net_wanted[] = "parts are bridge=BR, address=CIDR, gateway=IP, mac=MAC";

// One for each family: the second makes it a list.
static int add_gateway(json_t *net, const char *value)
{
	json_t *first = json_object_get(net, "gateway");
	if (!first)
		return json_object_set_new(net, "gateway", json_string(value));
	if (json_is_array(first))
		return -1;
	return json_object_set_new(net, "gateway", json_pack("[O, s]", first, value));
}

static int net_part(json_t *net, const char *key, const char *value)
{
	json_t *addresses = json_object_get(net, "addresses");
	if (!value[0])
		return -1;
	if (!strcmp(key, "address"))
		return json_array_append_new(addresses, json_string(value));
	if (!strcmp(key, "mac") && !strcmp(value, "auto"))
		return 0; // made from the partition's uuid
	if (!strcmp(key, "gateway"))
		return add_gateway(net, value);
	if (strcmp(key, "bridge") && strcmp(key, "mac"))
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

// Cuts ",storage=CLASS" off the end; the class, or NULL when there is none or (*bad) a wrong one.
static const char *cut_storage(char *text, bool *bad)
{
	char *comma = strrchr(text, ',');
	if (!comma || strncmp(comma, ",storage=", 9) != 0)
		return NULL;
	*comma = 0;
	*bad = strcmp(comma + 9, "shared") && strcmp(comma + 9, "copied");
	return *bad ? NULL : comma + 9;
}

json_t *options_volume(const char *text, struct error *err)
{
	static const char wanted[] =
		"SRC:DST[:ro][,storage=shared|copied] is wanted; SRC is an absolute path or a "
		"name, DST an absolute path";
	bool wrong = false;
	_cleanup_free_ char *parts = strdup(text);
	const char *storage = cut_storage(parts, &wrong);
	char *rest = parts;
	const char *source = strsep(&rest, ":"), *destination = strsep(&rest, ":");
	const char *access = rest ?: "rw";
	bool place = source && (source[0] == '/' || (source[0] && !strchr(source, '/')));
	if (wrong || !place || !destination || destination[0] != '/' ||
	    (strcmp(access, "ro") && strcmp(access, "rw")))
		return bad(err, "volume", text, wanted);
	return json_pack("{s:s, s:s, s:s, s:[s, s], s:b, s:s*}", "destination", destination, "type",
			 "bind", "source", source, "options", "bind", access, "volume", 1,
			 "storage", storage);
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
		json_array_append_new(env, json_string(text));
	}
	return json_incref(env);
}

// ---- the definition -----------------------------------------------------------------------------

// Sets a key to a text option where it was given.
static void set_text(json_t *object, const char *key, const char *value)
{
	if (value)
		json_object_set_new(object, key, json_string(value));
}

// All values of an option as a list, where it was given at all.
static void set_list(json_t *object, const char *key, const struct args *args, const char *option)
{
	_cleanup_json_ json_t *list = json_array();
	const char *text;
	for (size_t at = 0; (text = args_next(args, option, &at));)
		json_array_append_new(list, json_string(text));
	if (json_array_size(list))
		json_object_set(object, key, list);
}

// relocd has another current directory.
static char *whole_path(const char *path, struct error *err)
{
	char *whole = NULL;
	_cleanup_free_ char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
	if (path[0] != '/' && !here)
		error_sys(err, ERR_SYSTEM, errno, "cannot find the current directory");
	else if (asprintf(&whole, "%s%s%s", here ? here : "", here ? "/" : "", path) < 0)
		whole = NULL;
	return whole;
}

static int set_path(json_t *object, const char *key, const char *path, struct error *err)
{
	if (!path)
		return 0;
	if (!path[0])
		return error_set(err, ERR_USAGE, "--%s \"\": a directory is wanted", key);
	_cleanup_free_ char *whole = whole_path(path, err);
	set_text(object, key, whole);
	return whole ? 0 : -1;
}

// "TRANSPORT:PATH[:TAG]" with a whole path.
static int set_image(json_t *body, const char *image, struct error *err)
{
	static const char *const transports[] = {"oci:", "oci-archive:", "docker-archive:"};
	for (size_t i = 0; image && i < ARRAY_SIZE(transports); i++) {
		size_t length = strlen(transports[i]);
		if (strncmp(image, transports[i], length) != 0 || !image[length])
			continue;
		_cleanup_free_ char *path = whole_path(image + length, err);
		if (!path)
			return -1;
		return json_object_set_new(body, "image",
					   json_sprintf("%s%s", transports[i], path));
	}
	if (!image)
		return 0;
	bad(err, "image", image,
	    "oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE is wanted");
	return -1;
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
		set_list(net, "addresses", args, "address");
		set_text(net, "bridge", args_value(args, "bridge"));
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

int options_resource(json_t *resources, const char *key, const char *text, struct error *err)
{
	uint64_t bytes = 0;
	uint32_t millis = 0;
	json_int_t count = 0;
	bool none = !text[0];
	if (!strcmp(key, "memory")) {
		if (!none && units_parse_size(text, &bytes, err) < 0)
			return -1;
		return json_object_set_new(resources, "memory_bytes",
					   json_integer((json_int_t)bytes));
	}
	if (!strcmp(key, "cpus")) {
		if (!none && units_parse_cpus(text, &millis, err) < 0)
			return -1;
		return json_object_set_new(resources, "cpu_millis", json_integer(millis));
	}
	if (!none && (read_id(text, strlen(text), &count) < 0 || count == 0))
		return error_set(err, ERR_USAGE, "\"%s\": a number above 0 is wanted", text);
	return json_object_set_new(resources, "pids", json_integer(count));
}

static int set_resources(json_t *definition, const struct args *args, struct error *err)
{
	static const char *const keys[] = {"memory", "cpus", "pids"};
	_cleanup_json_ json_t *resources = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *text = args_value(args, keys[i]);
		if (text && !text[0])
			return error_set(err, ERR_USAGE, "--%s wants a value", keys[i]);
		if (text && options_resource(resources, keys[i], text, err) < 0)
			return error_wrap(err, "--%s", keys[i]);
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
	if (!env || args_has(args, "bundle") || args_has(args, "image") || args_has(args, "file"))
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
			json_array_append_new(words, json_string(*word));
	}
	if (user && args_has(args, "image")) {
		set_text(definition, "user", user); // the image knows names
	} else if (user) {
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
	if (!value || !strcmp(value, "default") || !strcmp(value, "unconfined")) {
		set_text(definition, "seccomp", value);
		return 0;
	}
	struct error why;
	json_error_t where;
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, value, FILE_MAX, &why);
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

static int set_scheduling(json_t *definition, const struct args *args, struct error *err)
{
	const char *priority = args_value(args, "priority");
	set_list(definition, "groups", args, "group");
	set_text(definition, "restart", args_value(args, "restart"));
	if (args_has(args, "autostart"))
		json_object_set_new(definition, "autostart", json_true());
	if (!priority)
		return 0;
	char *end;
	errno = 0;
	long number = strtol(priority, &end, 10);
	if (!priority[0] || *end || errno)
		return error_set(err, ERR_USAGE, "--priority \"%s\": a number is wanted", priority);
	return json_object_set_new(definition, "priority", json_integer(number));
}

static int set_all(json_t *definition, const struct args *args, struct error *err)
{
	set_text(definition, "name", args->count ? args->names[0] : NULL);
	set_text(definition, "type", args_value(args, "type"));
	set_text(definition, "hostname", args_value(args, "hostname"));
	set_text(definition, "storage", args_value(args, "storage"));
	set_list(definition, "dns", args, "dns");
	if (set_path(definition, "rootfs", args_value(args, "rootfs"), err) < 0 ||
	    set_seccomp(definition, args_value(args, "seccomp"), err) < 0 ||
	    set_networks(definition, args, err) < 0 || set_volumes(definition, args, err) < 0 ||
	    set_resources(definition, args, err) < 0 || set_scheduling(definition, args, err) < 0)
		return -1;
	return set_process(definition, args, err);
}

// ---- a definition in a file ---------------------------------------------------------------------

// All of standard input; fdio_read_file wants a name.
static char *read_input(struct error *err)
{
	char *text = NULL;
	size_t length = 0, n;
	char part[4096];
	FILE *to = open_memstream(&text, &length);
	while (to && length < FILE_MAX && (n = fread(part, 1, sizeof(part), stdin)) > 0) {
		fwrite(part, 1, n, to);
		fflush(to);
	}
	if (to)
		fclose(to);
	if (to && !ferror(stdin) && length < FILE_MAX)
		return text;
	free(text);
	error_set(err, ERR_USAGE, "--file -: standard input cannot be read, or is too long");
	return NULL;
}

static json_t *read_definition(const char *path, struct error *err)
{
	bool input = !strcmp(path, "-");
	struct error why;
	_cleanup_free_ char *text =
		input ? read_input(err) : fdio_read_file(AT_FDCWD, path, FILE_MAX, &why);
	if (!text) {
		if (!input)
			error_set(err, ERR_USAGE, "--file: %s", why.message);
		return NULL;
	}
	json_t *definition = yaml_read(text, strlen(text), input ? "standard input" : path, err);
	if (!definition || json_is_object(definition))
		return definition;
	json_decref(definition);
	error_set(err, ERR_USAGE, "--file: %s is not a definition", path);
	return NULL;
}

// Under another name it is another partition: it must not have the addresses of the first one's
// interfaces.
static void forget_macs(json_t *definition)
{
	size_t i;
	json_t *network;
	json_array_foreach (json_object_get(definition, "networks"), i, network)
		json_object_del(network, "mac");
}

// The file's definition with what was given on top of it.
static json_t *definition_of_file(const struct args *args, const json_t *given, struct error *err)
{
	json_t *definition = read_definition(args_value(args, "file"), err);
	if (!definition)
		return NULL;
	const char *name = json_string_value(json_object_get(definition, "name"));
	if (args->count && name && strcmp(name, args->names[0]) != 0)
		forget_macs(definition);
	if (!args->count && !name) {
		json_decref(definition);
		error_set(err, ERR_USAGE, "create: neither a NAME is given nor is one in the file");
		return NULL;
	}
	json_object_update_recursive(definition, (json_t *)given);
	return definition;
}

// ---- create -------------------------------------------------------------------------------------

static int check_sources(const struct args *args, struct error *err)
{
	int sources = args_has(args, "bundle") + args_has(args, "image") +
		      args_has(args, "rootfs") + args_has(args, "file");
	if (args_has(args, "file") && args_has(args, "rootfs"))
		sources--; // replaces the file's
	if (sources != 1)
		return error_set(err, ERR_USAGE,
				 "create: one of --bundle DIR, --image TRANSPORT:REF, --rootfs DIR "
				 "and --file FILE is wanted");
	if (!args->count && !args_has(args, "file"))
		return error_set(err, ERR_USAGE, "create: a NAME is missing");
	return 0;
}

json_t *options_create(const struct args *args, struct error *err)
{
	_cleanup_json_ json_t *given = json_object(), *body = NULL;
	if (check_sources(args, err) < 0 || set_all(given, args, err) < 0)
		return NULL;
	if (args_has(args, "file")) {
		json_t *definition = definition_of_file(args, given, err);
		if (!definition)
			return NULL;
		body = json_pack("{s:o}", "definition", definition);
	} else {
		body = args_has(args, "rootfs") ? json_pack("{s:O}", "definition", given)
						: json_incref(given);
	}
	if (set_path(body, "bundle", args_value(args, "bundle"), err) < 0 ||
	    set_image(body, args_value(args, "image"), err) < 0)
		return NULL;
	set_list(body, "cap_add", args, "cap-add");
	set_list(body, "cap_drop", args, "cap-drop");
	if (args_has(args, "start"))
		json_object_set_new(body, "start", json_true());
	return take_ptr(body);
}
