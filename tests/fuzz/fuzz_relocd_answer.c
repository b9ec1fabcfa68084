// SPDX-License-Identifier: Apache-2.0
// What another host answers to a request, in pieces: the first byte says how long they are. Heads
// and bodies stay within their limits, and however it is cut up the answer is the same.
#include "lib/base/cleanup.h"
#include "lib/base/error.h"
#include "relocd/api/answer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct taken {
	int ended; // 1: the whole answer has come, 0: not yet, -1: it is none
	unsigned status;
	struct buf body;
};

// What there is of the body: 1 the end, 0 more is needed, -1.
static int take_body(struct answer *a, struct taken *t, struct error *err)
{
	uint8_t piece[64];
	ssize_t n;
	while ((n = answer_body(a, piece, sizeof(piece), err)) > 0)
		if (n > (ssize_t)sizeof(piece) || buf_append(&t->body, piece, (size_t)n, NULL) < 0)
			abort();
	return n < 0 ? -1 : a->ended;
}

static int take(struct answer *a, bool *head, struct taken *t, struct error *err)
{
	if (!*head) {
		int got = answer_head(a, err);
		if (got <= 0)
			return got;
		*head = true;
		t->status = a->status;
	}
	return take_body(a, t, err);
}

static void read_answer(const uint8_t *data, size_t size, size_t piece, struct taken *t)
{
	struct error err = {0};
	struct answer a;
	bool head = false;
	size_t at = 0;
	answer_init(&a);
	for (;;) {
		t->ended = take(&a, &head, t, &err);
		if (t->ended || a.no_more)
			break;
		size_t room, n = size - at < piece ? size - at : piece;
		uint8_t *to = answer_room(&a, &room);
		if (!to)
			break;
		n = n < room ? n : room;
		memcpy(to, data + at, n);
		answer_fed(&a, n);
		at += n;
	}
	if ((t->ended < 0) != error_is_set(&err))
		abort();
	answer_free(&a);
}

static void read_json(const struct taken *t)
{
	struct error err = {0};
	_cleanup_json_ json_t *json = json_loadb((const char *)t->body.data, t->body.length,
						 JSON_REJECT_DUPLICATES, NULL);
	const json_t *first = json_array_get(json_object_get(json, "errors"), 0);
	if (json_is_object(first))
		error_from_json(&err, first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	struct taken whole = {.body = BUF_INIT(1 << 20)}, cut = {.body = BUF_INIT(1 << 20)};
	read_answer(data + 1, size - 1, size, &whole);
	read_answer(data + 1, size - 1, data[0] + 1u, &cut);
	if (whole.ended != cut.ended || whole.status != cut.status ||
	    (whole.ended == 1 &&
	     (whole.body.length != cut.body.length ||
	      (cut.body.length && memcmp(whole.body.data, cut.body.data, cut.body.length) != 0))))
		abort();
	if (whole.ended == 1)
		read_json(&whole);
	buf_free(&whole.body);
	buf_free(&cut.body);
	return 0;
}
