// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/api.h"

#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/api/accept.h"
#include "relocd/api/audit.h"
#include "relocd/api/once.h"
#include "relocd/api/openapi.h"
#include "relocd/api/roles.h"
#include "relocd/api/socket.h"
#include "relocd/daemon/events.h"
#include "relocd/peers/forward.h"
#include "relocd/peers/peers.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONNECTIONS_MAX 128
#define READ_SECONDS    30 // for a request to arrive
#define STOP_MS         3000

struct api {
	struct MHD_Daemon *http;
	struct roles *roles;
	struct acceptor *acceptor;
	struct api_socket socket;
	unsigned active; // requests being answered; under the daemon's lock
};

// One request while MHD reads it.
struct exchange {
	struct buf body;
	bool too_large;
	bool counted;
};

// ---- callers ------------------------------------------------------------------------------------

int api_socket_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	return info ? info->connect_fd : -1;
}

bool api_client_gone(struct MHD_Connection *connection)
{
	struct pollfd p = {.fd = api_socket_of(connection), .events = POLLRDHUP};
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

// Only what came in by our own socket has credentials to go by: those of a socket pair would be
// those of whoever made it.
static bool came_in_by(const char *path, int sock)
{
	struct sockaddr_un name = {0};
	socklen_t length = sizeof(name);
	return getsockname(sock, (struct sockaddr *)&name, &length) == 0 &&
	       name.sun_family == AF_UNIX && !strncmp(name.sun_path, path, sizeof(name.sun_path));
}

static void identify(struct request *q)
{
	int sock = api_socket_of(q->connection);
	q->uid = (uid_t)-1;
	if (!peers_identify(sock, q) && came_in_by(q->d->api->socket.path, sock))
		q->role = roles_of_socket(q->d->api->roles, sock, &q->uid, &q->pid);
}

// ---- requests -----------------------------------------------------------------------------------

const char *api_argument(struct request *q, const char *name, char *value, size_t size)
{
	const char *given = MHD_lookup_connection_value(q->connection, MHD_GET_ARGUMENT_KIND, name);
	if (!given || strlen(given) >= size)
		return NULL;
	strcpy(value, given);
	MHD_http_unescape(value);
	return value;
}

bool api_flag(struct request *q, const char *name)
{
	char value[16];
	return api_argument(q, name, value, sizeof(value)) && value[0] && strcmp(value, "0") != 0;
}

int api_number(struct request *q, const char *name, int64_t max, int64_t *number, struct error *err)
{
	char text[24];
	if (!MHD_lookup_connection_value(q->connection, MHD_GET_ARGUMENT_KIND, name))
		return 0;
	const char *given = api_argument(q, name, text, sizeof(text));
	if (!given || !*given || strspn(given, "0123456789") != strlen(given) || strlen(given) > 18)
		return error_set(err, ERR_USAGE, "\"%s\" must be a whole number", name);
	*number = strtoll(given, NULL, 10);
	if (*number > max)
		return error_set(err, ERR_USAGE, "\"%s\" is more than %lld", name, (long long)max);
	return 1;
}

int api_body(struct request *q, struct error *err, const char *format, ...)
{
	json_error_t why;
	va_list args;
	va_start(args, format);
	int failed = json_vunpack_ex(q->body, &why, JSON_STRICT, format, args);
	va_end(args);
	if (failed)
		return error_set(err, ERR_USAGE, "the request's body is not right: %s", why.text);
	return 0;
}

static int read_body(struct request *q, const struct exchange *x, struct error *err)
{
	if (x->too_large)
		return error_set(err, ERR_USAGE, "the request's body is larger than %d bytes",
				 API_BODY_MAX);
	q->body = route_body(x->body.data, x->body.length, err);
	return q->body ? 0 : -1;
}

static int find_route(struct request *q, const char *method, const char *path,
		      const struct route **route, struct error *err)
{
	switch (route_find(api_routes, api_route_count, method, path, q->param, route)) {
	case ROUTE_NO_PATH:
		q->status = MHD_HTTP_NOT_FOUND;
		return error_set(err, ERR_USAGE, "the API has no %s", path);
	case ROUTE_NO_METHOD:
		q->status = MHD_HTTP_METHOD_NOT_ALLOWED;
		return error_set(err, ERR_USAGE, "%s cannot be asked with %s", path, method);
	default:
		return 0;
	}
}

// For the records of what comes of it.
static json_t *asked_json(const struct request *q)
{
	struct peer_caller caller;
	char time[CLOCK_TEXT_MAX];
	peer_caller_of(q, &caller);
	return json_pack("{s:s, s:s, s:s, s:s}", "user", caller.user, "role",
			 role_name(caller.role), "host", q->peer[0] ? q->peer : q->d->config.host,
			 "time", clock_rfc3339(time));
}

static int run(struct request *q, const struct exchange *x, const char *method, const char *path,
	       struct error *err)
{
	const struct route *route;
	identify(q);
	if (!q->role)
		return error_set(err, ERR_DENIED, "uid %d has no role here", (int)q->uid);
	if (find_route(q, method, path, &route, err) < 0)
		return -1;
	if (q->role < route->role)
		return error_set(err, ERR_DENIED, "%s %s needs the role %s", method, path,
				 role_name(route->role));
	if (openapi_check_query(q, route, err) < 0)
		return -1;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
		events_asked(q->asked = asked_json(q));
	if (q->d->stopping)
		return error_set(err, ERR_UNREACHABLE, "relocd is stopping");
	if (read_body(q, x, err) < 0) {
		q->status = x->too_large ? MHD_HTTP_CONTENT_TOO_LARGE : 0;
		return -1;
	}
	struct once *once;
	int known = once_begin(q, method, path, x->body.data, x->body.length, &once, err);
	if (known)
		return known < 0 ? -1 : 0;
	bool forwarded;
	int failed = forward_request(q, route, &forwarded, err);
	if (!failed && !forwarded)
		failed = route->handle(q, err);
	once_end(q, once, failed);
	return failed;
}

static enum MHD_Result send_json(const struct request *q, unsigned status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!text)
		return MHD_NO; // no memory: the connection is closed
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	if (q->etag[0])
		MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, q->etag);
	enum MHD_Result result = MHD_queue_response(q->connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer(struct request *q, int failed, const struct error *err)
{
	if (failed)
		return send_json(
			q, q->status ? q->status : route_status(err),
			json_pack("{s:i, s:[o]}", "schema", 1, "errors", error_to_json(err)));
	if (q->response) {
		enum MHD_Result result = MHD_queue_response(
			q->connection, q->status ? q->status : MHD_HTTP_OK, q->response);
		MHD_destroy_response(q->response);
		return result;
	}
	json_t *data = q->data ? q->data : json_null();
	return send_json(
		q, q->status ? q->status : MHD_HTTP_OK,
		json_pack("{s:i, s:o, s:o*}", "schema", 1, "data", data, "warnings", q->warnings));
}

void api_warn(struct request *q, json_t *warning)
{
	if (!q->warnings)
		q->warnings = json_array();
	json_array_append_new(q->warnings, warning);
}

static void count(struct daemon *d, int change)
{
	daemon_lock(d);
	d->api->active += (unsigned)change;
	daemon_changed(d);
	daemon_unlock(d);
}

static enum MHD_Result serve(struct daemon *d, struct MHD_Connection *connection,
			     struct exchange *x, const char *method, const char *path)
{
	struct request q = {.d = d, .connection = connection, .path = path};
	struct error err = {0};
	// A handler may take long: from here on nobody is timed out.
	MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
	x->counted = true;
	count(d, 1);
	int failed = run(&q, x, method, path, &err);
	events_asked(NULL);
	audit_note(&q, method, path, failed ? &err : NULL);
	json_decref(q.body);
	json_decref(q.asked);
	return answer(&q, failed, &err);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *bytes,
				  size_t *length, void **state)
{
	struct exchange *x = *state;
	(void)version;
	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return MHD_NO;
		x->body = BUF_INIT(API_BODY_MAX);
		*state = x;
		return MHD_YES;
	}
	if (*length) {
		if (x->too_large || buf_append(&x->body, bytes, *length, NULL) < 0)
			x->too_large = true;
		*length = 0;
		return MHD_YES;
	}
	return serve(arg, connection, x, method, path);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	struct exchange *x = *state;
	struct daemon *d = arg;
	(void)code;
	if (!x)
		return;
	if (x->counted) {
		count(d, -1);
		acceptor_drop_descriptors(d->api->acceptor, api_socket_of(connection));
		MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
					  (unsigned)READ_SECONDS);
	}
	buf_free(&x->body);
	free(x);
	*state = NULL;
}

// Paths and arguments stay encoded until they have been taken apart.
static size_t leave_encoded(void *arg, struct MHD_Connection *connection, char *text)
{
	(void)arg;
	(void)connection;
	return strlen(text);
}

// ---- the socket ---------------------------------------------------------------------------------

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct daemon *d = arg;
	(void)context;
	if (code != MHD_CONNECTION_NOTIFY_CLOSED)
		return;
	acceptor_closed(d->api->acceptor, api_socket_of(connection));
	peers_closed(api_socket_of(connection));
}

static bool serve_socket(void *arg, int sock)
{
	struct daemon *d = arg;
	// When it is refused, it has been closed.
	return MHD_add_connection(d->api->http, sock, NULL, 0) == MHD_YES;
}

int api_adopt(struct daemon *d, int sock, struct error *err)
{
	if (!d->api || !d->api->acceptor || d->stopping) {
		peers_closed(sock);
		close(sock);
		return error_set(err, ERR_UNREACHABLE, "relocd of %s is not ready", d->config.host);
	}
	if (serve_socket(d, sock))
		return 0;
	peers_closed(sock);
	return error_set(err, ERR_MOVE_BUSY, "%s serves too many requests", d->config.host);
}

static int start(struct daemon *d, struct api *api, struct error *err)
{
	api->roles = roles_new(&d->config, err);
	int sock = api->roles ? api_socket_open(&d->config, api->roles, &api->socket, err) : -1;
	if (sock < 0)
		return -1;
	api->http = MHD_start_daemon(
		MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
			MHD_USE_ITC | MHD_ALLOW_UPGRADE | MHD_USE_NO_LISTEN_SOCKET,
		0, NULL, NULL, on_request, d, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)READ_SECONDS,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, d, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, d, MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded, NULL,
		MHD_OPTION_END);
	if (!api->http) {
		close(sock);
		return error_set(err, ERR_SYSTEM, "cannot serve on %s", d->config.api_socket);
	}
	return acceptor_start(sock, api->roles, serve_socket, d, &api->acceptor, err);
}

static void free_api(struct daemon *d)
{
	struct api *api = d->api;
	if (api->http)
		MHD_stop_daemon(api->http);
	acceptor_free(api->acceptor);
	roles_free(api->roles);
	free(api);
	d->api = NULL;
}

int api_start(struct daemon *d, struct error *err)
{
	d->api = calloc(1, sizeof(*d->api));
	if (!d->api)
		return error_set(err, ERR_NOMEM, "no memory for the API");
	if (start(d, d->api, err) == 0)
		return 0;
	free_api(d);
	return -1;
}

void api_reload(struct daemon *d)
{
	struct error err;
	struct api *api = d->api;
	if (api && (roles_renew(api->roles, &d->config, &err) < 0 ||
		    api_socket_allow(&api->socket, api->roles, &err) < 0))
		log_error_of(&err, "reload: roles");
}

int api_descriptor(struct request *q, const char *value, struct error *err)
{
	char *end = NULL;
	unsigned long n = !strncmp(value, "fd:", 3) ? strtoul(value + 3, &end, 10) : 0;
	if (!end || end == value + 3 || *end || n >= ACCEPT_FDS_MAX)
		return error_set(err, ERR_USAGE, "\"%s\" is no descriptor of this request", value);
	int fd =
		acceptor_descriptor(q->d->api->acceptor, api_socket_of(q->connection), (unsigned)n);
	if (fd < 0)
		return error_set(err, ERR_USAGE, "descriptor %lu did not come with the request", n);
	return fd;
}

bool api_stop(struct daemon *d)
{
	struct api *api = d->api;
	if (!api->socket.inherited)
		unlink(api->socket.path);
	acceptor_quiet(api->acceptor);
	deadline_t deadline = deadline_in_ms(STOP_MS);
	daemon_lock(d);
	while (api->active && !deadline_passed(deadline))
		daemon_pause(d, deadline);
	bool idle = !api->active;
	daemon_unlock(d);
	if (!idle)
		return false; // requests or exec sessions are under way
	free_api(d);
	return true;
}
