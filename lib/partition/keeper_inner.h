// SPDX-License-Identifier: Apache-2.0
// Private to keeper*.c: the keeper's state.
#ifndef WPAR_PARTITION_KEEPER_INNER_H
#define WPAR_PARTITION_KEEPER_INNER_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/console.h"
#include "lib/partition/definition.h"
#include "lib/partition/keeper_client.h"
#include "lib/partition/stage.h"

#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>

#define KEEPER_CONNECTIONS_MAX 16

struct pager;

struct keeper_connection {
	int fd; // -1: free
	bool watching;
};

struct keeper {
	struct partition_def *def;
	int protocol; // KEEPER_PROTOCOL, or an older one that it plays
	bool arriving;
	char run_dir[KEEPER_PATH_MAX], state_dir[KEEPER_PATH_MAX], socket_path[KEEPER_PATH_MAX];

	// held for the partition
	struct stage stage;
	struct cgroup *cg;
	struct cgroup_place *place; // our own groups
	struct console *console;
	int host_netns, netns;
	char ports[DEFINITION_NETWORKS_MAX][IFNAMSIZ];
	size_t port_count;
	bool cgroup_made;
	deadline_t hurry_until; // its interfaces look for neighbours in haste; DEADLINE_NEVER: not
				// known yet, or they do not

	// its init
	enum keeper_state state;
	pid_t pid;
	int pidfd;
	uint64_t start_time;
	int status; // wait(2), once it has exited
	char exit_time[CLOCK_TEXT_MAX];
	int console_fds[2]; // read ends
	uint64_t console_inodes[2];

	// its memory, while not all of it is there
	struct pager *pager; // NULL: it is
	char lost[300];      // why it was killed; "": it was not

	// the loop
	int listener, signals;
	struct keeper_connection connections[KEEPER_CONNECTIONS_MAX];
	bool released; // the coming end of init is a departure
	bool ending;   // leave the loop
};

// keeper_setup.c
int keeper_setup(struct keeper *k, struct error *err);
void keeper_teardown(struct keeper *k);
// Whether its interfaces look for neighbours in haste (neighbour.h). The keeper lives in their
// network namespace.
void keeper_hurry(struct keeper *k, bool hurry);
// The partition runs: in a while the haste ends. Not now: a neighbour that was asked for in vain
// while the port was closed would count as not there, and what waits for it, the first answers to
// its clients, would be dropped.
void keeper_calm_down(struct keeper *k);
// When its time has come.
void keeper_end_hurry(struct keeper *k);

// keeper_init.c: init and its console
int keeper_launch(struct keeper *k, struct error *err);
int keeper_spawn(struct keeper *k, const char *const *argv, const char *const *env, const int *fds,
		 const int *numbers, size_t count, pid_t *pid, struct error *err);
int keeper_take_init(struct keeper *k, pid_t pid, struct error *err);
void keeper_reap(struct keeper *k);
// Moves what waits in a console pipe to the log; closes the pipe at its end.
void keeper_read_console(struct keeper *k, int stream);

// keeper_pager.c: the page server. Its descriptors are duplicated.
int keeper_start_pager(struct keeper *k, int listener, int images, struct error *err);
void keeper_tell_fill(struct keeper *k); // every watcher
void keeper_pager_news(struct keeper *k);
void keeper_pager_ended(struct keeper *k, int status);
// None of the partition's tasks is left.
void keeper_end_pager(struct keeper *k);
json_t *keeper_fill_json(const struct keeper *k); // {"total","left"} in pages, or null

// keeper_ops.c
// Handles one request of a connection and answers it.
void keeper_handle(struct keeper *k, struct keeper_connection *connection, const json_t *request,
		   const int *fds, size_t fd_count);
void keeper_tell_watchers(struct keeper *k, json_t *event); // takes ownership
json_t *keeper_exit_event(const struct keeper *k);

// keeper_mounts.c
// {"dump":[...],"restore":[...],"root":...} for CRIU.
json_t *keeper_mounts_json(const struct keeper *k, struct error *err);

#endif
