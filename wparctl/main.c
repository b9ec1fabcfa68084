// SPDX-License-Identifier: Apache-2.0
#include "wparctl/complete.h"
#include "wparctl/ctl.h"
#include "wparctl/help.h"

#include <string.h>

// --connect names a host of the cluster, or with a "/" relocd's socket.
static int connect_to(struct ctl *ctl, const struct args *args, struct error *err)
{
	const char *socket = NULL, *host = NULL, *value;
	for (size_t at = 0; (value = args_next(args, "connect", &at));)
		*(strchr(value, '/') ? &socket : &host) = value;
	if (host && !host[0])
		return error_set(err, ERR_USAGE, "--connect \"\": a host is wanted");
	ctl->wpar = wpar_open(socket, err);
	return ctl->wpar ? wpar_set_host(ctl->wpar, host, err) : -1;
}

static int run_verb(struct ctl *ctl, const struct args *args)
{
	struct error err = {0};
	int code = connect_to(ctl, args, &err) < 0 ? out_error(ctl, NULL, &err)
						   : args->verb->run(ctl, args);
	if (ctl->wpar)
		wpar_close(ctl->wpar);
	// A full disk or a closed pipe must not look like success.
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
		error_set(&err, ERR_SYSTEM, "cannot write to standard output");
		return out_error(ctl, NULL, &err);
	}
	return code;
}

// What the manual and the shells ask for: not for people, so in no list of options.
static bool is_for_machines(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--help-man"))
		help_print_man(stdout);
	else if (argc >= 3 && !strcmp(argv[1], "--complete"))
		complete_print(stdout, argc - 2, argv + 2);
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {0};
	struct args args;
	struct error err = {0};
	if (is_for_machines(argc, argv))
		return 0;
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
