// SPDX-License-Identifier: Apache-2.0
// Starts a daemon in a session of its own and waits until it reports READY=1 by the protocol of
// sd_notify(3), so that scripts need not guess when it can be used.
//
// Exit codes: 0 ready, 1 the daemon ended or the time passed (it is killed then), 2 usage.
#include "lib/base/clock.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int listen_notify(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char env[sizeof(addr.sun_path) + 1];
	int len, fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	// abstract: nothing to remove afterwards, and seen only in this network namespace
	len = snprintf(env, sizeof(env), "@readywait-%d", (int)getpid());
	memcpy(addr.sun_path + 1, env + 1, (size_t)len - 1);
	if (bind(fd, (struct sockaddr *)&addr,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)) < 0 ||
	    setenv("NOTIFY_SOCKET", env, 1) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static pid_t start(char **argv)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	setsid();
	execvp(argv[0], argv);
	fprintf(stderr, "readywait: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int is_ready(int fd)
{
	char buf[4096];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	if (n <= 0)
		return 0;
	buf[n] = '\0';
	for (char *line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
		if (strcmp(line, "READY=1") == 0)
			return 1;
	return 0;
}

static int wait_ready(int fd, pid_t pid, deadline_t deadline)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};

	for (;;) {
		if (poll(p, 2, deadline_poll_ms(deadline)) == 0) {
			fprintf(stderr, "readywait: not ready in time\n");
			kill(pid, SIGKILL);
			return 1;
		}
		if ((p[0].revents & POLLIN) && is_ready(fd))
			return 0;
		if (p[1].revents & POLLIN) {
			fprintf(stderr, "readywait: the daemon ended before it was ready\n");
			return 1;
		}
	}
}

static int write_pid(const char *path, pid_t pid)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return -1;
	fprintf(f, "%d\n", (int)pid);
	return fclose(f);
}

int main(int argc, char **argv)
{
	static const struct option opts[] = {{"pid-file", required_argument, NULL, 'p'},
					     {"timeout", required_argument, NULL, 't'},
					     {0}};
	const char *pid_file = NULL;
	int c, fd, timeout_s = 20;
	pid_t pid;

	while ((c = getopt_long(argc, argv, "+p:t:", opts, NULL)) != -1) {
		if (c == 'p')
			pid_file = optarg;
		else if (c == 't')
			timeout_s = atoi(optarg);
		else
			return 2;
	}
	if (optind == argc || timeout_s <= 0) {
		fprintf(stderr, "usage: readywait [--pid-file F] [--timeout SECONDS] CMD ARG...\n");
		return 2;
	}
	fd = listen_notify();
	if (fd < 0 || (pid = start(argv + optind)) < 0) {
		perror("readywait");
		return 1;
	}
	if (wait_ready(fd, pid, deadline_in_ms(timeout_s * 1000L)))
		return 1;
	if (pid_file && write_pid(pid_file, pid) < 0) {
		perror(pid_file);
		return 1;
	}
	return 0;
}
