// SPDX-License-Identifier: Apache-2.0
#include "lib/config/outline.h"

#include "lib/base/cleanup.h"

#include <stdbool.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 16
#define KEYS_MAX  4096

struct level {
	bool map;      // else a list
	char *key;     // in a map: the key whose value comes next; NULL: a key comes next
	unsigned line; // of that key
};

struct reader {
	struct outline *outline;
	struct level levels[DEPTH_MAX];
	size_t depth;
};

void outline_free(struct outline *outline)
{
	for (size_t i = 0; i < outline->count; i++)
		free(outline->keys[i].path);
	free(outline->keys);
	*outline = (struct outline){0};
}

unsigned outline_line(const struct outline *outline, const char *path)
{
	for (size_t i = 0; i < outline->count; i++)
		if (!strcmp(outline->keys[i].path, path))
			return outline->keys[i].line;
	return 0;
}

static bool inside_list(const struct reader *r)
{
	for (size_t i = 0; i < r->depth; i++)
		if (!r->levels[i].map)
			return true;
	return false;
}

static char *path_here(const struct reader *r)
{
	size_t length = 1;
	for (size_t i = 0; i < r->depth; i++)
		length += strlen(r->levels[i].key) + 1;
	char *path = calloc(1, length);
	for (size_t i = 0; path && i < r->depth; i++) {
		if (i)
			strcat(path, ".");
		strcat(path, r->levels[i].key);
	}
	return path;
}

static int add_key(struct reader *r, enum outline_kind kind, struct error *err)
{
	struct outline *o = r->outline;
	unsigned line = r->levels[r->depth - 1].line;
	_cleanup_free_ char *path = path_here(r);
	if (o->count == KEYS_MAX)
		return error_set(err, ERR_CONFIG, "line %u: more than %d keys", line, KEYS_MAX);
	struct outline_key *keys = realloc(o->keys, (o->count + 1) * sizeof(*keys));
	if (!path || !keys)
		return error_set(err, ERR_NOMEM, "no memory for a key");
	o->keys = keys;
	unsigned before = outline_line(o, path);
	if (before)
		return error_set(err, ERR_CONFIG, "line %u: %s: given twice, first in line %u",
				 line, path, before);
	o->keys[o->count++] =
		(struct outline_key){.path = take_ptr(path), .line = line, .kind = kind};
	return 0;
}

// A value begins: it belongs to the key that waits, if we are in a map.
static int on_value(struct reader *r, enum outline_kind kind, struct error *err)
{
	if (!r->depth || !r->levels[r->depth - 1].map)
		return 0;
	return inside_list(r) ? 0 : add_key(r, kind, err);
}

static void value_done(struct reader *r)
{
	if (!r->depth || !r->levels[r->depth - 1].map)
		return;
	free(r->levels[r->depth - 1].key);
	r->levels[r->depth - 1].key = NULL;
}

static bool wants_key(const struct reader *r)
{
	return r->depth && r->levels[r->depth - 1].map && !r->levels[r->depth - 1].key;
}

static int on_scalar(struct reader *r, const yaml_event_t *event, struct error *err)
{
	unsigned line = (unsigned)event->start_mark.line + 1;
	const char *text = (const char *)event->data.scalar.value;
	if (!r->depth && !*text)
		return 0; // a file of comments and "---"
	if (!r->depth)
		return error_set(err, ERR_CONFIG, "line %u: expected `key: value`, found a text",
				 line);
	if (wants_key(r)) {
		struct level *level = &r->levels[r->depth - 1];
		if (strlen(text) != event->data.scalar.length)
			return error_set(err, ERR_CONFIG, "line %u: a key holds a NUL", line);
		level->line = line;
		level->key = strdup(text);
		return level->key ? 0 : error_set(err, ERR_NOMEM, "no memory for a key");
	}
	if (on_value(r, OUTLINE_TEXT, err) < 0)
		return -1;
	value_done(r);
	return 0;
}

static int on_start(struct reader *r, const yaml_event_t *event, bool map, struct error *err)
{
	unsigned line = (unsigned)event->start_mark.line + 1;
	if (!r->depth && !map)
		return error_set(err, ERR_CONFIG, "line %u: expected `key: value`, found a list",
				 line);
	if (wants_key(r))
		return error_set(err, ERR_CONFIG, "line %u: a key must be a text", line);
	if (r->depth == DEPTH_MAX)
		return error_set(err, ERR_CONFIG, "line %u: nested deeper than %d", line,
				 DEPTH_MAX);
	if (on_value(r, map ? OUTLINE_MAP : OUTLINE_LIST, err) < 0)
		return -1;
	r->levels[r->depth++] = (struct level){.map = map};
	return 0;
}

static int on_event(struct reader *r, const yaml_event_t *event, struct error *err)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(r, event, err);
	case YAML_MAPPING_START_EVENT:
		return on_start(r, event, true, err);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(r, event, false, err);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		r->depth--;
		value_done(r);
		return 0;
	case YAML_ALIAS_EVENT:
		return error_set(err, ERR_CONFIG, "line %u: aliases (*name) are not supported",
				 (unsigned)event->start_mark.line + 1);
	default:
		return 0;
	}
}

static int read_events(yaml_parser_t *parser, struct reader *r, struct error *err)
{
	for (bool end = false; !end;) {
		yaml_event_t event;
		if (!yaml_parser_parse(parser, &event))
			return error_set(err, ERR_CONFIG, "line %u: not YAML: %s",
					 (unsigned)parser->problem_mark.line + 1,
					 parser->problem ? parser->problem : "unreadable");
		end = event.type == YAML_STREAM_END_EVENT;
		int failed = on_event(r, &event, err);
		yaml_event_delete(&event);
		if (failed)
			return -1;
	}
	return 0;
}

int outline_read(const char *text, size_t length, struct outline *outline, struct error *err)
{
	yaml_parser_t parser;
	struct reader r = {.outline = outline};
	*outline = (struct outline){0};
	if (!yaml_parser_initialize(&parser))
		return error_set(err, ERR_NOMEM, "no memory for a YAML parser");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
	int failed = read_events(&parser, &r, err);
	yaml_parser_delete(&parser);
	for (size_t i = 0; i < r.depth; i++)
		free(r.levels[i].key);
	if (failed)
		outline_free(outline);
	return failed;
}
