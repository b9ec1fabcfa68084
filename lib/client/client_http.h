// SPDX-License-Identifier: Apache-2.0
// What the pieces of the client share: transfers to the control socket and their failures. Not part
// of the public API.
#ifndef WPAR_CLIENT_CLIENT_HTTP_H
#define WPAR_CLIENT_CLIENT_HTTP_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/client/wpar.h"

#include <curl/curl.h>
#include <sys/un.h>

#define CLIENT_FDS_MAX 8
// For calls in which relocd asks another host.
#define CLIENT_PEER_MS 120000

struct wpar {
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	CURL *easy;              // reused, so that calls share a connection
	char *host;              // that requests are for; NULL: relocd decides
	json_t *warnings;        // of the last answer
	char *key;               // of the next request that changes something
	int fds[CLIENT_FDS_MAX]; // for the next request
	unsigned fd_count;
	int connection; // that was opened to carry them
};

struct client_request {
	const char *method, *path;
	const char *if_match; // NULL: none
	json_t *body;         // taken over
	int timeout_ms;
	bool bare; // the answer has no envelope
};

// Sends it and reads the answer; descriptors and key are used up.
int client_ask(struct wpar *wpar, const struct client_request *request, json_t **data,
	       struct error *err);

// Hands an error to a user of the library. Both return -1.
int client_publish(struct wpar_error *to, const struct error *from);
int client_fail(struct wpar_error *to, enum error_id id, const char *message);

// Answers are read whole up to this many bytes.
#define CLIENT_ANSWER_MAX (64 << 20)

// A transfer to the control socket for `path`, without method and time limit.
CURL *client_easy_new(const struct wpar *wpar, struct error *err);
// Adds the host that requests are for.
int client_set_path(const struct wpar *wpar, CURL *easy, const char *path, struct error *err);

// Appends "?key=value" (or "&...") to *path, encoded; nothing for a NULL value. *path becomes NULL
// when memory is short, which client_set_path reports.
void client_add_query(char **path, const char *key, const char *value);

// Turns a failed transfer into an error. Returns -1.
int client_error_curl(const struct wpar *wpar, CURL *easy, CURLcode why, struct error *err);
// "relocd cannot be reached", by errno. Returns -1.
int client_error_connect(const struct wpar *wpar, int sys, struct error *err);

// Reads an answer's envelope: *data and *warnings (either may be NULL) are the caller's; the first
// of "errors" becomes *err.
int client_read_envelope(const void *bytes, size_t length, long status, json_t **data,
			 json_t **warnings, struct error *err);
// The same for an answer that is a JSON document itself, unless it is an error.
int client_read_bare(const void *bytes, size_t length, long status, json_t **document,
		     struct error *err);

#endif
