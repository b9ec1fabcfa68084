// SPDX-License-Identifier: Apache-2.0
// Talks to the keeper of a partition: relocd, departure and arrival use these, never the messages
// themselves. A connection (an ordinary descriptor, close(2) it) carries any number of calls, one
// after the other; use one of its own for keeper_watch.
#ifndef WPAR_PARTITION_KEEPER_CLIENT_H
#define WPAR_PARTITION_KEEPER_CLIENT_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/partition/definition.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// What keeper and client speak: 2 added "hello" and "definition", 3 "page" and "fill". Both serve
// the versions before, so that a new relocd works with the keepers that its predecessors started.
#define KEEPER_PROTOCOL 3
#define KEEPER_OLDEST   1

#define KEEPER_CALL_MS     10000 // the deadline of each call below
#define KEEPER_PATH_MAX    512
#define KEEPER_CRIU_STDOUT 90 // numbers of the console's write ends inside criu, for inherit_fd
#define KEEPER_CRIU_STDERR 91
#define KEEPER_TREES_MAX   15
// In RUN/partitions/NAME: what the definition made of the network namespace (lib/net/contents.h)
#define KEEPER_CONTENTS "network.json"

enum keeper_state { KEEPER_IDLE, KEEPER_RUNNING, KEEPER_EXITED };

struct keeper_status {
	enum keeper_state state;
	pid_t keeper_pid;
	pid_t pid;           // host pid of init; 0 when none
	uint64_t start_time; // of init, in clock ticks since boot (field 22 of /proc/PID/stat)
	int pidfd;           // of init, the caller's; -1 when not running
	int exit_code;       // of an init that has exited; -1: none
	int exit_signal;     // that killed it; 0: none
	char exit_time[CLOCK_TEXT_MAX]; // RFC 3339; "" when it has not exited
	uint64_t stdio[2];              // inodes of the pipes behind stdout and stderr: pipe:[N]
	char ports[DEFINITION_NETWORKS_MAX][16]; // host interface of each network
	size_t port_count;
	uint64_t netns_ino;
	// Pages of a restore on demand, and how many of them are not there yet; 0, 0: none is under
	// way.
	uint64_t fill_total, fill_left;
};

struct keeper_trees {
	size_t count;
	char names[KEEPER_TREES_MAX][32];
	int fds[KEEPER_TREES_MAX]; // directories; the caller closes them (keeper_trees_close)
};

// RUN/partitions/NAME/keeper.sock
char *keeper_socket_path(const char *name, char path[KEEPER_PATH_MAX]);
// RUN/partitions/NAME and STATE/partitions/NAME
char *keeper_run_dir(const char *name, char path[KEEPER_PATH_MAX]);
char *keeper_state_dir(const char *name, char path[KEEPER_PATH_MAX]);

// Starts libexec/keeper and waits until it has prepared network, mounts and groups (nothing runs
// yet: keeper_run). With `arriving` the ports stay disabled. *pid may be NULL; the keeper is a
// child of the caller: reap it, or let init do so. Errors of the preparation come back as they are.
int keeper_start(const struct partition_def *def, bool arriving, pid_t *pid, struct error *err);
// A connection; ERR_UNREACHABLE when no keeper listens.
int keeper_connect(const char *name, struct error *err);

struct keeper_hello {
	int protocol, oldest; // what it speaks; 1, 1 for one that does not know the question
	char version[32];     // of the program; "" for one that does not know the question
};
// Who keeps: fails (ERR_VERSION) when keeper and client have no version in common.
int keeper_hello(int conn, struct keeper_hello *hello, struct error *err);
// What it was started with; the caller's. ERR_VERSION from a keeper of protocol 1, as from every
// call below that an older keeper does not know.
json_t *keeper_definition(int conn, struct error *err);

int keeper_status(int conn, struct keeper_status *status, struct error *err);
int keeper_run(int conn, struct error *err);
int keeper_signal(int conn, int signal, struct error *err);
// From now on the connection only delivers events, to be read with chan_recv:
// {"event":"exit","code":n|null,"signal":n|null,"lost":why, where it had to be killed},
// {"event":"child","pid":n,"code":..,"signal":..} (a criu that ended), and
// {"event":"fill","fill":{"total":pages,"left":pages}|null} as a restore on demand goes on. An init
// that has exited already is reported at once.
int keeper_watch(int conn, struct error *err);

// External mounts as CRIU wants them, NULL-terminated: dump "mnt[/dev]:dev", restore
// "mnt[dev]:/run/..."; and the path of the root in the keeper's mount namespace (where criu runs).
// `dump` is empty while no init runs. The answer owns the strings: keep it, json_decref it.
struct keeper_externals {
	json_t *answer;
	const char **dump, **restore;
	const char *root;
};
int keeper_externals(int conn, struct keeper_externals *externals, struct error *err);
void keeper_externals_free(struct keeper_externals *externals);

// The volatile folders (/run, /tmp, /dev/shm, tmpfs mounts) whose contents travel in a move.
int keeper_trees(int conn, struct keeper_trees *trees, struct error *err);
void keeper_trees_close(struct keeper_trees *trees);
// Mounts the root that is made of an image, whose upper layer has arrived.
int keeper_mount_root(int conn, struct error *err);
// A descriptor of the partition's network namespace, or -1.
int keeper_netns(int conn, struct error *err);
// Everything that waits in the stdio pipes is in the console log (use while frozen).
int keeper_drain(int conn, struct error *err);

// Starts argv (criu swrk N ...) as the keeper's own child: in the partition's network namespace and
// the keeper's mount namespace, in a cgroup namespace rooted at the payload, but itself outside of
// the partition's groups. fds[i] becomes number numbers[i] in it; 90 and 91 are write ends of fresh
// console pipes. env: extra "KEY=value", may be NULL. *pid is its host pid.
int keeper_spawn_criu(int conn, const char *const *argv, const char *const *env, const int *fds,
		      const int *numbers, size_t count, pid_t *pid, struct error *err);
// Starts the page server of a restore on demand (lib/memory/pager.h): CRIU will connect to
// `listener`, `images` is the folder with what it takes pages from. ERR_VERSION: an older keeper.
int keeper_page(int conn, int listener, int images, struct error *err);
// The restored tasks run: what they have not touched is filled from now on. Without a page server
// there is nothing to do.
int keeper_fill(int conn, struct error *err);
// The restored root task is the init from now on.
int keeper_adopt(int conn, pid_t pid, struct error *err);
// The coming death of init is a departure: after it the keeper takes everything down and exits.
int keeper_release(int conn, struct error *err);
// Ends the keeper and all it holds; ERR_WRONG_STATE while init runs.
int keeper_quit(int conn, struct error *err);
// Waits until the keeper of NAME is gone (its socket is closed): 0, or ERR_DEADLINE.
int keeper_wait_gone(int conn, deadline_t deadline, struct error *err);

// The last exit status, kept on disk for when the keeper is gone
// (STATE/partitions/NAME/exit.json): {"code":n|null,"signal":n|null,"time":RFC3339}; NULL: none.
json_t *keeper_last_exit(const char *name);

#endif
