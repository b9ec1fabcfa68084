// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/streams.h"

#include <stdlib.h>

struct stream {
	uint64_t destination;
	uint64_t pages; // whose bytes were sent, each time
};

static struct stream *find(struct streams *s, uint64_t destination)
{
	if (s->current < s->count && s->list[s->current].destination == destination)
		return &s->list[s->current];
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].destination == destination) {
			s->current = i;
			return &s->list[i];
		}
	return NULL;
}

int streams_open(struct streams *s, uint64_t destination, struct error *err)
{
	if (find(s, destination))
		return 0;
	struct stream *more = reallocarray(s->list, s->count + 1, sizeof(*more));
	if (!more)
		return error_set(err, ERR_NOMEM, "no memory for a page stream");
	s->list = more;
	struct stream *new = &more[s->count];
	*new = (struct stream){.destination = destination};
	s->current = s->count++;
	return 1;
}

uint64_t streams_at(const struct streams *s, size_t index)
{
	return s->list[index].destination;
}

int streams_count(struct streams *s, const struct pageframe *frame, struct error *err)
{
	if (streams_open(s, frame->destination, err) < 0)
		return -1;
	if (pageframe_has_data(frame))
		find(s, frame->destination)->pages += frame->pages;
	return 0;
}

int streams_manifest(const struct streams *s, struct manifest *m, struct error *err)
{
	for (size_t i = 0; i < s->count; i++)
		if (manifest_add_pages(m, s->list[i].destination, s->list[i].pages, err) < 0)
			return -1;
	return 0;
}

void streams_free(struct streams *s)
{
	free(s->list);
	*s = (struct streams){0};
}
