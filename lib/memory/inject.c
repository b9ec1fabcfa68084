// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/inject.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

// linux/ptrace.h cannot be included beside sys/ptrace.h.
#define GET_RSEQ_CONFIGURATION 0x420f // PTRACE_GET_RSEQ_CONFIGURATION, Linux 5.13
struct rseq_configuration {
	uint64_t address;
	uint32_t size, signature, flags, pad;
};

#define SYSCALL_STOP (SIGTRAP | 0x80) // by PTRACE_O_TRACESYSGOOD
#define CODE_64      0x33             // the segment of 64-bit programs
#define SPINS        400              // before a wait begins to sleep
#define NAP_NS       50000
#define CALL_MS      2000 // a thread that was stopped runs again only when it gets a CPU
#define RSEQ_TRIES   1000
#define STATUS_MAX   (64u << 10)

struct inject {
	struct inject_target target;
	struct user_regs_struct regs; // as it shall go on
	uint64_t mask;
	int64_t since;
	bool called;
	bool running; // a call took too long
};

pid_t inject_pid(const struct inject *in)
{
	return in->target.pid;
}

pid_t inject_tid(const struct inject *in)
{
	return in->target.tid;
}

// ---- stops --------------------------------------------------------------------------------------

// 1 and its status: it stopped. 0: it has ended. -1: the deadline has passed. Nothing tells of
// these stops but waitpid(), and they come within microseconds.
static int wait_stop(pid_t tid, deadline_t deadline, int *status)
{
	const struct timespec nap = {0, NAP_NS};
	for (int turn = 0;; turn++) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);
		if (got == tid)
			return WIFSTOPPED(*status);
		if (got < 0 && errno != EINTR)
			return 0;
		if (deadline_passed(deadline))
			return -1;
		if (turn < SPINS)
			sched_yield();
		else
			clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
}

static bool is_event(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

// A signal on its way is handed on; stops of other kinds carry none.
static long signal_in(int status)
{
	return status >> 16 || WSTOPSIG(status) == SYSCALL_STOP ? 0 : WSTOPSIG(status);
}

// Makes the thread stop for us, or, as good, finds it being stopped with its process (SIGSTOP). It
// may stop for something else first, which takes the request away.
static int make_stop(pid_t tid, deadline_t deadline)
{
	int status = 0, got;
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	while ((got = wait_stop(tid, deadline, &status)) > 0 && !is_event(status)) {
		ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
		if (ptrace(PTRACE_CONT, tid, NULL, signal_in(status)) < 0)
			return 0;
	}
	return got;
}

// Waits for the next stop at a system call.
static int wait_syscall(pid_t tid, deadline_t deadline)
{
	int status = 0, got;
	if (ptrace(PTRACE_SYSCALL, tid, NULL, 0) < 0)
		return 0;
	while ((got = wait_stop(tid, deadline, &status)) > 0 && WSTOPSIG(status) != SYSCALL_STOP)
		if (ptrace(PTRACE_SYSCALL, tid, NULL, signal_in(status)) < 0)
			return 0;
	return got;
}

// ---- what the thread was doing ------------------------------------------------------------------

static bool peek(const struct inject *in, uint64_t address, void *to, size_t length)
{
	struct iovec here = {to, length}, there = {(void *)(uintptr_t)address, length};
	return process_vm_readv(in->target.pid, &here, 1, &there, 1, 0) == (ssize_t)length;
}

// In a restartable sequence the kernel would forget that it has to be begun anew.
static bool in_sequence(const struct inject *in)
{
	struct rseq_configuration rseq = {0};
	uint64_t area = 0;
	// rseq(2): struct rseq has the address of struct rseq_cs at 8; that has a 64-bit start at 8
	// and length at 16.
	uint64_t start_length[2];
	if (ptrace(GET_RSEQ_CONFIGURATION, in->target.tid, sizeof(rseq), &rseq) <= 0 ||
	    !rseq.address || !peek(in, rseq.address + 8, &area, sizeof(area)) || !area ||
	    !peek(in, area + 8, start_length, sizeof(start_length)))
		return false;
	return in->regs.rip - start_length[0] < start_length[1];
}

static uint64_t status_mask(const char *status, const char *name)
{
	const char *at = strstr(status, name);
	return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

static bool has_signal(const struct inject *in)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)in->target.pid,
		 (int)in->target.tid);
	_cleanup_free_ char *status = fdio_read_file(AT_FDCWD, path, STATUS_MAX, NULL);
	if (!status)
		return true;
	return (status_mask(status, "\nSigPnd:") | status_mask(status, "\nShdPnd:")) &
	       ~status_mask(status, "\nSigBlk:");
}

// Calls that the kernel does not restart by itself after a stop (signal(7), "Interruption of system
// calls and library functions by stop signals"): they would fail with EINTR although there was no
// signal. Here those that have done nothing yet when they fail so.
static const long unrestarted[] = {
	SYS_epoll_wait,      SYS_epoll_pwait, SYS_epoll_pwait2, SYS_semop,  SYS_semtimedop,
	SYS_rt_sigtimedwait, SYS_recvfrom,    SYS_recvmsg,      SYS_accept, SYS_accept4};

static void restart_call(struct inject *in)
{
	if ((long)in->regs.rax != -EINTR || has_signal(in))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(unrestarted); i++)
		if ((long)in->regs.orig_rax == unrestarted[i]) {
			in->regs.rip -= 2; // the length of the instruction
			in->regs.rax = in->regs.orig_rax;
			in->regs.orig_rax = (uint64_t)-1;
			return;
		}
}

// ---- beginning and end --------------------------------------------------------------------------

static int out_of_time(const struct inject *in, struct error *err)
{
	return error_set(err, ERR_DEADLINE, "thread %d of process %d cannot be stopped",
			 (int)in->target.tid, (int)in->target.pid);
}

static int ended(const struct inject *in, struct error *err)
{
	return error_sys(err, ERR_SYSTEM, ESRCH, "process %d", (int)in->target.pid);
}

// 1: seized. A thread that has ended, but whose process has not, is refused like a traced one.
static int seize(const struct inject *in, struct error *err)
{
	char path[64];
	long options = PTRACE_O_TRACESYSGOOD;
	if (in->target.filtered)
		options |= PTRACE_O_SUSPEND_SECCOMP;
	if (ptrace(PTRACE_SEIZE, in->target.tid, NULL, options) == 0)
		return 1;
	int sys = errno;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)in->target.pid,
		 (int)in->target.tid);
	_cleanup_free_ char *status = fdio_read_file(AT_FDCWD, path, STATUS_MAX, NULL);
	if (sys == ESRCH || !status || strstr(status, "\nState:\tZ") ||
	    strstr(status, "\nState:\tX"))
		return 0;
	return error_sys(err, ERR_UNDUMPABLE, sys, "cannot stop thread %d of process %d%s",
			 (int)in->target.tid, (int)in->target.pid,
			 in->target.filtered ? ", which has a seccomp filter" : "");
}

static int stop(struct inject *in, struct error *err)
{
	pid_t tid = in->target.tid;
	for (int turn = 0; turn < RSEQ_TRIES; turn++) {
		in->since = clock_now_ns();
		int got = make_stop(tid, in->target.deadline);
		if (got <= 0)
			return got < 0 ? out_of_time(in, err) : 0;
		if (ptrace(PTRACE_GETREGS, tid, NULL, &in->regs) < 0)
			return 0;
		if (!in_sequence(in))
			return 1;
		if (ptrace(PTRACE_CONT, tid, NULL, 0) < 0)
			return 0;
	}
	return out_of_time(in, err);
}

// Signals wait, but for SIGKILL and SIGSTOP, which cannot.
static int hold_signals(struct inject *in, struct error *err)
{
	const uint64_t all = ~0ull;
	if (in->regs.cs != CODE_64) {
		ptrace(PTRACE_DETACH, in->target.tid, NULL, 0);
		return error_set(err, ERR_UNDUMPABLE, "process %d is a 32-bit program",
				 (int)in->target.pid);
	}
	if (ptrace(PTRACE_GETSIGMASK, in->target.tid, sizeof(in->mask), &in->mask) < 0 ||
	    ptrace(PTRACE_SETSIGMASK, in->target.tid, sizeof(all), &all) < 0)
		return 0;
	restart_call(in);
	return 1;
}

int inject_begin(const struct inject_target *target, struct inject **out, struct error *err)
{
	_cleanup_free_ struct inject *in = calloc(1, sizeof(*in));
	if (!in)
		return error_set(err, ERR_NOMEM, "no memory to arm a task");
	in->target = *target;
	int got = seize(in, err);
	if (got > 0)
		got = stop(in, err);
	if (got > 0)
		got = hold_signals(in, err);
	if (got > 0)
		*out = take_ptr(in);
	return got;
}

long inject_call(struct inject *in, long number, long argument, struct error *err)
{
	pid_t tid = in->target.tid;
	struct user_regs_struct regs = in->regs;
	regs.rip = in->target.insn;
	regs.rax = (uint64_t)number;
	regs.orig_rax = (uint64_t)-1; // nothing to restart
	regs.rdi = (uint64_t)argument;
	deadline_t deadline = deadline_in_ms(CALL_MS);
	in->called = true;
	int got = ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0 ? 0 : 1;
	for (int stops = 0; got > 0 && stops < 2; stops++) // its entry and its exit
		got = wait_syscall(tid, deadline);
	if (got > 0 && ptrace(PTRACE_GETREGS, tid, NULL, &regs) == 0)
		return (long)regs.rax;
	in->running = got < 0;
	if (got < 0)
		out_of_time(in, err);
	else
		ended(in, err);
	return INJECT_FAILED;
}

// From the exit of a system call the kernel would not look again whether there is a call to be
// restarted; from this stop it does, with the registers that it finds then.
static int settle(const struct inject *in)
{
	pid_t tid = in->target.tid;
	if (in->running)
		return make_stop(tid, deadline_in_ms(CALL_MS));
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	if (ptrace(PTRACE_CONT, tid, NULL, 0) < 0)
		return 0;
	return make_stop(tid, deadline_in_ms(CALL_MS));
}

int inject_end(struct inject *in, uint64_t *stopped_ns, struct error *err)
{
	pid_t tid = in->target.tid;
	bool well = !in->called || settle(in) > 0;
	well = ptrace(PTRACE_SETSIGMASK, tid, sizeof(in->mask), &in->mask) == 0 &&
	       ptrace(PTRACE_SETREGS, tid, NULL, &in->regs) == 0 &&
	       ptrace(PTRACE_DETACH, tid, NULL, 0) == 0 && well;
	*stopped_ns = (uint64_t)(clock_now_ns() - in->since);
	if (!well)
		ended(in, err);
	free(in);
	return well ? 0 : -1;
}
