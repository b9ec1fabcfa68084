// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/arm.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/memory/inject.h"
#include "lib/memory/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

// linux/userfaultfd.h of Debian 12 is older than these.
#define FEATURE_WP_HUGETLBFS_SHMEM (1u << 12)
#define FEATURE_WP_UNPOPULATED     (1u << 13)
#define FEATURE_WP_ASYNC           (1u << 15)
#define FEATURES                                                                                \
	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | FEATURE_WP_HUGETLBFS_SHMEM | FEATURE_WP_UNPOPULATED | \
	 FEATURE_WP_ASYNC)
#define EVENTS                                                                            \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | \
	 UFFD_FEATURE_EVENT_UNMAP)
// Without it an unprivileged task may not; what the kernel itself writes is tracked all the same.
#define USER_MODE_ONLY 1

#define VDSO_MAX   (64u << 10)
#define STATUS_MAX (64u << 10)
#define THREAD_MS  100 // how long a thread has to stop before another one is tried
#define MORE_FILES 8
#define AT_ONCE    16 // processes

static int negotiate(int uffd, uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	return ioctl(uffd, UFFDIO_API, &api);
}

int arm_self(void)
{
	_cleanup_close_ int uffd =
		(int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
	return uffd >= 0 && negotiate(uffd, FEATURES) == 0 ? take_fd(&uffd) : -1;
}

bool arm_usable(void)
{
	_cleanup_close_ int uffd = arm_self();
	return uffd >= 0;
}

int arm_register(int uffd, uint64_t start, uint64_t end)
{
	struct uffdio_register what = {.range = {start, end - start},
				       .mode = UFFDIO_REGISTER_MODE_WP};
	return ioctl(uffd, UFFDIO_REGISTER, &what) < 0 ? errno : 0;
}

// ---- what is found out before anything is stopped -----------------------------------------------

struct target {
	pid_t pid;
	int folder;    // /proc/PID
	bool filtered; // seccomp
	uint64_t insn; // of a system call
	deadline_t deadline;
	int strip; // a descriptor that is to be closed, and no more; -1: to be armed
	const struct scan_range *ranges; // to be registered at once, with events; NULL: none
	size_t count;
};

static long status_number(const char *status, const char *name)
{
	const char *at = strstr(status, name);
	return at ? strtol(at + strlen(name), NULL, 10) : 0;
}

static bool has_memory(const struct target *t)
{
	_cleanup_free_ char *status =
		t->folder < 0 ? NULL : fdio_read_file(t->folder, "status", STATUS_MAX, NULL);
	return status && strstr(status, "\nVmSize:");
}

// 1, or 0 when it has ended.
static int look(struct target *t, struct error *err)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d", (int)t->pid);
	t->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *status =
		t->folder < 0 ? NULL : fdio_read_file(t->folder, "status", STATUS_MAX, NULL);
	if (!status)
		return 0;
	if (!strstr(status, "\nVmSize:"))
		return 0;
	long tracer = status_number(status, "\nTracerPid:");
	if (tracer)
		return error_set(err, ERR_UNDUMPABLE, "process %d is traced by process %ld",
				 (int)t->pid, tracer);
	t->filtered = status_number(status, "\nSeccomp:") != 0;
	return 1;
}

static uint64_t find_in_vdso(const struct target *t, const struct vma *vdso)
{
	static const uint8_t insn[] = {0x0f, 0x05};
	uint8_t code[VDSO_MAX];
	size_t length = vdso->end - vdso->start;
	_cleanup_close_ int mem = openat(t->folder, "mem", O_RDONLY | O_CLOEXEC);
	ssize_t n = mem < 0 ? -1
			    : pread(mem, code, length < sizeof(code) ? length : sizeof(code),
				    (off_t)vdso->start);
	void *at = n > 0 ? memmem(code, (size_t)n, insn, sizeof(insn)) : NULL;
	return at ? vdso->start + (uint64_t)((uint8_t *)at - code) : 0;
}

// The vdso is the one piece of code that every task has and cannot write to.
static int find_insn(struct target *t, struct error *err)
{
	_cleanup_maps_ struct maps maps;
	if (maps_read(t->folder, &maps, err) < 0)
		return -1;
	for (size_t i = 0; i < maps.count && !t->insn; i++)
		if (maps.list[i].kind == VMA_SPECIAL && maps.list[i].execute)
			t->insn = find_in_vdso(t, &maps.list[i]);
	return t->insn ? 0
		       : error_set(err, ERR_UNDUMPABLE, "process %d has no vdso to call from",
				   (int)t->pid);
}

// ---- the calls ----------------------------------------------------------------------------------

// A task that has used up its descriptors gets a few more for a moment.
static long make_with_more_files(struct inject *in, struct error *err)
{
	struct rlimit was, more;
	if (prlimit(inject_pid(in), RLIMIT_NOFILE, NULL, &was) < 0)
		return -EMFILE;
	more = was;
	more.rlim_cur += MORE_FILES;
	if (more.rlim_max < more.rlim_cur)
		more.rlim_max = more.rlim_cur;
	if (prlimit(inject_pid(in), RLIMIT_NOFILE, &more, NULL) < 0)
		return -EMFILE;
	long fd = inject_call(in, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY, err);
	prlimit(inject_pid(in), RLIMIT_NOFILE, &was, NULL);
	return fd;
}

// pidfds of single threads are younger (6.9) than all else here; threads that do not share
// their descriptors with the first one are rare.
static int take(const struct inject *in, long fd)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, inject_tid(in), O_EXCL);
	if (pidfd < 0)
		pidfd = (int)syscall(SYS_pidfd_open, inject_pid(in), 0);
	return pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, (int)fd, 0);
}

static int make(struct inject *in, struct error *err)
{
	long fd = inject_call(in, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY, err);
	if (fd == -EMFILE)
		fd = make_with_more_files(in, err);
	if (fd == -EMFILE)
		return error_set(err, ERR_UNDUMPABLE,
				 "process %d uses all descriptors that its limit allows",
				 (int)inject_pid(in));
	if (fd == INJECT_FAILED)
		return -1;
	if (fd < 0)
		return error_sys(err, ERR_SYSTEM, (int)-fd, "process %d cannot make a userfaultfd",
				 (int)inject_pid(in));
	int mine = take(in, fd);
	int sys = errno;
	// It must not stay there: CRIU would refuse the task.
	if (inject_call(in, SYS_close, fd, err) == INJECT_FAILED) {
		if (mine >= 0)
			close(mine);
		return -1;
	}
	if (mine < 0)
		error_sys(err, ERR_SYSTEM, sys, "cannot take a descriptor from process %d",
			  (int)inject_pid(in));
	return mine;
}

static int register_ranges(const struct target *t, int uffd, struct error *err)
{
	int sys = negotiate(uffd, FEATURES | EVENTS) < 0 ? errno : 0;
	for (size_t i = 0; i < t->count && !sys; i++)
		sys = arm_register(uffd, t->ranges[i].start, t->ranges[i].end);
	return sys ? error_sys(err, ERR_SYSTEM, sys,
			       "the kernel cannot track shared memory of process %d", (int)t->pid)
		   : 0;
}

// One thread, which stands still: it starts no other one meanwhile.
static int make_and_register(const struct target *t, struct inject *in, struct error *err)
{
	_cleanup_free_ char *status = fdio_read_file(t->folder, "status", STATUS_MAX, err);
	if (!status)
		return -1;
	if (status_number(status, "\nThreads:") != 1)
		return error_set(err, ERR_UNDUMPABLE, "process %d has several threads",
				 (int)t->pid);
	_cleanup_close_ int uffd = make(in, err);
	return uffd < 0 || register_ranges(t, uffd, err) < 0 ? -1 : take_fd(&uffd);
}

static int make_or_strip(const struct target *t, struct inject *in, struct error *err)
{
	if (t->ranges)
		return make_and_register(t, in, err);
	if (t->strip < 0)
		return make(in, err);
	return inject_call(in, SYS_close, t->strip, err) == INJECT_FAILED ? -1 : 0;
}

// ---- one thread after another -------------------------------------------------------------------

struct attempt {
	const struct target *target;
	pid_t tid;
	int *uffd;
	uint64_t *stopped_ns;
	struct error *err;
	int got;
};

static int arm_thread(const struct target *t, pid_t tid, int *uffd, uint64_t *stopped_ns,
		      struct error *err)
{
	const struct inject_target what = {
		.pid = t->pid,
		.tid = tid,
		.insn = t->insn,
		.filtered = t->filtered,
		.deadline = deadline_earlier(t->deadline, deadline_in_ms(THREAD_MS))};
	struct inject *in;
	int got = inject_begin(&what, &in, err);
	if (got <= 0)
		return got;
	int made = make_or_strip(t, in, err);
	_cleanup_close_ int uffd_made = t->strip < 0 ? made : -1;
	if (inject_end(in, stopped_ns, made < 0 ? NULL : err) < 0 || made < 0)
		return -1;
	if (t->strip >= 0)
		return 1;
	if (!t->ranges && negotiate(uffd_made, FEATURES) < 0)
		return error_sys(err, ERR_SYSTEM, errno,
				 "the kernel cannot track pages of process %d", (int)t->pid);
	*uffd = take_fd(&uffd_made);
	return 1;
}

static void *attempt_main(void *arg)
{
	struct attempt *a = arg;
	// A thread that we have stopped waits for us, whoever else we step back for. No more than
	// that: the two take turns.
	setpriority(PRIO_PROCESS, 0, 0);
	a->got = arm_thread(a->target, a->tid, a->uffd, a->stopped_ns, a->err);
	return NULL;
}

// In a thread of ours, since only the end of its tracer frees a thread that does not stop.
static int attempt(struct attempt *a)
{
	pthread_t thread;
	sigset_t all, was;
	// Signals of this process are for its other threads.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	int failed = pthread_create(&thread, NULL, attempt_main, a);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (failed)
		return error_sys(a->err, ERR_SYSTEM, failed, "cannot start a thread");
	pthread_join(thread, NULL);
	return a->got;
}

// The first that can be stopped. One waits in the kernel, uninterruptibly, after vfork(2) or in
// I/O; any other will do.
static int arm_any(const struct target *t, int *uffd, uint64_t *stopped_ns, struct error *err)
{
	int got = 0;
	int folder = openat(t->folder, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir))) {
		error_clear(err);
		struct attempt a = {t, (pid_t)atoi(entry->d_name), uffd, stopped_ns, err, 0};
		got = attempt(&a);
		if (got > 0 || (got < 0 && err->id != ERR_DEADLINE) || deadline_passed(t->deadline))
			return got;
	}
	return got;
}

static int arm_now(struct target *t, int *uffd, uint64_t *stopped_ns, struct error *err)
{
	int there = look(t, err);
	if (there <= 0)
		return there;
	if (find_insn(t, err) < 0)
		return -1;
	int got;
	// On a busy host it may take longer than that until any thread gets to run, and to stop.
	do {
		got = arm_any(t, uffd, stopped_ns, err);
	} while (got < 0 && err->id == ERR_DEADLINE && !deadline_passed(t->deadline));
	return got;
}

static int run(struct target *t, int *uffd, uint64_t *stopped_ns, struct error *err)
{
	struct error why = {0};
	*uffd = -1;
	*stopped_ns = 0;
	int got = arm_now(t, uffd, stopped_ns, &why);
	// What has ended meanwhile fails in many ways.
	if (got < 0 && (why.sys == ESRCH || !has_memory(t)))
		got = 0;
	if (t->folder >= 0)
		close(t->folder);
	if (got < 0 && err)
		*err = why;
	return got;
}

int arm_task(pid_t pid, deadline_t deadline, int *uffd, uint64_t *stopped_ns, struct error *err)
{
	struct target t = {.pid = pid, .folder = -1, .deadline = deadline, .strip = -1};
	return run(&t, uffd, stopped_ns, err);
}

int arm_watch(pid_t pid, const struct scan_range *ranges, size_t count, deadline_t deadline,
	      int *uffd, uint64_t *stopped_ns, struct error *err)
{
	struct target t = {.pid = pid,
			   .folder = -1,
			   .deadline = deadline,
			   .strip = -1,
			   .ranges = ranges,
			   .count = count};
	return run(&t, uffd, stopped_ns, err);
}

struct crew {
	struct arm_request *list;
	size_t count;
	atomic_size_t next;
	int ms;
};

static void *crew_main(void *arg)
{
	struct crew *c = arg;
	size_t i;
	while ((i = atomic_fetch_add(&c->next, 1)) < c->count) {
		struct arm_request *r = &c->list[i];
		r->got = arm_task(r->pid, deadline_in_ms(c->ms), &r->uffd, &r->stopped_ns, &r->why);
	}
	return NULL;
}

// The caller is one of those who do it: others may not be had.
void arm_tasks(struct arm_request *list, size_t count, int ms)
{
	struct crew crew = {.list = list, .count = count, .ms = ms};
	pthread_t threads[AT_ONCE - 1];
	size_t started = 0;
	sigset_t all, was;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	while (started < AT_ONCE - 1 && started + 1 < count &&
	       pthread_create(&threads[started], NULL, crew_main, &crew) == 0)
		started++;
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	crew_main(&crew);
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
}

int arm_strip(pid_t pid, int fd, deadline_t deadline, struct error *err)
{
	int uffd;
	uint64_t stopped_ns;
	struct target t = {.pid = pid, .folder = -1, .deadline = deadline, .strip = fd};
	return run(&t, &uffd, &stopped_ns, err);
}
