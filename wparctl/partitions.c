// SPDX-License-Identifier: Apache-2.0
// start, stop, restart, remove.
#include "lib/base/units.h"
#include "wparctl/ctl.h"

// What is done to each name.
struct act {
	int (*act)(const struct ctl *ctl, const char *name, const struct act *act,
		   struct error *err);
	const char *said;
	int64_t grace_ms; // < 0: the partition's own
	bool kill;
	unsigned flags; // of a removal
};

static int act_on_all(struct ctl *ctl, const struct args *args, const struct act *act)
{
	struct results results;
	results_begin(&results, ctl);
	for (size_t i = 0; i < args->count; i++) {
		struct error err;
		if (act->act(ctl, args->names[i], act, &err) < 0)
			results_bad(&results, args->names[i], &err);
		else
			results_good(&results, args->names[i], act->said, NULL);
	}
	return results_end(&results);
}

static int start_one(const struct ctl *ctl, const char *name, const struct act *act,
		     struct error *err)
{
	(void)act;
	return wpar_start(ctl->wpar, name, err);
}

int start_run(struct ctl *ctl, const struct args *args)
{
	return act_on_all(ctl, args, &(struct act){.act = start_one, .said = "started"});
}

// Reads --grace and --kill, then acts.
static int stop_all(struct ctl *ctl, const struct args *args, struct act act)
{
	struct error err;
	const char *grace = args_value(args, "grace");
	uint64_t grace_ms = 0;
	if (grace && units_parse_duration(grace, &grace_ms, &err) < 0)
		return out_error(ctl, NULL, &err);
	act.grace_ms = grace ? (int64_t)grace_ms : -1;
	act.kill = args_has(args, "kill");
	return act_on_all(ctl, args, &act);
}

static int stop_one(const struct ctl *ctl, const char *name, const struct act *act,
		    struct error *err)
{
	return wpar_stop(ctl->wpar, name, act->grace_ms, act->kill, err);
}

int stop_run(struct ctl *ctl, const struct args *args)
{
	return stop_all(ctl, args, (struct act){.act = stop_one, .said = "stopped"});
}

static int restart_one(const struct ctl *ctl, const char *name, const struct act *act,
		       struct error *err)
{
	return wpar_restart(ctl->wpar, name, act->grace_ms, act->kill, err);
}

int restart_run(struct ctl *ctl, const struct args *args)
{
	return stop_all(ctl, args, (struct act){.act = restart_one, .said = "restarted"});
}

static int remove_one(const struct ctl *ctl, const char *name, const struct act *act,
		      struct error *err)
{
	return wpar_remove(ctl->wpar, name, act->flags, err);
}

int remove_run(struct ctl *ctl, const struct args *args)
{
	unsigned flags = (args_has(args, "force") ? WPAR_REMOVE_FORCE : 0) |
			 (args_has(args, "volumes") ? WPAR_REMOVE_VOLUMES : 0);
	return act_on_all(ctl, args,
			  &(struct act){.act = remove_one, .said = "removed", .flags = flags});
}
