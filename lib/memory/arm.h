// SPDX-License-Identifier: Apache-2.0
// Arms a task from outside: makes a userfaultfd for its address space in it and takes it out, so
// that its pages can be protected and written ones be found (scan.h). The task runs two system
// calls, userfaultfd and close, in one of its threads, which stands still for a fraction of a
// millisecond; the others run on.
//
// The thread goes on as if nothing had been: registers, signal mask and an interrupted system call
// are what they were (ptrace(2), "restart_syscall"; signal(7)), signals wait meanwhile, and a
// seccomp filter is suspended. Its disposition of SIGTRAP is not touched, since the calls are
// stopped at by system call stops and not by single steps.
#ifndef WPAR_MEMORY_ARM_H
#define WPAR_MEMORY_ARM_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/memory/scan.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Whether the kernel has userfaultfd with asynchronous write-protection (Linux 6.7).
bool arm_usable(void);

// Arms the address space of a process. 1: armed, *uffd is the caller's (closing it disarms) and
// *stopped_ns how long a thread stood still. 0: the process has ended. -1: it cannot be armed; it
// runs on as before: ERR_UNDUMPABLE (traced by another, a 32-bit program, has no vdso, all its
// descriptors are in use and the limit cannot be raised), ERR_DEADLINE (no thread of it could be
// stopped: all wait in the kernel, or are frozen), ERR_SYSTEM.
int arm_task(pid_t pid, deadline_t deadline, int *uffd, uint64_t *stopped_ns, struct error *err);

// Arms these ranges of whole mappings of shared memory, with a userfaultfd of their own that tells
// of all that happens to them (watch.h, which must take it soon: the process waits for its reader).
// They are registered while its thread stands still, so that no fork is under way of which nothing
// would be told; therefore ERR_UNDUMPABLE for a process with several threads. Else as arm_task().
int arm_watch(pid_t pid, const struct scan_range *ranges, size_t count, deadline_t deadline,
	      int *uffd, uint64_t *stopped_ns, struct error *err);

// Several processes at once, since most of the time is spent waiting until a thread of theirs runs.
struct arm_request {
	pid_t pid;
	// As arm_task() has them:
	int got, uffd;
	uint64_t stopped_ns;
	struct error why;
};

// `ms`: for each of them.
void arm_tasks(struct arm_request *list, size_t count, int ms);

// Lets the process close a descriptor, in the same way. Returns as arm_task().
int arm_strip(pid_t pid, int fd, deadline_t deadline, struct error *err);

// A userfaultfd of our own address space, as arm_task() makes them; -1 with errno.
int arm_self(void);

// Registers a range of whole mappings for write-protection. 0, or an errno: ESRCH when the address
// space is gone, EBUSY when another userfaultfd has it; others mean that this kind of mapping
// cannot be tracked, or has gone.
int arm_register(int uffd, uint64_t start, uint64_t end);

#endif
