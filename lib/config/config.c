// SPDX-License-Identifier: Apache-2.0
#include "lib/config/config.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/paths.h"
#include "lib/base/units.h"
#include "lib/config/outline.h"
#include "lib/config/schema.h"
#include "lib/memory/converge.h"
#include "lib/memory/restore.h"
#include "lib/memory/squeeze.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define FILE_MAX (256 * 1024)

#define LIMIT_MOVES_MAX  64
#define DEFAULT_LISTEN   "[::]:7470"
#define DEFAULT_METRICS  "127.0.0.1:7471"
#define DEFAULT_GROUP    "wpar"
#define DEFAULT_BRIDGE   "br0"
#define DEFAULT_COMPRESS "auto"
#define DEFAULT_RESTORE  "auto"
#define DEFAULT_DIVERGE  "throttle-then-abort"
#define DEFAULT_SHARED   "/srv/shared"

// The text, its outline and the values, while one file is read.
struct reading {
	struct outline outline;
	const struct config_values *v;
	struct error *err;
};

static int complain(const struct reading *r, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int complain(const struct reading *r, const char *key, const char *format, ...)
{
	char what[512];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	unsigned line = outline_line(&r->outline, key);
	if (!line)
		return error_set(r->err, ERR_CONFIG, "%s: %s", key, what);
	return error_set(r->err, ERR_CONFIG, "line %u: %s: %s", line, key, what);
}

static int take(char **to, const char *value, const char *otherwise, struct error *err)
{
	*to = strdup(value ? value : otherwise);
	return *to ? 0 : error_set(err, ERR_NOMEM, "no memory for the configuration");
}

static int take_path(const struct reading *r, const char *key, char **to, const char *value,
		     const char *otherwise)
{
	if (value && value[0] != '/')
		return complain(r, key, "\"%s\" is not an absolute path", value);
	return take(to, value, otherwise, r->err);
}

// Relative names are files of /etc/relocd.
static int take_etc(const struct reading *r, char **to, const char *value, const char *otherwise)
{
	const char *name = value ? value : otherwise;
	if (name[0] == '/')
		return take(to, name, NULL, r->err);
	if (asprintf(to, "%s/%s", paths_etc(), name) < 0) {
		*to = NULL;
		return error_set(r->err, ERR_NOMEM, "no memory for the configuration");
	}
	return 0;
}

static bool host_name_ok(const char *name)
{
	size_t length = strlen(name);
	return length >= 1 && length <= 63 && name[0] != '.' && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
		       length;
}

static int read_host(const struct reading *r, struct config *c)
{
	char name[HOST_NAME_MAX + 1] = "";
	const char *host = r->v->host;
	if (!host && gethostname(name, sizeof(name) - 1) < 0)
		return error_sys(r->err, ERR_SYSTEM, errno, "cannot get the host name");
	if (!host)
		host = name;
	if (!host_name_ok(host))
		return complain(r, "host",
				"\"%s\" is no host name: 1 to 63 letters, digits, '.', '_' or '-'",
				host);
	return take(&c->host, host, NULL, r->err);
}

int config_split_address(const char *address, char *host, char *port, struct error *err)
{
	const char *colon = strrchr(address, ':');
	if (!colon)
		return error_set(err, ERR_CONFIG, "\"%s\" has no port: write ADDRESS:PORT",
				 address);
	const char *begin = address;
	size_t length = (size_t)(colon - address);
	if (length >= 2 && address[0] == '[' && colon[-1] == ']') {
		begin++;
		length -= 2;
	} else if (memchr(address, ':', length)) {
		return error_set(err, ERR_CONFIG, "\"%s\": write IPv6 as [ADDRESS]:PORT", address);
	}
	char *end;
	unsigned long number = strtoul(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || strlen(colon + 1) > 5 || number < 1 ||
	    number > 65535)
		return error_set(err, ERR_CONFIG, "\"%s\" has no port from 1 to 65535", address);
	if (!length || length > 255)
		return error_set(err, ERR_CONFIG, "\"%s\" has no address before the port", address);
	memcpy(host, begin, length);
	host[length] = 0;
	strcpy(port, colon + 1);
	return 0;
}

static int read_listen(const struct reading *r, struct config *c)
{
	char host[256], port[8];
	struct error why;
	if (r->v->listen && config_split_address(r->v->listen, host, port, &why) < 0)
		return complain(r, "listen", "%s", why.message);
	return take(&c->listen, r->v->listen, DEFAULT_LISTEN, r->err);
}

// A whole number up to max, followed by exactly `suffix`.
static int read_count(const struct reading *r, const char *key, const char *text,
		      const char *suffix, const char *form, unsigned max, unsigned *value)
{
	size_t digits = strspn(text, "0123456789");
	if (!digits || strcmp(text + digits, suffix) != 0)
		return complain(r, key, "\"%s\" is not %s", text, form);
	unsigned long n = strtoul(text, NULL, 10);
	if (digits > 9 || n > max)
		return complain(r, key, "\"%s\" is too large", text);
	*value = (unsigned)n;
	return 0;
}

static int read_move(const struct reading *r, struct config *c)
{
	const struct config_move *v = &r->v->move;
	const char *text = v->max_downtime;
	uint64_t ms = 100;
	struct error why;
	if (text && units_parse_duration(text, &ms, &why) < 0)
		return complain(r, "move.max_downtime", "%s", why.message);
	if (ms > 3600 * 1000)
		return complain(r, "move.max_downtime", "\"%s\" is more than an hour", text);
	c->max_downtime_ms = (int64_t)ms;
	if (v->bandwidth && units_parse_rate(v->bandwidth, &c->bandwidth, &why) < 0)
		return complain(r, "move.bandwidth", "%s", why.message);
	enum converge_policy policy;
	if (v->on_diverge && converge_policy_of(v->on_diverge, &policy, &why) < 0)
		return complain(r, "move.on_diverge", "%s", why.message);
	enum squeeze_method method;
	if (v->compress && squeeze_parse(v->compress, &method, &why) < 0)
		return complain(r, "move.compress", "%s", why.message);
	enum restore_wish wish;
	if (v->restore && restore_parse(v->restore, &wish, &why) < 0)
		return complain(r, "move.restore", "%s", why.message);
	if (take(&c->compress, v->compress, DEFAULT_COMPRESS, r->err) < 0 ||
	    take(&c->restore, v->restore, DEFAULT_RESTORE, r->err) < 0)
		return -1;
	return take(&c->on_diverge, v->on_diverge, DEFAULT_DIVERGE, r->err);
}

// NULL: what is there stays.
static int read_moves(const struct reading *r, const char *key, const char *text, unsigned *count)
{
	if (text && read_count(r, key, text, "", "a number", LIMIT_MOVES_MAX, count) < 0)
		return -1;
	return *count ? 0 : complain(r, key, "must be at least 1");
}

static int read_hooks(const struct reading *r, struct config *c)
{
	const char *text = r->v->hooks.timeout;
	uint64_t ms = 30000;
	struct error why;
	if (text && units_parse_duration(text, &ms, &why) < 0)
		return complain(r, "hooks.timeout", "%s", why.message);
	if (ms < 1 || ms > 3600 * 1000)
		return complain(r, "hooks.timeout", "\"%s\" is not from 1ms to 1h", text);
	c->hook_timeout_ms = (int64_t)ms;
	return 0;
}

static int read_limits(const struct reading *r, struct config *c)
{
	const struct config_limits *v = &r->v->limits;
	c->moves = 4;
	c->moves_per_link = LIMIT_MOVES_MAX; // none of its own
	c->arrivals = 8;
	c->memory_for_arrivals_percent = 80;
	if (read_moves(r, "limits.moves", v->moves, &c->moves) < 0)
		return -1;
	if (read_moves(r, "limits.moves_per_link", v->moves_per_link, &c->moves_per_link) < 0 ||
	    read_moves(r, "limits.arrivals", v->arrivals, &c->arrivals) < 0)
		return -1;
	struct error why;
	if (v->bandwidth && units_parse_rate(v->bandwidth, &c->host_bandwidth, &why) < 0)
		return complain(r, "limits.bandwidth", "%s", why.message);
	if (!v->memory_for_arrivals)
		return 0;
	return read_count(r, "limits.memory_for_arrivals", v->memory_for_arrivals, "%",
			  "a percentage such as 80%", 100, &c->memory_for_arrivals_percent);
}

static int read_retention(const struct reading *r, struct config *c)
{
	const char *text = r->v->retention.events;
	uint64_t ms = 90ull * 24 * 3600 * 1000;
	struct error why;
	if (text && units_parse_duration(text, &ms, &why) < 0)
		return complain(r, "retention.events", "%s", why.message);
	if (ms < 3600 * 1000 || ms > 3650ull * 24 * 3600 * 1000)
		return complain(r, "retention.events", "\"%s\" is not from 1h to 3650d", text);
	c->events_keep_ms = (int64_t)ms;
	return 0;
}

static int read_storage(const struct reading *r, struct config *c)
{
	const struct config_storage *v = &r->v->storage;
	if (take_path(r, "storage.root", &c->storage_root, v->root, paths_state()) < 0)
		return -1;
	size_t count = v->shared ? v->shared_count : 1;
	c->shared = calloc(count + 1, sizeof(*c->shared));
	if (!c->shared)
		return error_set(r->err, ERR_NOMEM, "no memory for the configuration");
	for (; c->shared_count < count; c->shared_count++)
		if (take_path(r, "storage.shared", &c->shared[c->shared_count],
			      v->shared ? v->shared[c->shared_count] : NULL, DEFAULT_SHARED) < 0)
			return -1;
	return 0;
}

static int read_criu(const struct reading *r, struct config *c)
{
	const struct config_criu *v = &r->v->criu;
	bool named = v->path && strcmp(v->path, "auto") != 0;
	bool chosen =
		v->preload && strcmp(v->preload, "auto") != 0 && strcmp(v->preload, "none") != 0;
	if (named && v->path[0] != '/')
		return complain(r, "criu.path", "\"%s\" is neither auto nor an absolute path",
				v->path);
	if (chosen && v->preload[0] != '/')
		return complain(r, "criu.preload",
				"\"%s\" is neither auto, none nor an absolute path", v->preload);
	if (take(&c->criu, v->path, "auto", r->err) < 0)
		return -1;
	return take(&c->preload, v->preload, "auto", r->err);
}

static int read_bridge(const struct reading *r, struct config *c)
{
	const char *bridge = r->v->network.bridge;
	if (bridge && (!*bridge || strlen(bridge) > 15 || strpbrk(bridge, "/ \t\n")))
		return complain(r, "network.bridge", "\"%s\" cannot be an interface", bridge);
	return take(&c->bridge, bridge, DEFAULT_BRIDGE, r->err);
}

static int read_api(const struct reading *r, struct config *c)
{
	char socket[PATH_MAX];
	snprintf(socket, sizeof(socket), "%s/relocd.sock", paths_run());
	if (take_path(r, "api.socket", &c->api_socket, r->v->api.socket, socket) < 0)
		return -1;
	if (strlen(c->api_socket) > 107) // sun_path
		return complain(r, "api.socket", "longer than the 107 bytes of a socket path");
	return take(&c->api_group, r->v->api.group, DEFAULT_GROUP, r->err);
}

static bool user_ok(const char *text)
{
	const char *name = strncmp(text, "group:", 6) ? text : text + 6;
	size_t length = strlen(name);
	return length >= 1 && length <= 255 && name[0] != '-' && !strpbrk(name, ": \t\n/,");
}

static int read_names(const struct reading *r, const char *key, char *const *given, size_t count,
		      struct config_names *names)
{
	names->list = calloc(count + 1, sizeof(*names->list));
	if (!names->list)
		return error_set(r->err, ERR_NOMEM, "no memory for the configuration");
	for (; names->count < count; names->count++) {
		const char *name = given[names->count];
		if (!user_ok(name))
			return complain(r, key, "\"%s\" is no user: NAME, UID or group:NAME", name);
		if (take(&names->list[names->count], name, NULL, r->err) < 0)
			return -1;
	}
	return 0;
}

static int read_roles(const struct reading *r, struct config *c)
{
	static const char *const roles[] = {"admin", "operator", "viewer", "none"};
	const struct config_roles *v = &r->v->roles;
	if (read_names(r, "roles.admin", v->admin, v->admin_count, &c->admins) < 0 ||
	    read_names(r, "roles.operator", v->operator, v->operator_count, &c->operators) < 0 ||
	    read_names(r, "roles.viewer", v->viewer, v->viewer_count, &c->viewers) < 0 ||
	    take(&c->peers_role, v->peers, "admin", r->err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		if (!strcmp(roles[i], c->peers_role))
			return 0;
	return complain(r, "roles.peers", "\"%s\" is not admin, operator, viewer or none",
			c->peers_role);
}

static int read_metrics(const struct reading *r, struct config *c)
{
	const char *listen = r->v->metrics.listen;
	char host[256], port[8];
	struct error why;
	if (listen && !strcmp(listen, "none"))
		return take(&c->metrics, "", NULL, r->err);
	if (listen && config_split_address(listen, host, port, &why) < 0)
		return complain(r, "metrics.listen", "%s", why.message);
	return take(&c->metrics, listen, DEFAULT_METRICS, r->err);
}

static int read_tls(const struct reading *r, struct config *c)
{
	const struct config_tls *v = &r->v->tls;
	if (take_etc(r, &c->tls_ca, v->ca, "ca.pem") < 0 ||
	    take_etc(r, &c->tls_cert, v->cert, "host.pem") < 0)
		return -1;
	return take_etc(r, &c->tls_key, v->key, "host.key");
}

static int fill(const struct reading *r, struct config *c)
{
	if (read_host(r, c) < 0 || read_listen(r, c) < 0 || read_api(r, c) < 0 ||
	    read_tls(r, c) < 0 || read_bridge(r, c) < 0)
		return -1;
	if (read_storage(r, c) < 0 || read_criu(r, c) < 0 || read_move(r, c) < 0)
		return -1;
	if (read_limits(r, c) < 0 || read_roles(r, c) < 0 || read_metrics(r, c) < 0)
		return -1;
	return read_hooks(r, c) < 0 ? -1 : read_retention(r, c);
}

int config_parse(const char *name, const char *text, size_t length, struct config *config,
		 struct error *err)
{
	struct reading r = {.err = err};
	struct config_values *values = NULL;
	static const struct config_values none;
	*config = (struct config){0};
	int failed = outline_read(text, length, &r.outline, err) < 0 ||
		     config_schema_check(&r.outline, err) < 0 ||
		     (r.outline.count && config_schema_load(text, length, &values, err) < 0);
	r.v = values ? values : &none;
	if (!failed)
		failed = fill(&r, config) < 0;
	config_schema_free(values);
	outline_free(&r.outline);
	if (!failed)
		return 0;
	config_free(config);
	return name[0] ? error_wrap(err, "%s", name) : -1;
}

int config_load(const char *path, bool required, struct config *config, struct error *err)
{
	*config = (struct config){0};
	if (!required && access(path, F_OK) < 0 && errno == ENOENT)
		return config_parse("", "", 0, config, err);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, FILE_MAX, err);
	if (!text) {
		if (err)
			err->id = ERR_CONFIG;
		return -1;
	}
	return config_parse(path, text, strlen(text), config, err);
}

static void free_names(struct config_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->list[i]);
	free(names->list);
}

void config_free(struct config *config)
{
	char *texts[] = {
		config->host,         config->listen,   config->api_socket, config->api_group,
		config->tls_ca,       config->tls_cert, config->tls_key,    config->bridge,
		config->storage_root, config->criu,     config->preload,    config->on_diverge,
		config->compress,     config->restore,  config->peers_role, config->metrics};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	for (size_t i = 0; i < config->shared_count; i++)
		free(config->shared[i]);
	free(config->shared);
	free_names(&config->admins);
	free_names(&config->operators);
	free_names(&config->viewers);
	*config = (struct config){0};
}
