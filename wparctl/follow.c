// SPDX-License-Identifier: Apache-2.0
#include "wparctl/follow.h"

#include "lib/base/cleanup.h"
#include "lib/base/units.h"
#include "wparctl/explain.h"
#include "wparctl/progress.h"
#include "wparctl/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#define REDRAW_MS 250
#define TRY_MS    200

int64_t follow_patience_ms = 30000;

struct follow {
	struct ctl *ctl;
	const char *id;
	struct wpar_stream *stream;
	struct progress progress;
	int64_t began_ns;
	int interrupts;            // signalfd of SIGINT
	bool drawn;                // the progress line is on the screen
	char time[CLOCK_TEXT_MAX]; // of the last event
	bool reconnected;
	deadline_t back; // by when a relocd that has gone must be there again
};

// ---- the line -----------------------------------------------------------------------------------

static void draw(struct follow *f)
{
	char text[512];
	uint64_t seconds = (uint64_t)(clock_ms_since(f->began_ns) / 1000);
	progress_line(&f->progress, seconds, ctl_columns(f->ctl), text, sizeof(text));
	_cleanup_free_ char *plain = text_plain(text);
	printf("\r%s\x1b[K", plain ?: "");
	fflush(stdout);
	f->drawn = true;
}

static void undraw(struct follow *f)
{
	if (f->drawn)
		fputs("\r\x1b[K", stdout);
	fflush(stdout);
	f->drawn = false;
}

static bool draws(const struct follow *f)
{
	return f->ctl->terminal && !f->ctl->json && !f->ctl->quiet;
}

static void say_phase(const struct follow *f)
{
	const struct progress *p = &f->progress;
	out_say(f->ctl, "%s: %s -> %s: %s", p->partition, p->from, p->to, progress_phase(p->phase));
	fflush(stdout);
}

static void say_warnings(struct follow *f, const json_t *event)
{
	size_t i;
	json_t *check;
	json_array_foreach (json_object_get(event, "checks"), i, check)
		if (!strcmp(json_text(check, "outcome"), "warn") && !f->ctl->json) {
			undraw(f);
			out_note(f->ctl, json_text(check, "message"));
		}
}

static void show_event(struct follow *f, json_t *event)
{
	bool new_phase = progress_event(&f->progress, event);
	say_warnings(f, event);
	if (f->ctl->json && !f->ctl->quiet)
		out_data(json_incref(event));
	else if (draws(f))
		draw(f);
	else if (new_phase)
		say_phase(f);
}

// ---- the end ------------------------------------------------------------------------------------

static int say_done(struct follow *f, const json_t *event)
{
	char total[UNITS_TEXT_MAX], downtime[UNITS_TEXT_MAX], bytes[UNITS_TEXT_MAX];
	json_t *result = json_object_get(event, "result");
	if (f->ctl->json) {
		json_t *data = json_is_object(result) ? json_copy(result) : json_object();
		json_object_set_new(data, "outcome", json_string("done"));
		out_data(data);
		return 0;
	}
	explain_rounds(f->ctl, result);
	explain_phases(f->ctl, result);
	_cleanup_free_ char *name = text_plain(f->progress.partition);
	// Also with --quiet: a job that moved something says so in one line.
	printf("%s: moved from %s to %s in %s, downtime %s, %s transferred\n", name ?: "",
	       f->progress.from, f->progress.to,
	       units_format_ms(total, json_amount(result, "total_ms")),
	       units_format_ms(downtime, json_amount(result, "downtime_ms")),
	       units_format_size(bytes, (uint64_t)json_amount(result, "transferred_bytes")));
	return 0;
}

static int say_failed(struct follow *f, const json_t *event)
{
	struct error err;
	json_t *error = json_object_get(event, "error");
	if (json_is_object(error))
		error_from_json(&err, error);
	else
		error_set(&err, ERR_MOVE_FAILED, "move %s ended without a reason (%s)", f->id,
			  json_text(event, "outcome"));
	if (!f->ctl->json)
		return out_error(f->ctl, f->progress.partition, &err);
	error_at(&err, NULL, f->progress.partition, NULL);
	json_t *whole = json_is_object(error) ? json_deep_copy(error) : error_to_json(&err);
	if (!json_text(whole, "partition")[0])
		json_object_set_new(whole, "partition", json_string(f->progress.partition));
	json_object_set_new(whole, "move", json_string(f->id));
	json_object_set_new(whole, "details",
			    json_pack("{s:s, s:O?}", "outcome", json_text(event, "outcome"),
				      "result", json_object_get(event, "result")));
	out_json_error(whole);
	return (int)error_class_of(&err);
}

static int detach(struct follow *f)
{
	struct signalfd_siginfo taken; // else it would kill us when it is let through again
	while (read(f->interrupts, &taken, sizeof(taken)) > 0)
		;
	if (f->drawn)
		putchar('\n'); // the line stays as it was
	fflush(stdout);
	fprintf(stderr, "move %s goes on; wparctl wait %s | cancel %s\n", f->id, f->id, f->id);
	return EXIT_DETACHED;
}

static int lost(struct follow *f, struct error *err)
{
	undraw(f);
	error_hint(err, "the move may go on without you: wparctl wait %s", f->id);
	return out_error(f->ctl, f->progress.partition, err);
}

// ---- following ----------------------------------------------------------------------------------

static int end_code(struct follow *f, json_t *event, bool *ended)
{
	const char *kind = json_text(event, "event");
	*ended = true;
	if (!strcmp(kind, "done")) {
		undraw(f);
		return say_done(f, event);
	}
	if (!strcmp(kind, "failed")) {
		undraw(f);
		return say_failed(f, event);
	}
	*ended = false;
	show_event(f, event);
	return 0;
}

static bool is_end(const json_t *event)
{
	const char *kind = json_text(event, "event");
	return !strcmp(kind, "done") || !strcmp(kind, "failed");
}

// A new relocd tells the events of the move from the beginning. Several may have the same time; the
// end is never known, or we would not ask.
static bool is_known(struct follow *f, const json_t *event)
{
	const char *time = json_text(event, "time");
	if (is_end(event))
		return false;
	bool known = time[0] && strcmp(time, f->time) <= 0;
	if (!known)
		snprintf(f->time, sizeof(f->time), "%s", time);
	return known;
}

// relocd restarts, say: the move goes on without it, and the next one tells how. 0, -1, or 1 when
// the user does not want to wait.
static int reconnect(struct follow *f, struct error *err)
{
	struct pollfd woken = {.fd = f->interrupts, .events = POLLIN};
	wpar_stream_close(f->stream);
	f->stream = NULL;
	if (f->back == DEADLINE_NEVER)
		f->back = deadline_in_ms(follow_patience_ms);
	for (;;) {
		if (poll(&woken, 1, TRY_MS) > 0)
			return 1;
		f->reconnected = true;
		if (deadline_passed(f->back))
			return -1;
		if (wpar_move_events(f->ctl->wpar, f->id, &f->stream, err) == 0)
			return 0;
		if (error_class_of(err) != ERROR_CLASS_UNREACHABLE)
			return -1;
	}
}

static int follow_events(struct follow *f)
{
	for (;;) {
		struct error err;
		_cleanup_json_ json_t *event = NULL;
		bool ended = false, error = false;
		deadline_t redraw = draws(f) ? deadline_in_ms(REDRAW_MS) : DEADLINE_NEVER;
		int code = 0;
		switch (wpar_stream_event(f->stream, f->interrupts, redraw, &event, &err)) {
		case WPAR_NEXT_DATA:
			if (is_known(f, event) && f->reconnected)
				break;
			f->back = DEADLINE_NEVER;
			code = end_code(f, event, &ended);
			if (ended)
				return code;
			break;
		case WPAR_NEXT_TIMEOUT:
			draw(f);
			break;
		case WPAR_NEXT_WOKEN:
			return detach(f);
		case WPAR_NEXT_END:
			error_set(&err, ERR_PROTOCOL, "relocd told no end of move %s", f->id);
			error = true;
			break;
		case WPAR_NEXT_ERROR:
			error = true;
			break;
		}
		int back = error ? reconnect(f, &err) : 0;
		if (back)
			return back > 0 ? detach(f) : lost(f, &err);
	}
}

// Blocks SIGINT and makes it readable instead.
static int open_interrupts(sigset_t *before, struct error *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, before);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? error_sys(err, ERR_SYSTEM, errno, "signalfd") : fd;
}

static void take_names(struct progress *progress, const json_t *move)
{
	snprintf(progress->partition, sizeof(progress->partition), "%s",
		 json_text(move, "partition"));
	snprintf(progress->from, sizeof(progress->from), "%s", json_text(move, "from"));
	snprintf(progress->to, sizeof(progress->to), "%s", json_text(move, "to"));
}

int follow_move(struct ctl *ctl, const char *id)
{
	struct error err;
	sigset_t before;
	_cleanup_json_ json_t *move = NULL;
	struct follow f = {
		.ctl = ctl, .id = id, .began_ns = clock_now_ns(), .back = DEADLINE_NEVER};
	if (wpar_move(ctl->wpar, id, &move, &err) < 0 ||
	    wpar_move_events(ctl->wpar, id, &f.stream, &err) < 0)
		return out_error(ctl, NULL, &err);
	take_names(&f.progress, move);
	if (json_text(move, "id")[0])
		f.id = json_text(move, "id"); // `id` may be the name of a partition
	_cleanup_close_ int interrupts = open_interrupts(&before, &err);
	f.interrupts = interrupts;
	int code = interrupts < 0 ? out_error(ctl, NULL, &err) : follow_events(&f);
	wpar_stream_close(f.stream);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return code;
}
