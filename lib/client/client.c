// SPDX-License-Identifier: Apache-2.0
#include "lib/client/wpar.h"

#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/base/paths.h"
#include "lib/client/client_http.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#define START_TIMEOUT_MS 120000
#define STOP_MARGIN_MS   30000
#define STOP_TIMEOUT_MS  600000 // where the partition's own grace period counts
#define PEER_TIMEOUT_MS  120000 // calls in which relocd asks another host

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct wpar *wpar_open(const char *socket, struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, global_init);
	struct wpar *wpar = calloc(1, sizeof(*wpar));
	if (!wpar) {
		error_set(err, ERR_NOMEM, "no memory for a connection");
		return NULL;
	}
	int length = socket ? snprintf(wpar->socket, sizeof(wpar->socket), "%s", socket)
			    : snprintf(wpar->socket, sizeof(wpar->socket), "%s/relocd.sock",
				       paths_run());
	if (length <= 0 || (size_t)length >= sizeof(wpar->socket)) {
		error_set(err, ERR_USAGE, "\"%s\" is not the path of a socket",
			  socket ? socket : "");
		free(wpar);
		return NULL;
	}
	return wpar;
}

void wpar_close(struct wpar *wpar)
{
	if (!wpar)
		return;
	if (wpar->easy)
		curl_easy_cleanup(wpar->easy);
	json_decref(wpar->warnings);
	free(wpar->host);
	free(wpar);
}

int wpar_set_host(struct wpar *wpar, const char *host, struct error *err)
{
	char *copy = host ? strdup(host) : NULL;
	if (host && !copy)
		return error_set(err, ERR_NOMEM, "no memory for the name of a host");
	free(wpar->host);
	wpar->host = copy;
	return 0;
}

const json_t *wpar_warnings(const struct wpar *wpar)
{
	return wpar->warnings;
}

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

static int transfer(struct wpar *wpar, struct buf *answer, int timeout_ms, long *status,
		    struct error *err)
{
	CURL *easy = wpar->easy;
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
	CURLcode code = curl_easy_perform(easy);
	if (code != CURLE_OK)
		return client_error_curl(wpar, easy, code, err);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status);
	return 0;
}

int wpar_call(struct wpar *wpar, const char *method, const char *path, json_t *body, int timeout_ms,
	      json_t **data, struct error *err)
{
	_cleanup_json_ json_t *owned = body;
	_cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
	_cleanup_buf_ struct buf answer = BUF_INIT(CLIENT_ANSWER_MAX);
	long status = 0;
	if (owned && !text)
		return error_set(err, ERR_NOMEM, "no memory for a request");
	if (!wpar->easy && !(wpar->easy = client_easy_new(wpar, err)))
		return -1;
	if (client_set_path(wpar, wpar->easy, path, err) < 0)
		return -1;
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:"); // no 100-continue: it costs a second
	curl_easy_setopt(wpar->easy, CURLOPT_HTTPHEADER, headers);
	set_method(wpar->easy, method, text);
	int rc = transfer(wpar, &answer, timeout_ms, &status, err);
	curl_easy_setopt(wpar->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	if (rc < 0)
		return -1;
	json_decref(wpar->warnings);
	wpar->warnings = NULL;
	return client_read_envelope(answer.data, answer.length, status, data, &wpar->warnings, err);
}

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '~' || c == '.';
}

// "." and ".." would be steps of a path, so their dots are written out.
static void append_encoded(char **to, const char *text)
{
	bool dots = !strcmp(text, ".") || !strcmp(text, "..");
	for (; *text; text++)
		if (is_unreserved(*text) && !dots)
			*(*to)++ = *text;
		else
			*to += sprintf(*to, "%%%02X", (unsigned char)*text);
}

static size_t encoded_max(const char *format, va_list args)
{
	size_t max = strlen(format) + 1;
	for (; *format; format++)
		if (*format == '%')
			max += 3 * strlen(va_arg(args, const char *));
	return max;
}

char *wpar_path(const char *format, ...)
{
	va_list args, counted;
	va_start(args, format);
	va_copy(counted, args);
	char *path = malloc(encoded_max(format, counted)), *to = path;
	va_end(counted);
	for (; path && *format; format++)
		if (*format != '%')
			*to++ = *format;
		else {
			append_encoded(&to, va_arg(args, const char *));
			format++;
		}
	if (path)
		*to = 0;
	va_end(args);
	return path;
}

void client_add_query(char **path, const char *key, const char *value)
{
	if (!*path || !value)
		return;
	char *more = wpar_path(strchr(*path, '?') ? "&%s=%s" : "?%s=%s", key, value);
	char *whole = NULL;
	if (!more || asprintf(&whole, "%s%s", *path, more) < 0)
		whole = NULL;
	free(more);
	free(*path);
	*path = whole;
}

// ---- the calls ----------------------------------------------------------------------------------

static int get(struct wpar *wpar, const char *path, json_t **data, struct error *err)
{
	return wpar_call(wpar, "GET", path, NULL, WPAR_TIMEOUT_MS, data, err);
}

int wpar_version(struct wpar *wpar, json_t **version, struct error *err)
{
	return get(wpar, "/v1/version", version, err);
}

int wpar_partitions(struct wpar *wpar, bool local, const char *state, json_t **list,
		    struct error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions");
	client_add_query(&path, "local", local ? "1" : NULL);
	client_add_query(&path, "state", state);
	return wpar_call(wpar, "GET", path, NULL, PEER_TIMEOUT_MS, list, err);
}

int wpar_partition(struct wpar *wpar, const char *name, json_t **partition, struct error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s", name);
	return get(wpar, path, partition, err);
}

int wpar_create(struct wpar *wpar, json_t *body, json_t **partition, struct error *err)
{
	return wpar_call(wpar, "POST", "/v1/partitions", body, START_TIMEOUT_MS, partition, err);
}

int wpar_start(struct wpar *wpar, const char *name, struct error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s/start", name);
	return wpar_call(wpar, "POST", path, json_object(), START_TIMEOUT_MS, NULL, err);
}

int wpar_stop(struct wpar *wpar, const char *name, int64_t grace_ms, bool kill, struct error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s/stop", name);
	json_t *body = json_pack("{s:b}", "kill", kill);
	int64_t timeout = STOP_TIMEOUT_MS;
	if (grace_ms >= 0) {
		json_object_set_new(body, "grace_ms", json_integer(grace_ms));
		timeout = grace_ms < INT32_MAX - STOP_MARGIN_MS ? grace_ms + STOP_MARGIN_MS
								: INT32_MAX;
	}
	return wpar_call(wpar, "POST", path, body, (int)timeout, NULL, err);
}

int wpar_remove(struct wpar *wpar, const char *name, bool force, struct error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s", name);
	client_add_query(&path, "force", force ? "1" : NULL);
	return wpar_call(wpar, "DELETE", path, NULL, START_TIMEOUT_MS, NULL, err);
}

int wpar_validate(struct wpar *wpar, const char *name, json_t *hosts, json_t **report,
		  struct error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s/validate", name);
	return wpar_call(wpar, "POST", path, json_pack("{s:o}", "hosts", hosts), PEER_TIMEOUT_MS,
			 report, err);
}

int wpar_relocate(struct wpar *wpar, const char *name, const char *host, json_t *options,
		  json_t **move, struct error *err)
{
	json_t *body =
		json_pack("{s:s, s:s, s:o}", "partition", name, "host", host, "options", options);
	if (!body)
		return error_set(err, ERR_USAGE, "a name is not text in UTF-8");
	return wpar_call(wpar, "POST", "/v1/moves", body, WPAR_TIMEOUT_MS, move, err);
}

int wpar_moves(struct wpar *wpar, json_t **list, struct error *err)
{
	return get(wpar, "/v1/moves", list, err);
}

int wpar_move(struct wpar *wpar, const char *id, json_t **move, struct error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/moves/%s", id);
	return get(wpar, path, move, err);
}

int wpar_cancel(struct wpar *wpar, const char *id, struct error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/moves/%s/cancel", id);
	return wpar_call(wpar, "POST", path, json_object(), WPAR_TIMEOUT_MS, NULL, err);
}

int wpar_hosts(struct wpar *wpar, json_t **list, struct error *err)
{
	return wpar_call(wpar, "GET", "/v1/hosts", NULL, PEER_TIMEOUT_MS, list, err);
}

int wpar_cluster_init(struct wpar *wpar, json_t **answer, struct error *err)
{
	return wpar_call(wpar, "POST", "/v1/cluster/init", json_object(), WPAR_TIMEOUT_MS, answer,
			 err);
}

int wpar_cluster_add_host(struct wpar *wpar, const char *host, const char *address, json_t **answer,
			  struct error *err)
{
	json_t *body = json_pack("{s:s, s:s}", "name", host, "address", address);
	if (!body)
		return error_set(err, ERR_USAGE, "a name is not text in UTF-8");
	return wpar_call(wpar, "POST", "/v1/cluster/add-host", body, WPAR_TIMEOUT_MS, answer, err);
}

int wpar_cluster_join(struct wpar *wpar, const char *token, json_t **answer, struct error *err)
{
	json_t *body = json_pack("{s:s}", "token", token);
	if (!body)
		return error_set(err, ERR_TOKEN, "the token is not text in UTF-8");
	return wpar_call(wpar, "POST", "/v1/cluster/join", body, PEER_TIMEOUT_MS, answer, err);
}
