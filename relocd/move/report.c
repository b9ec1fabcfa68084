// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/report.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"

#include <poll.h>
#include <string.h>

#define START_MS    5000
#define CALL_MS     10000
#define LAST_MS     5000
#define PROGRESS_NS 100000000

int report_open(struct report *r, json_t **start, struct error *err)
{
	*r = (struct report){.fd = REPORT_CHANNEL,
			     .bulk = -1,
			     .phase_began_ns = clock_now_ns(),
			     .deadline = DEADLINE_NEVER};
	if (chan_recv(r->fd, deadline_in_ms(START_MS), start, NULL, NULL, err) < 0)
		return -1;
	if (!*start)
		return error_set(err, ERR_UNREACHABLE, "relocd has gone before the move began");
	return 0;
}

void report_event(struct report *r, json_t *event)
{
	_cleanup_json_ json_t *owned = event;
	struct error err;
	if (r->fd < 0 || !owned)
		return;
	// A relocd that hangs may miss how a move goes, never how it ended; and nobody stays frozen
	// for it.
	bool last = json_object_get(owned, "error") || json_object_get(owned, "result");
	if (fdio_wait(r->fd, POLLOUT, deadline_in_ms(last ? LAST_MS : 0), NULL) != 1)
		return;
	if (chan_send(r->fd, owned, NULL, 0, &err) < 0) {
		log_warn("relocd no longer listens to this move: %s", err.message);
		close(take_fd(&r->fd));
	}
}

void report_phase(struct report *r, enum move_phase phase)
{
	int64_t now = clock_now_ns();
	r->phase_ms[r->phase] += (double)(now - r->phase_began_ns) / 1e6;
	r->phase = phase;
	r->phase_began_ns = now;
	report_event(r, json_pack("{s:s, s:s}", "event", "phase", "phase", phase_name(phase)));
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
	report_event(r, json_pack("{s:s, s:s, s:I, s:I, s:I}", "event", "progress", "phase",
				  phase_name(r->phase), "bytes", (json_int_t)bytes, "total_bytes",
				  (json_int_t)(total_bytes > bytes ? total_bytes : bytes),
				  "rate_bytes", (json_int_t)rate));
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

void report_listen(struct report *r)
{
	struct pollfd p = {.fd = r->fd, .events = POLLIN};
	while (r->fd >= 0 && poll(&p, 1, 0) > 0) {
		_cleanup_json_ json_t *message = NULL;
		_cleanup_close_ int sock = -1;
		struct error err;
		size_t count = 1;
		if (chan_recv(r->fd, deadline_in_ms(0), &message, &sock, &count, &err) < 0 ||
		    !message) {
			close(take_fd(&r->fd));
			return;
		}
		const char *op = json_string_value(json_object_get(message, "op"));
		if (op && !strcmp(op, "cancel"))
			r->cancelled = true;
		if (op && !strcmp(op, "bulk") && r->bulk < 0)
			r->bulk = take_fd(&sock);
	}
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

int report_call(struct report *r, json_t *request, json_t **answer, struct error *err)
{
	if (r->fd < 0) {
		json_decref(request);
		return error_set(err, ERR_UNREACHABLE, "relocd has gone");
	}
	return chan_call(r->fd, request, NULL, 0, deadline_in_ms(CALL_MS), answer, err);
}
