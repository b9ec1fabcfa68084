// SPDX-License-Identifier: Apache-2.0
#include "lib/config/schema.h"

#include "lib/base/cleanup.h"
#include "lib/base/words.h"

#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT(key, type, member) \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, 4095)
#define MAP(key, member, fields) \
	CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, struct config_values, member, fields)

static const cyaml_schema_value_t text_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, 4095)};

static const cyaml_schema_field_t api_fields[] = {TEXT("socket", struct config_api, socket),
						  TEXT("group", struct config_api, group),
						  CYAML_FIELD_END};

static const cyaml_schema_field_t tls_fields[] = {
	TEXT("ca", struct config_tls, ca), TEXT("cert", struct config_tls, cert),
	TEXT("key", struct config_tls, key), CYAML_FIELD_END};

static const cyaml_schema_field_t network_fields[] = {TEXT("bridge", struct config_network, bridge),
						      CYAML_FIELD_END};

static const cyaml_schema_field_t storage_fields[] = {
	TEXT("root", struct config_storage, root),
	CYAML_FIELD_SEQUENCE("shared", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			     struct config_storage, shared, &text_entry, 0, 64),
	CYAML_FIELD_END};

static const cyaml_schema_field_t criu_fields[] = {TEXT("path", struct config_criu, path),
						   TEXT("preload", struct config_criu, preload),
						   CYAML_FIELD_END};

static const cyaml_schema_field_t move_fields[] = {
	TEXT("max_downtime", struct config_move, max_downtime),
	TEXT("on_diverge", struct config_move, on_diverge),
	TEXT("compress", struct config_move, compress),
	TEXT("restore", struct config_move, restore),
	TEXT("bandwidth", struct config_move, bandwidth),
	CYAML_FIELD_END};

static const cyaml_schema_field_t limits_fields[] = {
	TEXT("moves", struct config_limits, moves),
	TEXT("moves_per_link", struct config_limits, moves_per_link),
	TEXT("arrivals", struct config_limits, arrivals),
	TEXT("bandwidth", struct config_limits, bandwidth),
	TEXT("memory_for_arrivals", struct config_limits, memory_for_arrivals),
	CYAML_FIELD_END};

static const cyaml_schema_field_t hooks_fields[] = {TEXT("timeout", struct config_hooks, timeout),
						    CYAML_FIELD_END};

static const cyaml_schema_field_t retention_fields[] = {
	TEXT("events", struct config_retention, events), CYAML_FIELD_END};

#define NAMES(key)                                                                                \
	CYAML_FIELD_SEQUENCE(#key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_roles, \
			     key, &text_entry, 0, 256)

static const cyaml_schema_field_t roles_fields[] = {NAMES(admin), NAMES(operator), NAMES(viewer),
						    TEXT("peers", struct config_roles, peers),
						    CYAML_FIELD_END};

static const cyaml_schema_field_t metrics_fields[] = {TEXT("listen", struct config_metrics, listen),
						      CYAML_FIELD_END};

static const cyaml_schema_field_t top_fields[] = {TEXT("host", struct config_values, host),
						  TEXT("listen", struct config_values, listen),
						  MAP("api", api, api_fields),
						  MAP("tls", tls, tls_fields),
						  MAP("network", network, network_fields),
						  MAP("storage", storage, storage_fields),
						  MAP("criu", criu, criu_fields),
						  MAP("move", move, move_fields),
						  MAP("limits", limits, limits_fields),
						  MAP("hooks", hooks, hooks_fields),
						  MAP("retention", retention, retention_fields),
						  MAP("roles", roles, roles_fields),
						  MAP("metrics", metrics, metrics_fields),
						  CYAML_FIELD_END};

static const cyaml_schema_value_t top = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config_values, top_fields)};

// Documented, but nothing in this version acts on them.
static const char *const later[] = {"registry", "retention.samples"};

static const char *nearest(const cyaml_schema_field_t *fields, const char *word)
{
	const char *best = NULL;
	size_t least = strlen(word) / 2 + 1; // farther is no likeness
	for (; fields->key; fields++) {
		size_t d = word_distance(word, fields->key);
		if (d <= least && (!best || d < least)) {
			least = d;
			best = fields->key;
		}
	}
	return best;
}

static const cyaml_schema_field_t *find(const cyaml_schema_field_t *fields, const char *key,
					size_t length)
{
	for (; fields->key; fields++)
		if (strlen(fields->key) == length && !memcmp(fields->key, key, length))
			return fields;
	return NULL;
}

static int unknown(const struct outline_key *key, const cyaml_schema_field_t *fields,
		   const char *word, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		if (!strcmp(later[i], key->path))
			return error_set(err, ERR_CONFIG,
					 "line %u: %s: this version of relocd does not have it",
					 key->line, key->path);
	const char *near = nearest(fields, word);
	if (near)
		return error_set(err, ERR_CONFIG, "line %u: %s: unknown key; did you mean \"%s\"?",
				 key->line, key->path, near);
	return error_set(err, ERR_CONFIG, "line %u: %s: unknown key", key->line, key->path);
}

static int check_kind(const struct outline_key *key, const cyaml_schema_field_t *field,
		      struct error *err)
{
	static const char *const names[] = {"a text", "a list", "a map"};
	enum outline_kind wanted = field->value.type == CYAML_MAPPING    ? OUTLINE_MAP
				   : field->value.type == CYAML_SEQUENCE ? OUTLINE_LIST
									 : OUTLINE_TEXT;
	if (key->kind == wanted)
		return 0;
	return error_set(err, ERR_CONFIG, "line %u: %s: must be %s, not %s", key->line, key->path,
			 names[wanted], names[key->kind]);
}

static int check_key(const struct outline_key *key, struct error *err)
{
	const cyaml_schema_field_t *fields = top_fields;
	for (const char *word = key->path;;) {
		const char *dot = strchrnul(word, '.');
		const cyaml_schema_field_t *field = find(fields, word, (size_t)(dot - word));
		if (!field)
			return unknown(key, fields, word, err);
		if (!*dot)
			return check_kind(key, field, err);
		if (field->value.type != CYAML_MAPPING)
			return unknown(key, fields, word, err);
		fields = field->value.mapping.fields;
		word = dot + 1;
	}
}

int config_schema_check(const struct outline *outline, struct error *err)
{
	for (size_t i = 0; i < outline->count; i++)
		if (check_key(&outline->keys[i], err) < 0)
			return -1;
	return 0;
}

// What libcyaml says about a bad value, its lines joined.
struct complaint {
	char text[512];
	size_t length;
};

static void note(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
	struct complaint *c = ctx;
	(void)level;
	if (c->length + 1 >= sizeof(c->text))
		return;
	int n = vsnprintf(c->text + c->length, sizeof(c->text) - c->length, format, args);
	c->length = strlen(c->text);
	if (n > 0 && c->length && c->text[c->length - 1] == '\n')
		c->text[c->length - 1] = ' ';
}

static cyaml_config_t reader_of(struct complaint *c)
{
	return (cyaml_config_t){.log_fn = note,
				.log_ctx = c,
				.mem_fn = cyaml_mem,
				.log_level = CYAML_LOG_ERROR,
				.flags = CYAML_CFG_NO_ALIAS};
}

int config_schema_load(const char *text, size_t length, struct config_values **values,
		       struct error *err)
{
	struct complaint complaint = {0};
	cyaml_config_t reader = reader_of(&complaint);
	*values = NULL;
	cyaml_err_t failed = cyaml_load_data((const uint8_t *)text, length, &reader, &top,
					     (cyaml_data_t **)values, NULL);
	if (failed == CYAML_OK)
		return 0;
	*values = NULL;
	return error_set(err, ERR_CONFIG, "%s: %s", cyaml_strerror(failed), complaint.text);
}

void config_schema_free(struct config_values *values)
{
	struct complaint unused = {0};
	cyaml_config_t reader = reader_of(&unused);
	if (values)
		cyaml_free(&reader, &top, values, 0);
}
