// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/streams.h"

#include "lib/criu/pageserver.h"

#include <stdlib.h>

struct stream {
	uint64_t destination;
	uint64_t pages; // whose bytes were sent, each time
	struct digest_ctx *digest;
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
	*new = (struct stream){.destination = destination, .digest = digest_begin(err)};
	if (!new->digest)
		return -1;
	s->current = s->count++;
	return 1;
}

uint64_t streams_at(const struct streams *s, size_t index)
{
	return s->list[index].destination;
}

int streams_digest(struct streams *s, const struct pageframe *frame, const void *data,
		   struct error *err)
{
	if (streams_open(s, frame->destination, err) < 0)
		return -1;
	struct stream *stream = find(s, frame->destination);
	if (digest_page_entry(stream->digest, frame->destination, frame->vaddr, frame->pages,
			      (uint32_t)frame->flags, err) < 0)
		return -1;
	if (!data)
		return 0;
	stream->pages += frame->pages;
	return digest_update(stream->digest, data, frame->pages * PAGE_BYTES, err);
}

int streams_manifest(const struct streams *s, struct manifest *m, struct error *err)
{
	for (size_t i = 0; i < s->count; i++) {
		struct digest digest;
		if (digest_now(s->list[i].digest, &digest, err) < 0 ||
		    manifest_add_pages(m, s->list[i].destination, s->list[i].pages, &digest, err) <
			    0)
			return -1;
	}
	return 0;
}

void streams_free(struct streams *s)
{
	for (size_t i = 0; i < s->count; i++)
		digest_free(s->list[i].digest);
	free(s->list);
	*s = (struct streams){0};
}
