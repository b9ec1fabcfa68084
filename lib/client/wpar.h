// SPDX-License-Identifier: Apache-2.0
// The C API of relocd: everything that its control socket can do, for wparctl and for other
// programs. One handle serves one thread; different handles do not disturb each other.
//
// Objects come back as jansson values with the fields of the control API; a `body` handed in is
// taken over. Functions return 0, or -1 with *err filled; they never print. Every call has a time
// limit; what takes long runs in relocd and is followed as a stream.
#ifndef WPAR_CLIENT_WPAR_H
#define WPAR_CLIENT_WPAR_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wpar;

// `socket` is relocd's control socket, NULL: the one of this machine. Connects at the first call.
struct wpar *wpar_open(const char *socket, struct error *err);
void wpar_close(struct wpar *wpar);
// All further requests are for this host of the cluster ("?host="), whichever relocd is asked.
// NULL: relocd finds the host itself.
int wpar_set_host(struct wpar *wpar, const char *host, struct error *err);

// ---- any call -----------------------------------------------------------------------------------

// For calls that answer at once; what starts and stops programs is given longer below.
#define WPAR_TIMEOUT_MS 30000

// Sends METHOD path ("/v1/..."), with a JSON body unless NULL, and gives the answer's "data" to the
// caller (data may be NULL). An answer with "errors" becomes *err: the first of them.
int wpar_call(struct wpar *wpar, const char *method, const char *path, json_t *body, int timeout_ms,
	      json_t **data, struct error *err);
// The "warnings" of the last answer that was no error: a list of error objects, such as a host that
// could not be asked. NULL: there were none. Valid until the next call.
const json_t *wpar_warnings(const struct wpar *wpar);
// Makes a path: each %s is percent-encoded as one segment or query value, nothing else is
// understood. The caller frees it; NULL when out of memory.
char *wpar_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

// ---- partitions ---------------------------------------------------------------------------------

int wpar_version(struct wpar *wpar, json_t **version, struct error *err);
// `state` NULL: all.
int wpar_partitions(struct wpar *wpar, bool local, const char *state, json_t **list,
		    struct error *err);
int wpar_partition(struct wpar *wpar, const char *name, json_t **partition, struct error *err);
int wpar_create(struct wpar *wpar, json_t *body, json_t **partition, struct error *err);
int wpar_start(struct wpar *wpar, const char *name, struct error *err);
// grace_ms < 0: the partition's own grace period.
int wpar_stop(struct wpar *wpar, const char *name, int64_t grace_ms, bool kill, struct error *err);
int wpar_remove(struct wpar *wpar, const char *name, bool force, struct error *err);
// `hosts` is a JSON list of names, taken over; an empty one asks all. *report gets {"rows":[...]}.
int wpar_validate(struct wpar *wpar, const char *name, json_t *hosts, json_t **report,
		  struct error *err);

// ---- moves, hosts, cluster ----------------------------------------------------------------------

// Starts a move and returns at once; *move gets {"move": id}. `options` is taken over.
int wpar_relocate(struct wpar *wpar, const char *name, const char *host, json_t *options,
		  json_t **move, struct error *err);
int wpar_moves(struct wpar *wpar, json_t **list, struct error *err);
int wpar_move(struct wpar *wpar, const char *id, json_t **move, struct error *err);
int wpar_cancel(struct wpar *wpar, const char *id, struct error *err);
int wpar_hosts(struct wpar *wpar, json_t **list, struct error *err);
int wpar_cluster_init(struct wpar *wpar, json_t **answer, struct error *err);
// *answer gets {"token": ...}.
int wpar_cluster_add_host(struct wpar *wpar, const char *host, const char *address, json_t **answer,
			  struct error *err);
int wpar_cluster_join(struct wpar *wpar, const char *token, json_t **answer, struct error *err);

// ---- streams ------------------------------------------------------------------------------------

struct wpar_stream;

enum wpar_next {
	WPAR_NEXT_ERROR = -1,
	WPAR_NEXT_END, // the stream ended in good order
	WPAR_NEXT_DATA,
	WPAR_NEXT_TIMEOUT, // the deadline passed; call again
	WPAR_NEXT_WOKEN,   // wake_fd is readable; call again
};

// GET path as a stream; *stream is closed by wpar_stream_close.
int wpar_stream_open(struct wpar *wpar, const char *path, struct wpar_stream **stream,
		     struct error *err);
// The events of a move, from the first on; *stream is closed by wpar_stream_close.
int wpar_move_events(struct wpar *wpar, const char *id, struct wpar_stream **stream,
		     struct error *err);
// The console log. `since`: RFC 3339 or NULL.
int wpar_logs(struct wpar *wpar, const char *name, bool follow, const char *since,
	      struct wpar_stream **stream, struct error *err);

// The next bytes; they are valid until the next call. wake_fd may be -1.
enum wpar_next wpar_stream_read(struct wpar_stream *stream, int wake_fd, deadline_t deadline,
				const void **bytes, size_t *length, struct error *err);
// The next line as JSON, the caller's.
enum wpar_next wpar_stream_event(struct wpar_stream *stream, int wake_fd, deadline_t deadline,
				 json_t **event, struct error *err);
void wpar_stream_close(struct wpar_stream *stream);

// ---- a program inside a partition ---------------------------------------------------------------

struct wpar_exec;

// Channels of a session; standard input goes in, the others come out.
enum wpar_channel {
	WPAR_STDIN,
	WPAR_STDOUT,
	WPAR_STDERR,
	WPAR_CONTROL, // JSON
};

struct wpar_exec_frame {
	enum wpar_channel channel;
	const void *bytes; // valid until the next wpar_exec_receive
	size_t length;
};

// Starts `request` {"args","env","user","cwd","tty","rows","cols"} (taken over) in NAME.
int wpar_exec(struct wpar *wpar, const char *name, json_t *request, struct wpar_exec **session,
	      struct error *err);
// For poll(2): POLLIN always, POLLOUT while wpar_exec_pending().
int wpar_exec_fd(const struct wpar_exec *session);
// Queues; nothing waits. Sending 0 bytes to WPAR_STDIN is its end of file.
int wpar_exec_send(struct wpar_exec *session, enum wpar_channel channel, const void *bytes,
		   size_t length, struct error *err);
int wpar_exec_resize(struct wpar_exec *session, unsigned rows, unsigned cols, struct error *err);
bool wpar_exec_pending(const struct wpar_exec *session);
// Writes what the socket takes now.
int wpar_exec_flush(struct wpar_exec *session, struct error *err);
// Reads what is there: 1 and a frame, or 0: nothing whole yet. A connection that ended: -1.
int wpar_exec_receive(struct wpar_exec *session, struct wpar_exec_frame *frame, struct error *err);
void wpar_exec_close(struct wpar_exec *session);

#endif
