/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wpar.h - the C API of relocd: everything that its control socket can do (libwpar, libwpar(3)).
 *
 * One handle serves one thread; different handles do not disturb each other. Objects come back as
 * jansson values with the fields of the control API (GET /v1/openapi.json describes them) and
 * belong to the caller; a `body`, `options` or other JSON value handed in is taken over, also on
 * failure. Functions return 0, or -1 with *err filled; they never print and never end the process.
 * `err` may be NULL. Every call has a time limit; what takes long runs in relocd and is followed as
 * a stream.
 */
#ifndef WPAR_H
#define WPAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && !defined(WPAR_PUBLIC)
#define WPAR_PUBLIC __attribute__((visibility("default")))
#elif !defined(WPAR_PUBLIC)
#define WPAR_PUBLIC
#endif

/* ---- errors --------------------------------------------------------------------------------- */

/* What kind of failure it is; also the exit status of wparctl. */
enum wpar_class {
	WPAR_FAILED = 1,
	WPAR_USAGE = 2,
	WPAR_NOT_FOUND = 3,
	WPAR_REFUSED = 4, /* by validation */
	WPAR_BUSY = 5,    /* or in conflict: later it may work */
	WPAR_UNREACHABLE = 6,
	WPAR_DEADLINE = 7,
	WPAR_CANCELLED = 8,
	WPAR_IN_DOUBT = 9,
	WPAR_PARTLY = 11,
	WPAR_DENIED = 13,
};

/* Empty texts: not known. Filled by value: nothing to free. */
struct wpar_error {
	int error_class;    /* enum wpar_class; 0: no error */
	int sys;            /* the errno behind it, or 0 */
	char code[16];      /* stable, "WPAR-P003"; wpar(7) lists them */
	char message[1024]; /* what failed and where: a sentence without newline */
	char hint[256];     /* what to do next */
	char partition[64]; /* where it happened */
	char host[64];
	char phase[16];
	char reserved[600];
};

/* Whether the same call may succeed later. */
WPAR_PUBLIC bool wpar_error_retryable(const struct wpar_error *err);

/* ---- the handle ----------------------------------------------------------------------------- */

struct wpar;

/* The version of the library, "1.2.3". */
WPAR_PUBLIC const char *wpar_library_version(void);

/* `socket` is relocd's control socket, NULL: the one of this machine. Connects at the first call.
 */
WPAR_PUBLIC struct wpar *wpar_open(const char *socket, struct wpar_error *err);
WPAR_PUBLIC void wpar_close(struct wpar *wpar); /* NULL is fine */
/*
 * All further requests are for this host of the cluster, whichever relocd is asked. NULL: relocd
 * finds the host itself.
 */
WPAR_PUBLIC int wpar_set_host(struct wpar *wpar, const char *host, struct wpar_error *err);
/*
 * The next call that changes something carries this key (1 to 128 printable characters): when it is
 * repeated with the same key and content within a day, relocd does it once and answers the same
 * again. For calls whose answer got lost.
 */
WPAR_PUBLIC int wpar_set_key(struct wpar *wpar, const char *key, struct wpar_error *err);
/*
 * Hands a descriptor to relocd with the next call, whose body names it "fd:N": N is returned (0 for
 * the first, at most 8), or -1. The descriptor is duplicated and stays the caller's.
 */
WPAR_PUBLIC int wpar_pass_fd(struct wpar *wpar, int fd, struct wpar_error *err);

/* ---- any call ------------------------------------------------------------------------------- */

/* For calls that answer at once; what starts and stops programs is given longer below. */
#define WPAR_TIMEOUT_MS 30000

/*
 * Sends METHOD path ("/v1/..."), with a JSON body unless NULL, and gives the answer's "data" to the
 * caller (data may be NULL). An answer with "errors" becomes *err: the first of them.
 */
WPAR_PUBLIC int wpar_call(struct wpar *wpar, const char *method, const char *path, json_t *body,
			  int timeout_ms, json_t **data, struct wpar_error *err);
/*
 * The "warnings" of the last answer that was no error: a list of error objects, such as a host that
 * could not be asked. NULL: there were none. Valid until the next call.
 */
WPAR_PUBLIC const json_t *wpar_warnings(const struct wpar *wpar);
/*
 * Makes a path: each %s is percent-encoded as one segment or query value, nothing else is
 * understood. The caller frees it; NULL when out of memory.
 */
WPAR_PUBLIC char *wpar_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- relocd itself -------------------------------------------------------------------------- */

WPAR_PUBLIC int wpar_version(struct wpar *wpar, json_t **version, struct wpar_error *err);
/* Whether relocd runs, and whether it is ready: *state gets {"ok":..., "checks":[...]}. */
WPAR_PUBLIC int wpar_health(struct wpar *wpar, json_t **state, struct wpar_error *err);
WPAR_PUBLIC int wpar_ready(struct wpar *wpar, json_t **state, struct wpar_error *err);
/* The OpenAPI document of the control API. */
WPAR_PUBLIC int wpar_openapi(struct wpar *wpar, json_t **document, struct wpar_error *err);

/* ---- partitions ----------------------------------------------------------------------------- */

/* Of all hosts, or of this one. `state` NULL: all. */
WPAR_PUBLIC int wpar_partitions(struct wpar *wpar, bool local, const char *state, json_t **list,
				struct wpar_error *err);
WPAR_PUBLIC int wpar_partition(struct wpar *wpar, const char *name, json_t **partition,
			       struct wpar_error *err);
WPAR_PUBLIC int wpar_create(struct wpar *wpar, json_t *body, json_t **partition,
			    struct wpar_error *err);
WPAR_PUBLIC int wpar_start(struct wpar *wpar, const char *name, struct wpar_error *err);
/* grace_ms < 0: the partition's own grace period. */
WPAR_PUBLIC int wpar_stop(struct wpar *wpar, const char *name, int64_t grace_ms, bool kill,
			  struct wpar_error *err);
WPAR_PUBLIC int wpar_restart(struct wpar *wpar, const char *name, int64_t grace_ms, bool kill,
			     struct wpar_error *err);
/*
 * Changes the definition: `patch` is a JSON merge patch (RFC 7396) over it, with "on_next_start"
 * beside. `seen` (stays the caller's) is the partition as an earlier answer showed it: when its
 * definition has changed since, nothing is done and the class is WPAR_BUSY; NULL: whatever it is.
 * *partition is as it is now; partition may be NULL.
 */
WPAR_PUBLIC int wpar_set(struct wpar *wpar, const char *name, json_t *patch, const json_t *seen,
			 json_t **partition, struct wpar_error *err);
WPAR_PUBLIC int wpar_rename(struct wpar *wpar, const char *name, const char *new_name,
			    struct wpar_error *err);
#define WPAR_REMOVE_FORCE   1u /* one that runs is killed */
#define WPAR_REMOVE_VOLUMES 2u /* with its volumes */
WPAR_PUBLIC int wpar_remove(struct wpar *wpar, const char *name, unsigned flags,
			    struct wpar_error *err);
/*
 * `hosts` is a list of names; an empty one asks all. `options` are those of wpar_relocate(), or
 * NULL. *report gets {"rows":[...]}.
 */
WPAR_PUBLIC int wpar_validate(struct wpar *wpar, const char *name, json_t *hosts, json_t *options,
			      json_t **report, struct wpar_error *err);

/* ---- moves ---------------------------------------------------------------------------------- */

/*
 * Starts a move and returns at once; *move gets {"move": id}. `host` NULL: back to where it came
 * from. `options` may be NULL.
 */
WPAR_PUBLIC int wpar_relocate(struct wpar *wpar, const char *name, const char *host,
			      json_t *options, json_t **move, struct wpar_error *err);
WPAR_PUBLIC int wpar_moves(struct wpar *wpar, json_t **list, struct wpar_error *err);
/*
 * Who did what, when, and what came of it, the newest first: moves and decisions of people, with
 * `of` (a partition or a move; NULL: all) also what else became of that partition. `since`: a time
 * in UTC as 2026-01-31T08:00:00Z, NULL: as long as it is kept. `failed`: only what did not go well.
 */
WPAR_PUBLIC int wpar_history(struct wpar *wpar, const char *of, const char *since, bool failed,
			     json_t **list, struct wpar_error *err);
/* `id` here and below: a move's, or the name of a partition: its last move. */
WPAR_PUBLIC int wpar_move(struct wpar *wpar, const char *id, json_t **move, struct wpar_error *err);
WPAR_PUBLIC int wpar_cancel(struct wpar *wpar, const char *id, struct wpar_error *err);
/*
 * What both sides of a move know, and what is proposed; with a `decision` {"keep", "reason",
 * "peer_is_dead"} it is done.
 */
WPAR_PUBLIC int wpar_recover(struct wpar *wpar, const char *id, json_t *decision, json_t **answer,
			     struct wpar_error *err);

/*
 * Starts partitions of a lost host here: of `from`, or those in `names` (the other one is NULL;
 * `names` is taken over). Whoever asks is certain that the host is off. *list gets what became of
 * each: {"name", "from", "state", "error", ...}.
 */
WPAR_PUBLIC int wpar_adopt(struct wpar *wpar, json_t *names, const char *from, const char *reason,
			   json_t **list, struct wpar_error *err);

/* ---- hosts and the cluster ------------------------------------------------------------------ */

WPAR_PUBLIC int wpar_hosts(struct wpar *wpar, json_t **list, struct wpar_error *err);
WPAR_PUBLIC int wpar_host(struct wpar *wpar, const char *host, json_t **answer,
			  struct wpar_error *err);
/* A cordoned host is given no partitions. `reason` is for people. */
WPAR_PUBLIC int wpar_cordon(struct wpar *wpar, const char *host, const char *reason,
			    struct wpar_error *err);
WPAR_PUBLIC int wpar_uncordon(struct wpar *wpar, const char *host, struct wpar_error *err);
/* *answer gets {"checks":[{"check","outcome","message","hint"}]}. */
WPAR_PUBLIC int wpar_check_host(struct wpar *wpar, const char *host, json_t **answer,
				struct wpar_error *err);

WPAR_PUBLIC int wpar_cluster_init(struct wpar *wpar, json_t **answer, struct wpar_error *err);
/* *answer gets {"token": ...}. */
WPAR_PUBLIC int wpar_cluster_add_host(struct wpar *wpar, const char *host, const char *address,
				      json_t **answer, struct wpar_error *err);
WPAR_PUBLIC int wpar_cluster_join(struct wpar *wpar, const char *token, json_t **answer,
				  struct wpar_error *err);
WPAR_PUBLIC int wpar_cluster_status(struct wpar *wpar, json_t **answer, struct wpar_error *err);
/* `host` NULL: this one. `ca`: the authority itself. */
WPAR_PUBLIC int wpar_cluster_renew(struct wpar *wpar, const char *host, bool ca, json_t **answer,
				   struct wpar_error *err);
WPAR_PUBLIC int wpar_cluster_revoke(struct wpar *wpar, const char *host, const char *reason,
				    json_t **answer, struct wpar_error *err);
/* `lost`: it will not come back, and is not asked. */
WPAR_PUBLIC int wpar_cluster_remove_host(struct wpar *wpar, const char *host, bool lost,
					 const char *reason, json_t **answer,
					 struct wpar_error *err);
/* Ends quarantine: this host's own records are right. */
WPAR_PUBLIC int wpar_cluster_trust_local(struct wpar *wpar, const char *reason, json_t **answer,
					 struct wpar_error *err);

/* ---- streams -------------------------------------------------------------------------------- */

struct wpar_stream;

enum wpar_next {
	WPAR_NEXT_ERROR = -1,
	WPAR_NEXT_END, /* the stream ended in good order */
	WPAR_NEXT_DATA,
	WPAR_NEXT_TIMEOUT, /* the deadline passed; call again */
	WPAR_NEXT_WOKEN,   /* wake_fd is readable; call again */
};

/* A moment on CLOCK_MONOTONIC in nanoseconds; no limit. */
#define WPAR_DEADLINE_NEVER INT64_MAX

/* GET path as a stream; *stream is closed by wpar_stream_close. */
WPAR_PUBLIC int wpar_stream_open(struct wpar *wpar, const char *path, struct wpar_stream **stream,
				 struct wpar_error *err);
/*
 * What happened on this host, each event with a number "seq": those after number `after` (0: all
 * that are kept), then, with `follow`, as they come. A number whose successors are no longer kept:
 * WPAR_NOT_FOUND.
 */
WPAR_PUBLIC int wpar_events(struct wpar *wpar, int64_t after, bool follow,
			    struct wpar_stream **stream, struct wpar_error *err);
/* The events of a move, from the first on, until it ends. */
WPAR_PUBLIC int wpar_move_events(struct wpar *wpar, const char *id, struct wpar_stream **stream,
				 struct wpar_error *err);
/* Those after number `after`, for who has lost a stream. */
WPAR_PUBLIC int wpar_move_events_after(struct wpar *wpar, const char *id, int64_t after,
				       struct wpar_stream **stream, struct wpar_error *err);
/* The console log. `since`: RFC 3339 or NULL. */
WPAR_PUBLIC int wpar_logs(struct wpar *wpar, const char *name, bool follow, const char *since,
			  struct wpar_stream **stream, struct wpar_error *err);

/* The next bytes; they are valid until the next call. wake_fd may be -1. */
WPAR_PUBLIC enum wpar_next wpar_stream_read(struct wpar_stream *stream, int wake_fd,
					    int64_t deadline, const void **bytes, size_t *length,
					    struct wpar_error *err);
/* The next line as JSON, the caller's. */
WPAR_PUBLIC enum wpar_next wpar_stream_event(struct wpar_stream *stream, int wake_fd,
					     int64_t deadline, json_t **event,
					     struct wpar_error *err);
WPAR_PUBLIC void wpar_stream_close(struct wpar_stream *stream); /* NULL is fine */

/* ---- a program inside a partition ----------------------------------------------------------- */

struct wpar_exec;

/* Channels of a session; standard input goes in, the others come out. */
enum wpar_channel {
	WPAR_STDIN,
	WPAR_STDOUT,
	WPAR_STDERR,
	WPAR_CONTROL, /* JSON: {"exit":status} or {"error":{...}} at the end */
};

struct wpar_exec_frame {
	enum wpar_channel channel;
	const void *bytes; /* valid until the next wpar_exec_receive */
	size_t length;
};

/* Starts `request` {"args","env","user","cwd","tty","rows","cols"} in NAME. */
WPAR_PUBLIC int wpar_exec(struct wpar *wpar, const char *name, json_t *request,
			  struct wpar_exec **session, struct wpar_error *err);
/* For poll(2): POLLIN always, POLLOUT while wpar_exec_pending(). */
WPAR_PUBLIC int wpar_exec_fd(const struct wpar_exec *session);
/* Queues; nothing waits. Sending 0 bytes to WPAR_STDIN is its end of file. */
WPAR_PUBLIC int wpar_exec_send(struct wpar_exec *session, enum wpar_channel channel,
			       const void *bytes, size_t length, struct wpar_error *err);
WPAR_PUBLIC int wpar_exec_resize(struct wpar_exec *session, unsigned rows, unsigned cols,
				 struct wpar_error *err);
WPAR_PUBLIC bool wpar_exec_pending(const struct wpar_exec *session);
/* Writes what the socket takes now. */
WPAR_PUBLIC int wpar_exec_flush(struct wpar_exec *session, struct wpar_error *err);
/* Reads what is there: 1 and a frame, or 0: nothing whole yet. A connection that ended: -1. */
WPAR_PUBLIC int wpar_exec_receive(struct wpar_exec *session, struct wpar_exec_frame *frame,
				  struct wpar_error *err);
WPAR_PUBLIC void wpar_exec_close(struct wpar_exec *session); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
