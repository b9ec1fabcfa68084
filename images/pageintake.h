// SPDX-License-Identifier: Apache-2.0
// From a PAGES message to the page store: unpacks it, takes the frames apart, checks them.
#ifndef WPAR_IMAGES_PAGEINTAKE_H
#define WPAR_IMAGES_PAGEINTAKE_H

#include "images/pagestore.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pageintake;

// `message_max`: the longest message in bytes.
struct pageintake *pageintake_new(size_t message_max, struct error *err);
void pageintake_free(struct pageintake *in);

// Stores what the message brings, with `rounds_only` contents of rounds and nothing else; returns
// how many bytes of pages that were, or -1: ERR_PROTOCOL for what cannot be,
// ERR_MEMORY beyond the store's limits.
int64_t pageintake_take(struct pageintake *in, struct pagestore *store, bool rounds_only,
			const void *message, size_t length, struct error *err);

#endif
