// SPDX-License-Identifier: Apache-2.0
// Finding what CRIU cannot checkpoint, in processes that really have it: an init and its child.
#include "lib/base/cleanup.h"
#include "lib/partition/undumpable.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FD            77 // of what is found
#define UFFD_USER     1  // UFFD_USER_MODE_ONLY of linux/userfaultfd.h, 5.11
#define MPTCP         262
#define SECRET_LENGTH 4096
#define PLAIN_TESTS   7 // besides findings

// ---- what a process may have: each returns 0, or -1 with errno where it cannot be had ----------

static int keep(long fd)
{
	return fd < 0 || dup2((int)fd, FD) < 0 || close((int)fd) < 0 ? -1 : 0;
}

static int nothing_special(void)
{
	return keep(open("/dev/null", O_RDWR | O_CLOEXEC));
}

static int io_uring(void)
{
	struct io_uring_params params = {.flags = 0};
	return keep(syscall(SYS_io_uring_setup, 4, &params));
}

static int io_uring_mapped(void)
{
	if (io_uring() < 0)
		return -1;
	void *ring = mmap(NULL, 4096, PROT_READ, MAP_SHARED, FD, IORING_OFF_SQ_RING);
	return ring == MAP_FAILED || close(FD) < 0 ? -1 : 0;
}

static int user_faults(void)
{
	return keep(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER));
}

static int secret_memory(void)
{
	return keep(syscall(SYS_memfd_secret, 0));
}

static int secret_memory_mapped(void)
{
	if (secret_memory() < 0 || ftruncate(FD, SECRET_LENGTH) < 0)
		return -1;
	void *memory = mmap(NULL, SECRET_LENGTH, PROT_READ, MAP_SHARED, FD, 0);
	return memory == MAP_FAILED || close(FD) < 0 ? -1 : 0;
}

// The next SysV segment gets the number of a memfd: takes CAP_CHECKPOINT_RESTORE.
static int make_same_number(void)
{
	struct stat st;
	if (keep(memfd_create("of a test", MFD_CLOEXEC)) < 0 || fstat(FD, &st) < 0)
		return -1;
	FILE *next = fopen("/proc/sys/kernel/shm_next_id", "we");
	if (!next)
		return -1;
	fprintf(next, "%llu", (unsigned long long)st.st_ino);
	if (fclose(next) != 0)
		return -1;
	int id = shmget(IPC_PRIVATE, SECRET_LENGTH, IPC_CREAT | 0600);
	void *memory = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (id >= 0)
		shmctl(id, IPC_RMID, NULL);
	if (memory == (void *)-1)
		return -1;
	errno = EEXIST;
	return (ino_t)id == st.st_ino ? 0 : -1;
}

static int same_number_mapped(void)
{
	if (make_same_number() < 0 || ftruncate(FD, SECRET_LENGTH) < 0)
		return -1;
	void *memory = mmap(NULL, SECRET_LENGTH, PROT_READ, MAP_SHARED, FD, 0);
	return memory == MAP_FAILED || close(FD) < 0 ? -1 : 0;
}

static int no_descriptors(void)
{
	const struct rlimit limit = {64, 64};
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -1;
	while (dup(0) >= 0)
		;
	return 0;
}

static int landlock(void)
{
	uint64_t handled = 1; // executing files
	return keep(syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0));
}

static int perf(void)
{
	struct perf_event_attr what = {.type = PERF_TYPE_SOFTWARE,
				       .size = sizeof(what),
				       .config = PERF_COUNT_SW_TASK_CLOCK,
				       .exclude_kernel = 1};
	return keep(syscall(SYS_perf_event_open, &what, 0, -1, -1, 0));
}

static int bpf_map(void)
{
	union bpf_attr map;
	memset(&map, 0, sizeof(map));
	map.map_type = BPF_MAP_TYPE_ARRAY;
	map.key_size = map.value_size = 4;
	map.max_entries = 1;
	return keep(syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map)));
}

static int fanotify(void)
{
	return keep(fanotify_init(FAN_CLOEXEC | FAN_REPORT_FID, O_RDONLY));
}

static int mptcp(void)
{
	return keep(socket(AF_INET, SOCK_STREAM, MPTCP));
}

static int vsock(void)
{
	return keep(socket(AF_VSOCK, SOCK_STREAM, 0));
}

static int user_namespace(void)
{
	return unshare(CLONE_NEWUSER);
}

static int locked(void)
{
	if (keep(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) < 0)
		return -1;
	return flock(FD, LOCK_EX);
}

static int locked_memory(void)
{
	if (keep(memfd_create("private", MFD_CLOEXEC)) < 0)
		return -1;
	return flock(FD, LOCK_EX);
}

// By its parent, the init.
static int traced(void)
{
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

// A user namespace first, for those who are not root.
static int uts_namespace(void)
{
	return unshare(geteuid() == 0 ? CLONE_NEWUTS : CLONE_NEWUSER | CLONE_NEWUTS);
}

// ---- the processes -----------------------------------------------------------------------------

struct family {
	pid_t init, child;
	int why; // errno of the child's preparation, 0: it is ready
};

struct word {
	pid_t pid;
	int why;
};

static _Noreturn void wait_for_the_end(void)
{
	for (;;)
		pause();
}

static _Noreturn void be_child(int (*prepare)(void), int out)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "worker");
	struct word word = {getpid(), 0};
	if (prepare() < 0)
		word.why = errno ? errno : EINVAL;
	// A change of credentials made us undumpable, and so invisible, for who is not root.
	prctl(PR_SET_DUMPABLE, 1);
	if (write(out, &word, sizeof(word)) != sizeof(word))
		_exit(1);
	wait_for_the_end();
}

static void start(struct family *family, int (*prepare)(void))
{
	int ends[2];
	struct word word;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	family->init = fork();
	if (family->init == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, "init");
		if (fork() == 0)
			be_child(prepare, ends[1]);
		wait_for_the_end();
	}
	assert_true(family->init > 0);
	close(ends[1]);
	assert_int_equal(read(ends[0], &word, sizeof(word)), sizeof(word));
	close(ends[0]);
	family->child = word.pid;
	family->why = word.why;
}

static void end(const struct family *family)
{
	kill(family->init, SIGKILL); // and so its child
	assert_int_equal(waitpid(family->init, NULL, 0), family->init);
}

static int check(const struct family *family, struct error *err)
{
	pid_t pids[] = {family->init, family->child};
	*err = (struct error){0};
	return undumpable_check_pids(pids, ARRAY_SIZE(pids), family->init, false, err);
}

// ---- the tests ---------------------------------------------------------------------------------

struct finding {
	int (*prepare)(void);
	enum error_id id;
	const char *sentence; // one %d (the pid), or the number of the descriptor and the pid
	const char *name;     // a word
};

static const struct finding findings[] = {
	{io_uring, ERR_IO_URING, "fd 77 of pid %d (worker) is an io_uring instance", "io_uring"},
	{io_uring_mapped, ERR_IO_URING,
	 "pid %d (worker) has the memory of an io_uring instance mapped", "io_uring_mapped"},
	{user_faults, ERR_UNDUMPABLE, "fd 77 of pid %d (worker) is a userfaultfd", "userfaultfd"},
	{secret_memory, ERR_UNDUMPABLE, "fd 77 of pid %d (worker) is secret memory",
	 "secret_memory"},
	{secret_memory_mapped, ERR_UNDUMPABLE, "pid %d (worker) has secret memory mapped",
	 "secret_memory_mapped"},
	{make_same_number, ERR_UNDUMPABLE,
	 "pid %d (worker) has a memfd with the number of a SysV segment", "same_number"},
	{same_number_mapped, ERR_UNDUMPABLE,
	 "pid %d (worker) has shared memory with the number of a SysV segment",
	 "same_number_mapped"},
	{landlock, ERR_UNDUMPABLE, "fd 77 of pid %d (worker) is a Landlock ruleset", "Landlock"},
	{perf, ERR_UNDUMPABLE, "fd 77 of pid %d (worker) is a perf event", "perf_event"},
	{bpf_map, ERR_UNDUMPABLE, "fd 77 of pid %d (worker) is a BPF object", "BPF"},
	{fanotify, ERR_UNDUMPABLE, "fd 77 of pid %d (worker) is a fanotify group", "fanotify"},
	{mptcp, ERR_UNDUMPABLE, "fd 77 of pid %d (worker) is a socket of protocol MPTCP", "MPTCP"},
	{vsock, ERR_UNDUMPABLE, "fd 77 of pid %d (worker) is a socket of protocol AF_VSOCK",
	 "vsock"},
	{user_namespace, ERR_UNDUMPABLE, "pid %d (worker) is in a user namespace of its own",
	 "user_namespace"},
	{no_descriptors, ERR_UNDUMPABLE,
	 "pid %d (worker) uses 64 of the 64 descriptors that its limit allows, and CRIU needs 2",
	 "RLIMIT_NOFILE"},
	{uts_namespace, ERR_UNDUMPABLE, "pid %d (worker) is in a uts namespace of its own",
	 "uts_namespace"},
};

static void names_what_it_finds(void **state)
{
	const struct finding *finding = *state;
	struct family family;
	struct error err;
	char sentence[200];
	start(&family, finding->prepare);
	if (family.why) {
		end(&family);
		fprintf(stderr, "skipped: no %s here: %s\n", finding->name, strerror(family.why));
		skip();
	}
	int found = check(&family, &err);
	end(&family);
	snprintf(sentence, sizeof(sentence), finding->sentence, (int)family.child);
	assert_int_equal(found, -1);
	assert_string_equal(err.message, sentence);
	assert_int_equal(err.id, finding->id);
}

static void names_the_tracer(void **state)
{
	(void)state;
	struct family family;
	struct error err;
	char sentence[100];
	start(&family, traced);
	int found = check(&family, &err);
	end(&family);
	snprintf(sentence, sizeof(sentence), "pid %d (worker) is traced by process %d",
		 (int)family.child, (int)family.init);
	assert_int_equal(found, -1);
	assert_string_equal(err.message, sentence);
	assert_int_equal(err.id, ERR_UNDUMPABLE);
}

static void names_a_lock_on_a_file(void **state)
{
	(void)state;
	struct family family;
	struct error err;
	char sentence[100];
	start(&family, locked);
	int found = check(&family, &err);
	end(&family);
	snprintf(sentence, sizeof(sentence), "fd 77 of pid %d (worker) holds a lock (FLOCK) on ",
		 (int)family.child);
	assert_int_equal(found, -1);
	assert_non_null(strstr(err.message, sentence));
	assert_int_equal(err.id, ERR_LOCK_SHARED);
}

static void expect_nothing(int (*prepare)(void))
{
	struct family family;
	struct error err;
	start(&family, prepare);
	int found = check(&family, &err);
	end(&family);
	assert_string_equal(err.message, "");
	assert_int_equal(found, 0);
}

static void finds_nothing_in_plain_processes(void **state)
{
	(void)state;
	expect_nothing(nothing_special);
	expect_nothing(locked_memory);
}

static void passes_over_sessions_that_will_be_ended(void **state)
{
	(void)state;
	struct family family, other;
	struct error err = {0};
	start(&family, nothing_special);
	start(&other, locked);
	pid_t pids[] = {other.child, family.init, family.child};
	int found = undumpable_check_pids(pids, ARRAY_SIZE(pids), family.init, true, &err);
	end(&other);
	end(&family);
	assert_int_equal(found, 0);
}

static void refuses_who_came_from_outside(void **state)
{
	(void)state;
	struct family family, other;
	struct error err = {0};
	char sentence[100];
	start(&family, nothing_special);
	start(&other, nothing_special);
	pid_t pids[] = {family.init, family.child, other.child};
	int found = undumpable_check_pids(pids, ARRAY_SIZE(pids), family.init, false, &err);
	end(&other);
	end(&family);
	snprintf(sentence, sizeof(sentence),
		 "pid %d (worker) was started by exec and is no child of init", (int)other.child);
	assert_int_equal(found, -1);
	assert_string_equal(err.message, sentence);
	assert_int_equal(err.id, ERR_EXEC_SESSION);
}

// The first one; 0: none yet.
static pid_t child_of(pid_t pid)
{
	char path[64], text[32] = "";
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = 0;
	return (pid_t)atoi(text);
}

static void finds_who_starts_a_program(void **state)
{
	(void)state;
	struct error err = {0};
	struct family family;
	start(&family, nothing_special);
	pid_t pids[] = {family.init, family.child, 0};
	assert_int_equal(undumpable_check_vfork_pids(pids, 2, &err), 0);
	pid_t parent = fork();
	if (parent == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, "starter");
		if (vfork() == 0)
			wait_for_the_end();
	}
	while (!(pids[2] = child_of(parent)))
		usleep(1000);
	int found = undumpable_check_vfork_pids(pids, ARRAY_SIZE(pids), &err);
	kill(pids[2], SIGKILL);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	end(&family);
	assert_int_equal(found, -1);
	assert_int_equal(err.id, ERR_PENDING);
	assert_non_null(strstr(err.message, "(starter) starts another program"));
}

static void passes_over_those_that_have_ended(void **state)
{
	(void)state;
	struct family family;
	struct error err = {0};
	pid_t gone = fork();
	if (gone == 0)
		_exit(0);
	assert_int_equal(waitpid(gone, NULL, 0), gone);
	start(&family, nothing_special);
	pid_t pids[] = {gone, family.init, family.child};
	int found = undumpable_check_pids(pids, ARRAY_SIZE(pids), family.init, false, &err);
	end(&family);
	assert_int_equal(found, 0);
	assert_int_equal(undumpable_check_pids(pids, 1, gone, false, &err), -1);
	assert_int_equal(err.id, ERR_SYSTEM);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(findings) + PLAIN_TESTS] = {
		cmocka_unit_test(finds_nothing_in_plain_processes),
		cmocka_unit_test(names_the_tracer),
		cmocka_unit_test(names_a_lock_on_a_file),
		cmocka_unit_test(passes_over_sessions_that_will_be_ended),
		cmocka_unit_test(refuses_who_came_from_outside),
		cmocka_unit_test(finds_who_starts_a_program),
		cmocka_unit_test(passes_over_those_that_have_ended),
	};
	for (size_t i = 0; i < ARRAY_SIZE(findings); i++)
		tests[PLAIN_TESTS + i] = (struct CMUnitTest){.name = findings[i].name,
							     .test_func = names_what_it_finds,
							     .initial_state = (void *)&findings[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
