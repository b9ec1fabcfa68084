// SPDX-License-Identifier: Apache-2.0
#include "relocd/selftest/tree.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OTHER_UID = 65534, PATTERN_WORDS = 64 * 1024, CONNECTION_FD = 3 };

struct answer {
	uint32_t count, intact;
};

// ---- the tasks ----------------------------------------------------------------------------------

static volatile uint32_t *make_pattern(void)
{
	volatile uint32_t *p = mmap(NULL, PATTERN_WORDS * sizeof(*p), PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	for (uint32_t i = 0; i < PATTERN_WORDS; i++)
		p[i] = i * 2654435761u;
	return p;
}

static uint32_t intact(const volatile uint32_t *p)
{
	for (uint32_t i = 0; i < PATTERN_WORDS; i++)
		if (p[i] != i * 2654435761u)
			return 0;
	return 1;
}

// The end of the connection is the end of the task.
static _Noreturn void serve(int fd)
{
	const volatile uint32_t *pattern = make_pattern();
	struct answer a = {0};
	char question;

	while (read(fd, &question, 1) == 1) {
		a.count++;
		a.intact = intact(pattern);
		if (write(fd, &a, sizeof(a)) != sizeof(a))
			break;
	}
	_exit(0);
}

// Keeps the connection and /dev/null, nothing of the program that forked us.
static void settle(int listener)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd = accept(listener, NULL, NULL);

	if (null < 0 || fd < 0)
		_exit(1);
	for (int i = 0; i < 3; i++)
		if (dup2(null, i) < 0)
			_exit(1);
	if ((fd != CONNECTION_FD && dup2(fd, CONNECTION_FD) < 0) ||
	    syscall(SYS_close_range, CONNECTION_FD + 1, ~0U, 0) < 0)
		_exit(1);
}

static _Noreturn void other_user(int listener)
{
	if (setgroups(0, NULL) < 0 || setresgid(OTHER_UID, OTHER_UID, OTHER_UID) < 0 ||
	    setresuid(OTHER_UID, OTHER_UID, OTHER_UID) < 0)
		_exit(1);
	settle(listener);
	serve(CONNECTION_FD);
}

static _Noreturn void root_task(int listener)
{
	pid_t pid;

	// Nothing may be left if the self-test is killed.
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	pid = fork();
	if (pid < 0)
		_exit(1);
	if (pid == 0)
		other_user(listener);
	settle(listener);
	serve(CONNECTION_FD);
}

// ---- our side -----------------------------------------------------------------------------------

static int make_listener(struct sockaddr_in *address, struct error *err)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*address);

	*address = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)address, size) < 0 ||
	    listen(fd, TREE_TASKS) < 0 || getsockname(fd, (struct sockaddr *)address, &size) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot listen on the loopback");
	return take_fd(&fd);
}

static int connect_all(struct tree *t, const struct sockaddr_in *address, struct error *err)
{
	for (int i = 0; i < TREE_TASKS; i++) {
		t->client[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (t->client[i] < 0 ||
		    connect(t->client[i], (const struct sockaddr *)address, sizeof(*address)) < 0)
			return error_sys(err, ERR_SYSTEM, errno, "cannot connect on the loopback");
	}
	return 0;
}

int tree_start(struct tree *t, deadline_t deadline, struct error *err)
{
	_cleanup_close_ int listener = -1;
	struct sockaddr_in address;
	long pid;

	listener = make_listener(&address, err);
	if (listener < 0 || connect_all(t, &address, err) < 0)
		return -1;
	pid = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pid namespace");
	if (pid == 0)
		root_task(listener);
	t->root = (pid_t)pid;
	return tree_ask(t, deadline, err);
}

static int read_answer(int fd, struct answer *a, deadline_t deadline, struct error *err)
{
	for (size_t done = 0; done < sizeof(*a);) {
		int ready = fdio_wait(fd, POLLIN, deadline, err);
		ssize_t n;

		if (ready < 0)
			return -1;
		if (ready == 0)
			return error_set(err, ERR_DEADLINE, "no answer over the TCP connection");
		n = recv(fd, (char *)a + done, sizeof(*a) - done, 0);
		if (n < 0)
			return error_sys(err, ERR_SYSTEM, errno, "the TCP connection broke");
		if (n == 0)
			return error_set(err, ERR_SYSTEM, "the TCP connection was closed");
		done += (size_t)n;
	}
	return 0;
}

int tree_ask(struct tree *t, deadline_t deadline, struct error *err)
{
	t->count++;
	for (int i = 0; i < TREE_TASKS; i++) {
		struct answer a;

		if (send(t->client[i], "?", 1, MSG_NOSIGNAL) != 1)
			return error_sys(err, ERR_SYSTEM, errno, "the TCP connection broke");
		if (read_answer(t->client[i], &a, deadline, err) < 0)
			return -1;
		if (a.count != t->count || !a.intact)
			return error_set(err, ERR_SYSTEM, "a task has lost its memory");
	}
	return 0;
}

int tree_gone(struct tree *t, deadline_t deadline, struct error *err)
{
	while (t->root > 0) {
		pid_t pid = waitpid(t->root, NULL, WNOHANG);

		if (pid != 0) {
			t->root = 0;
			return 0;
		}
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE, "task %d does not end", (int)t->root);
		clock_sleep_ms(1);
	}
	return 0;
}

void tree_stop(struct tree *t)
{
	if (t->root > 0) {
		kill(t->root, SIGKILL);
		waitpid(t->root, NULL, 0);
		t->root = 0;
	}
	for (int i = 0; i < TREE_TASKS; i++)
		if (t->client[i] >= 0)
			close(take_fd(&t->client[i]));
}
