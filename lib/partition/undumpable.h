// SPDX-License-Identifier: Apache-2.0
// Looks for what CRIU cannot checkpoint in a partition, so that a move is refused with the process,
// the descriptor and the reason, before anything is frozen.
#ifndef WPAR_PARTITION_UNDUMPABLE_H
#define WPAR_PARTITION_UNDUMPABLE_H

#include "lib/base/error.h"
#include "lib/partition/cgroup.h"

#include <stdbool.h>
#include <sys/types.h>

// 0: nothing found in any process of the payload. -1: the first finding as an error for users:
// ERR_IO_URING, ERR_UNDUMPABLE (userfaultfd, perf, bpf, KVM, SCTP, MPTCP, vsock, traced, nested
// namespaces, no descriptor left, shared memory that CRIU would mix up ...), ERR_LOCK_SHARED (a
// lock on a file that the other host sees, too) or ERR_EXEC_SESSION (a process that does not
// descend from init); or ERR_CGROUP, ERR_SYSTEM when it could not look. The pid that is named is
// the one inside the partition. With `sessions` those of exec are passed over: they will be ended
// before the move.
int undumpable_check(struct cgroup *cg, pid_t init, bool sessions, struct error *err);
// The same for these processes (host pids, reordered), init among them. One that has ended is fine.
int undumpable_check_pids(pid_t *pids, size_t count, pid_t init, bool sessions, struct error *err);
// Only ERR_LOCK_SHARED: for when CRIU has found locks in the frozen partition.
int undumpable_check_locks(struct cgroup *cg, pid_t init, struct error *err);
// For when the partition is frozen: ERR_PENDING when a process waits in vfork(2) until its child
// runs a program of its own (posix_spawn(3) does that, too). CRIU could not stop it.
int undumpable_check_vfork(struct cgroup *cg, struct error *err);
// The same for these processes.
int undumpable_check_vfork_pids(const pid_t *pids, size_t count, struct error *err);

#endif
