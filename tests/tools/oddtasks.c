// SPDX-License-Identifier: Apache-2.0
// Tasks that are hard to copy while they run, each with memory that it writes and checks all the
// time (tests/tools/pages.h), to see whether a move keeps it byte-exact.
//
// usage: oddtasks KIND[,KIND...] MIB FILE        (MIB of each)
//   threads   threads come and end all the time; each writes a page
//   stopped   is stopped (SIGSTOP) most of the time
//   execs     runs itself anew after each few passes
//   forks     each generation forks the next one and ends: a chain of children
//   spawns    starts programs by posix_spawn(3), which stands still in vfork(2) meanwhile
//   strict    in seccomp's strict mode: it can do nothing but read and write
//   nofiles   has as many files open as it may
//   private   may not be looked at (PR_SET_DUMPABLE 0)
//   droppable memory that the kernel may take away (MAP_DROPPABLE); its pages may be zeroes
//   readonly  FILE.map mapped shared, for reading only
//   direct    reads FILE.direct into its memory past the page cache (O_DIRECT)
// Each is a child of the first process, which reports.
#include "tests/tools/pages.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define PROGRESS_FD   70 // of those that run themselves anew
#define PAUSE_US      5000
#define EXEC_PASSES   20
#define FORK_PASSES   20
#define MAP_DROPPABLE 0x08 // Linux 6.11

static size_t pages;
static char side_file[300]; // FILE with a suffix

static const char *beside(const char *suffix)
{
	snprintf(side_file, sizeof(side_file), "%s.%s", report_path, suffix);
	return side_file;
}

static void fill(struct area *a, int slot, int flags)
{
	*a = (struct area){
		.memory = map(pages * PAGE, flags | MAP_ANONYMOUS, -1),
		.versions = map(pages * sizeof(*a->versions), MAP_PRIVATE | MAP_ANONYMOUS, -1),
		.pages = pages,
		.seed = mix((uint64_t)slot + 1)};
	for (size_t page = 0; page < pages; page++)
		write_page(a, page, false);
}

// Checks all, writes some. False when something is wrong.
static bool pass(struct area *a, int slot)
{
	static __thread uint64_t turn;
	if (!check_area(&progress[slot], a))
		return false;
	for (size_t page = turn++ % 31; page < pages; page += 31)
		write_page(a, page, page % 2);
	atomic_fetch_add(&progress[slot].passes, 1);
	return true;
}

static _Noreturn void passes(struct area *a, int slot)
{
	while (pass(a, slot))
		usleep(PAUSE_US);
	for (;;)
		pause();
}

// ---- the kinds
static struct area thread_area;

static void *write_one(void *arg)
{
	write_page(&thread_area, (size_t)(uintptr_t)arg, false);
	return NULL;
}

static void run_threads(int slot)
{
	fill(&thread_area, slot, MAP_PRIVATE);
	for (size_t turn = 0; pass(&thread_area, slot); turn += 8) {
		pthread_t thread[8];
		for (size_t i = 0; i < 8; i++)
			if (pthread_create(&thread[i], NULL, write_one,
					   (void *)(uintptr_t)((turn + i) % pages)))
				die("pthread_create");
		for (size_t i = 0; i < 8; i++)
			pthread_join(thread[i], NULL);
	}
}

static void run_plain(int slot)
{
	struct area a;
	fill(&a, slot, MAP_PRIVATE);
	passes(&a, slot);
}

static void run_stopped(int slot)
{
	pid_t pid = fork();
	if (pid == 0)
		run_plain(slot);
	for (;;) {
		usleep(100000);
		kill(pid, SIGSTOP);
		usleep(400000);
		kill(pid, SIGCONT);
	}
}

// The progress goes on in what is run next, by a descriptor.
static void run_execs(int slot)
{
	struct area a;
	char number[16];
	fill(&a, slot, MAP_PRIVATE);
	for (int i = 0; i < EXEC_PASSES && pass(&a, slot); i++)
		usleep(PAUSE_US);
	while (atomic_load(&progress[slot].failed))
		pause();
	snprintf(number, sizeof(number), "%d", slot);
	char size[16];
	snprintf(size, sizeof(size), "%zu", pages);
	execl("/proc/self/exe", "oddtasks", "again", size, number, NULL);
	die("exec");
}

static void run_forks(int slot)
{
	struct area a;
	fill(&a, slot, MAP_PRIVATE);
	for (;;) {
		for (int i = 0; i < FORK_PASSES && pass(&a, slot); i++)
			usleep(PAUSE_US);
		while (atomic_load(&progress[slot].failed))
			pause();
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (pid > 0)
			_exit(0);
	}
}

static void run_spawns(int slot)
{
	struct area a;
	char *const arguments[] = {"oddtasks", "nothing", NULL};
	pid_t pid;
	fill(&a, slot, MAP_PRIVATE);
	while (pass(&a, slot)) {
		if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, NULL) != 0)
			die("posix_spawn");
		waitpid(pid, NULL, 0);
	}
}

// It may not sleep: it waits for a byte of its parent before each pass.
static void run_strict(int slot)
{
	struct area a;
	int ends[2];
	char byte = 0;
	fill(&a, slot, MAP_PRIVATE);
	pass(&a, slot); // opens its pipe
	if (pipe2(ends, O_CLOEXEC) < 0)
		die("pipe");
	if (fork() > 0) {
		while (write(ends[1], &byte, 1) == 1)
			usleep(PAUSE_US);
		return;
	}
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
		die("seccomp");
	while (read(ends[0], &byte, 1) == 1)
		if (!pass(&a, slot))
			break;
	syscall(SYS_exit, 0);
}

static void run_nofiles(int slot)
{
	struct area a;
	const struct rlimit limit = {24, 64};
	fill(&a, slot, MAP_PRIVATE);
	pass(&a, slot); // opens its pipe
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("setrlimit");
	while (dup(0) >= 0)
		;
	passes(&a, slot);
}

static void run_private(int slot)
{
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		die("prctl");
	run_plain(slot);
}

// A page of it is whole, or all zeroes: then it is written anew.
static void run_droppable(int slot)
{
	static const uint64_t nothing[WORDS];
	struct area a;
	fill(&a, slot, MAP_DROPPABLE);
	for (;;) {
		for (size_t page = 0; page < pages; page++)
			if (!memcmp(a.memory + page * WORDS, nothing, PAGE))
				write_page(&a, page, false);
		if (!pass(&a, slot))
			break;
		usleep(PAUSE_US);
	}
}

// Makes the file, with pages of version 2, and opens it as it is to be used.
static int side(const char *suffix, int slot, int flags, struct area *a)
{
	fill(a, slot, MAP_PRIVATE);
	int fd = open(beside(suffix), O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, a->memory, pages * PAGE) != (ssize_t)(pages * PAGE) ||
	    fsync(fd) < 0)
		die(side_file);
	close(fd);
	fd = open(side_file, O_RDONLY | O_CLOEXEC | flags);
	if (fd < 0)
		die(side_file);
	return fd;
}

static void run_readonly(int slot)
{
	struct area a;
	int fd = side("map", slot, 0, &a);
	a.memory = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (a.memory == MAP_FAILED)
		die("mmap");
	while (check_area(&progress[slot], &a)) {
		atomic_fetch_add(&progress[slot].passes, 1);
		usleep(PAUSE_US);
	}
}

// Sixteen pages at once land anywhere in its memory: page N of it has page N of the file, or what
// stood there before.
static void run_direct(int slot)
{
	struct area a;
	int fd = side("direct", slot, O_DIRECT, &a);
	const size_t many = 16;
	for (uint64_t turn = 0;; turn++) {
		size_t page = mix(turn) % (pages - many);
		memset(a.memory + page * WORDS, (int)turn | 1, many * PAGE);
		if (pread(fd, a.memory + page * WORDS, many * PAGE, (off_t)(page * PAGE)) !=
		    (ssize_t)(many * PAGE))
			die(side_file);
		if (turn % 64)
			continue;
		if (!check_area(&progress[slot], &a))
			break;
		atomic_fetch_add(&progress[slot].passes, 1);
		usleep(PAUSE_US);
	}
}

static const struct {
	const char *name;
	void (*run)(int slot);
} kinds[] = {{"threads", run_threads},   {"stopped", run_stopped}, {"execs", run_execs},
	     {"forks", run_forks},       {"spawns", run_spawns},   {"strict", run_strict},
	     {"nofiles", run_nofiles},   {"private", run_private}, {"droppable", run_droppable},
	     {"readonly", run_readonly}, {"direct", run_direct}};

static void begin(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, name) != 0)
			continue;
		int slot = n_workers++;
		if (slot == WORKERS || fork() > 0)
			return;
		kinds[i].run(slot);
		for (;;)
			pause();
	}
	fprintf(stderr, "oddtasks: no kind %s\n", name);
	exit(2);
}

static void open_progress(int fd)
{
	const size_t bytes = WORKERS * sizeof(*progress);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
	    (fd != PROGRESS_FD && dup2(fd, PROGRESS_FD) < 0))
		die("memfd");
	progress = map(bytes, MAP_SHARED, PROGRESS_FD);
}

static void reap(int signal)
{
	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "nothing"))
		return 0;
	if (argc == 4 && !strcmp(argv[1], "again")) {
		open_progress(PROGRESS_FD);
		pages = (size_t)atol(argv[2]);
		run_execs(atoi(argv[3]));
	}
	if (argc != 4 || atol(argv[2]) < 1) {
		fprintf(stderr, "usage: oddtasks KIND[,KIND...] MIB FILE\n");
		return 2;
	}
	pages = ((size_t)atol(argv[2]) << 20) / PAGE;
	report_path = argv[3];
	open_progress(memfd_create("progress", 0));
	n_workers = 0;
	for (char *name = strtok(argv[1], ","); name; name = strtok(NULL, ","))
		begin(name);
	// Of `forks` a generation ends up as a child of the first process of a partition.
	sigaction(SIGCHLD, &(struct sigaction){.sa_handler = reap, .sa_flags = SA_RESTART}, NULL);
	for (;; usleep(20000))
		report();
}
