// SPDX-License-Identifier: Apache-2.0
// Lets a thread of another process run system calls for us (ptrace), and leaves no trace of it.
#ifndef WPAR_MEMORY_INJECT_H
#define WPAR_MEMORY_INJECT_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct inject_target {
	pid_t pid, tid;
	uint64_t insn;       // address of a `syscall` instruction in it
	bool filtered;       // it has a seccomp filter, which is suspended; takes CAP_SYS_ADMIN
	deadline_t deadline; // for stopping it
};

struct inject;

#define INJECT_FAILED LONG_MIN

// Stops the thread. 1: *in is the caller's, and this thread of ours its only user until
// inject_end(). 0: it has ended. -1: it runs on: ERR_DEADLINE when it could not be stopped,
// ERR_UNDUMPABLE when it is traced or of a 32-bit program, ERR_SYSTEM.
int inject_begin(const struct inject_target *target, struct inject **in, struct error *err);

// A call with one argument. Its result (-errno), or INJECT_FAILED with *err.
long inject_call(struct inject *in, long number, long argument, struct error *err);

pid_t inject_pid(const struct inject *in);
pid_t inject_tid(const struct inject *in);

// Puts everything back and lets it run; frees `in`. *stopped_ns: for how long it stood still. -1
// when it could not be put back: it has ended (err->sys is ESRCH, as for inject_call()).
int inject_end(struct inject *in, uint64_t *stopped_ns, struct error *err);

#endif
