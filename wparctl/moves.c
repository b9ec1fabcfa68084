// SPDX-License-Identifier: Apache-2.0
// moves, cancel, recover, adopt.
#include "lib/base/cleanup.h"
#include "lib/base/units.h"
#include "wparctl/ctl.h"
#include "wparctl/since.h"

#include <string.h>

#define SECONDS_LENGTH (sizeof("2026-01-31T08:00:00") - 1)

// ---- moves --------------------------------------------------------------------------------------

static bool is_running(const json_t *move)
{
	const char *state = json_text(move, "state");
	return !strcmp(state, "running") || !strcmp(state, "queued");
}

static void move_row(struct table *table, const json_t *move)
{
	const json_t *result = json_object_get(move, "result");
	char downtime[UNITS_TEXT_MAX] = "", total[UNITS_TEXT_MAX] = "";
	if (json_amount(result, "downtime_ms") > 0)
		units_format_ms(downtime, json_amount(result, "downtime_ms"));
	if (json_amount(result, "total_ms") > 0)
		units_format_ms(total, json_amount(result, "total_ms"));
	table_row(table,
		  (const char *[]){json_text(move, "id"), json_text(move, "partition"),
				   json_text(move, "from"), json_text(move, "to"),
				   json_text(move, "state"), json_text(move, "phase"),
				   json_text(move, "started"), downtime, total},
		  NULL);
}

int moves_run(struct ctl *ctl, const struct args *args)
{
	static const struct table_column columns[] = {
		{.title = "MOVE"},
		{.title = "PARTITION"},
		{.title = "FROM"},
		{.title = "TO"},
		{.title = "STATE"},
		{.title = "PHASE"},
		{.title = "STARTED", .flexible = true},
		{.title = "DOWNTIME", .right = true},
		{.title = "TOTAL", .right = true},
	};
	struct error err;
	char since[SINCE_MAX];
	_cleanup_json_ json_t *list = NULL, *shown = json_array();
	if (since_text(args_value(args, "since"), since, &err) < 0 ||
	    wpar_moves(ctl->wpar, &list, &err) < 0)
		return out_error(ctl, NULL, &err);
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *move;
	json_array_foreach (list, i, move) {
		// Times in UTC are in order as texts, up to the seconds.
		if (since[0] ? strncmp(json_text(move, "started"), since, SECONDS_LENGTH) < 0
			     : !args_has(args, "all") && !is_running(move))
			continue;
		json_array_append(shown, move);
		move_row(table, move);
		if (ctl->quiet && !ctl->json)
			out_name(json_text(move, "id"));
	}
	out_gathered(ctl, json_incref(shown));
	out_table(ctl, table);
	return 0;
}

// ---- cancel -------------------------------------------------------------------------------------

int cancel_run(struct ctl *ctl, const struct args *args)
{
	struct results results;
	results_begin(&results, ctl);
	for (size_t i = 0; i < args->count; i++) {
		struct error err;
		if (wpar_cancel(ctl->wpar, args->names[i], &err) < 0)
			results_bad(&results, args->names[i], &err);
		else
			results_good(&results, args->names[i], "asked to cancel", NULL);
	}
	return results_end(&results);
}

// ---- recover ------------------------------------------------------------------------------------

static void print_sides(const struct ctl *ctl, const json_t *sides)
{
	static const struct table_column columns[] = {
		{.title = "HOST"},
		{.title = "REACHABLE"},
		{.title = "STATE"},
		{.title = "EPOCH", .right = true},
		{.title = "DECISION"},
		{.title = "MOVE"},
		{.title = "ERROR", .flexible = true},
	};
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *side;
	json_array_foreach (sides, i, side) {
		bool reachable = json_is_true(json_object_get(side, "reachable"));
		const char *state = json_text(side, "state");
		char epoch[32] = "";
		if (json_is_integer(json_object_get(side, "epoch")))
			snprintf(epoch, sizeof(epoch), "%.0f", json_amount(side, "epoch"));
		table_row(
			table,
			(const char *[]){json_text(side, "host"), reachable ? "yes" : "no", state,
					 epoch, json_text(side, "decision"),
					 json_text(side, "move_state"),
					 json_sentence(side, "error")},
			(int[]){0, reachable ? 0 : COLOUR_RED, colour_of_state(state), 0, 0, 0, 0});
	}
	out_table(ctl, table);
}

static json_t *recover_body(const struct args *args, struct error *err)
{
	const char *keep = args_value(args, "keep"), *reason = args_value(args, "reason");
	bool dead = args_has(args, "peer-is-dead");
	if (!keep && !reason && !dead)
		return json_object();
	if (keep && reason && reason[0])
		return json_pack("{s:s, s:s, s:b}", "keep", keep, "reason", reason, "peer_is_dead",
				 dead);
	error_set(err, ERR_USAGE, "recover: %s",
		  keep ? "--keep needs --reason TEXT"
		       : "--reason and --peer-is-dead go together with --keep HOST");
	return NULL;
}

int recover_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *answer = NULL;
	const char *name = args->names[0];
	json_t *body = recover_body(args, &err);
	if (!body)
		return out_error(ctl, NULL, &err);
	if (wpar_recover(ctl->wpar, name, body, &answer, &err) < 0)
		return out_error(ctl, name, &err);
	if (ctl->json)
		out_data(json_incref(answer));
	const json_t *done = json_object_get(answer, "done");
	const json_t *proposal = json_object_get(answer, "proposal");
	out_say(ctl, "move %s of %s", json_text(answer, "move"), name);
	print_sides(ctl, json_object_get(answer, "sides"));
	if (args_has(args, "keep"))
		out_say(ctl, "%s: %s", name,
			json_is_string(done) ? json_string_value(done) : "done as asked");
	else
		out_say(ctl, "proposed: %s: %s", json_text(proposal, "act"),
			json_text(proposal, "text"));
	return 0;
}

// ---- adopt --------------------------------------------------------------------------------------

static int check_adopt(const struct args *args, struct error *err)
{
	const char *from = args_value(args, "from"), *reason = args_value(args, "reason");
	if (!args->count == !from)
		return error_set(err, ERR_USAGE, "adopt: either names or --from HOST");
	if (args_has(args, "peer-is-dead") && reason && reason[0])
		return 0;
	return error_set(err, ERR_USAGE,
			 "adopt needs --peer-is-dead and --reason TEXT: a copy that still runs "
			 "there would damage the data of the partition");
}

int adopt_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	struct results results;
	_cleanup_json_ json_t *list = NULL;
	const char *from = args_value(args, "from");
	json_t *names = from ? NULL : json_array();
	size_t i;
	json_t *one;
	for (i = 0; names && i < args->count; i++)
		json_array_append_new(names, json_string(args->names[i]));
	if (check_adopt(args, &err) < 0) {
		json_decref(names);
		return out_error(ctl, NULL, &err);
	}
	if (wpar_adopt(ctl->wpar, names, from, args_value(args, "reason"), &list, &err) < 0)
		return out_error(ctl, from, &err);
	results_begin(&results, ctl);
	json_array_foreach (list, i, one) {
		const json_t *error = json_object_get(one, "error");
		char said[256];
		snprintf(said, sizeof(said), "adopted from %s as it was at %s: %s",
			 json_text(one, "from"), json_text(one, "seen"), json_text(one, "state"));
		if (json_is_object(error)) {
			error_from_json(&err, error);
			results_bad(&results, json_text(one, "name"), &err);
		} else {
			results_good(&results, json_text(one, "name"), said, json_incref(one));
		}
	}
	return results_end(&results);
}
