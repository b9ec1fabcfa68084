// SPDX-License-Identifier: Apache-2.0
#include "wparctl/ctl.h"
#include "wparctl/help.h"

#include <string.h>

static int (*const run[VERB_COUNT])(struct ctl *, const struct args *) = {
	[VERB_CREATE] = create_run,
	[VERB_START] = start_run,
	[VERB_STOP] = stop_run,
	[VERB_REMOVE] = remove_run,
	[VERB_LIST] = list_run,
	[VERB_STATUS] = status_run,
	[VERB_EXEC] = exec_run,
	[VERB_LOGS] = logs_run,
	[VERB_VALIDATE] = validate_run,
	[VERB_RELOCATE] = relocate_run,
	[VERB_MOVES] = moves_run,
	[VERB_WAIT] = wait_run,
	[VERB_CANCEL] = cancel_run,
	[VERB_HOSTS] = hosts_run,
	[VERB_CLUSTER_INIT] = cluster_init_run,
	[VERB_CLUSTER_ADD_HOST] = cluster_add_host_run,
	[VERB_CLUSTER_JOIN] = cluster_join_run,
	[VERB_VERSION] = version_run,
};

static int run_verb(struct ctl *ctl, const struct args *args)
{
	struct error err = {0};
	ctl->wpar = wpar_open(args_value(args, "connect"), &err);
	if (!ctl->wpar)
		return out_error(ctl, NULL, &err);
	int code = run[args->verb - verbs](ctl, args);
	wpar_close(ctl->wpar);
	// A full disk or a closed pipe must not look like success.
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
		error_set(&err, ERR_SYSTEM, "cannot write to standard output");
		return out_error(ctl, NULL, &err);
	}
	return code;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {0};
	struct args args;
	struct error err = {0};
	if (argc == 2 && !strcmp(argv[1], "--help-man")) {
		help_print_man(stdout);
		return 0;
	}
	ctl_init(&ctl);
	int code = args_parse(&args, argc, argv, &err);
	ctl.json = args_has(&args, "json");
	ctl.quiet = args_has(&args, "quiet");
	if (code < 0)
		code = out_error(&ctl, NULL, &err);
	else if (args_has(&args, "help"))
		help_print(stdout, args.verb);
	else if (!args.verb)
		puts("wparctl " WPAR_VERSION);
	else
		code = run_verb(&ctl, &args);
	args_free(&args);
	return code;
}
