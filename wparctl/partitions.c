// SPDX-License-Identifier: Apache-2.0
// create, start, stop, remove, list, status.
#include "lib/base/cleanup.h"
#include "lib/base/units.h"
#include "wparctl/ctl.h"
#include "wparctl/options.h"

#include <string.h>
#include <strings.h>

int create_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	const char *name = args->names[0];
	_cleanup_json_ json_t *made = NULL;
	json_t *body = options_create(args, &err);
	if (!body)
		return out_error(ctl, NULL, &err);
	if (wpar_create(ctl->wpar, body, &made, &err) < 0)
		return out_error(ctl, name, &err);
	if (ctl->json)
		out_data(json_incref(made));
	out_notes(ctl, made);
	out_say(ctl, "%s: %s", name, args_has(args, "start") ? "created and started" : "created");
	return 0;
}

int start_run(struct ctl *ctl, const struct args *args)
{
	struct results results;
	results_begin(&results, ctl);
	for (size_t i = 0; i < args->count; i++) {
		struct error err;
		if (wpar_start(ctl->wpar, args->names[i], &err) < 0)
			results_bad(&results, args->names[i], &err);
		else
			results_good(&results, args->names[i], "started", NULL);
	}
	return results_end(&results);
}

int stop_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	struct results results;
	const char *grace = args_value(args, "grace");
	uint64_t grace_ms = 0;
	if (grace && units_parse_duration(grace, &grace_ms, &err) < 0)
		return out_error(ctl, NULL, &err);
	results_begin(&results, ctl);
	for (size_t i = 0; i < args->count; i++) {
		if (wpar_stop(ctl->wpar, args->names[i], grace ? (int64_t)grace_ms : -1,
			      args_has(args, "kill"), &err) < 0)
			results_bad(&results, args->names[i], &err);
		else
			results_good(&results, args->names[i], "stopped", NULL);
	}
	return results_end(&results);
}

int remove_run(struct ctl *ctl, const struct args *args)
{
	struct results results;
	results_begin(&results, ctl);
	for (size_t i = 0; i < args->count; i++) {
		struct error err;
		if (wpar_remove(ctl->wpar, args->names[i], args_has(args, "force"), &err) < 0)
			results_bad(&results, args->names[i], &err);
		else
			results_good(&results, args->names[i], "removed", NULL);
	}
	return results_end(&results);
}

// ---- list ---------------------------------------------------------------------------------------

static void list_row(struct table *table, const json_t *partition)
{
	char addresses[256], reason[256], memory[UNITS_TEXT_MAX] = "";
	const char *to = json_text(partition, "departed_to");
	const char *state = json_text(partition, "state");
	double limit = json_amount(partition, "memory_bytes");
	if (limit > 0)
		units_format_size(memory, (uint64_t)limit);
	json_joined(json_object_get(partition, "addresses"), addresses, sizeof(addresses));
	snprintf(reason, sizeof(reason), "%s%s", to[0] ? "now on " : "",
		 to[0] ? to : json_text(partition, "reason"));
	table_row(table,
		  (const char *[]){json_text(partition, "name"), state,
				   json_text(partition, "host"), json_text(partition, "type"),
				   addresses, memory, reason},
		  (int[]){0, colour_of_state(state), 0, 0, 0, 0, 0});
}

int list_run(struct ctl *ctl, const struct args *args)
{
	static const struct table_column columns[] = {
		{.title = "NAME"},
		{.title = "STATE"},
		{.title = "HOST"},
		{.title = "TYPE"},
		{.title = "ADDRESSES", .flexible = true},
		{.title = "MEMORY", .right = true},
		{.title = "REASON", .flexible = true},
	};
	struct error err;
	_cleanup_json_ json_t *list = NULL;
	if (wpar_partitions(ctl->wpar, args_has(args, "local"), args_value(args, "state"), &list,
			    &err) < 0)
		return out_error(ctl, NULL, &err);
	if (ctl->json) {
		out_data(json_incref(list));
		return 0;
	}
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *partition;
	json_array_foreach (list, i, partition) {
		if (ctl->quiet)
			puts(json_text(partition, "name"));
		list_row(table, partition);
	}
	if (ctl->quiet)
		table_free(table);
	else
		out_table(ctl, table);
	return 0;
}

// ---- status -------------------------------------------------------------------------------------

// "label:   value", left out when there is no value.
static void line(const char *label, const char *value)
{
	_cleanup_free_ char *plain = table_plain(value);
	if (plain && plain[0])
		printf("%-12s %s\n", label, plain);
}

static void number_line(const char *label, double value)
{
	char text[32];
	snprintf(text, sizeof(text), "%.0f", value);
	line(label, value > 0 ? text : "");
}

static void size_line(const char *label, double bytes)
{
	char text[UNITS_TEXT_MAX];
	line(label, bytes > 0 ? units_format_size(text, (uint64_t)bytes) : "");
}

static void exit_line(const json_t *how)
{
	char text[64] = "";
	if (json_is_integer(json_object_get(how, "signal")))
		snprintf(text, sizeof(text), "killed by signal %.0f", json_amount(how, "signal"));
	else if (json_is_integer(json_object_get(how, "code")))
		snprintf(text, sizeof(text), "exit status %.0f", json_amount(how, "code"));
	line("exit:", text);
}

static void words_line(const char *label, const json_t *words)
{
	char text[1024] = "";
	size_t i, used = 0;
	json_t *word;
	json_array_foreach (words, i, word) {
		int n = snprintf(text + used, sizeof(text) - used, "%s%s", used ? " " : "",
				 json_string_value(word) ?: "?");
		if (n < 0 || (size_t)n >= sizeof(text) - used)
			break;
		used += (size_t)n;
	}
	line(label, text);
}

static void definition_lines(const json_t *definition)
{
	const json_t *process = json_object_get(definition, "process");
	const json_t *resources = json_object_get(definition, "resources");
	char text[64];
	line("type:", json_text(definition, "type"));
	line("rootfs:", json_text(definition, "rootfs"));
	line("storage:", json_text(definition, "storage"));
	line("hostname:", json_text(definition, "hostname"));
	words_line("command:", json_object_get(process, "args"));
	snprintf(text, sizeof(text), "%.0f:%.0f", json_amount(process, "uid"),
		 json_amount(process, "gid"));
	line("user:", text);
	size_line("memory:", json_amount(resources, "memory_bytes"));
	if (json_amount(resources, "cpu_millis") > 0) {
		snprintf(text, sizeof(text), "%.10g", json_amount(resources, "cpu_millis") / 1000);
		line("cpus:", text);
	}
	number_line("pids:", json_amount(resources, "pids"));
	size_t i;
	json_t *net;
	json_array_foreach (json_object_get(definition, "networks"), i, net) {
		char addresses[256], whole[512];
		json_joined(json_object_get(net, "addresses"), addresses, sizeof(addresses));
		snprintf(whole, sizeof(whole), "%s %s %s", json_text(net, "bridge"),
			 json_text(net, "mac"), addresses);
		line("network:", whole);
	}
}

static void print_status(const struct ctl *ctl, const json_t *partition)
{
	const char *state = json_text(partition, "state");
	line("name:", json_text(partition, "name"));
	if (ctl->colour && colour_of_state(state))
		printf("%-12s \x1b[%dm%s\x1b[0m\n", "state:", colour_of_state(state), state);
	else
		line("state:", state);
	line("reason:", json_text(partition, "reason"));
	line("host:", json_text(partition, "host"));
	line("departed to:", json_text(partition, "departed_to"));
	line("move:", json_text(partition, "move"));
	number_line("pid:", json_amount(partition, "pid"));
	line("started:", json_text(partition, "started"));
	exit_line(json_object_get(partition, "exit"));
	definition_lines(json_object_get(partition, "definition"));
	line("uuid:", json_text(partition, "uuid"));
	number_line("epoch:", json_amount(partition, "epoch"));
}

int status_run(struct ctl *ctl, const struct args *args)
{
	struct results results;
	const char *wanted = args_value(args, "check");
	bool all = true;
	results_begin(&results, ctl);
	for (size_t i = 0; i < args->count; i++) {
		struct error err;
		_cleanup_json_ json_t *partition = NULL;
		if (wpar_partition(ctl->wpar, args->names[i], &partition, &err) < 0) {
			results_bad(&results, args->names[i], &err);
			continue;
		}
		results_good(&results, args->names[i], NULL, json_incref(partition));
		all = all && wanted && !strcasecmp(wanted, json_text(partition, "state"));
		if (ctl->json || wanted)
			continue;
		if (i > 0)
			putchar('\n');
		print_status(ctl, partition);
	}
	int code = results_end(&results);
	return code ? code : wanted && !all;
}
