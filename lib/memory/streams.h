// SPDX-License-Identifier: Apache-2.0
// The page streams of a move, one for each destination (images/pageframe.h), and how many pages
// were sent to it: what the manifest says.
#ifndef WPAR_MEMORY_STREAMS_H
#define WPAR_MEMORY_STREAMS_H

#include "images/manifest.h"
#include "images/pageframe.h"
#include "lib/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct streams {
	struct stream *list;
	size_t count, current;
};

// A destination exists from its first mention on. 1: it is new; 0; -1.
int streams_open(struct streams *s, uint64_t destination, struct error *err);
// A frame that is about to be sent.
int streams_count(struct streams *s, const struct pageframe *frame, struct error *err);
uint64_t streams_at(const struct streams *s, size_t index); // the destination of one
int streams_manifest(const struct streams *s, struct manifest *m, struct error *err);
void streams_free(struct streams *s);

#endif
