// SPDX-License-Identifier: Apache-2.0
// history: who did what, when, and what came of it.
#include "lib/base/cleanup.h"
#include "lib/base/units.h"
#include "wparctl/ctl.h"
#include "wparctl/since.h"

#include <string.h>

#define TEXT_MAX       512
#define SECONDS_LENGTH 19 // "2026-01-31T08:00:00"

static const struct table_column columns[] = {
	{.title = "TIME"},
	{.title = "PARTITION"},
	{.title = "WHAT"},
	{.title = "FROM"},
	{.title = "TO"},
	{.title = "OUTCOME"},
	{.title = "BY", .flexible = true},
	{.title = "WHY", .flexible = true},
	{.title = "DOWNTIME", .right = true},
	{.title = "TOTAL", .right = true},
	{.title = "BYTES", .right = true},
	{.title = "ROUNDS", .right = true},
	{.title = "MOVE"},
};

// "root (admin) on hostA"
static char *who(const json_t *entry, char text[TEXT_MAX])
{
	const json_t *asked = json_object_get(entry, "asked");
	text[0] = 0;
	if (json_is_object(asked))
		snprintf(text, TEXT_MAX, "%s (%s) on %s", json_text(asked, "user"),
			 json_text(asked, "role"), json_text(asked, "host"));
	return text;
}

static char *why(const json_t *entry, char text[TEXT_MAX])
{
	const json_t *error = json_object_get(entry, "error");
	if (json_is_object(error))
		snprintf(text, TEXT_MAX, "%s: %s", json_text(error, "code"),
			 json_text(error, "message"));
	else
		snprintf(text, TEXT_MAX, "%s", json_text(entry, "reason"));
	return text;
}

// "Active", where a partition changed its state, "kept" ...
static const char *what(const json_t *entry)
{
	const json_t *data = json_object_get(entry, "data");
	const char *said = json_text(entry, "what");
	return !strcmp(said, "state") ? json_text(data, "to") : said;
}

static char *duration(const json_t *object, const char *key, char text[UNITS_TEXT_MAX])
{
	text[0] = 0;
	return json_is_number(json_object_get(object, key))
		       ? units_format_ms(text, json_amount(object, key))
		       : text;
}

static char *size(const json_t *entry, char text[UNITS_TEXT_MAX])
{
	text[0] = 0;
	return json_is_number(json_object_get(entry, "transferred_bytes"))
		       ? units_format_size(text, (uint64_t)json_amount(entry, "transferred_bytes"))
		       : text;
}

static void add_row(struct table *table, const json_t *entry)
{
	char by[TEXT_MAX], reason[TEXT_MAX], downtime[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX],
		bytes[UNITS_TEXT_MAX], rounds[24] = "", time[SECONDS_LENGTH + 2];
	bool move = !strcmp(json_text(entry, "kind"), "move");
	if (json_is_integer(json_object_get(entry, "rounds")))
		snprintf(rounds, sizeof(rounds), "%.0f", json_amount(entry, "rounds"));
	snprintf(time, sizeof(time), "%.*sZ", SECONDS_LENGTH, json_text(entry, "time"));
	const char *cells[] = {time,
			       json_text(entry, "partition"),
			       what(entry),
			       move ? json_text(entry, "from") : json_text(entry, "host"),
			       json_text(entry, "to"),
			       json_text(entry, "outcome"),
			       who(entry, by),
			       why(entry, reason),
			       duration(entry, "downtime_ms", downtime),
			       duration(entry, "total_ms", total),
			       size(entry, bytes),
			       rounds,
			       json_text(entry, "move")};
	table_row(table, cells, NULL);
}

// What the table has no room for, of one move.
static void say_move(const struct ctl *ctl, const json_t *entry)
{
	char text[TEXT_MAX];
	const char *name;
	json_t *ms;
	out_say(ctl, "move %s of %s from %s to %s, epoch %.0f: %s", json_text(entry, "move"),
		json_text(entry, "partition"), json_text(entry, "from"), json_text(entry, "to"),
		json_amount(entry, "epoch"), json_text(entry, "outcome"));
	const char *when = json_text(json_object_get(entry, "asked"), "time");
	if (who(entry, text)[0])
		out_say(ctl, "asked:   %s by %s", when, text);
	out_say(ctl, "begun:   %s", json_text(entry, "started"));
	out_say(ctl, "ended:   %s", json_text(entry, "ended"));
	json_object_foreach (json_object_get(entry, "phases_ms"), name, ms)
		out_say(ctl, "%-8s %.1f ms", name, json_number_value(ms));
	if (why(entry, text)[0])
		out_say(ctl, "why:     %s", text);
}

static bool is_move(const json_t *entry, const char *id)
{
	return id && !strcmp(json_text(entry, "kind"), "move") &&
	       !strcmp(json_text(entry, "move"), id);
}

int history_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	char since[SINCE_MAX];
	_cleanup_json_ json_t *list = NULL;
	const char *of = args->count ? args->names[0] : NULL;
	if (since_text(args_value(args, "since"), since, &err) < 0 ||
	    wpar_history(ctl->wpar, of, since[0] ? since : NULL, args_has(args, "failed"), &list,
			 &err) < 0)
		return out_error(ctl, of, &err);
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *entry;
	json_array_foreach (list, i, entry) {
		add_row(table, entry);
		if (is_move(entry, of))
			say_move(ctl, entry);
	}
	out_gathered(ctl, json_incref(list));
	out_table(ctl, table);
	return 0;
}
