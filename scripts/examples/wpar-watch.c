// SPDX-License-Identifier: Apache-2.0
// An example for libwpar(3): lists the partitions, then prints what happens, until there is nothing
// more to print or N events have been seen.
//
//     cc -o wpar-watch wpar-watch.c $(pkg-config --cflags --libs libwpar)
//     wpar-watch [SOCKET [N]]
#include <stdio.h>
#include <stdlib.h>
#include <wpar.h>

static int complain(const struct wpar_error *err)
{
	fprintf(stderr, "wpar-watch: %s (%s)\n  hint: %s\n", err->message, err->code, err->hint);
	return err->error_class;
}

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));
	return value ? value : "-";
}

static int list(struct wpar *wpar)
{
	struct wpar_error err;
	json_t *partitions, *partition;
	size_t i;
	if (wpar_partitions(wpar, true, NULL, &partitions, &err) < 0)
		return complain(&err);
	printf("%zu partitions\n", json_array_size(partitions));
	json_array_foreach (partitions, i, partition)
		printf("%s %s\n", text(partition, "name"), text(partition, "state"));
	json_decref(partitions);
	return 0;
}

static int watch(struct wpar *wpar, long count)
{
	struct wpar_error err;
	struct wpar_stream *stream;
	enum wpar_next next = WPAR_NEXT_END;
	json_t *event;
	if (wpar_events(wpar, 0, count > 0, &stream, &err) < 0)
		return complain(&err);
	do {
		next = wpar_stream_event(stream, -1, WPAR_DEADLINE_NEVER, &event, &err);
		if (next != WPAR_NEXT_DATA)
			break;
		printf("%lld %s %s %s\n",
		       (long long)json_integer_value(json_object_get(event, "seq")),
		       text(event, "kind"), text(event, "event"), text(event, "partition"));
		fflush(stdout);
		json_decref(event);
	} while (--count != 0);
	wpar_stream_close(stream);
	return next == WPAR_NEXT_ERROR ? complain(&err) : 0;
}

int main(int argc, char **argv)
{
	struct wpar_error err;
	struct wpar *wpar = wpar_open(argc > 1 ? argv[1] : NULL, &err);
	if (!wpar)
		return complain(&err);
	int code = list(wpar);
	if (!code)
		code = watch(wpar, argc > 2 ? atol(argv[2]) : 0);
	wpar_close(wpar);
	return code;
}
