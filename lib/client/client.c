// SPDX-License-Identifier: Apache-2.0
// The handle and its calls: one request, one answer.
#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/base/paths.h"
#include "lib/client/client_http.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define KEY_MAX 128

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

const char *wpar_library_version(void)
{
	return WPAR_VERSION;
}

struct wpar *wpar_open(const char *socket, struct wpar_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, global_init);
	struct wpar *wpar = calloc(1, sizeof(*wpar));
	if (!wpar) {
		client_fail(err, ERR_NOMEM, "no memory for a connection");
		return NULL;
	}
	int length = socket ? snprintf(wpar->socket, sizeof(wpar->socket), "%s", socket)
			    : snprintf(wpar->socket, sizeof(wpar->socket), "%s/relocd.sock",
				       paths_run());
	if (length <= 0 || (size_t)length >= sizeof(wpar->socket)) {
		client_fail(err, ERR_USAGE, "that is not the path of a socket");
		free(wpar);
		return NULL;
	}
	return wpar;
}

static void drop_fds(struct wpar *wpar)
{
	while (wpar->fd_count)
		close(wpar->fds[--wpar->fd_count]);
}

void wpar_close(struct wpar *wpar)
{
	if (!wpar)
		return;
	if (wpar->easy)
		curl_easy_cleanup(wpar->easy);
	drop_fds(wpar);
	json_decref(wpar->warnings);
	free(wpar->host);
	free(wpar->key);
	free(wpar);
}

static int set_text(char **to, const char *text, struct wpar_error *err)
{
	char *copy = text ? strdup(text) : NULL;
	if (text && !copy)
		return client_fail(err, ERR_NOMEM, "no memory for a request");
	free(*to);
	*to = copy;
	return 0;
}

int wpar_set_host(struct wpar *wpar, const char *host, struct wpar_error *err)
{
	return set_text(&wpar->host, host, err);
}

int wpar_set_key(struct wpar *wpar, const char *key, struct wpar_error *err)
{
	size_t length = strlen(key);
	bool plain = length >= 1 && length <= KEY_MAX;
	for (size_t i = 0; i < length; i++)
		plain = plain && key[i] > ' ' && key[i] < 127;
	if (!plain)
		return client_fail(err, ERR_USAGE,
				   "a request's key is 1 to 128 printable characters");
	return set_text(&wpar->key, key, err);
}

int wpar_pass_fd(struct wpar *wpar, int fd, struct wpar_error *err)
{
	struct error why;
	if (wpar->fd_count == CLIENT_FDS_MAX)
		return client_fail(err, ERR_USAGE, "more descriptors than a request can carry");
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0) {
		error_sys(&why, ERR_SYSTEM, errno, "cannot duplicate a descriptor");
		return client_publish(err, &why);
	}
	wpar->fds[wpar->fd_count] = copy;
	return (int)wpar->fd_count++;
}

const json_t *wpar_warnings(const struct wpar *wpar)
{
	return wpar->warnings;
}

// ---- one request --------------------------------------------------------------------------------

static size_t collect(char *bytes, size_t size, size_t count, void *to)
{
	return buf_append(to, bytes, size * count, NULL) < 0 ? 0 : size * count;
}

// `text` NULL: no body.
static void set_method(CURL *easy, const char *method, const char *text)
{
	curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	if (text || !strcmp(method, "POST"))
		curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, text ? text : "");
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct wpar *wpar = arg;
	(void)purpose;
	wpar->connection =
		socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	return wpar->connection < 0 ? CURL_SOCKET_BAD : wpar->connection;
}

// Descriptors travel with an empty line in front of the request, which HTTP skips (RFC 9112 2.2).
static int send_fds(void *arg, char *peer, char *own, int peer_port, int own_port)
{
	struct wpar *wpar = arg;
	(void)peer, (void)own, (void)peer_port, (void)own_port;
	char line[2] = {'\r', '\n'};
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(wpar->fds))];
	} control = {0};
	struct iovec bytes = {.iov_base = line, .iov_len = sizeof(line)};
	struct msghdr message = {.msg_iov = &bytes,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = CMSG_SPACE(wpar->fd_count * sizeof(int))};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(wpar->fd_count * sizeof(int));
	memcpy(CMSG_DATA(header), wpar->fds, wpar->fd_count * sizeof(int));
	ssize_t sent = sendmsg(wpar->connection, &message, MSG_NOSIGNAL);
	return sent == sizeof(line) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

// The connection that carries descriptors is a new one: only its first bytes can bring them.
static void prepare_fds(struct wpar *wpar)
{
	bool any = wpar->fd_count > 0;
	curl_easy_setopt(wpar->easy, CURLOPT_FRESH_CONNECT, any ? 1L : 0L);
	curl_easy_setopt(wpar->easy, CURLOPT_OPENSOCKETFUNCTION, any ? open_socket : NULL);
	curl_easy_setopt(wpar->easy, CURLOPT_OPENSOCKETDATA, wpar);
	curl_easy_setopt(wpar->easy, CURLOPT_PREREQFUNCTION, any ? send_fds : NULL);
	curl_easy_setopt(wpar->easy, CURLOPT_PREREQDATA, wpar);
}

static int transfer(struct wpar *wpar, struct buf *answer, int timeout_ms, long *status,
		    struct error *err)
{
	CURL *easy = wpar->easy;
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
	prepare_fds(wpar);
	CURLcode code = curl_easy_perform(easy);
	drop_fds(wpar);
	if (code != CURLE_OK)
		return client_error_curl(wpar, easy, code, err);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status);
	return 0;
}

static struct curl_slist *add_header(struct curl_slist *headers, const char *name,
				     const char *value)
{
	_cleanup_free_ char *line = NULL;
	if (!value)
		return headers;
	if (asprintf(&line, "%s: %s", name, value) < 0) {
		line = NULL;
		return headers;
	}
	return curl_slist_append(headers, line);
}

static struct curl_slist *headers_of(const struct wpar *wpar, const char *method,
				     const char *if_match)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:"); // no 100-continue: it costs a second
	headers = add_header(headers, "If-Match", if_match);
	if (!strcmp(method, "POST"))
		headers = add_header(headers, "Idempotency-Key", wpar->key);
	return headers;
}

static int ask(struct wpar *wpar, const struct client_request *request, const char *text,
	       struct buf *answer, long *status, struct error *err)
{
	if (!wpar->easy && !(wpar->easy = client_easy_new(wpar, err)))
		return -1;
	if (client_set_path(wpar, wpar->easy, request->path, err) < 0)
		return -1;
	struct curl_slist *headers = headers_of(wpar, request->method, request->if_match);
	curl_easy_setopt(wpar->easy, CURLOPT_HTTPHEADER, headers);
	set_method(wpar->easy, request->method, text);
	int rc = transfer(wpar, answer, request->timeout_ms, status, err);
	curl_easy_setopt(wpar->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	return rc;
}

int client_ask(struct wpar *wpar, const struct client_request *request, json_t **data,
	       struct error *err)
{
	_cleanup_json_ json_t *owned = request->body;
	_cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
	_cleanup_buf_ struct buf answer = BUF_INIT(CLIENT_ANSWER_MAX);
	long status = 0;
	int failed = owned && !text ? error_set(err, ERR_NOMEM, "no memory for a request")
				    : ask(wpar, request, text, &answer, &status, err);
	drop_fds(wpar);
	if (strcmp(request->method, "GET") != 0) {
		free(wpar->key);
		wpar->key = NULL;
	}
	if (failed)
		return -1;
	json_decref(wpar->warnings);
	wpar->warnings = NULL;
	if (request->bare)
		return client_read_bare(answer.data, answer.length, status, data, err);
	return client_read_envelope(answer.data, answer.length, status, data, &wpar->warnings, err);
}

int wpar_call(struct wpar *wpar, const char *method, const char *path, json_t *body, int timeout_ms,
	      json_t **data, struct wpar_error *err)
{
	struct error why;
	struct client_request request = {
		.method = method, .path = path, .body = body, .timeout_ms = timeout_ms};
	if (client_ask(wpar, &request, data, &why) < 0)
		return client_publish(err, &why);
	return 0;
}
