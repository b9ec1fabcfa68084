// SPDX-License-Identifier: Apache-2.0
// Verbs about partitions.
#include "wparctl/ctl.h"

static const struct verb_option create_options[] = {
	{"file", 'f', "FILE",
	 "take the definition from FILE, in YAML or JSON as `wparctl show` prints it (-: standard "
	 "input)"},
	{"bundle", 0, "DIR", "take rootfs and process from an OCI bundle (wpar(7): which subset)"},
	{"image", 0, "TRANSPORT:REF",
	 "make the root from an OCI image: oci:DIR[:TAG], oci-archive:FILE[:TAG] or "
	 "docker-archive:FILE[:REF]; what the partition writes goes to a layer of its own, which "
	 "moves with it. Command, environment, user, folder and stop signal are the image's; a "
	 "command given here replaces the image's Cmd and follows its Entrypoint"},
	{"rootfs", 0, "DIR", "the root file system, a directory on this host"},
	{"type", 0, "application|system",
	 "application: the command is all that runs (the default); system: it has an init"},
	{"net", 0, "bridge=BR,address=CIDR[,address=CIDR],gateway=IP,mac=MAC",
	 "a network interface; each part may be left out, MAC may be auto; a gateway of each "
	 "family may be given; may be repeated"},
	{"address", 0, "CIDR", "short form: an interface with this address; may be repeated"},
	{"bridge", 0, "BR", "the bridge of --address (default: network: bridge in relocd.yaml)"},
	{"hostname", 0, "H", "its host name (default: its name)"},
	{"dns", 0, "IP", "a name server; may be repeated"},
	{"volume", 0, "SRC:DST[:ro][,storage=shared|copied]",
	 "mount SRC at DST: a directory of the host, or by a name a folder that relocd makes and "
	 "keeps; may be repeated"},
	{"storage", 0, "shared|copied",
	 "shared: the rootfs is the same on all hosts; copied: it is not (default: shared below "
	 "the shared folders of relocd.yaml). Only shared ones can be moved"},
	{"memory", 0, "SIZE", "limit, as 512M (K, M, G, T are powers of 1024)"},
	{"cpus", 0, "N", "limit in processors, as 1.5"},
	{"pids", 0, "N", "limit of processes and threads"},
	{"group", 0, "GROUP", "make it a member of this group; may be repeated"},
	{"priority", 0, "N", "its priority among others, a number (default: 0)"},
	{"autostart", 0, NULL, "start it when its host boots"},
	{"restart", 0, "no|on-failure|always",
	 "start it again when its command or init ends (default: no)"},
	{"user", 0, "UID[:GID]",
	 "run the command as this user, by number (default: 0; GID: the same as UID); with "
	 "--image also by name, and the default is the image's"},
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
	{"volumes", 0, NULL, "also remove its volumes that have a name, and what is in them"},
	{0},
};

static const struct verb_option set_options[] = {
	{"on-next-start", 0, NULL, "change nothing of the partition while it runs"},
	{0},
};

static const struct verb_option list_options[] = {
	{"local", 0, NULL, "of this host only"},
	{"state", 0, "STATE", "only those in this state, as Active"},
	{0},
};

static const struct verb_option status_options[] = {
	{"check", 0, "STATE", "print nothing; exit 0 when all are in this state, else 1"},
	{0},
};

static const struct verb_option exec_options[] = {
	{"interactive", 'i', NULL, "pass standard input on"},
	{"tty", 't', NULL, "give the command a terminal"},
	{"user", 0, "USER[:GROUP]", "run as this user (default: that of the partition)"},
	{"workdir", 0, "PATH", "run in this directory of the partition"},
	{"env", 0, "KEY=VALUE", "set a variable; may be repeated"},
	{0},
};

static const struct verb_option logs_options[] = {
	{"follow", 'f', NULL, "go on until the partition ends"},
	{"since", 0, "TIME", "only what is newer: an RFC 3339 time, or an age as 10m"},
	{0},
};

static const struct verb_option no_options[] = {{0}};

const struct verb partition_verbs[] = {
	{
		.name = "create",
		.summary = "define a partition",
		.form = "NAME (--bundle DIR | --image TRANSPORT:REF | --rootfs DIR)\n"
			"    [OPTION...] [-- CMD ARG...]\n"
			"wparctl create [NAME] -f FILE [OPTION...] [-- CMD ARG...]",
		.text = "Defines a partition on this host; --start also starts it. A name is 1 to "
			"63 letters, digits, '.', '_' and '-', beginning with a letter or digit.\n"
			"With --bundle and --image the options given here replace what the bundle "
			"or image says, except that variables, volumes and capabilities are added. "
			"With -f they replace what the file says, lists as a whole; under "
			"another NAME it is another partition, whose interfaces get hardware "
			"addresses of their own. With --rootfs the command is that of the "
			"partition; only a system partition can do "
			"without one (then /sbin/init).",
		.options = create_options,
		.args = "-",
		.min = 0,
		.max = 1,
		.command = COMMAND_OPTIONAL,
		.example = "wparctl create db1 --rootfs /srv/shared/redis --user 999:999 "
			   "\\\n    --net bridge=br0,address=10.77.0.50/24,gateway=10.77.0.1 "
			   "--memory 512M \\\n    --start -- /bin/redis-server --bind '*' --dir "
			   "/data\nwparctl show db1 | wparctl create db2 -f - --address "
			   "10.77.0.51/24",
		.calls = "POST /v1/partitions",
		.run = create_run,
	},
	{
		.name = "show",
		.summary = "print the definition of a partition",
		.form = "NAME",
		.text = "Prints what `wparctl create -f` accepts, in YAML, with --json in JSON: "
			"the "
			"whole definition but for what relocd sets itself (uuid, owner, epoch, "
			"cpu_features).",
		.options = no_options,
		.args = "NAME",
		.min = 1,
		.max = 1,
		.example = "wparctl show db1 >db1.yaml",
		.calls = "GET /v1/partitions/{}",
		.run = show_run,
	},
	{
		.name = "set",
		.summary = "change the definition of a partition",
		.form = "NAME KEY=VALUE... [--on-next-start]",
		.text = "Changes memory, cpus, pids, priority, groups, autostart and restart at "
			"once, and everything else at the next start: hostname, dns, storage, "
			"grace, user (UID:GID), or any key of the definition as `wparctl show` "
			"prints it, with dots between the levels and a value in YAML. Lists of "
			"names are divided by commas. An empty VALUE takes a limit or a list away. "
			"Prints what waits for the next start.",
		.options = set_options,
		.args = "NAME KEY=VALUE...",
		.min = 2,
		.max = VERB_ANY,
		.example = "wparctl set db1 memory=1G cpus=2 autostart=yes groups=night,web\n"
			   "wparctl set db1 dns=10.77.0.1,10.77.0.2 process.cwd=/data",
		.calls = "PATCH /v1/partitions/{}",
		.run = set_run,
	},
	{
		.name = "rename",
		.summary = "give a partition another name",
		.form = "NAME NEW",
		.text = "Renames a partition that does not run.",
		.options = no_options,
		.args = "NAME -",
		.min = 2,
		.max = 2,
		.example = "wparctl rename db1 db-old",
		.calls = "PATCH /v1/partitions/{}",
		.run = rename_run,
	},
	{
		.name = "start",
		.summary = "start partitions",
		.form = "NAME...",
		.text = "Starts partitions that are Defined or Failed.",
		.options = no_options,
		.args = "NAME...",
		.min = 1,
		.max = VERB_ANY,
		.example = "wparctl start db1 web1",
		.calls = "POST /v1/partitions/{}/start",
		.run = start_run,
	},
	{
		.name = "stop",
		.summary = "stop partitions",
		.form = "NAME... [--grace TIME] [--kill]",
		.text = "Sends SIGTERM to the init of each partition, waits, and kills what is "
			"left "
			"after the grace period.",
		.options = stop_options,
		.args = "NAME...",
		.min = 1,
		.max = VERB_ANY,
		.example = "wparctl stop db1 --grace 30s",
		.calls = "POST /v1/partitions/{}/stop",
		.run = stop_run,
	},
	{
		.name = "restart",
		.summary = "stop partitions and start them again",
		.form = "NAME... [--grace TIME] [--kill]",
		.text = "Stops each partition as stop does, then starts it; changes that waited "
			"for "
			"the next start take effect.",
		.options = stop_options,
		.args = "NAME...",
		.min = 1,
		.max = VERB_ANY,
		.example = "wparctl restart web1",
		.calls = "POST /v1/partitions/{}/restart",
		.run = restart_run,
	},
	{
		.name = "remove",
		.summary = "remove partitions and their definitions",
		.form = "NAME... [--force] [--volumes]",
		.text = "Forgets partitions that do not run. The root file system and the volumes "
			"are left alone; --volumes removes those that relocd made.",
		.options = remove_options,
		.args = "NAME...",
		.min = 1,
		.max = VERB_ANY,
		.example = "wparctl remove db1",
		.calls = "DELETE /v1/partitions/{}",
		.run = remove_run,
	},
	{
		.name = "list",
		.summary = "list the partitions of all hosts",
		.form = "[--local] [--state STATE]",
		.text = "Lists partitions with their state, host and addresses. A host that cannot "
			"be asked has a line of its own.",
		.options = list_options,
		.example = "wparctl list --state Active",
		.calls = "GET /v1/partitions",
		.run = list_run,
	},
	{
		.name = "status",
		.summary = "show partitions in detail",
		.form = "NAME... [--check STATE]",
		.text = "Shows state and definition. wpar(7) has the table of states.",
		.options = status_options,
		.args = "NAME...",
		.min = 1,
		.max = VERB_ANY,
		.example = "wparctl status db1\nwparctl status db1 --check Active || echo down",
		.calls = "GET /v1/partitions/{}",
		.run = status_run,
	},
	{
		.name = "exec",
		.summary = "run a command inside a partition",
		.form = "[-i] [-t] [--user USER] [--workdir PATH] [--env KEY=VALUE]\n"
			"    NAME -- CMD ARG...",
		.text = "Runs a command in the namespaces and under the restrictions of a running "
			"partition. The exit code is the command's, or 128 plus the number of the "
			"signal that ended it; 125: wparctl or relocd failed, 126: the command "
			"cannot be run, 127: there is no such command.",
		.options = exec_options,
		.args = "NAME",
		.min = 1,
		.max = 1,
		.command = COMMAND_NEEDED,
		.example = "wparctl exec -it db1 -- /bin/sh",
		.calls = "POST /v1/partitions/{}/exec",
		.run = exec_run,
	},
	{
		.name = "logs",
		.summary = "show what a partition wrote to its console",
		.form = "[-f] [--since TIME] NAME",
		.text = "Prints what the command or init of a partition wrote to standard output "
			"and standard error.",
		.options = logs_options,
		.args = "NAME",
		.min = 1,
		.max = 1,
		.example = "wparctl logs -f db1",
		.calls = "GET /v1/partitions/{}/logs",
		.run = logs_run,
	},
	{0},
};
