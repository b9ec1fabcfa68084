// SPDX-License-Identifier: Apache-2.0
#include "relocd/peers/relay.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define CONNECT_MS 8000
#define LOOK_MS    500 // how often a wait looks whether relocd stops
#define ROOM       32768

struct relay {
	struct daemon *d;
	struct MHD_Connection *connection;
	int client; // its socket
	int sock;   // the call
	char host[REGISTRY_NAME_MAX];
	struct answer answer;
	struct MHD_UpgradeResponseHandle *handle; // of an upgraded connection
	struct buf to_client, to_peer;
};

static void free_relay(void *arg)
{
	struct relay *r = arg;
	if (r->sock >= 0)
		close(r->sock);
	answer_free(&r->answer);
	buf_free(&r->to_client);
	buf_free(&r->to_peer);
	free(r);
}

void relay_drop(struct relay *r)
{
	free_relay(r);
}

// ---- the request --------------------------------------------------------------------------------

// Arguments are still encoded, as they came; "host" has been obeyed.
static enum MHD_Result add_argument(void *to, enum MHD_ValueKind kind, const char *key,
				    const char *value)
{
	struct buf *path = to;
	(void)kind;
	if (!strcmp(key, "host"))
		return MHD_YES;
	const char *mark = memchr(path->data, '?', path->length) ? "&" : "?";
	if (buf_append(path, mark, 1, NULL) < 0 || buf_append(path, key, strlen(key), NULL) < 0 ||
	    (value && (buf_append(path, "=", 1, NULL) < 0 ||
		       buf_append(path, value, strlen(value), NULL) < 0)))
		return MHD_NO;
	return MHD_YES;
}

static int add(struct buf *to, struct error *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int add(struct buf *to, struct error *err, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	int n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		return error_set(err, ERR_NOMEM, "no memory for a request");
	int failed = buf_append(to, text, (size_t)n, err);
	free(text);
	return failed;
}

static int add_headers(struct request *q, struct buf *to, struct error *err)
{
	static const char *const passed[] = {MHD_HTTP_HEADER_IF_MATCH, "Idempotency-Key",
					     MHD_HTTP_HEADER_UPGRADE};
	bool upgrade = false;
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
		const char *value =
			MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, passed[i]);
		if (value && add(to, err, "%s: %s\r\n", passed[i], value) < 0)
			return -1;
		upgrade = upgrade || (value && !strcmp(passed[i], MHD_HTTP_HEADER_UPGRADE));
	}
	return add(to, err, "Connection: %s\r\n", upgrade ? "Upgrade" : "close");
}

void relay_arguments(struct request *q, struct buf *path)
{
	MHD_get_connection_values(q->connection, MHD_GET_ARGUMENT_KIND, add_argument, path);
}

static int write_request(struct request *q, const struct route *route, struct buf *to,
			 struct error *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ANSWER_HEAD_MAX);
	_cleanup_free_ char *body =
		json_object_size(q->body) ? json_dumps(q->body, JSON_COMPACT) : NULL;
	if (buf_append(&path, q->path, strlen(q->path), err) < 0)
		return -1;
	relay_arguments(q, &path);
	if (add(to, err, "%s %.*s HTTP/1.1\r\nHost: wpar\r\n", route->method, (int)path.length,
		(const char *)path.data) < 0 ||
	    add_headers(q, to, err) < 0)
		return -1;
	return body ? add(to, err,
			  "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			  strlen(body), body)
		    : add(to, err, "\r\n");
}

// ---- waiting ------------------------------------------------------------------------------------

// Until the call can be read (or written): 0; -1 when nobody wants it any more.
static int wait_for(struct relay *r, short events, struct error *err)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = r->sock, .events = events},
				       {.fd = r->client, .events = POLLRDHUP}};
		if (poll(fds, 2, LOOK_MS) < 0 && errno != EINTR)
			return error_sys(err, ERR_SYSTEM, errno, "poll failed");
		if (fds[0].revents)
			return 0;
		if (fds[1].revents)
			return error_set(err, ERR_UNREACHABLE, "the client has gone");
		if (r->d->stopping)
			return error_set(err, ERR_UNREACHABLE, "relocd is stopping");
	}
}

static int read_more(struct relay *r, struct error *err)
{
	size_t room;
	uint8_t *to = answer_room(&r->answer, &room);
	if (!to)
		return error_set(err, ERR_NOMEM, "no memory for an answer");
	if (wait_for(r, POLLIN, err) < 0)
		return -1;
	ssize_t n = recv(r->sock, to, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	answer_fed(&r->answer, n > 0 ? (size_t)n : 0);
	return 0;
}

static int send_request(struct relay *r, struct buf *out, struct error *err)
{
	while (out->length) {
		if (wait_for(r, POLLOUT, err) < 0)
			return -1;
		ssize_t n = send(r->sock, out->data, out->length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return 0; // its answer says why
		if (n > 0)
			buf_consume(out, (size_t)n);
	}
	return 0;
}

static int wait_head(struct relay *r, struct error *err)
{
	int got;
	while ((got = answer_head(&r->answer, err)) == 0)
		if (read_more(r, err) < 0)
			return -1;
	return got < 0 ? -1 : 0;
}

struct relay *relay_open(struct request *q, const struct route *route, const char *host,
			 unsigned *status, struct error *err)
{
	struct peer_caller caller;
	_cleanup_buf_ struct buf out = BUF_INIT(2 * API_BODY_MAX + ANSWER_HEAD_MAX);
	struct relay *r = calloc(1, sizeof(*r));
	if (!r) {
		error_set(err, ERR_NOMEM, "no memory for a request");
		return NULL;
	}
	*r = (struct relay){.d = q->d,
			    .connection = q->connection,
			    .client = api_socket_of(q->connection),
			    .to_client = BUF_INIT(ANSWER_FEED_MAX + ROOM),
			    .to_peer = BUF_INIT(2 * ROOM)};
	snprintf(r->host, sizeof(r->host), "%s", host);
	answer_init(&r->answer);
	peer_caller_of(q, &caller);
	r->sock = write_request(q, route, &out, err) < 0
			  ? -1
			  : peer_open(q->d, host, &caller, CONNECT_MS, 0, err);
	if (r->sock >= 0 && send_request(r, &out, err) == 0 && wait_head(r, err) == 0) {
		*status = r->answer.status;
		return r;
	}
	error_at(err, host, NULL, NULL);
	free_relay(r);
	return NULL;
}

// ---- an object or a stream ----------------------------------------------------------------------

static ssize_t read_body(void *arg, uint64_t at, char *to, size_t room)
{
	struct relay *r = arg;
	struct error err = {0};
	(void)at;
	for (;;) {
		ssize_t n = answer_body(&r->answer, to, room, &err);
		if (n > 0)
			return n;
		if (r->answer.ended)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (n == 0 && read_more(r, &err) == 0)
			continue;
		log_debug("answer of %s: %s", r->host, err.message);
		return MHD_CONTENT_READER_END_WITH_ERROR; // the client sees that it is cut off
	}
}

static void add_header(struct request *q, const char *name, const char *value)
{
	if (value[0])
		MHD_add_response_header(q->response, name, value);
}

static int answer_body_of(struct request *q, struct relay *r, struct error *err)
{
	const struct answer *a = &r->answer;
	uint64_t size = a->chunked || a->until_close ? MHD_SIZE_UNKNOWN : a->left;
	q->status = a->status;
	q->response = MHD_create_response_from_callback(size, ROOM, read_body, r, free_relay);
	if (!q->response) {
		free_relay(r);
		return error_set(err, ERR_NOMEM, "no memory for an answer");
	}
	add_header(q, MHD_HTTP_HEADER_CONTENT_TYPE, a->type);
	add_header(q, MHD_HTTP_HEADER_ETAG, a->etag);
	add_header(q, MHD_HTTP_HEADER_LOCATION, a->location);
	return 0;
}

// ---- an upgraded connection ---------------------------------------------------------------------

// From one socket into the buffer: false at its end.
static bool take(int from, struct buf *to)
{
	uint8_t *at = buf_reserve(to, ROOM, NULL);
	ssize_t n = at ? recv(from, at, ROOM, MSG_DONTWAIT) : -1;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n > 0)
		to->length += (size_t)n;
	return n > 0;
}

static bool give(struct buf *from, int to)
{
	ssize_t n = send(to, from->data, from->length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		buf_consume(from, (size_t)n);
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

// What the peer has said at last is still delivered; what the client said is not, once the peer is
// gone.
static void shuttle(struct relay *r)
{
	bool peer_open = true, client_open = true;
	while (client_open && (peer_open || r->to_client.length)) {
		bool client_in = r->to_peer.length < ROOM, peer_in = r->to_client.length < ROOM;
		struct pollfd fds[] = {{.fd = r->client,
					.events = (short)((client_in ? POLLIN : POLLRDHUP) |
							  (r->to_client.length ? POLLOUT : 0))},
				       {.fd = peer_open ? r->sock : -1,
					.events = (short)((peer_in ? POLLIN : 0) |
							  (r->to_peer.length ? POLLOUT : 0))}};
		if (poll(fds, 2, LOOK_MS) < 0 && errno != EINTR)
			return;
		if (r->d->stopping)
			return;
		if (fds[0].revents & POLLOUT)
			client_open = give(&r->to_client, r->client);
		if (fds[0].revents & (POLLIN | POLLHUP | POLLERR | POLLRDHUP))
			client_open = client_open && client_in && take(r->client, &r->to_peer);
		if (fds[1].revents & POLLOUT)
			peer_open = give(&r->to_peer, r->sock);
		if (fds[1].revents & (POLLIN | POLLHUP | POLLERR) && peer_in)
			peer_open = take(r->sock, &r->to_client) && peer_open;
	}
}

static void *run_upgraded(void *arg)
{
	struct relay *r = arg;
	struct MHD_UpgradeResponseHandle *handle = r->handle;
	shuttle(r);
	free_relay(r);
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
	return NULL;
}

static void on_upgrade(void *arg, struct MHD_Connection *connection, void *context,
		       const char *extra, size_t length, MHD_socket sock,
		       struct MHD_UpgradeResponseHandle *handle)
{
	struct relay *r = arg;
	pthread_t thread;
	(void)connection;
	(void)context;
	r->client = sock;
	r->handle = handle;
	if (buf_append(&r->to_peer, extra, length, NULL) == 0 &&
	    buf_append(&r->to_client, r->answer.in.data, r->answer.in.length, NULL) == 0 &&
	    pthread_create(&thread, NULL, run_upgraded, r) == 0) {
		pthread_detach(thread);
		return;
	}
	log_warn("no memory for a session on %s", r->host);
	free_relay(r);
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

static int answer_upgrade(struct request *q, struct relay *r, struct error *err)
{
	const char *wanted = MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_UPGRADE);
	if (!wanted || strcasecmp(wanted, r->answer.upgrade) != 0) {
		free_relay(r);
		return error_set(err, ERR_PROTOCOL, "its answer upgrades what was not asked for");
	}
	q->status = MHD_HTTP_SWITCHING_PROTOCOLS;
	q->response = MHD_create_response_for_upgrade(on_upgrade, r);
	if (!q->response) {
		free_relay(r);
		return error_set(err, ERR_NOMEM, "no memory for a session");
	}
	add_header(q, MHD_HTTP_HEADER_UPGRADE, wanted);
	return 0;
}

int relay_answer(struct request *q, struct relay *r, struct error *err)
{
	return r->answer.status == MHD_HTTP_SWITCHING_PROTOCOLS ? answer_upgrade(q, r, err)
								: answer_body_of(q, r, err);
}
