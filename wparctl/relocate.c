// SPDX-License-Identifier: Apache-2.0
// relocate and wait.
#include "lib/base/cleanup.h"
#include "lib/base/units.h"
#include "wparctl/ctl.h"
#include "wparctl/follow.h"

#include <string.h>

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

static int set_rate(json_t *options, const struct args *args, struct error *err)
{
	const char *text = args_value(args, "bandwidth");
	uint64_t bytes;
	if (!text)
		return 0;
	if (units_parse_rate(text, &bytes, err) < 0)
		return error_wrap(err, "--bandwidth");
	return json_object_set_new(options, "bandwidth_bytes", json_integer((json_int_t)bytes));
}

static int set_streams(json_t *options, const struct args *args, struct error *err)
{
	const char *text = args_value(args, "streams");
	if (!text)
		return 0;
	if (strlen(text) != 1 || *text < '1' || *text > '8')
		return error_set(err, ERR_USAGE, "--streams: \"%s\" is not 1 to 8", text);
	return json_object_set_new(options, "streams", json_integer(*text - '0'));
}

// relocd knows which words there are.
static void set_word(json_t *options, const char *key, const struct args *args, const char *option)
{
	if (args_value(args, option))
		json_object_set_new(options, key, json_string(args_value(args, option)));
}

static json_t *move_options(const struct args *args, struct error *err)
{
	json_t *options = json_object();
	if (args_has(args, "end-exec"))
		json_object_set_new(options, "end_exec", json_true());
	if (args_has(args, "strict-downtime"))
		json_object_set_new(options, "strict_downtime", json_true());
	set_word(options, "on_diverge", args, "on-diverge");
	set_word(options, "compress", args, "compress");
	set_word(options, "engine", args, "engine");
	set_word(options, "restore", args, "restore");
	if (!set_duration(options, "deadline_ms", args, "deadline", err) &&
	    !set_duration(options, "max_downtime_ms", args, "max-downtime", err) &&
	    !set_rate(options, args, err) && !set_streams(options, args, err))
		return options;
	json_decref(options);
	return NULL;
}

// What is to move where, and how.
struct plan {
	json_t *names;    // of partitions
	const char *host; // NULL: back to where each came from
	json_t *options;
	bool wait;
};

// For one request; NULL: none.
static json_t *options_of(const struct plan *plan)
{
	return json_object_size(plan->options) ? json_incref(plan->options) : NULL;
}

static int relocate_one(struct ctl *ctl, const struct plan *plan, const char *name)
{
	struct error err;
	_cleanup_json_ json_t *move = NULL;
	if (wpar_relocate(ctl->wpar, name, plan->host, options_of(plan), &move, &err) < 0)
		return out_error(ctl, name, &err);
	const char *id = json_text(move, "move");
	if (plan->wait)
		return follow_move(ctl, id);
	if (ctl->json)
		out_data(json_incref(move));
	else
		out_name(id);
	return 0;
}

// ---- what is to move ----------------------------------------------------------------------------

static bool is_in_group(struct ctl *ctl, const json_t *partition, const char *group,
			struct error *err)
{
	size_t i;
	json_t *item;
	_cleanup_json_ json_t *whole = NULL;
	const json_t *groups = json_object_get(partition, "groups");
	if (!groups) { // an older relocd lists no groups
		if (wpar_partition(ctl->wpar, json_text(partition, "name"), &whole, err) < 0)
			return false;
		groups = json_object_get(json_object_get(whole, "definition"), "groups");
	}
	json_array_foreach (groups, i, item)
		if (!strcmp(json_string_value(item) ?: "", group))
			return true;
	return false;
}

static bool departed(const json_t *partition)
{
	return !strcmp(json_text(partition, "state"), "Departed");
}

// The names of the group's partitions that are not on `host` (NULL: any) yet.
static json_t *names_of_group(struct ctl *ctl, const char *group, const char *host,
			      struct error *err)
{
	_cleanup_json_ json_t *list = NULL;
	size_t i, members = 0;
	json_t *partition;
	if (wpar_partitions(ctl->wpar, false, NULL, &list, err) < 0)
		return NULL;
	if (json_array_size(wpar_warnings(ctl->wpar))) {
		error_from_json(err, json_array_get(wpar_warnings(ctl->wpar), 0));
		error_wrap(err, "cannot tell who is in group %s", group);
		return NULL;
	}
	json_t *names = json_array();
	error_clear(err);
	json_array_foreach (list, i, partition) {
		const char *name = json_text(partition, "name");
		if (departed(partition) || !is_in_group(ctl, partition, group, err))
			continue;
		members++;
		if (host && !strcmp(json_text(partition, "host"), host))
			out_say(ctl, "%s: is on %s already", name, host);
		else
			json_array_append_new(names, json_string(name));
	}
	if (!members && !error_is_set(err))
		error_set(err, ERR_NAME_UNKNOWN, "no partition is in group %s", group);
	if (!error_is_set(err))
		return names;
	json_decref(names);
	return NULL;
}

static int check_words(const struct args *args, struct error *err)
{
	bool back = args_has(args, "back"), group = args_has(args, "group");
	size_t hosts = back ? 0 : 1, least = hosts + (group ? 0 : 1);
	if (args->count < least)
		error_set(err, ERR_USAGE, "relocate: too few arguments");
	else if (group && args->count > hosts)
		error_set(err, ERR_USAGE, "relocate: \"%s\": --group takes the place of names",
			  args->names[0]);
	else
		return 0;
	return error_hint(err, "wparctl relocate (NAME... | --group GROUP) (HOST | --back)");
}

static int make_plan(struct ctl *ctl, const struct args *args, struct plan *plan, struct error *err)
{
	bool back = args_has(args, "back");
	const char *group = args_value(args, "group");
	if (check_words(args, err) < 0)
		return -1;
	plan->wait = !args_has(args, "no-wait");
	plan->host = back ? NULL : args->names[args->count - 1];
	plan->options = move_options(args, err);
	if (!plan->options)
		return -1;
	if (group) {
		plan->names = names_of_group(ctl, group, plan->host, err);
		return plan->names ? 0 : -1;
	}
	plan->names = json_array();
	for (size_t i = 0; i + !back < args->count; i++)
		json_array_append_new(plan->names, json_string(args->names[i]));
	return 0;
}

// ---- relocate -----------------------------------------------------------------------------------

// For --dry-run: the host that --back leads to.
static int host_back(struct ctl *ctl, const char *name, json_t **hosts, struct error *err)
{
	_cleanup_json_ json_t *partition = NULL;
	if (wpar_partition(ctl->wpar, name, &partition, err) < 0)
		return -1;
	const char *from = json_text(partition, "came_from");
	if (!from[0])
		return error_set(err, ERR_HOST_UNKNOWN, "%s came from no other host", name);
	*hosts = json_pack("[s]", from);
	return 0;
}

static int try_one(struct ctl *ctl, const struct plan *plan, const char *name)
{
	struct error err;
	json_t *hosts = NULL;
	if (plan->host)
		hosts = json_pack("[s]", plan->host);
	else if (host_back(ctl, name, &hosts, &err) < 0)
		return out_error(ctl, name, &err);
	return validate_one(ctl, name, hosts, options_of(plan));
}

static void say_left(const struct ctl *ctl, const json_t *names, size_t from)
{
	for (size_t i = from; i < json_array_size(names); i++)
		out_say(ctl, "%s: left where it is", json_string_value(json_array_get(names, i)));
}

static int relocate_all(struct ctl *ctl, const struct plan *plan, bool dry, bool keep_going)
{
	struct tally tally = {0};
	size_t i;
	json_t *item;
	json_array_foreach (plan->names, i, item) {
		const char *name = json_string_value(item);
		int code = dry ? try_one(ctl, plan, name) : relocate_one(ctl, plan, name);
		tally_add(&tally, code);
		if (code == EXIT_DETACHED || (code && !keep_going))
			say_left(ctl, plan->names, i + 1);
		if (code == EXIT_DETACHED)
			return code;
		if (code && !keep_going)
			break;
	}
	return tally_code(&tally);
}

int relocate_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	struct plan plan = {0};
	bool dry = args_has(args, "dry-run");
	int code = make_plan(ctl, args, &plan, &err) < 0
			   ? out_error(ctl, NULL, &err)
			   : relocate_all(ctl, &plan, dry, dry || args_has(args, "keep-going"));
	json_decref(plan.names);
	json_decref(plan.options);
	return code;
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
