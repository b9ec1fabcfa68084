// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/answer.h"

#include "lib/base/cleanup.h"

#include <string.h>
#include <strings.h>

#define FEED       16384
#define LINE_MAX   1024 // of a chunk's size
#define LENGTH_MAX (1ull << 40)

void answer_init(struct answer *a)
{
	*a = (struct answer){.in = BUF_INIT(ANSWER_FEED_MAX)};
}

void answer_free(struct answer *a)
{
	buf_free(&a->in);
}

uint8_t *answer_room(struct answer *a, size_t *room)
{
	*room = ANSWER_FEED_MAX - a->in.length < FEED ? ANSWER_FEED_MAX - a->in.length : FEED;
	return *room ? buf_reserve(&a->in, *room, NULL) : NULL;
}

void answer_fed(struct answer *a, size_t length)
{
	a->in.length += length;
	a->no_more = a->no_more || !length;
}

static int malformed(struct error *err, const char *what)
{
	return error_set(err, ERR_PROTOCOL, "its answer is malformed: %s", what);
}

static int need_more(const struct answer *a, struct error *err)
{
	return a->no_more ? error_set(err, ERR_PEER_UNREACHABLE,
				      "the connection was cut off before "
				      "its answer was complete")
			  : 0;
}

// ---- head ---------------------------------------------------------------------------------------

// Digits of the base only, at least one, at most LENGTH_MAX.
static bool number_of(const char *text, unsigned base, uint64_t *number)
{
	*number = 0;
	for (const char *at = text; *at; at++) {
		const char *digits = "0123456789abcdef";
		const char lower = *at >= 'A' && *at <= 'F' ? (char)(*at + 32) : *at;
		const char *digit = strchr(digits, lower);
		if (!digit || digit - digits >= (ptrdiff_t)base)
			return false;
		*number = *number * base + (uint64_t)(digit - digits);
		if (*number > LENGTH_MAX)
			return false;
	}
	return *text;
}

static int copy(char *to, size_t room, const char *value, struct error *err)
{
	if (to[0] || strlen(value) >= room)
		return malformed(err, "a header is repeated or too long");
	strcpy(to, value);
	return 0;
}

static int take_header(struct answer *a, const char *name, const char *value, bool *has_length,
		       struct error *err)
{
	if (!strcasecmp(name, "Content-Type"))
		return copy(a->type, sizeof(a->type), value, err);
	if (!strcasecmp(name, "ETag"))
		return copy(a->etag, sizeof(a->etag), value, err);
	if (!strcasecmp(name, "Location"))
		return copy(a->location, sizeof(a->location), value, err);
	if (!strcasecmp(name, "Upgrade"))
		return copy(a->upgrade, sizeof(a->upgrade), value, err);
	if (!strcasecmp(name, "Transfer-Encoding")) {
		if (a->chunked || strcasecmp(value, "chunked") != 0)
			return malformed(err, "an unknown transfer encoding");
		a->chunked = true;
	}
	if (!strcasecmp(name, "Content-Length")) {
		if (*has_length || !number_of(value, 10, &a->left))
			return malformed(err, "its length is no number");
		*has_length = true;
	}
	return 0;
}

static int take_status(struct answer *a, const char *line, struct error *err)
{
	if (strncmp(line, "HTTP/1.1 ", 9) != 0 || strspn(line + 9, "0123456789") != 3 ||
	    (line[12] != ' ' && line[12]))
		return malformed(err, "no status line");
	a->status = (unsigned)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
	if (a->status != 101 && (a->status < 200 || a->status > 599))
		return malformed(err, "an impossible status");
	return 0;
}

static int take_line(struct answer *a, char *line, bool *has_length, struct error *err)
{
	char *colon = strchr(line, ':');
	for (const char *at = line; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 127)
			return malformed(err, "a control character in its head");
	if (!a->status)
		return take_status(a, line, err);
	if (!colon || colon == line || line[0] == ' ' || colon[-1] == ' ')
		return malformed(err, "a header is none");
	*colon++ = 0;
	colon += strspn(colon, " ");
	size_t length = strlen(colon);
	while (length && colon[length - 1] == ' ')
		colon[--length] = 0;
	return take_header(a, line, colon, has_length, err);
}

static int take_head(struct answer *a, char *head, struct error *err)
{
	bool has_length = false;
	for (char *line = head, *next; line; line = next) {
		next = strstr(line, "\r\n");
		if (next) {
			*next = 0;
			next += 2;
		}
		if (take_line(a, line, &has_length, err) < 0)
			return -1;
	}
	if (a->chunked && has_length)
		return malformed(err, "two lengths");
	a->until_close = !a->chunked && !has_length;
	a->ended = a->status == 101 || a->status == 204 || (has_length && !a->left);
	return 1;
}

int answer_head(struct answer *a, struct error *err)
{
	size_t look = a->in.length < ANSWER_HEAD_MAX ? a->in.length : ANSWER_HEAD_MAX;
	const uint8_t *end = look ? memmem(a->in.data, look, "\r\n\r\n", 4) : NULL;
	if (!end && look == ANSWER_HEAD_MAX)
		return malformed(err, "its head does not end");
	if (!end)
		return need_more(a, err);
	size_t length = (size_t)(end - a->in.data);
	_cleanup_free_ char *head = strndup((const char *)a->in.data, length);
	if (!head)
		return error_set(err, ERR_NOMEM, "no memory for an answer");
	if (strlen(head) != length)
		return malformed(err, "a NUL in its head");
	buf_consume(&a->in, length + 4);
	return take_head(a, head, err);
}

// ---- body ---------------------------------------------------------------------------------------

// Takes a line out of what has come: 1, 0, -1.
static int next_line(struct answer *a, char line[LINE_MAX], struct error *err)
{
	size_t look = a->in.length < LINE_MAX ? a->in.length : LINE_MAX;
	const uint8_t *end = look ? memmem(a->in.data, look, "\r\n", 2) : NULL;
	if (!end && look == LINE_MAX)
		return malformed(err, "a line does not end");
	if (!end)
		return need_more(a, err);
	size_t length = (size_t)(end - a->in.data);
	memcpy(line, a->in.data, length);
	line[length] = 0;
	buf_consume(&a->in, length + 2);
	return 1;
}

// To the beginning of the next chunk's bytes, or to the end: 1, 0, -1.
static int next_chunk(struct answer *a, struct error *err)
{
	char line[LINE_MAX];
	int got;
	if (a->between) {
		got = next_line(a, line, err);
		if (got <= 0)
			return got;
		if (line[0])
			return malformed(err, "a chunk is longer than it says");
		a->between = false;
	}
	got = next_line(a, line, err);
	if (got <= 0)
		return got;
	line[strcspn(line, "; ")] = 0; // extensions mean nothing to us
	if (!number_of(line, 16, &a->left))
		return malformed(err, "a chunk has no length");
	a->between = true;
	a->ended = !a->left; // what may follow it, trailers, is not wanted
	return 1;
}

ssize_t answer_body(struct answer *a, void *to, size_t room, struct error *err)
{
	if (a->ended)
		return 0;
	if (a->chunked && !a->left) {
		int got = next_chunk(a, err);
		if (got <= 0 || a->ended)
			return got < 0 ? -1 : 0;
	}
	size_t n = a->in.length < room ? a->in.length : room;
	if (!a->until_close && n > a->left)
		n = (size_t)a->left;
	if (!n && a->until_close && a->no_more)
		a->ended = true;
	if (!n)
		return a->ended ? 0 : need_more(a, err);
	memcpy(to, a->in.data, n);
	buf_consume(&a->in, n);
	if (!a->until_close)
		a->left -= n;
	a->ended = !a->chunked && !a->until_close && !a->left;
	return (ssize_t)n;
}
