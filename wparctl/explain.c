// SPDX-License-Identifier: Apache-2.0
#include "wparctl/explain.h"

#include "lib/base/cleanup.h"
#include "lib/base/units.h"
#include "wparctl/ctl.h"
#include "wparctl/progress.h"
#include "wparctl/text.h"

#include <errno.h>
#include <string.h>

// ---- tables -------------------------------------------------------------------------------------

static char *size_of(char text[UNITS_TEXT_MAX], const json_t *round, const char *key)
{
	return units_format_size(text, (uint64_t)json_amount(round, key));
}

static char *rate_of(char text[UNITS_TEXT_MAX], const json_t *round, const char *key)
{
	return strcat(size_of(text, round, key), "/s");
}

void explain_rounds(const struct ctl *ctl, const json_t *result)
{
	static const struct table_column columns[] = {
		{.title = "ROUND", .right = true},   {.title = "TIME", .right = true},
		{.title = "SENT", .right = true},    {.title = "ZEROES", .right = true},
		{.title = "WRITTEN", .right = true}, {.title = "DIRTY", .right = true},
		{.title = "LINK", .right = true},    {.title = "CPU", .right = true},
		{.title = "DOWNTIME", .right = true}};
	const json_t *list = json_object_get(result, "rounds");
	size_t i;
	json_t *r;
	if (json_array_size(list) == 0)
		return;
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	json_array_foreach (list, i, r) {
		char number[16], cpu[16], time[UNITS_TEXT_MAX], sent[UNITS_TEXT_MAX],
			zeroes[UNITS_TEXT_MAX], written[UNITS_TEXT_MAX], dirty[UNITS_TEXT_MAX + 2],
			link[UNITS_TEXT_MAX + 2], downtime[UNITS_TEXT_MAX + 1] = "~";
		snprintf(number, sizeof(number), "%.0f", json_amount(r, "round"));
		snprintf(cpu, sizeof(cpu), "%.0f%%", json_amount(r, "cpu_percent"));
		units_format_ms(downtime + 1, json_amount(r, "predicted_ms"));
		table_row(table,
			  (const char *[]){number, units_format_ms(time, json_amount(r, "ms")),
					   size_of(sent, r, "bytes"),
					   size_of(zeroes, r, "zero_bytes"),
					   size_of(written, r, "dirty_bytes"),
					   rate_of(dirty, r, "dirty_rate_bytes"),
					   rate_of(link, r, "link_rate_bytes"), cpu, downtime},
			  NULL);
	}
	out_table(ctl, table);
}

void explain_phases(const struct ctl *ctl, const json_t *result)
{
	static const struct table_column columns[] = {{.title = "PHASE"},
						      {.title = "MS", .right = true}};
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	const char *phase;
	json_t *ms;
	char text[32];
	json_object_foreach (json_object_get(result, "phases"), phase, ms) {
		if (json_number_value(ms) == 0)
			continue; // this move had no such phase
		snprintf(text, sizeof(text), "%.1f", json_number_value(ms));
		table_row(table, (const char *[]){progress_phase(phase), text}, NULL);
	}
	snprintf(text, sizeof(text), "%.1f", json_amount(result, "downtime_ms"));
	table_row(table, (const char *[]){"downtime", text}, NULL);
	snprintf(text, sizeof(text), "%.1f", json_amount(result, "total_ms"));
	table_row(table, (const char *[]){"total", text}, NULL);
	out_table(ctl, table);
}

// ---- the verb -----------------------------------------------------------------------------------

static int write_picture(const char *path, const json_t *move, struct error *err)
{
	FILE *f = fopen(path, "we");
	if (!f)
		return error_sys(err, ERR_STORAGE, errno, "cannot write %s", path);
	explain_draw(f, move);
	bool bad = ferror(f);
	if (fclose(f) || bad)
		return error_sys(err, ERR_STORAGE, errno, "cannot write %s", path);
	return 0;
}

static void say_sentence(const struct ctl *ctl, const char *head, const char *text)
{
	_cleanup_free_ char *plain = text_plain(text);
	if (text[0])
		out_say(ctl, "%s: %s", head, plain ?: "");
}

// Of a move that came in its host does not have the figures.
static bool came_in(const json_t *move)
{
	return !strcmp(json_text(move, "direction"), "in");
}

// By a partition's name the host that has it answers, with the move that brought it; the figures of
// that are where it came from, which relocd finds by the move's id.
static int find(struct ctl *ctl, const char *what, json_t **move, struct error *err)
{
	if (wpar_move(ctl->wpar, what, move, err) < 0)
		return -1;
	const char *id = json_text(*move, "id");
	json_t *there = NULL;
	if (!came_in(*move) || !strcmp(id, what) || wpar_move(ctl->wpar, id, &there, NULL) < 0)
		return 0;
	json_decref(*move);
	*move = there;
	return 0;
}

// What was left for the freeze, beside what the last round had predicted.
static void say_final(const struct ctl *ctl, const json_t *result)
{
	const json_t *final = json_object_get(result, "final");
	char left[UNITS_TEXT_MAX], scan[UNITS_TEXT_MAX], copied[UNITS_TEXT_MAX],
		dumped[UNITS_TEXT_MAX];
	if (!json_is_object(final))
		return;
	out_say(ctl, "frozen: %s were left, found in %s; copied %s and dumped %s after the freeze",
		size_of(left, final, "bytes"), units_format_ms(scan, json_amount(final, "scan_ms")),
		units_format_ms(copied, json_amount(final, "copied_ms")),
		units_format_ms(dumped, json_amount(final, "dumped_ms")));
}

static void say(const struct ctl *ctl, const json_t *move)
{
	const json_t *result = json_object_get(move, "result");
	const json_t *error = json_object_get(move, "error");
	const char *engine = json_text(result, "engine");
	out_say(ctl, "%s: %s, %s -> %s: %s%s%s", json_text(move, "id"),
		json_text(move, "partition"), json_text(move, "from"), json_text(move, "to"),
		json_text(move, "state"), engine[0] ? ", memory by engine " : "", engine);
	if (came_in(move))
		out_say(ctl, "its figures are on %s, which cannot be asked now",
			json_text(move, "from"));
	else if (json_is_object(result)) {
		explain_rounds(ctl, result);
		say_final(ctl, result);
		explain_phases(ctl, result);
	}
	say_sentence(ctl, "error", json_text(error, "message"));
	say_sentence(ctl, "limited by", json_text(result, "limited_by"));
	say_sentence(ctl, "try", json_text(result, "advice"));
}

int explain_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *move = NULL;
	const char *picture = args_value(args, "timeline");
	if (find(ctl, args->names[0], &move, &err) < 0)
		return out_error(ctl, NULL, &err);
	if (picture && !json_is_object(json_object_get(move, "result"))) {
		error_set(&err, ERR_WRONG_STATE, "move %s has no figures (yet)",
			  json_text(move, "id"));
		return out_error(ctl, NULL, &err);
	}
	if (picture && write_picture(picture, move, &err) < 0)
		return out_error(ctl, NULL, &err);
	if (ctl->json)
		out_data(json_incref(move));
	else
		say(ctl, move);
	return 0;
}
