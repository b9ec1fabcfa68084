// SPDX-License-Identifier: Apache-2.0
// Verbs about moves.
#include "wparctl/ctl.h"

static const struct verb_option relocate_options[] = {
	{"group", 0, "GROUP", "move all partitions of this group"},
	{"back", 0, NULL, "move each to the host that it came from; then there is no HOST"},
	{"bandwidth", 0, "RATE",
	 "send no more a second while it runs, as 120MiB/s or 1Gbit/s; 0: no limit"},
	{"compress", 0, "METHOD",
	 "pack memory on the way: auto (where that is faster), off, lz4 or zstd"},
	{"deadline", 0, "TIME", "give the move up when it is not decided by then (default: 10m)"},
	{"dry-run", 0, NULL, "only validate the move with these options"},
	{"end-exec", 0, NULL, "end exec sessions in the partition, which cannot move"},
	{"engine", 0, "NAME",
	 "for experts: auto, track (copy memory while it runs) or stop (while it stands still)"},
	{"keep-going", 0, NULL, "of several, go on with the next when one fails"},
	{"max-downtime", 0, "TIME", "how long it should stand still at most (default: 100ms)"},
	{"no-wait", 0, NULL, "print the name of each move and leave them to relocd"},
	{"on-diverge", 0, "POLICY",
	 "when it writes faster than it can be copied: throttle-then-abort (default), "
	 "throttle-then-stop, stop or abort"},
	{"restore", 0, "WHEN",
	 "for experts: auto, eager (all memory before it runs there) or lazy (on demand)"},
	{"streams", 0, "NUMBER",
	 "bring memory over so many connections at once, 1 to 8 (default: by processors)"},
	{"strict-downtime", 0, NULL,
	 "refuse, or leave it where it is, when more than --max-downtime is predicted"},
	{0},
};

static const struct verb_option moves_options[] = {
	{"all", 0, NULL, "also those that have ended"},
	{"since", 0, "TIME",
	 "those that began later: an RFC 3339 time, or an age as 2h; ended ones too"},
	{0},
};

static const struct verb_option explain_options[] = {
	{"timeline", 0, "FILE", "write a picture of its phases and rounds there, as SVG"},
	{0},
};

static const struct verb_option recover_options[] = {
	{"keep", 0, "HOST", "let the copy on HOST run and destroy the other"},
	{"reason", 0, "TEXT", "why, for the record; needed with --keep"},
	{"peer-is-dead", 0, NULL,
	 "the other host cannot be reached and runs nothing any more: you have made sure"},
	{0},
};

static const struct verb_option adopt_options[] = {
	{"from", 0, "HOST", "all partitions that HOST had, in the place of names"},
	{"peer-is-dead", 0, NULL,
	 "needed: their host runs nothing any more, and you have made sure of it"},
	{"reason", 0, "TEXT", "why, for the record; needed"},
	{0},
};

static const struct verb_option events_options[] = {
	{"follow", 'f', NULL, "go on with new ones as they happen"},
	{"after", 0, "SEQ", "only those after this number"},
	{0},
};

static const struct verb_option history_options[] = {
	{"since", 0, "TIME", "only what began later: an RFC 3339 time, or an age as 7d"},
	{"failed", 0, NULL, "only what did not go well"},
	{0},
};

static const struct verb_option no_options[] = {{0}};

const struct verb move_verbs[] = {
	{
		.name = "validate",
		.summary = "check whether a partition could move",
		.form = "NAME [HOST...]",
		.text = "Asks both sides for everything that a move needs, and changes nothing. "
			"Prints each check, its outcome and what to do; without HOST for all other "
			"hosts. The exit code is 4 when a check fails.",
		.options = no_options,
		.args = "NAME HOST...",
		.min = 1,
		.max = VERB_ANY,
		.example = "wparctl validate db1 hostB",
		.calls = "POST /v1/partitions/{}/validate",
		.run = validate_run,
	},
	{
		.name = "relocate",
		.summary = "move running partitions to another host",
		.form = "(NAME... | --group GROUP) (HOST | --back)\n"
			"    [--bandwidth RATE] [--compress METHOD] [--deadline TIME] [--dry-run]\n"
			"    [--end-exec] [--engine NAME] [--keep-going] [--max-downtime TIME]\n"
			"    [--no-wait] [--on-diverge POLICY] [--streams NUMBER] "
			"[--strict-downtime]",
		.text = "Moves running partitions to HOST, one after the other; with --no-wait all "
			"are begun at once. Their connections stay. On a terminal a line shows the "
			"progress, elsewhere there is a line for each phase; at the end a table "
			"tells the milliseconds of each phase and the downtime (from freeze to "
			"resume). With --json each event is a line, and the last line of a move is "
			"its result.\n"
			"Engine track copies memory in rounds while the partition runs, until what "
			"is left fits into --max-downtime. The first, which copies all of it, "
			"steps "
			"back for other work: it goes as fast as can be while nobody else needs "
			"the "
			"processors and the partition does not wait for one, else slower, for 30 "
			"seconds at most. The rounds after it do not. Where rounds stop getting "
			"shorter, "
			"--on-diverge decides: throttle slows its processors down in steps (and "
			"gives them back, whatever happens), stop freezes it and copies the rest, "
			"abort leaves it where it is.\n"
			"Of a group, those that are on HOST already are left alone.\n"
			"Ctrl-C detaches (exit code 130): the move goes on in relocd. A move that "
			"fails before the commit leaves the partition running where it was.",
		.options = relocate_options,
		.args = "NAME... HOST",
		.min = 0,
		.max = VERB_ANY,
		.example = "wparctl relocate db1 hostB\nwparctl relocate --group night hostB "
			   "--keep-going\nwparctl relocate db1 --back",
		.calls = "POST /v1/moves\nGET /v1/moves/{}\nGET /v1/moves/{}/events\n"
			 "GET /v1/partitions\nGET /v1/partitions/{}\n"
			 "POST /v1/partitions/{}/validate",
		.run = relocate_run,
	},
	{
		.name = "moves",
		.summary = "list moves",
		.form = "[--all] [--since TIME]",
		.text = "Lists the moves that run or wait, with --all also those that have ended. "
			"Those "
			"that wait go by the priority of their partitions, then by age. Hosts that "
			"could not be asked are named.",
		.options = moves_options,
		.example = "wparctl moves --since 24h",
		.calls = "GET /v1/moves",
		.run = moves_run,
	},
	{
		.name = "wait",
		.summary = "follow moves to their end",
		.form = "MOVE...",
		.text = "Attaches to moves: prints what relocate prints, with its exit code. The "
			"name of a partition stands for its last move.",
		.options = no_options,
		.args = "MOVE...",
		.min = 1,
		.max = VERB_ANY,
		.example = "wparctl wait m-1f3a",
		.calls = "GET /v1/moves/{}\nGET /v1/moves/{}/events",
		.run = wait_run,
	},
	{
		.name = "cancel",
		.summary = "cancel moves",
		.form = "(NAME | MOVE)...",
		.text = "Asks relocd to give moves up, on any host; the partitions run on where "
			"they are. A destination that cannot be reached clears what it has when it "
			"is back. To cancel a move twice is fine. After the commit it can no "
			"longer be cancelled (exit code 5).\n"
			"Where a move arrives it can be cancelled also while its source cannot be "
			"reached, until it has all of the partition and has said so: from then on "
			"only the source can take it back (exit code 9).",
		.options = no_options,
		.args = "NAME|MOVE...",
		.min = 1,
		.max = VERB_ANY,
		.example = "wparctl cancel db1",
		.calls = "POST /v1/moves/{}/cancel",
		.run = cancel_run,
	},
	{
		.name = "explain",
		.summary = "say what a move did and what limited it",
		.form = "(NAME | MOVE) [--timeline FILE.svg]",
		.text = "Prints the figures of a move: for each round of pre-copy what was sent, "
			"what the partition wrote meanwhile, how fast it writes and the link "
			"carries, how much of its processors it was left, and the downtime that "
			"this predicts; then what was left for the freeze, its phases, what "
			"limited "
			"it, and what to try. The name of a partition stands for its last move.",
		.options = explain_options,
		.args = "NAME|MOVE",
		.min = 1,
		.max = 1,
		.example = "wparctl explain db1 --timeline db1.svg",
		.calls = "GET /v1/moves/{}",
		.run = explain_run,
	},
	{
		.name = "recover",
		.summary = "decide a move that is in doubt",
		.form = "NAME [--keep HOST --reason TEXT [--peer-is-dead]]",
		.text = "Shows what both sides know of the last move of a partition, and what "
			"relocd proposes to do; changes nothing.\n"
			"With --keep the copy on HOST runs; the other is destroyed first, and its "
			"host must say so. When that host cannot be reached, --peer-is-dead is "
			"needed, and it destroys its copy when it returns. Two copies that run at "
			"the same time damage their data and connections.",
		.options = recover_options,
		.args = "NAME",
		.min = 1,
		.max = 1,
		.example = "wparctl recover db1\n"
			   "wparctl recover db1 --keep hostB --reason 'hostA burnt' --peer-is-dead",
		.calls = "POST /v1/moves/{}/recover",
		.run = recover_run,
	},
	{
		.name = "history",
		.summary = "show who moved what, when, and what came of it",
		.form = "[NAME | MOVE] [--since TIME] [--failed]",
		.text = "Lists the moves of all hosts, the newest first, with who asked for them, "
			"their outcome, downtime, bytes and rounds; and what people decided: "
			"copies "
			"that they kept or gave up, with their reasons. Of a partition NAME it "
			"also "
			"tells when it was created, started, stopped, changed or failed, and by "
			"whom; of a MOVE also how long each phase took. Moves "
			"are kept for good, events as long as retention.events says. relocd(8) "
			"says what --json prints.",
		.options = history_options,
		.args = "NAME|MOVE",
		.min = 0,
		.max = 1,
		.example = "wparctl history db1 --since 7d\nwparctl history --failed\n"
			   "wparctl history m-1f3a09",
		.calls = "GET /v1/history",
		.run = history_run,
	},
	{
		.name = "adopt",
		.summary = "start partitions of a lost host here",
		.form = "(NAME... | --from HOST) --peer-is-dead --reason TEXT",
		.text = "Takes partitions over from a host that is lost, and starts those here "
			"that ran there: anew, from shared storage, as relocd has last heard of "
			"them (seconds before, while the hosts could reach each other). Refused "
			"while their host answers, for what is not on shared storage, and while "
			"another host that may have them cannot be asked.\n"
			"Nobody can check that a host which does not answer is off: two copies "
			"that run at the same time damage their data. When that host returns it "
			"does not start its copies, and kills those that it has; they are "
			"Departed there then.",
		.options = adopt_options,
		.args = "[NAME...]",
		.max = VERB_ANY,
		.example = "wparctl adopt db1 --peer-is-dead --reason 'hostA burnt'\n"
			   "wparctl adopt --from hostA --peer-is-dead --reason 'hostA burnt'",
		.calls = "POST /v1/adopt",
		.run = adopt_run,
	},
	{
		.name = "events",
		.summary = "show what happened",
		.form = "[-f] [--after SEQ]",
		.text = "Prints the events of partitions, moves, hosts and requests, the oldest "
			"first, each with its number; with -f it goes on until it is interrupted, "
			"also over a restart of relocd: none is missed or comes twice. With --json "
			"each is a line. relocd(8) lists them.",
		.options = events_options,
		.example = "wparctl events -f --after 1042",
		.calls = "GET /v1/events",
		.run = events_run,
	},
	{0},
};
