// SPDX-License-Identifier: Apache-2.0
// validate and check-host: checks, their outcome, and what to do.
#include "lib/base/cleanup.h"
#include "wparctl/ctl.h"
#include "wparctl/text.h"

#include <string.h>

// ---- validate -----------------------------------------------------------------------------------

static enum colour colour_of_outcome(const char *outcome)
{
	return !strcmp(outcome, "pass")   ? COLOUR_GREEN
	       : !strcmp(outcome, "warn") ? COLOUR_YELLOW
					  : COLOUR_RED;
}

// `hosts`: each check names the host that made it.
static void print_checks(const struct ctl *ctl, const json_t *checks, bool hosts)
{
	static const struct table_column columns[] = {
		{.title = "AT"},
		{.title = "CHECK"},
		{.title = "OUTCOME"},
		{.title = "MESSAGE", .flexible = true},
	};
	struct table *table = table_new(columns + !hosts, ARRAY_SIZE(columns) - !hosts);
	size_t i;
	json_t *check;
	json_array_foreach (checks, i, check) {
		const char *outcome = json_text(check, "outcome");
		const char *const cells[] = {json_text(check, "host"), json_text(check, "check"),
					     outcome, json_text(check, "message")};
		const int colours[] = {0, 0, (int)colour_of_outcome(outcome), 0};
		table_row(table, cells + !hosts, colours + !hosts);
	}
	out_table(ctl, table);
}

// What did not pass, in full and with what to do: errors first, then warnings.
static void print_remarks(const json_t *checks, const char *outcome, const char *word)
{
	size_t i;
	json_t *check;
	json_array_foreach (checks, i, check) {
		_cleanup_free_ char *message = text_plain(json_text(check, "message"));
		_cleanup_free_ char *hint = text_plain(json_text(check, "hint"));
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
		print_checks(ctl, checks, true);
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
int validate_one(struct ctl *ctl, const char *name, json_t *hosts, json_t *options)
{
	struct error err;
	_cleanup_json_ json_t *report = NULL;
	if (wpar_validate(ctl->wpar, name, hosts, options, &report, &err) < 0)
		return out_error(ctl, name, &err);
	return show_report(ctl, name, report);
}

int validate_run(struct ctl *ctl, const struct args *args)
{
	json_t *hosts = json_array();
	for (size_t i = 1; i < args->count; i++)
		json_array_append_new(hosts, json_string(args->names[i]));
	return validate_one(ctl, args->names[0], hosts, NULL);
}

// ---- check-host --------------------------------------------------------------------------------

// Without a name: the host that relocd runs on.
static int ask_for_checks(struct ctl *ctl, const char *host, json_t **answer, struct error *err)
{
	_cleanup_json_ json_t *version = NULL;
	if (!host && wpar_version(ctl->wpar, &version, err) < 0)
		return -1;
	return wpar_check_host(ctl->wpar, host ? host : json_text(version, "host"), answer, err);
}

int check_host_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *answer = NULL;
	const char *host = args->count ? args->names[0] : NULL;
	if (ask_for_checks(ctl, host, &answer, &err) < 0)
		return out_error(ctl, host, &err);
	const json_t *checks = json_object_get(answer, "checks");
	if (ctl->json) {
		out_data(json_incref(answer));
	} else if (!ctl->quiet) {
		print_checks(ctl, checks, false);
		print_remarks(checks, "fail", "error");
		print_remarks(checks, "warn", "warning");
	}
	return has_failure(checks) ? (int)ERROR_CLASS_REFUSED : 0;
}
