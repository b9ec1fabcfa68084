// SPDX-License-Identifier: Apache-2.0
// list and status.
#include "lib/base/cleanup.h"
#include "lib/base/units.h"
#include "wparctl/ctl.h"
#include "wparctl/text.h"

#include <string.h>
#include <strings.h>

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

// A host that could not be asked: its partitions may run, nobody knows.
static void missing_row(const struct ctl *ctl, struct table *table, const json_t *warning)
{
	const char *host = json_text(warning, "host");
	if (ctl->quiet) {
		struct error err;
		error_from_json(&err, warning);
		out_error(ctl, host, &err);
	}
	table_row(table,
		  (const char *[]){NULL, host[0] ? "unreachable" : "warning", host, NULL, NULL,
				   NULL, json_text(warning, "message")},
		  (int[]){0, COLOUR_RED, 0, 0, 0, 0, 0});
}

static int by_name(const void *one, const void *other)
{
	const json_t *a = *(json_t *const *)one, *b = *(json_t *const *)other;
	int names = strcmp(json_text(a, "name"), json_text(b, "name"));
	return names ? names : strcmp(json_text(a, "host"), json_text(b, "host"));
}

// The same order whichever host is asked.
static json_t *sorted(const json_t *list)
{
	size_t count = json_array_size(list);
	json_t **items = calloc(count + 1, sizeof(json_t *)), *all = json_array();
	for (size_t i = 0; items && i < count; i++)
		items[i] = json_array_get(list, i);
	if (items)
		qsort(items, count, sizeof(json_t *), by_name);
	for (size_t i = 0; items && i < count; i++)
		json_array_append(all, items[i]);
	free(items);
	return all;
}

static void print_list(const struct ctl *ctl, const json_t *list, const json_t *warnings)
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
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *item;
	json_array_foreach (list, i, item) {
		if (ctl->quiet)
			out_name(json_text(item, "name"));
		list_row(table, item);
	}
	json_array_foreach (warnings, i, item)
		missing_row(ctl, table, item);
	out_table(ctl, table);
}

int list_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *list = NULL;
	if (wpar_partitions(ctl->wpar, args_has(args, "local"), args_value(args, "state"), &list,
			    &err) < 0)
		return out_error(ctl, NULL, &err);
	_cleanup_json_ json_t *all = sorted(list);
	if (ctl->json)
		out_data_with(json_incref(all), wpar_warnings(ctl->wpar));
	else
		print_list(ctl, all, wpar_warnings(ctl->wpar));
	return 0;
}

// ---- status -------------------------------------------------------------------------------------

// "label:   value", left out when there is no value.
static void line(const char *label, const char *value)
{
	_cleanup_free_ char *plain = text_plain(value);
	if (plain && plain[0])
		printf("%-14s %s\n", label, plain);
}

static void number_line(const char *label, double value)
{
	char text[32];
	snprintf(text, sizeof(text), "%.0f", value);
	line(label, value != 0 ? text : "");
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

static void list_line(const char *label, const json_t *list)
{
	char text[512];
	line(label, json_joined(list, text, sizeof(text)));
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

static void network_lines(const json_t *networks)
{
	size_t i;
	json_t *net;
	json_array_foreach (networks, i, net) {
		char addresses[256], whole[512];
		char gateways[128];
		const json_t *via = json_object_get(net, "gateway");
		const char *gateway = json_is_array(via)
					      ? json_joined(via, gateways, sizeof(gateways))
					      : json_text(net, "gateway");
		json_joined(json_object_get(net, "addresses"), addresses, sizeof(addresses));
		snprintf(whole, sizeof(whole), "%s %s %s%s%s", json_text(net, "bridge"),
			 json_text(net, "mac"), addresses, gateway[0] ? " via " : "", gateway);
		line("network:", whole);
	}
}

static void volume_lines(const json_t *mounts)
{
	size_t i;
	json_t *mount;
	json_array_foreach (mounts, i, mount) {
		char whole[1024], options[256];
		if (strcmp(json_text(mount, "type"), "bind") != 0)
			continue;
		json_joined(json_object_get(mount, "options"), options, sizeof(options));
		snprintf(whole, sizeof(whole), "%s on %s (%s)%s%s", json_text(mount, "source"),
			 json_text(mount, "destination"), options,
			 json_text(mount, "storage")[0] ? ", " : "", json_text(mount, "storage"));
		line("volume:", whole);
	}
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
	network_lines(json_object_get(definition, "networks"));
	list_line("dns:", json_object_get(definition, "dns"));
	volume_lines(json_object_get(definition, "mounts"));
	list_line("groups:", json_object_get(definition, "groups"));
	number_line("priority:", json_amount(definition, "priority"));
	line("autostart:", json_is_true(json_object_get(definition, "autostart")) ? "yes" : "");
	line("restart:", json_text(definition, "restart"));
}

// It runs, and what it touches of the rest comes at once.
static void filling_line(const json_t *percent)
{
	char text[48];
	snprintf(text, sizeof(text), "filling %d %%", (int)json_integer_value(percent));
	line("memory now:", json_is_integer(percent) ? text : "");
}

static void print_status(const struct ctl *ctl, const json_t *partition)
{
	const char *state = json_text(partition, "state");
	line("name:", json_text(partition, "name"));
	if (ctl->colour && colour_of_state(state))
		printf("%-14s \x1b[%dm%s\x1b[0m\n", "state:", colour_of_state(state), state);
	else
		line("state:", state);
	line("reason:", json_text(partition, "reason"));
	filling_line(json_object_get(partition, "filled_percent"));
	line("host:", json_text(partition, "host"));
	line("departed to:", json_text(partition, "departed_to"));
	line("came from:", json_text(partition, "came_from"));
	line("move:", json_text(partition, "move"));
	number_line("pid:", json_amount(partition, "pid"));
	line("started:", json_text(partition, "started"));
	exit_line(json_object_get(partition, "exit"));
	number_line("restarts:", json_amount(partition, "restarts"));
	definition_lines(json_object_get(partition, "definition"));
	line("uuid:", json_text(partition, "uuid"));
	number_line("epoch:", json_amount(partition, "epoch"));
	number_line("revision:", json_amount(partition, "revision"));
	list_line("at next start:", json_object_get(partition, "pending"));
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
