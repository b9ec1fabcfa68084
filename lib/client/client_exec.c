// SPDX-License-Identifier: Apache-2.0
// Exec sessions: curl opens the connection, an HTTP/1.1 upgrade makes it ours, then frames go both
// ways. Sending only queues, so that a program that writes while we write cannot block both.
#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/client/client_http.h"
#include "lib/client/exec_frame.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define UPGRADE_TIMEOUT_MS 30000
#define HEADER_MAX         16384
#define QUEUE_MAX          (8 << 20)

struct wpar_exec {
	const struct wpar *wpar;
	CURL *easy; // owns the socket
	int fd;
	struct buf in, out;
	size_t taken; // of `in`: handed out by the last receive
};

static int open_socket(struct wpar_exec *session, struct error *err)
{
	session->easy = client_easy_new(session->wpar, err);
	if (!session->easy || client_set_path(session->wpar, session->easy, "/", err) < 0)
		return -1;
	curl_easy_setopt(session->easy, CURLOPT_CONNECT_ONLY, 1L);
	CURLcode code = curl_easy_perform(session->easy);
	if (code != CURLE_OK)
		return client_error_curl(session->wpar, session->easy, code, err);
	curl_socket_t fd = CURL_SOCKET_BAD;
	curl_easy_getinfo(session->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (fd == CURL_SOCKET_BAD)
		return error_set(err, ERR_INTERNAL, "the connection to relocd has no socket");
	session->fd = fd;
	return fdio_set_nonblock(fd, true, err);
}

static int broke(const struct wpar_exec *session, int sys, struct error *err)
{
	if (sys)
		return error_sys(err, ERR_UNREACHABLE, sys, "the connection to relocd at %s broke",
				 session->wpar->socket);
	return error_set(err, ERR_UNREACHABLE, "relocd at %s ended the session",
			 session->wpar->socket);
}

// Reads what the socket has now, at most one buffer's worth: 1 got some, 0 nothing there, -1.
static int fill(struct wpar_exec *session, struct error *err)
{
	uint8_t *to = buf_reserve(&session->in, 65536, err);
	if (!to)
		return -1;
	ssize_t n = recv(session->fd, to, 65536, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return broke(session, n < 0 ? errno : 0, err);
	session->in.length += (size_t)n;
	return 1;
}

static int fill_until(struct wpar_exec *session, deadline_t deadline, struct error *err)
{
	int ready = fdio_wait(session->fd, POLLIN, deadline, err);
	if (ready == 0)
		return error_set(err, ERR_DEADLINE, "relocd at %s does not answer in time",
				 session->wpar->socket);
	return ready < 0 ? -1 : fill(session, err);
}

// Reads the head of the answer: its length, and the status.
static int read_head(struct wpar_exec *session, deadline_t deadline, size_t *length, long *status,
		     struct error *err)
{
	uint8_t *end = NULL;
	while (!end) {
		if (session->in.length > HEADER_MAX)
			return error_set(err, ERR_PROTOCOL, "relocd's answer has no end of header");
		if (fill_until(session, deadline, err) < 0)
			return -1;
		if (session->in.length)
			end = memmem(session->in.data, session->in.length, "\r\n\r\n", 4);
	}
	*end = 0; // the head is text now
	*length = (size_t)(end - session->in.data) + 4;
	if (sscanf((char *)session->in.data, "HTTP/1.%*1[01] %3ld", status) != 1)
		return error_set(err, ERR_PROTOCOL, "relocd's answer is not HTTP/1.1");
	return 0;
}

// Anything but 101 is an ordinary answer with a length and an envelope that says why.
static int refused(struct wpar_exec *session, size_t head, long status, deadline_t deadline,
		   struct error *err)
{
	const char *field = strcasestr((char *)session->in.data, "\r\nContent-Length:");
	size_t length = field ? strtoul(field + strlen("\r\nContent-Length:"), NULL, 10) : 0;
	if (length > CLIENT_ANSWER_MAX)
		return error_set(err, ERR_PROTOCOL, "relocd's answer is too long");
	while (session->in.length - head < length)
		if (fill_until(session, deadline, err) < 0)
			return -1;
	if (client_read_envelope(session->in.data + head, length, status, NULL, NULL, err) < 0)
		return -1;
	return error_set(err, ERR_PROTOCOL, "relocd answered with status %ld instead of a session",
			 status);
}

static int upgrade(struct wpar_exec *session, const char *name, struct error *err)
{
	deadline_t deadline = deadline_in_ms(UPGRADE_TIMEOUT_MS);
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s/exec", name);
	client_add_query(&path, "host", session->wpar->host);
	_cleanup_free_ char *request = NULL;
	size_t head = 0;
	long status = 0;
	if (!path || asprintf(&request,
			      "POST %s HTTP/1.1\r\nHost: relocd\r\nConnection: Upgrade\r\n"
			      "Upgrade: wpar-exec/1\r\nContent-Length: 0\r\n\r\n",
			      path) < 0)
		return error_set(err, ERR_NOMEM, "no memory for a request");
	if (send(session->fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
		return broke(session, errno, err);
	if (read_head(session, deadline, &head, &status, err) < 0)
		return -1;
	if (status != 101)
		return refused(session, head, status, deadline, err);
	buf_consume(&session->in, head);
	return 0;
}

static int send_json(struct wpar_exec *session, json_t *object, struct error *err)
{
	_cleanup_json_ json_t *owned = object;
	_cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
	if (!text)
		return error_set(err, ERR_NOMEM, "no memory for a request");
	return exec_frame_append(&session->out, WPAR_CONTROL, text, strlen(text), err);
}

static int flush(struct wpar_exec *session, struct error *err)
{
	while (session->out.length) {
		ssize_t n = send(session->fd, session->out.data, session->out.length,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return broke(session, errno, err);
		buf_consume(&session->out, (size_t)n);
	}
	return 0;
}

static int begin(struct wpar_exec *made, const char *name, json_t *request, struct error *err)
{
	if (open_socket(made, err) < 0 || upgrade(made, name, err) < 0 ||
	    send_json(made, json_incref(request), err) < 0)
		return -1;
	return flush(made, err);
}

int wpar_exec(struct wpar *wpar, const char *name, json_t *request, struct wpar_exec **session,
	      struct wpar_error *err)
{
	struct error why;
	_cleanup_json_ json_t *owned = request;
	struct wpar_exec *made = calloc(1, sizeof(*made));
	if (!made)
		return client_fail(err, ERR_NOMEM, "no memory for a session");
	*made = (struct wpar_exec){
		.wpar = wpar,
		.fd = -1,
		.in = BUF_INIT(CLIENT_ANSWER_MAX + HEADER_MAX),
		.out = BUF_INIT(QUEUE_MAX),
	};
	if (begin(made, name, owned, &why) < 0) {
		wpar_exec_close(made);
		return client_publish(err, &why);
	}
	*session = made;
	return 0;
}

int wpar_exec_fd(const struct wpar_exec *session)
{
	return session->fd;
}

int wpar_exec_send(struct wpar_exec *session, enum wpar_channel channel, const void *bytes,
		   size_t length, struct wpar_error *err)
{
	struct error why;
	if (exec_frame_append(&session->out, channel, bytes, length, &why) < 0)
		return client_publish(err, &why);
	return 0;
}

int wpar_exec_resize(struct wpar_exec *session, unsigned rows, unsigned cols,
		     struct wpar_error *err)
{
	struct error why;
	json_t *size = json_pack("{s:[i,i]}", "resize", (int)rows, (int)cols);
	return send_json(session, size, &why) < 0 ? client_publish(err, &why) : 0;
}

bool wpar_exec_pending(const struct wpar_exec *session)
{
	return session->out.length > 0;
}

int wpar_exec_flush(struct wpar_exec *session, struct wpar_error *err)
{
	struct error why;
	return flush(session, &why) < 0 ? client_publish(err, &why) : 0;
}

static int receive(struct wpar_exec *session, struct wpar_exec_frame *frame, struct error *err)
{
	if (session->taken)
		buf_consume(&session->in, session->taken);
	session->taken = 0;
	for (;;) {
		int whole = exec_frame_next(&session->in, frame, &session->taken, err);
		if (whole != 0)
			return whole;
		int got = fill(session, err);
		if (got <= 0)
			return got;
	}
}

int wpar_exec_receive(struct wpar_exec *session, struct wpar_exec_frame *frame,
		      struct wpar_error *err)
{
	struct error why;
	int got = receive(session, frame, &why);
	return got < 0 ? client_publish(err, &why) : got;
}

void wpar_exec_close(struct wpar_exec *session)
{
	if (!session)
		return;
	if (session->easy)
		curl_easy_cleanup(session->easy);
	buf_free(&session->in);
	buf_free(&session->out);
	free(session);
}
