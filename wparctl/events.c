// SPDX-License-Identifier: Apache-2.0
// events: what happened, as lines.
#include "lib/base/cleanup.h"
#include "wparctl/ctl.h"
#include "wparctl/text.h"

#include <errno.h>
#include <stdlib.h>

static void print_event(const struct ctl *ctl, const json_t *event)
{
	const json_t *data = json_object_get(event, "data");
	_cleanup_free_ char *more = json_object_size(data) ? json_dumps(data, JSON_COMPACT) : NULL;
	const char *const words[] = {
		json_text(event, "host_name"),
		json_text(event, "partition"),
		json_text(event, "move"),
		more ? more : "",
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

int events_run(struct ctl *ctl, const struct args *args)
{
	struct error err = {0};
	struct wpar_stream *stream = NULL;
	int64_t after;
	if (read_after(args_value(args, "after"), &after, &err) < 0 ||
	    wpar_events(ctl->wpar, after, args_has(args, "follow"), &stream, &err) < 0)
		return out_error(ctl, NULL, &err);
	for (;;) {
		_cleanup_json_ json_t *event = NULL;
		enum wpar_next next = wpar_stream_event(stream, -1, DEADLINE_NEVER, &event, &err);
		if (next == WPAR_NEXT_DATA && ctl->json)
			out_data(json_incref(event));
		else if (next == WPAR_NEXT_DATA)
			print_event(ctl, event);
		else if (next == WPAR_NEXT_END || next == WPAR_NEXT_ERROR) {
			wpar_stream_close(stream);
			return next == WPAR_NEXT_END ? 0 : out_error(ctl, NULL, &err);
		}
	}
}
