// SPDX-License-Identifier: Apache-2.0
// The control API: HTTP/1.1 + JSON on a UNIX socket, a thread per connection.
#ifndef RELOCD_API_H
#define RELOCD_API_H

#include "relocd/api/route.h"
#include "relocd/daemon/daemon.h"

#include <microhttpd.h>
#include <sys/types.h>

#define API_BODY_MAX (1024 * 1024)

struct request {
	struct daemon *d;
	struct MHD_Connection *connection;
	enum role role; // of the caller
	uid_t uid;
	pid_t pid;
	char peer[REGISTRY_NAME_MAX];    // the host that the request comes from; "": this one
	char user[64];                   // there
	const char *path;                // encoded
	char param[ROUTE_PARAM_MAX];     // the name in the path
	char done_by[REGISTRY_NAME_MAX]; // another host that is to do it, or has; "": not known
	json_t *body;                    // an object, {} without a body; the request's
	json_t *asked;                   // {"user","role","host","time"}; NULL: it only looks

	// What the handler answers:
	unsigned status;               // 0: 200
	json_t *data;                  // into the envelope
	char etag[80];                 // of what is shown; "": none
	json_t *warnings;              // beside it; NULL: none
	struct MHD_Response *response; // instead: a stream, an upgrade
};

// The table, made of those of api_*.c.
extern const struct route api_routes[];
extern const size_t api_route_count;

// Opens the socket (root may do all; `api.group` may look) and serves.
int api_start(struct daemon *d, struct error *err);
// With the lock held: `roles` of a configuration that has changed take effect for requests that
// come from now on, also on connections that are open.
void api_reload(struct daemon *d);
// Takes no more requests and waits a little for those under way: true when all have ended and
// nothing of the API is left.
bool api_stop(struct daemon *d);

// A query argument, decoded into `value`; NULL when absent or longer than `size`.
const char *api_argument(struct request *q, const char *name, char *value, size_t size);
// Whether it is there and neither empty nor "0".
bool api_flag(struct request *q, const char *name);
// A query argument that is a whole number from 0 to `max`: 1, or 0 and *number unchanged when
// absent; ERR_USAGE.
int api_number(struct request *q, const char *name, int64_t max, int64_t *number,
	       struct error *err);
// Reads the body by a jansson format, strictly: keys that are not in it are refused (ERR_USAGE).
int api_body(struct request *q, struct error *err, const char *format, ...);
// The options of a move, as they come in a body (api_moves.c); NULL: none. ERR_USAGE.
int api_move_options(const json_t *options, struct error *err);
// A descriptor that came with the request: `value` is "fd:N" for the N-th. The caller's,
// close-on-exec; -1 with ERR_USAGE when there is none.
int api_descriptor(struct request *q, const char *value, struct error *err);
// The client has closed its connection.
bool api_client_gone(struct MHD_Connection *connection);
int api_socket_of(struct MHD_Connection *connection);
// Serves one more connection (its own from now on, also when it fails): that of a peer.
int api_adopt(struct daemon *d, int sock, struct error *err);
// Adds an error object to the answer's warnings; takes it over.
void api_warn(struct request *q, json_t *warning);

#endif
