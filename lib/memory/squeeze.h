// SPDX-License-Identifier: Apache-2.0
// A sink before a sink that packs messages of pages (images/pageframe.h) where that makes a move
// faster: on links that are slower than the packing. What an engine sends is not changed by it.
//
// `auto` measures: how long the link makes it wait, how long packing takes, and how much is left.
// LZ4 packs about 1 GB/s to a third, Zstandard half of that to a fifth, of what programs usually
// have in memory; what cannot be packed goes as it is.
#ifndef WPAR_MEMORY_SQUEEZE_H
#define WPAR_MEMORY_SQUEEZE_H

#include "lib/base/error.h"
#include "lib/memory/engine.h"

#include <stdint.h>

enum squeeze_method { SQUEEZE_OFF, SQUEEZE_LZ4, SQUEEZE_ZSTD, SQUEEZE_METHODS, SQUEEZE_AUTO };

// "auto", "off", "lz4", "zstd"; ERR_USAGE for all else.
int squeeze_parse(const char *text, enum squeeze_method *method, struct error *err);
const char *squeeze_name(enum squeeze_method method);

struct squeeze;

// `to` is copied. Messages are as long as its places have room.
struct squeeze *squeeze_new(const struct memory_sink *to, enum squeeze_method method,
			    struct error *err);
void squeeze_free(struct squeeze *s);
struct memory_sink squeeze_sink(struct squeeze *s);

// What is done stays as it is from now on: the link is not waited for any more, which would look
// like a fast one.
void squeeze_settle(struct squeeze *s);
// While it is held, waiting has other reasons than the link: what is done stays as it is.
void squeeze_hold(struct squeeze *s, bool held);

struct squeeze_figures {
	uint64_t bytes, sent;       // of messages: before, and after
	enum squeeze_method method; // now; never AUTO
};
void squeeze_figures(const struct squeeze *s, struct squeeze_figures *figures);

// What `auto` decides by; nanoseconds for each byte of a message.
struct squeeze_costs {
	double fill;                   // the engine's work
	double link;                   // the link's, for each byte that it carries
	double pack[SQUEEZE_METHODS];  // of OFF: 0
	double ratio[SQUEEZE_METHODS]; // what is left of a byte; of OFF: 1; 0: not known
};
// The fastest. Another one than `now` must be faster by a tenth.
enum squeeze_method squeeze_choose(const struct squeeze_costs *costs, enum squeeze_method now);

#endif
