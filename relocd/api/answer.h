// SPDX-License-Identifier: Apache-2.0
// Reads one HTTP/1.1 answer of another host's control API: strictly, with limits, from bytes that
// are fed to it. That host is authenticated, but not believed.
#ifndef RELOCD_ANSWER_H
#define RELOCD_ANSWER_H

#include "lib/base/buf.h"

#include <stdbool.h>
#include <sys/types.h>

#define ANSWER_HEAD_MAX 16384
#define ANSWER_FEED_MAX (128 * 1024) // fed and not yet used

struct answer {
	struct buf in;
	bool no_more; // the other end has closed
	unsigned status;
	char type[96]; // of the content; "" when absent, as all of these
	char etag[128];
	char location[256];
	char upgrade[32]; // of a 101

	bool chunked;
	bool until_close;
	bool between;  // a chunk's CRLF is still to come
	uint64_t left; // of the body or the chunk
	bool ended;    // the body is complete
};

void answer_init(struct answer *a);
void answer_free(struct answer *a);

// Room for what is read next; commit with answer_fed. NULL when it is full: use some first.
uint8_t *answer_room(struct answer *a, size_t *room);
void answer_fed(struct answer *a, size_t length);

// 1: the head is complete; 0: more is needed; -1: it is not an answer (ERR_PROTOCOL), or it was cut
// off (ERR_PEER_UNREACHABLE).
int answer_head(struct answer *a, struct error *err);
// After the head: takes bytes of the body out. Their number; 0: more is needed, or a->ended; -1.
ssize_t answer_body(struct answer *a, void *to, size_t room, struct error *err);

#endif
