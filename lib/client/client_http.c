// SPDX-License-Identifier: Apache-2.0
#include "lib/client/client_http.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 5000

CURL *client_easy_new(const struct wpar *wpar, struct error *err)
{
	CURL *easy = curl_easy_init();
	if (!easy) {
		error_set(err, ERR_NOMEM, "no memory for a transfer");
		return NULL;
	}
	curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, wpar->socket);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "wpar/" WPAR_VERSION);
	return easy;
}

int client_set_path(const struct wpar *wpar, CURL *easy, const char *path, struct error *err)
{
	_cleanup_free_ char *whole = path ? strdup(path) : NULL;
	_cleanup_free_ char *url = NULL;
	client_add_query(&whole, "host", wpar->host);
	if (!whole || asprintf(&url, "http://relocd%s", whole) < 0)
		return error_set(err, ERR_NOMEM, "no memory for a request");
	// The path goes out as it is: curl would resolve "..", which no path of ours means.
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	return 0;
}

int client_error_connect(const struct wpar *wpar, int sys, struct error *err)
{
	if (sys == EACCES || sys == EPERM) {
		error_sys(err, ERR_DENIED, sys, "cannot open relocd's socket %s", wpar->socket);
		return error_hint(err, "run it as root, or as a member of the socket's group");
	}
	return error_sys(err, ERR_UNREACHABLE, sys, "cannot reach relocd at %s", wpar->socket);
}

int client_error_curl(const struct wpar *wpar, CURL *easy, CURLcode why, struct error *err)
{
	long sys = 0;
	switch (why) {
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &sys);
		return client_error_connect(wpar, (int)sys, err);
	case CURLE_OPERATION_TIMEDOUT:
		return error_set(err, ERR_DEADLINE, "relocd at %s does not answer in time",
				 wpar->socket);
	case CURLE_OUT_OF_MEMORY:
		return error_set(err, ERR_NOMEM, "no memory for a transfer");
	default:
		return error_set(err, ERR_UNREACHABLE, "the connection to relocd at %s broke: %s",
				 wpar->socket, curl_easy_strerror(why));
	}
}

int client_read_envelope(const void *bytes, size_t length, long status, json_t **data,
			 json_t **warnings, struct error *err)
{
	_cleanup_json_ json_t *answer = json_loadb(bytes, length, 0, NULL);
	if (!json_is_object(answer))
		return error_set(err, ERR_PROTOCOL,
				 "relocd answered with status %ld and something that is not JSON",
				 status);
	json_t *first = json_array_get(json_object_get(answer, "errors"), 0);
	if (first)
		return error_from_json(err, first);
	if (status >= 400)
		return error_set(err, ERR_PROTOCOL, "relocd answered with status %ld and no reason",
				 status);
	if (warnings)
		*warnings = json_incref(json_object_get(answer, "warnings"));
	if (data)
		*data = json_incref(json_object_get(answer, "data") ?: json_null());
	return 0;
}

int client_read_bare(const void *bytes, size_t length, long status, json_t **document,
		     struct error *err)
{
	if (status >= 400)
		return client_read_envelope(bytes, length, status, NULL, NULL, err);
	*document = json_loadb(bytes, length, 0, NULL);
	return *document ? 0 : error_set(err, ERR_PROTOCOL, "relocd's answer is not JSON");
}
