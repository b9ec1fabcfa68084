// SPDX-License-Identifier: Apache-2.0
// events: what happened, as lines.
#include "lib/base/cleanup.h"
#include "wparctl/ctl.h"
#include "wparctl/follow.h"
#include "wparctl/text.h"

#include <errno.h>
#include <stdlib.h>

#define TRY_MS 200

static void print_event(const struct ctl *ctl, const json_t *event)
{
	const json_t *data = json_object_get(event, "data");
	_cleanup_free_ char *more = json_object_size(data) ? json_dumps(data, JSON_COMPACT) : NULL;
	const char *const words[] = {
		json_text(event, "partition"),
		json_text(event, "move"),
		more ? more : "",
		json_text(json_object_get(event, "asked"), "user"),
	};
	_cleanup_free_ char *line = NULL;
	size_t length = 0;
	FILE *to = open_memstream(&line, &length);
	if (!to)
		return;
	fprintf(to, "%.0f  %s  %s  %s: %s", json_amount(event, "seq"), json_text(event, "time"),
		json_text(event, "host"), json_text(event, "kind"), json_text(event, "event"));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		fprintf(to, "%s%s", words[i][0] ? "  " : "", words[i]);
	fclose(to);
	out_say(ctl, "%s", line);
	fflush(stdout);
}

static int read_after(const char *text, int64_t *after, struct error *err)
{
	char *end = NULL;
	errno = 0;
	*after = text ? strtoll(text, &end, 10) : 0;
	if (text && (errno || end == text || *end || *after < 0))
		return error_set(err, ERR_USAGE, "--after \"%s\": the number of an event is wanted",
				 text);
	return 0;
}

static void show(const struct ctl *ctl, json_t *event)
{
	if (ctl->json)
		out_data(json_incref(event));
	else
		print_event(ctl, event);
}

struct reading {
	struct ctl *ctl;
	struct wpar_stream *stream;
	int64_t after;
	bool follow, seen; // something has come
	deadline_t back;   // by when a relocd that has gone must be there again
};

// Reads to the end of the stream: 0, or -1.
static int read_stream(struct reading *r, struct error *err)
{
	for (;;) {
		_cleanup_json_ json_t *event = NULL;
		enum wpar_next next = wpar_stream_event(r->stream, -1, DEADLINE_NEVER, &event, err);
		if (next == WPAR_NEXT_END)
			return 0;
		if (next != WPAR_NEXT_DATA)
			return -1;
		show(r->ctl, event);
		r->after = (int64_t)json_amount(event, "seq");
		r->seen = true;
		r->back = DEADLINE_NEVER;
	}
}

// relocd restarts, say: the next one goes on after what has been seen.
static bool may_come_back(struct reading *r, bool failed, const struct error *err)
{
	if (!r->follow || (failed && (!r->seen || error_class_of(err) != ERROR_CLASS_UNREACHABLE)))
		return false;
	if (r->back == DEADLINE_NEVER)
		r->back = deadline_in_ms(follow_patience_ms);
	r->seen = true;
	clock_sleep_ms(TRY_MS);
	return !deadline_passed(r->back);
}

int events_run(struct ctl *ctl, const struct args *args)
{
	struct error err = {0};
	struct reading r = {.ctl = ctl, .follow = args_has(args, "follow"), .back = DEADLINE_NEVER};
	int failed = read_after(args_value(args, "after"), &r.after, &err);
	if (failed)
		return out_error(ctl, NULL, &err);
	do {
		failed = wpar_events(ctl->wpar, r.after, r.follow, &r.stream, &err);
		failed = failed ? failed : read_stream(&r, &err);
		wpar_stream_close(r.stream);
		r.stream = NULL;
	} while (may_come_back(&r, failed, &err));
	return failed ? out_error(ctl, NULL, &err) : 0;
}
