// SPDX-License-Identifier: Apache-2.0
#include "wparctl/verbs.h"

const struct verb_option global_options[] = {
	{"connect", 'c', "SOCKET", "relocd's control socket (default: that of this machine)"},
	{"json", 0, NULL, "print {\"schema\":1,\"data\":...} or {\"schema\":1,\"errors\":[...]}"},
	{"quiet", 'q', NULL,
	 "say nothing of what went well; lists print names only, a move one line"},
	{"help", 'h', NULL, "print help, of the verb when one is given"},
	{"version", 0, NULL, "print the version of wparctl"},
	{0},
};

static const struct verb_option create_options[] = {
	{"bundle", 0, "DIR", "take rootfs and process from an OCI bundle (wpar(7): which subset)"},
	{"rootfs", 0, "DIR", "the root file system, a directory on this host"},
	{"type", 0, "TYPE",
	 "application (the command is all that runs; the default) or system (it has an init)"},
	{"net", 0, "bridge=BR,address=CIDR[,address=CIDR],gateway=IP,mac=MAC",
	 "a network interface; each part may be left out; may be repeated"},
	{"address", 0, "CIDR", "short form: an interface with this address; may be repeated"},
	{"bridge", 0, "BR", "the bridge of --address (default: network: bridge in relocd.yaml)"},
	{"hostname", 0, "NAME", "its host name (default: its name)"},
	{"dns", 0, "IP", "a name server; may be repeated"},
	{"volume", 0, "SRC:DST[:ro]", "mount directory SRC of the host at DST; may be repeated"},
	{"storage", 0, "CLASS",
	 "shared: the rootfs is the same on all hosts; copied: it is not (default: shared below "
	 "the "
	 "shared folders of relocd.yaml). Only shared ones can be moved"},
	{"memory", 0, "SIZE", "limit, as 512M (K, M, G, T are powers of 1024)"},
	{"cpus", 0, "N", "limit in processors, as 1.5"},
	{"pids", 0, "N", "limit of processes and threads"},
	{"user", 0, "UID[:GID]",
	 "run the command as this user, by number (default: 0; GID: the same as UID)"},
	{"env", 0, "KEY=VALUE", "set a variable of the command; may be repeated"},
	{"cap-add", 0, "CAP", "grant a capability beyond the default ones; may be repeated"},
	{"cap-drop", 0, "CAP", "take one away; ALL takes all, then --cap-add; may be repeated"},
	{"seccomp", 0, "default|unconfined|FILE",
	 "filter of system calls; FILE is a seccomp object as in an OCI bundle, in JSON"},
	{"start", 0, NULL, "start it as well; what cannot be started is not left behind"},
	{0},
};

static const struct verb_option stop_options[] = {
	{"grace", 0, "TIME", "wait so long between SIGTERM and SIGKILL (default: 10s)"},
	{"kill", 0, NULL, "do not ask, kill"},
	{0},
};

static const struct verb_option remove_options[] = {
	{"force", 0, NULL, "kill it first when it runs"},
	{0},
};

static const struct verb_option list_options[] = {
	{"local", 0, NULL, "of this host only; this version always does that"},
	{"state", 0, "STATE", "only those in this state, as Active"},
	{0},
};

static const struct verb_option status_options[] = {
	{"check", 0, "STATE", "print nothing; exit 0 when it is in this state, else 1"},
	{0},
};

static const struct verb_option exec_options[] = {
	{"interactive", 'i', NULL, "pass standard input on"},
	{"tty", 't', NULL, "give the command a terminal"},
	{"user", 0, "USER[:GROUP]", "run as this user (default: that of the partition)"},
	{"workdir", 0, "DIR", "run in this directory of the partition"},
	{"env", 0, "KEY=VALUE", "set a variable; may be repeated"},
	{0},
};

static const struct verb_option logs_options[] = {
	{"follow", 'f', NULL, "go on until the partition ends"},
	{"since", 0, "TIME", "only what is newer: an RFC 3339 time, or an age as 10m"},
	{0},
};

static const struct verb_option relocate_options[] = {
	{"deadline", 0, "TIME", "give the move up when it is not decided by then (default: 10m)"},
	{"dry-run", 0, NULL, "only validate"},
	{"keep-going", 0, NULL, "of several, go on with the next when one fails"},
	{"no-wait", 0, NULL, "print the move's name and leave it to relocd"},
	{0},
};

static const struct verb_option moves_options[] = {
	{"all", 0, NULL, "also those that have ended"},
	{0},
};

static const struct verb_option add_host_options[] = {
	{"address", 0, "ADDRESS", "where the host's relocd listens: IP or IP:PORT (default 7470)"},
	{0},
};

static const struct verb_option no_options[] = {{0}};

const struct verb verbs[VERB_COUNT] = {
	[VERB_CREATE] =
		{
			.name = "create",
			.summary = "define a partition",
			.form = "NAME (--bundle DIR | --rootfs DIR) [OPTION...]\n    [-- CMD "
				"ARG...]",
			.text = "Defines a partition on this host; --start also starts it. A name "
				"is 1 to 63 letters, digits, '.', '_' and '-', beginning with a "
				"letter or digit.\n"
				"With --bundle the options given here replace what the bundle "
				"says, "
				"except that variables, volumes and capabilities are added. With "
				"--rootfs "
				"the command is that of the partition; only a "
				"system partition can do without one (then /sbin/init).",
			.options = create_options,
			.min = 1,
			.max = 1,
			.command = COMMAND_OPTIONAL,
			.example = "wparctl create db1 --rootfs /srv/shared/redis --user 999:999 "
				   "\\\n    --address 10.77.0.50/24 --bridge br0 --memory 512M "
				   "--start \\\n    -- /bin/redis-server --bind '*' --dir /data",
		},
	[VERB_START] =
		{
			.name = "start",
			.summary = "start partitions",
			.form = "NAME...",
			.text = "Starts partitions that are Defined or Failed.",
			.options = no_options,
			.min = 1,
			.max = VERB_ANY,
			.example = "wparctl start db1 web1",
		},
	[VERB_STOP] =
		{
			.name = "stop",
			.summary = "stop partitions",
			.form = "NAME... [--grace TIME] [--kill]",
			.text = "Sends SIGTERM to the init of each partition, waits, and kills "
				"what is left after the grace period.",
			.options = stop_options,
			.min = 1,
			.max = VERB_ANY,
			.example = "wparctl stop db1 --grace 30s",
		},
	[VERB_REMOVE] =
		{
			.name = "remove",
			.summary = "remove partitions and their definitions",
			.form = "NAME... [--force]",
			.text = "Forgets partitions that do not run. The root file system and the "
				"volumes are left alone.",
			.options = remove_options,
			.min = 1,
			.max = VERB_ANY,
			.example = "wparctl remove db1",
		},
	[VERB_LIST] =
		{
			.name = "list",
			.summary = "list partitions",
			.form = "[--local] [--state STATE]",
			.text = "Lists partitions with their state, host and addresses.",
			.options = list_options,
			.example = "wparctl list --state Active",
		},
	[VERB_STATUS] =
		{
			.name = "status",
			.summary = "show one partition in detail",
			.form = "NAME... [--check STATE]",
			.text = "Shows state and definition. wpar(7) has the table of states.",
			.options = status_options,
			.min = 1,
			.max = VERB_ANY,
			.example = "wparctl status db1",
		},
	[VERB_EXEC] =
		{
			.name = "exec",
			.summary = "run a command inside a partition",
			.form = "[-i] [-t] [--user USER] [--workdir DIR] [--env KEY=VALUE]\n"
				"    NAME -- CMD ARG...",
			.text = "Runs a command in the namespaces and under the restrictions of a "
				"running partition. The exit code is the command's, or 128 plus "
				"the number of the signal that ended it; 125: wparctl or relocd "
				"failed, 126: the command cannot be run, 127: there is no such "
				"command.",
			.options = exec_options,
			.min = 1,
			.max = 1,
			.command = COMMAND_NEEDED,
			.example = "wparctl exec -it db1 -- /bin/sh",
		},
	[VERB_LOGS] =
		{
			.name = "logs",
			.summary = "show what a partition wrote to its console",
			.form = "[-f] [--since TIME] NAME",
			.text = "Prints what the command or init of a partition wrote to standard "
				"output and standard error.",
			.options = logs_options,
			.min = 1,
			.max = 1,
			.example = "wparctl logs -f db1",
		},
	[VERB_VALIDATE] =
		{
			.name = "validate",
			.summary = "check whether a partition could move",
			.form = "NAME [HOST...]",
			.text = "Asks both sides for everything that a move needs, and changes "
				"nothing. Prints each check, its outcome and what to do; without "
				"HOST for all other hosts. The exit code is 4 when a check fails.",
			.options = no_options,
			.min = 1,
			.max = VERB_ANY,
			.example = "wparctl validate db1 hostB",
		},
	[VERB_RELOCATE] =
		{
			.name = "relocate",
			.summary = "move running partitions to another host",
			.form = "NAME... HOST [--deadline TIME] [--dry-run]\n"
				"    [--keep-going] [--no-wait]",
			.text = "Moves running partitions to HOST, one after the other; their "
				"connections stay. On a terminal a line shows the progress, "
				"elsewhere there is a line for each phase; at the end a table "
				"tells the milliseconds of each phase and the downtime (from "
				"freeze to resume). With --json each event is a line, and the "
				"last line is the result.\n"
				"Ctrl-C detaches (exit code 130): the move goes on in relocd. A "
				"move that fails before the commit leaves the partition running "
				"where it was.",
			.options = relocate_options,
			.min = 2,
			.max = VERB_ANY,
			.example = "wparctl relocate db1 hostB",
		},
	[VERB_MOVES] =
		{
			.name = "moves",
			.summary = "list moves",
			.form = "[--all]",
			.text = "Lists the moves that run, with --all also those that have ended.",
			.options = moves_options,
			.example = "wparctl moves --all",
		},
	[VERB_WAIT] =
		{
			.name = "wait",
			.summary = "follow moves to their end",
			.form = "MOVE...",
			.text = "Attaches to moves: prints what relocate prints, with its exit "
				"code.",
			.options = no_options,
			.min = 1,
			.max = VERB_ANY,
			.example = "wparctl wait m-1f3a",
		},
	[VERB_CANCEL] =
		{
			.name = "cancel",
			.summary = "cancel a move",
			.form = "(NAME | MOVE)...",
			.text = "Asks relocd to give a move up; the partition runs on where it "
				"is. After the commit a move can no longer be cancelled.",
			.options = no_options,
			.min = 1,
			.max = VERB_ANY,
			.example = "wparctl cancel db1",
		},
	[VERB_HOSTS] =
		{
			.name = "hosts",
			.summary = "list the hosts of the cluster",
			.form = "",
			.text = "Lists the hosts of the cluster, with their addresses and whether "
				"they can be reached.",
			.options = no_options,
			.example = "wparctl hosts",
		},
	[VERB_CLUSTER_INIT] =
		{
			.name = "cluster init",
			.summary = "make a cluster with this host as its first",
			.form = "",
			.text = "Makes the cluster's certificate authority and a certificate for "
				"this host.",
			.options = no_options,
			.example = "wparctl cluster init",
		},
	[VERB_CLUSTER_ADD_HOST] =
		{
			.name = "cluster add-host",
			.summary = "allow a host to join",
			.form = "HOST --address ADDRESS",
			.text = "Prints a token on the last line; it lets HOST join once. Run it "
				"where the cluster was made.",
			.options = add_host_options,
			.min = 1,
			.max = 1,
			.example = "wparctl cluster add-host hostB --address 10.77.0.2",
		},
	[VERB_CLUSTER_JOIN] =
		{
			.name = "cluster join",
			.summary = "join a cluster",
			.form = "TOKEN",
			.text = "Run on the host that joins. Its key is made here and never "
				"travels.",
			.options = no_options,
			.min = 1,
			.max = 1,
			.example = "wparctl cluster join wpar1.eyJuYW1lIjoi...",
		},
	[VERB_VERSION] =
		{
			.name = "version",
			.summary = "show the versions of wparctl and relocd",
			.form = "",
			.text = "Shows the versions of wparctl and of the relocd that it talks to.",
			.options = no_options,
			.example = "wparctl version",
		},
};

const struct exit_code exit_codes[] = {
	{0, "done, also when there was nothing to do"},
	{1, "failed"},
	{2, "wrong usage"},
	{3, "no such partition, host or move"},
	{4, "refused by validation"},
	{5, "busy or in conflict with something else"},
	{6, "a host or relocd cannot be reached"},
	{7, "a deadline passed"},
	{8, "cancelled"},
	{9, "in doubt: it is not known yet on which host the partition runs"},
	{11, "partly done: of several names some failed"},
	{13, "not permitted"},
	{130, "detached from a move by Ctrl-C"},
	{0, NULL},
};
