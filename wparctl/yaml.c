// SPDX-License-Identifier: Apache-2.0
#include "wparctl/yaml.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#define DEPTH_MAX 32

// ---- words --------------------------------------------------------------------------------------

static bool is_word(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(text, *words))
			return true;
	return false;
}

// A number in decimal, or nothing. "007" is none: readers disagree on what it is.
static json_t *number_of(const char *text)
{
	const char *digits = text + (text[0] == '-' || text[0] == '+');
	size_t whole = strspn(digits, "0123456789");
	const char *end = digits + whole;
	char *read;
	errno = 0;
	if (!whole || (whole > 1 && digits[0] == '0'))
		return NULL;
	if (!*end) {
		long long value = strtoll(text, &read, 10);
		return errno ? NULL : json_integer(value);
	}
	if (strspn(end, "0123456789.eE+-") != strlen(end))
		return NULL;
	double value = strtod(text, &read);
	return errno || *read || !isfinite(value) ? NULL : json_real(value);
}

static json_t *plain_value(const char *text)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", NULL};
	static const char *const falses[] = {"false", "False", "FALSE", NULL};
	if (is_word(text, nulls))
		return json_null();
	if (is_word(text, trues))
		return json_true();
	if (is_word(text, falses))
		return json_false();
	json_t *number = number_of(text);
	return number ? number : json_string(text);
}

// ---- reading ------------------------------------------------------------------------------------

struct reader {
	yaml_parser_t parser;
	yaml_event_t event; // the current one
	bool have;
	const char *name;
	unsigned depth;
	struct error *err;
};

static void drop(struct reader *r)
{
	if (r->have)
		yaml_event_delete(&r->event);
	r->have = false;
}

static int wrong(struct reader *r, const char *what)
{
	unsigned line = (unsigned)(r->have ? r->event.start_mark.line : r->parser.mark.line) + 1;
	return error_set(r->err, ERR_USAGE, "%s, line %u: %s", r->name, line, what);
}

static int next(struct reader *r)
{
	drop(r);
	if (!yaml_parser_parse(&r->parser, &r->event)) {
		const char *problem = r->parser.problem;
		unsigned line = (unsigned)r->parser.problem_mark.line + 1;
		return error_set(r->err, ERR_USAGE, "%s, line %u: %s", r->name, line,
				 problem ? problem : "is not YAML");
	}
	r->have = true;
	return 0;
}

static json_t *read_value(struct reader *r);

static const char *scalar_text(const struct reader *r)
{
	return (const char *)r->event.data.scalar.value;
}

static json_t *read_scalar(struct reader *r)
{
	size_t length = r->event.data.scalar.length;
	const char *text = scalar_text(r);
	bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	json_t *value =
		plain && strlen(text) == length ? plain_value(text) : json_stringn(text, length);
	if (!value)
		wrong(r, "is not text in UTF-8");
	return value;
}

static json_t *read_list(struct reader *r)
{
	_cleanup_json_ json_t *list = json_array();
	for (;;) {
		if (next(r) < 0)
			return NULL;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return take_ptr(list);
		json_t *item = read_value(r);
		if (!item)
			return NULL;
		json_array_append_new(list, item);
	}
}

static int read_pair(struct reader *r, json_t *object)
{
	if (r->event.type != YAML_SCALAR_EVENT)
		return wrong(r, "a key must be a word");
	_cleanup_free_ char *key = strdup(scalar_text(r));
	if (!key || json_object_get(object, key))
		return wrong(r, key ? "a key is there twice" : "no memory");
	if (next(r) < 0)
		return -1;
	json_t *value = read_value(r);
	if (!value)
		return -1;
	return json_object_set_new(object, key, value) < 0 ? wrong(r, "a key is not UTF-8") : 0;
}

static json_t *read_object(struct reader *r)
{
	_cleanup_json_ json_t *object = json_object();
	for (;;) {
		if (next(r) < 0)
			return NULL;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return take_ptr(object);
		if (read_pair(r, object) < 0)
			return NULL;
	}
}

// Of the event that was read last: what JSON cannot say is refused.
static bool has_extras(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor || event->data.scalar.tag;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor || event->data.sequence_start.tag;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor || event->data.mapping_start.tag;
	default:
		return event->type == YAML_ALIAS_EVENT;
	}
}

static json_t *read_value(struct reader *r)
{
	json_t *value = NULL;
	if (has_extras(&r->event)) {
		wrong(r, "anchors, aliases and tags are not understood");
		return NULL;
	}
	if (r->event.type == YAML_SCALAR_EVENT)
		return read_scalar(r);
	if (r->depth++ >= DEPTH_MAX)
		wrong(r, "it is nested too deep");
	else if (r->event.type == YAML_SEQUENCE_START_EVENT)
		value = read_list(r);
	else if (r->event.type == YAML_MAPPING_START_EVENT)
		value = read_object(r);
	else
		wrong(r, "a value is missing");
	r->depth--;
	return value;
}

static json_t *read_document(struct reader *r)
{
	do
		if (next(r) < 0)
			return NULL;
	while (r->event.type == YAML_STREAM_START_EVENT ||
	       r->event.type == YAML_DOCUMENT_START_EVENT);
	_cleanup_json_ json_t *value = read_value(r);
	if (!value || next(r) < 0 || next(r) < 0) // the document's end
		return NULL;
	if (r->event.type != YAML_STREAM_END_EVENT) {
		wrong(r, "there is more than one document");
		return NULL;
	}
	return take_ptr(value);
}

json_t *yaml_read(const char *text, size_t length, const char *name, struct error *err)
{
	struct reader r = {.name = name, .err = err};
	if (!yaml_parser_initialize(&r.parser)) {
		error_set(err, ERR_NOMEM, "no memory to read %s", name);
		return NULL;
	}
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
	json_t *value = read_document(&r);
	drop(&r);
	yaml_parser_delete(&r.parser);
	return value;
}

// ---- writing ------------------------------------------------------------------------------------

// Words that some reader of YAML 1.1 takes for something else.
static bool needs_quotes(const char *text)
{
	static const char *const words[] = {"y",    "n",     "yes",  "no",  "on",  "off",
					    "true", "false", "null", "nan", "inf", NULL};
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "/._+=@,:-";
	for (const char *const *word = words; *word; word++)
		if (!strcasecmp(text, *word))
			return true;
	bool letter = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') ||
		      text[0] == '/' || text[0] == '_';
	size_t length = strlen(text);
	return !letter || strspn(text, safe) != length || text[length - 1] == ':';
}

static int put_scalar(yaml_emitter_t *to, const char *text, bool quoted)
{
	yaml_event_t event;
	bool controls = false;
	for (const char *at = text; *at; at++)
		controls = controls || (unsigned char)*at < ' ' || *at == 0x7f;
	yaml_scalar_style_t style = controls ? YAML_DOUBLE_QUOTED_SCALAR_STYLE
				    : quoted ? YAML_SINGLE_QUOTED_SCALAR_STYLE
					     : YAML_PLAIN_SCALAR_STYLE;
	return yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, -1, 1, 1,
					    style) &&
	       yaml_emitter_emit(to, &event);
}

static int put_value(yaml_emitter_t *to, const json_t *json);

static int put_list(yaml_emitter_t *to, const json_t *list)
{
	yaml_event_t event;
	size_t i;
	json_t *item;
	yaml_sequence_style_t style =
		json_array_size(list) ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE;
	if (!yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, style) ||
	    !yaml_emitter_emit(to, &event))
		return 0;
	json_array_foreach (list, i, item)
		if (!put_value(to, item))
			return 0;
	return yaml_sequence_end_event_initialize(&event) && yaml_emitter_emit(to, &event);
}

static int put_object(yaml_emitter_t *to, const json_t *object)
{
	yaml_event_t event;
	const char *key;
	json_t *value;
	yaml_mapping_style_t style =
		json_object_size(object) ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
	if (!yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, style) ||
	    !yaml_emitter_emit(to, &event))
		return 0;
	json_object_foreach ((json_t *)object, key, value)
		if (!put_scalar(to, key, needs_quotes(key)) || !put_value(to, value))
			return 0;
	return yaml_mapping_end_event_initialize(&event) && yaml_emitter_emit(to, &event);
}

static int put_value(yaml_emitter_t *to, const json_t *json)
{
	if (json_is_array(json))
		return put_list(to, json);
	if (json_is_object(json))
		return put_object(to, json);
	if (json_is_string(json))
		return put_scalar(to, json_string_value(json),
				  needs_quotes(json_string_value(json)));
	_cleanup_free_ char *text = json_dumps(json, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
	return text && put_scalar(to, text, false);
}

static int put_document(yaml_emitter_t *to, const json_t *json)
{
	yaml_event_t event;
	return yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) &&
	       yaml_emitter_emit(to, &event) &&
	       yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) &&
	       yaml_emitter_emit(to, &event) && put_value(to, json) &&
	       yaml_document_end_event_initialize(&event, 1) && yaml_emitter_emit(to, &event) &&
	       yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(to, &event);
}

int yaml_write(const json_t *json, FILE *to, struct error *err)
{
	yaml_emitter_t emitter;
	if (!yaml_emitter_initialize(&emitter))
		return error_set(err, ERR_NOMEM, "no memory to write YAML");
	yaml_emitter_set_output_file(&emitter, to);
	yaml_emitter_set_unicode(&emitter, 1);
	yaml_emitter_set_width(&emitter, -1);
	int done = put_document(&emitter, json);
	if (!done)
		error_set(err, ERR_SYSTEM, "cannot write YAML: %s",
			  emitter.problem ? emitter.problem : "no memory");
	yaml_emitter_delete(&emitter);
	return done ? 0 : -1;
}
