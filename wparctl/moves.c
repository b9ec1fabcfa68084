// SPDX-License-Identifier: Apache-2.0
// validate, relocate, moves, wait, cancel.
#include "lib/base/cleanup.h"
#include "lib/base/units.h"
#include "wparctl/ctl.h"
#include "wparctl/follow.h"

#include <string.h>

// ---- validate -----------------------------------------------------------------------------------

static enum colour colour_of_outcome(const char *outcome)
{
	return !strcmp(outcome, "pass")   ? COLOUR_GREEN
	       : !strcmp(outcome, "warn") ? COLOUR_YELLOW
					  : COLOUR_RED;
}

static void print_checks(const struct ctl *ctl, const json_t *checks)
{
	static const struct table_column columns[] = {
		{.title = "CHECK"},
		{.title = "AT"},
		{.title = "OUTCOME"},
		{.title = "MESSAGE", .flexible = true},
	};
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *check;
	json_array_foreach (checks, i, check) {
		const char *outcome = json_text(check, "outcome");
		table_row(table,
			  (const char *[]){json_text(check, "check"), json_text(check, "host"),
					   outcome, json_text(check, "message")},
			  (int[]){0, 0, colour_of_outcome(outcome), 0});
	}
	out_table(ctl, table);
}

// What did not pass, in full and with what to do: errors first, then warnings.
static void print_remarks(const json_t *checks, const char *outcome, const char *word)
{
	size_t i;
	json_t *check;
	json_array_foreach (checks, i, check) {
		_cleanup_free_ char *message = table_plain(json_text(check, "message"));
		_cleanup_free_ char *hint = table_plain(json_text(check, "hint"));
		const char *code = json_text(check, "code");
		if (strcmp(json_text(check, "outcome"), outcome) != 0 || !message || !hint)
			continue;
		printf("%s: %s%s%s%s\n", word, message, code[0] ? " (" : "", code,
		       code[0] ? ")" : "");
		if (hint[0])
			printf("  hint: %s\n", hint);
	}
}

static bool has_failure(const json_t *checks)
{
	size_t i;
	json_t *check;
	json_array_foreach (checks, i, check)
		if (!strcmp(json_text(check, "outcome"), "fail"))
			return true;
	return false;
}

static void print_row(const struct ctl *ctl, const char *name, const json_t *row)
{
	const json_t *checks = json_object_get(row, "checks");
	const char *host = json_text(row, "host");
	bool ok = json_is_true(json_object_get(row, "ok"));
	const json_t *error = json_object_get(row, "error");
	out_say(ctl, "%s -> %s", name, host);
	if (json_array_size(checks))
		print_checks(ctl, checks);
	// A failed check is the error too: once is enough.
	if (json_is_object(error) && !has_failure(checks)) {
		struct error err;
		error_from_json(&err, error);
		out_error(ctl, name, &err);
	}
	print_remarks(checks, "fail", "error");
	print_remarks(checks, "warn", "warning");
	out_say(ctl, "%s %s move to %s", name, ok ? "can" : "cannot", host);
}

// Shows the report; 0, or 4 when a row is not good.
static int show_report(const struct ctl *ctl, const char *name, const json_t *report)
{
	size_t i;
	json_t *row;
	int code = 0;
	if (ctl->json)
		out_data(json_incref((json_t *)report));
	json_array_foreach (json_object_get(report, "rows"), i, row) {
		if (!json_is_true(json_object_get(row, "ok")))
			code = ERROR_CLASS_REFUSED;
		if (ctl->json || ctl->quiet)
			continue;
		if (i > 0)
			putchar('\n');
		print_row(ctl, name, row);
	}
	return code;
}

// `hosts` is taken over.
static int validate_one(struct ctl *ctl, const char *name, json_t *hosts)
{
	struct error err;
	_cleanup_json_ json_t *report = NULL;
	if (wpar_validate(ctl->wpar, name, hosts, &report, &err) < 0)
		return out_error(ctl, name, &err);
	return show_report(ctl, name, report);
}

int validate_run(struct ctl *ctl, const struct args *args)
{
	json_t *hosts = json_array();
	for (size_t i = 1; i < args->count; i++)
		json_array_append_new(hosts, json_string(args->names[i]));
	return validate_one(ctl, args->names[0], hosts);
}

// ---- relocate -----------------------------------------------------------------------------------

static int set_duration(json_t *options, const char *key, const struct args *args,
			const char *option, struct error *err)
{
	const char *text = args_value(args, option);
	uint64_t ms;
	if (!text)
		return 0;
	if (units_parse_duration(text, &ms, err) < 0)
		return error_wrap(err, "--%s", option);
	return json_object_set_new(options, key, json_integer((json_int_t)ms));
}

static json_t *move_options(const struct args *args, struct error *err)
{
	json_t *options = json_object();
	if (!set_duration(options, "deadline_ms", args, "deadline", err))
		return options;
	json_decref(options);
	return NULL;
}

// `options` is taken over.
static int relocate_one(struct ctl *ctl, const char *name, const char *host, json_t *options,
			bool wait)
{
	struct error err;
	_cleanup_json_ json_t *move = NULL;
	if (wpar_relocate(ctl->wpar, name, host, options, &move, &err) < 0)
		return out_error(ctl, name, &err);
	const char *id = json_text(move, "move");
	if (wait)
		return follow_move(ctl, id);
	if (ctl->json)
		out_data(json_incref(move));
	else
		puts(id);
	return 0;
}

int relocate_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	struct tally tally = {0};
	const char *host = args->names[args->count - 1];
	_cleanup_json_ json_t *options = move_options(args, &err);
	if (!options)
		return out_error(ctl, NULL, &err);
	for (size_t i = 0; i + 1 < args->count; i++) {
		const char *name = args->names[i];
		int code = args_has(args, "dry-run")
				   ? validate_one(ctl, name, json_pack("[s]", host))
				   : relocate_one(ctl, name, host, json_incref(options),
						  !args_has(args, "no-wait"));
		tally_add(&tally, code);
		if (code == EXIT_DETACHED)
			return code;
		if (code && !args_has(args, "keep-going") && !args_has(args, "dry-run")) {
			for (size_t left = i + 1; left + 1 < args->count; left++)
				out_say(ctl, "%s: left where it is", args->names[left]);
			break;
		}
	}
	return tally_code(&tally);
}

int wait_run(struct ctl *ctl, const struct args *args)
{
	struct tally tally = {0};
	for (size_t i = 0; i < args->count; i++) {
		int code = follow_move(ctl, args->names[i]);
		tally_add(&tally, code);
		if (code == EXIT_DETACHED)
			return code;
	}
	return tally_code(&tally);
}

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
	_cleanup_json_ json_t *list = NULL, *shown = json_array();
	if (wpar_moves(ctl->wpar, &list, &err) < 0)
		return out_error(ctl, NULL, &err);
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *move;
	json_array_foreach (list, i, move) {
		if (!args_has(args, "all") && !is_running(move))
			continue;
		json_array_append(shown, move);
		move_row(table, move);
		if (ctl->quiet && !ctl->json)
			puts(json_text(move, "id"));
	}
	if (ctl->json)
		out_data(json_incref(shown));
	if (ctl->json || ctl->quiet)
		table_free(table);
	else
		out_table(ctl, table);
	return 0;
}

// ---- cancel -------------------------------------------------------------------------------------

// The move that runs for a partition of that name; else the word is a move's own name, "m-...".
static const char *move_of(const json_t *moves, const char *word, struct error *err)
{
	size_t i;
	json_t *move;
	json_array_foreach (moves, i, move)
		if (is_running(move) && !strcmp(json_text(move, "partition"), word))
			return json_text(move, "id");
	if (!strncmp(word, "m-", 2))
		return word;
	error_set(err, ERR_MOVE_UNKNOWN, "no move of partition %s runs", word);
	return NULL;
}

int cancel_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	struct results results;
	_cleanup_json_ json_t *moves = NULL;
	if (wpar_moves(ctl->wpar, &moves, &err) < 0)
		return out_error(ctl, NULL, &err);
	results_begin(&results, ctl);
	for (size_t i = 0; i < args->count; i++) {
		const char *id = move_of(moves, args->names[i], &err);
		if (!id || wpar_cancel(ctl->wpar, id, &err) < 0)
			results_bad(&results, args->names[i], &err);
		else
			results_good(&results, args->names[i], "asked to cancel", NULL);
	}
	return results_end(&results);
}
