// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/report.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fault.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define START_MS    5000
#define CALL_MS     10000
#define LAST_MS     5000
#define RETURN_MS   10000 // a question waits that long for a relocd that restarts
#define NOTED_MS    5000  // relocd reads a last event in far less
#define PROGRESS_NS 100000000

int report_open(struct report *r, json_t **start, struct error *err)
{
	// Memory of partitions and the host's key pass through: no core file ever.
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	*r = (struct report){.fd = REPORT_CHANNEL,
			     .bulk = -1,
			     .listener = -1,
			     .phase_began_ns = clock_now_ns(),
			     .deadline = DEADLINE_NEVER};
	if (chan_recv(r->fd, deadline_in_ms(START_MS), start, NULL, NULL, err) < 0)
		return -1;
	if (!*start)
		return error_set(err, ERR_UNREACHABLE, "relocd has gone before the move began");
	return 0;
}

static bool is_last(const json_t *event)
{
	return json_object_get(event, "error") || json_object_get(event, "result");
}

// A relocd that hangs may miss how a move goes, never how it ended; and nobody stays frozen for it.
static void send_event(struct report *r, const json_t *event, deadline_t deadline)
{
	struct error err;
	if (r->fd < 0 || fdio_wait(r->fd, POLLOUT, deadline, NULL) != 1)
		return;
	if (chan_send(r->fd, event, NULL, 0, &err) < 0) {
		log_warn("relocd no longer listens to this move: %s", err.message);
		close(take_fd(&r->fd));
	}
}

// A relocd that comes later gets them with the time at which they were.
static void keep_event(struct report *r, json_t *event)
{
	char time[CLOCK_TEXT_MAX];
	const char *kind = json_string_value(json_object_get(event, "event"));
	json_object_set_new(event, "time", json_string(clock_rfc3339(time)));
	if (!r->events || !kind || !strcmp(kind, "progress"))
		return;
	json_array_append(r->events, event);
}

void report_event(struct report *r, json_t *event)
{
	_cleanup_json_ json_t *owned = event;
	if (!owned)
		return;
	keep_event(r, owned);
	send_event(r, owned, deadline_in_ms(is_last(owned) ? LAST_MS : 0));
}

static void begin_phase(struct report *r, enum move_phase phase)
{
	int64_t now = clock_now_ns();
	r->phase_ms[r->phase] += (double)(now - r->phase_began_ns) / 1e6;
	r->phase = phase;
	r->phase_began_ns = now;
}

// Its end is what the last event tells.
void report_state(struct report *r, enum move_phase state, const char *event)
{
	log_info("%s -> %s (%s), epoch %llu, peer %s", phase_name(r->state), phase_name(state),
		 event, (unsigned long long)r->epoch, r->peer ? r->peer : "none");
	r->state = state;
	if (state < PHASE_COUNT)
		begin_phase(r, state);
	if (state < PHASE_ENDS)
		report_event(r, json_pack("{s:s, s:s, s:s}", "event", "phase", "phase",
					  phase_name(state), "cause", event));
	fault_at(FAULT_PHASE, phase_name(state), FAULT_BEFORE, NULL);
}

static void add_round(json_t *event, const struct report_round *round)
{
	if (round->number)
		json_object_set_new(event, "round", json_integer(round->number));
	if (round->dirty_rate)
		json_object_set_new(event, "dirty_rate_bytes",
				    json_integer((json_int_t)round->dirty_rate));
	if (round->downtime_ms > 0)
		json_object_set_new(event, "predicted_ms", json_real(round->downtime_ms));
}

void report_progress(struct report *r, uint64_t bytes, uint64_t total_bytes)
{
	int64_t now = clock_now_ns();
	if (now - r->progress_sent_ns < PROGRESS_NS)
		return;
	uint64_t rate = 0;
	if (r->rate_since_ns && bytes >= r->rate_from_bytes)
		rate = (uint64_t)((double)(bytes - r->rate_from_bytes) * 1e9 /
				  (double)(now - r->rate_since_ns));
	r->rate_since_ns = r->progress_sent_ns = now;
	r->rate_from_bytes = bytes;
	json_t *event = json_pack("{s:s, s:s, s:I, s:I, s:I}", "event", "progress", "phase",
				  phase_name(r->phase), "bytes", (json_int_t)bytes, "total_bytes",
				  (json_int_t)(total_bytes > bytes ? total_bytes : bytes),
				  "rate_bytes", (json_int_t)rate);
	if (event && r->phase == PHASE_PRECOPY)
		add_round(event, &r->round);
	report_event(r, event);
}

json_t *report_phases(struct report *r)
{
	json_t *phases = json_object();
	r->phase_ms[r->phase] += clock_ms_since(r->phase_began_ns);
	r->phase_began_ns = clock_now_ns();
	for (enum move_phase p = PHASE_VALIDATE; p <= r->phase; p++)
		json_object_set_new(phases, phase_name(p), json_real(r->phase_ms[p]));
	return phases;
}

// ---- a new relocd -------------------------------------------------------------------------------

void report_serve(struct report *r, const char *move, const char *side, json_t *facts)
{
	char folder[200];
	struct error err = {0};
	snprintf(folder, sizeof(folder), "%s/moves", paths_run());
	snprintf(r->path, sizeof(r->path), "%s/%s.%s.sock", folder, move, side);
	r->hello = json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "event", "hello", "v",
			     REPORT_PROTOCOL, "oldest", REPORT_OLDEST, "version", WPAR_VERSION,
			     "side", side, "move", move);
	json_object_update_missing(r->hello, facts);
	json_decref(facts);
	r->events = json_array();
	if (fdio_mkdir_p(folder, 0700, &err) < 0 || (r->listener = chan_listen(r->path, &err)) < 0)
		log_error_of(&err, "a restarted relocd will not be able to follow this move");
}

int report_fd(const struct report *r)
{
	return r->fd >= 0 ? r->fd : r->listener;
}

static void attach(struct report *r)
{
	size_t i;
	json_t *event;
	int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (r->fd >= 0)
		close(r->fd);
	r->fd = fd;
	log_info("relocd is back");
	json_object_set_new(r->hello, "phase", json_string(phase_name(r->state)));
	send_event(r, r->hello, deadline_in_ms(0));
	json_array_foreach (r->events, i, event)
		send_event(r, event, deadline_in_ms(0));
}

static bool is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return fd >= 0 && poll(&p, 1, 0) > 0;
}

static void take_message(struct report *r, json_t *message, int *sock)
{
	const char *op = json_string_value(json_object_get(message, "op"));
	if (!op) {
		json_decref(r->answer);
		r->answer = json_incref(message);
	} else if (!strcmp(op, "cancel")) {
		r->cancelled = true;
	} else if (!strcmp(op, "share")) {
		r->share =
			(uint64_t)json_integer_value(json_object_get(message, "bandwidth_bytes"));
		r->streams = (unsigned)json_integer_value(json_object_get(message, "streams"));
	} else if (!strcmp(op, "bulk") && r->bulk < 0) {
		r->bulk = take_fd(sock);
	} else if (!strcmp(op, "noted")) {
		r->noted = true;
	} else if (!strcmp(op, "keep")) {
		json_decref(r->keep);
		r->keep = json_incref(message);
	}
}

static void take_messages(struct report *r)
{
	while (is_readable(r->fd)) {
		_cleanup_json_ json_t *message = NULL;
		_cleanup_close_ int sock = -1;
		struct error err;
		size_t count = 1;
		if (chan_recv(r->fd, deadline_in_ms(0), &message, &sock, &count, &err) < 0 ||
		    !message)
			close(take_fd(&r->fd));
		else
			take_message(r, message, &sock);
	}
}

void report_listen(struct report *r)
{
	take_messages(r);
	while (is_readable(r->listener)) {
		attach(r);
		take_messages(r);
	}
}

// Listens until `done` is true of r, at most until the deadline.
static bool listen_until(struct report *r, bool (*done)(const struct report *r),
			 deadline_t deadline)
{
	for (;;) {
		report_listen(r);
		if (done(r))
			return true;
		if (deadline_passed(deadline) || report_fd(r) < 0)
			return false;
		fdio_wait(report_fd(r), POLLIN, deadline, NULL);
	}
}

static bool is_there(const struct report *r)
{
	return r->fd >= 0;
}

static bool is_noted_or_gone(const struct report *r)
{
	return r->noted || r->fd < 0;
}

bool report_wait_relocd(struct report *r, deadline_t deadline)
{
	return listen_until(r, is_there, deadline);
}

void report_pause(struct report *r, deadline_t deadline)
{
	if (report_fd(r) < 0)
		clock_sleep_ms(deadline_poll_ms(deadline));
	else if (fdio_wait(report_fd(r), POLLIN, deadline, NULL) == 1)
		report_listen(r);
}

void report_close(struct report *r, bool linger)
{
	deadline_t deadline = deadline_in_ms(REPORT_LINGER_MS);
	while (linger && r->listener >= 0 && report_wait_relocd(r, deadline) &&
	       listen_until(r, is_noted_or_gone, deadline_in_ms(NOTED_MS)) && !r->noted)
		;
	if (r->listener >= 0) {
		unlink(r->path);
		close(take_fd(&r->listener));
	}
	json_decref(r->hello);
	json_decref(r->events);
	json_decref(r->keep);
	json_decref(r->answer);
	r->hello = r->events = r->keep = r->answer = NULL;
}

// After the commit record there is nothing left to cancel.
int report_may_go_on(const struct report *r, struct error *err)
{
	if (r->phase >= PHASE_COMMIT)
		return 0;
	if (r->cancelled)
		return error_set(err, ERR_CANCELLED, "the move was cancelled");
	if (!deadline_passed(r->deadline))
		return 0;
	error_set(err, ERR_DEADLINE, "the move took longer than it may");
	return error_hint(err, "look at load and network of both hosts, or allow more: --deadline");
}

deadline_t report_deadline(const struct report *r, deadline_t deadline)
{
	return r->phase >= PHASE_COMMIT ? deadline : deadline_earlier(deadline, r->deadline);
}

static bool has_answer_or_is_gone(const struct report *r)
{
	return r->answer || r->fd < 0;
}

static int take_answer(struct report *r, json_t **answer, struct error *err)
{
	_cleanup_json_ json_t *reply = take_ptr(r->answer);
	const json_t *why = json_object_get(reply, "error");
	if (why)
		return error_from_json(err, why);
	if (answer)
		*answer = take_ptr(reply);
	return 0;
}

int report_call(struct report *r, json_t *request, json_t **answer, struct error *err)
{
	_cleanup_json_ json_t *owned = request;
	deadline_t back = deadline_in_ms(RETURN_MS);
	json_decref(r->answer);
	r->answer = NULL;
	while (listen_until(r, is_there, back)) {
		if (chan_send(r->fd, owned, NULL, 0, err) < 0) {
			close(take_fd(&r->fd));
			continue;
		}
		if (!listen_until(r, has_answer_or_is_gone, deadline_in_ms(CALL_MS)))
			return error_set(err, ERR_DEADLINE, "relocd did not answer in time");
		if (r->answer)
			return take_answer(r, answer, err);
	}
	return error_set(err, ERR_UNREACHABLE, "relocd has gone");
}
