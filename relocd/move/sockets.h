// SPDX-License-Identifier: Apache-2.0
// Names of UNIX sockets on storage that both hosts see. CRIU unlinks them at the destination and
// binds anew: after an abort the source's socket would have no name any more. So each gets a second
// name for the time of the move, noted in a journal that outlives this process.
//
//     departure:  sockets_keep (frozen), sockets_aside (dumped) ... sockets_forget (released)
//       aborted:  sockets_restore (frozen), thaw, the peer is done: sockets_restore, sockets_forget
//     relocd, when the departure has died: sockets_undo or sockets_forget by its decision
#ifndef RELOCD_MOVE_SOCKETS_H
#define RELOCD_MOVE_SOCKETS_H

#include "lib/base/error.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/definition.h"

#include <stdbool.h>
#include <stddef.h>

// Finds them all and writes the journal; *count: how many. `diag` as from backlog_open.
// ERR_SOCKET_PATH names one whose folder is neither in the root filesystem nor in a volume.
int sockets_keep(int diag, struct cgroup *cg, pid_t init, const struct partition_def *def,
		 const char *move, size_t *count, struct error *err);

// Gives each its second name, when CRIU has seen the first and before the destination may take it.
int sockets_aside(const char *move, struct error *err);

// Gives each name back to its socket, if another one has it; what is a socket of the namespace of
// `diag` already stays (-1: nothing does). The second names stay, too. Without a journal: 0.
int sockets_restore(const char *move, int diag, struct error *err);

// Removes second names and journal, after either end. Logs what fails.
void sockets_forget(const char *move);

// After the death of a departure that did not commit; the partition is still frozen.
void sockets_undo(const char *move);

#endif
