// SPDX-License-Identifier: Apache-2.0
// Commands in a virtual machine of the lab. There it serves (--serve PORT): each connection is one
// command, run as root in a session of its own. On this machine it calls (--call ADDRESS PORT PID
// -- COMMAND...): the command gets our standard input, we get its output, its errors and its
// status. PID is the virtual machine: with that the connection ends, which nothing else would say.
// Static and without our libraries: it runs in whatever the machine was made of.
//
// Frames go both ways: a letter, the length in 4 bytes (big endian), the content:
//   a  the command and its arguments, each with a zero at its end; the first frame of all
//   i  standard input; an empty one is its end
//   o, e  standard output and standard error
//   x  one byte, the exit status as a shell tells it; the last frame
// A command whose caller has gone is hung up (SIGHUP to its process group).
//
// Exit codes: of --call those of the command, 255 when there is no connection or it breaks; of
// --serve 1 when it cannot listen; 2 usage.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAME_MAX  (256 * 1024)
#define ARGS_MAX   1024
#define CONNECT_S  2
#define CALL_FAILS 255

static char room[FRAME_MAX];

// ---- frames ------------------------------------------------------------------------------------

static int write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

static int read_all(int fd, void *data, size_t size)
{
	char *at = data;

	while (size > 0) {
		ssize_t n = read(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

static int send_frame(int fd, char letter, const void *data, size_t size)
{
	uint32_t length = htonl((uint32_t)size);
	char head[5] = {letter};

	memcpy(head + 1, &length, sizeof(length));
	return write_all(fd, head, sizeof(head)) < 0 || write_all(fd, data, size) < 0 ? -1 : 0;
}

// Into `room`. Its letter, and 0 when the connection has ended.
static char take_frame(int fd, size_t *size)
{
	char head[5];
	uint32_t length;

	if (read_all(fd, head, sizeof(head)) < 0)
		return 0;
	memcpy(&length, head + 1, sizeof(length));
	*size = ntohl(length);
	if (*size > sizeof(room) || read_all(fd, room, *size) < 0)
		return 0;
	return head[0];
}

// ---- in the virtual machine --------------------------------------------------------------------

static pid_t start(char **args, const int in[2], const int out[2], const int err[2])
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	setsid();
	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	dup2(err[1], STDERR_FILENO);
	signal(SIGPIPE, SIG_DFL);
	execvp(args[0], args);
	fprintf(stderr, "vmagent: %s: %s\n", args[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

// The caller's input for the command, in a process of its own: neither direction waits for the
// other. Ends with the connection.
static void feed(int conn, int in, pid_t command)
{
	size_t size;

	while (take_frame(conn, &size) == 'i') {
		if (size == 0 || (in >= 0 && write_all(in, room, size) < 0)) {
			close(in);
			in = -1;
		}
	}
	kill(-command, SIGHUP);
	_exit(0);
}

// What the pipe has, as a frame. False: nothing more will come of it.
static bool forward(int conn, char letter, int pipe)
{
	ssize_t n = read(pipe, room, sizeof(room));

	return n > 0 && send_frame(conn, letter, room, (size_t)n) == 0;
}

// Until the command has ended and nothing of it is left in the pipes. Background jobs of it may
// hold these open; they are not waited for.
static void drain(int conn, int out, int err, int pidfd)
{
	struct pollfd fds[] = {{out, POLLIN, 0}, {err, POLLIN, 0}, {pidfd, POLLIN, 0}};

	for (bool more = true; more;) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			return;
		more = !fds[2].revents;
		for (int i = 0; i < 2; i++) {
			if (!fds[i].revents)
				continue;
			if (forward(conn, i == 0 ? 'o' : 'e', fds[i].fd))
				more = true;
			else
				fds[i].fd = -1;
		}
	}
}

static int take_command(int conn, char **args)
{
	size_t size, count = 0;

	if (take_frame(conn, &size) != 'a' || size == 0 || room[size - 1] != 0)
		return -1;
	for (char *at = room; at < room + size && count < ARGS_MAX; at += strlen(at) + 1)
		args[count++] = at;
	args[count] = NULL;
	return 0;
}

static void handle(int conn)
{
	char *args[ARGS_MAX + 1];
	int in[2], out[2], err[2], status = 0;
	pid_t command, feeder;
	unsigned char code;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	if (take_command(conn, args) < 0 || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
	    pipe2(err, O_CLOEXEC) < 0)
		_exit(1);
	command = start(args, in, out, err);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	feeder = fork();
	if (command < 0 || feeder < 0)
		_exit(1);
	if (feeder == 0)
		feed(conn, in[1], command);
	close(in[1]);
	drain(conn, out[0], err[0], (int)syscall(SYS_pidfd_open, command, 0));
	waitpid(command, &status, 0);
	kill(feeder, SIGKILL);
	code = (unsigned char)(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	send_frame(conn, 'x', &code, 1);
	_exit(0);
}

static int serve(uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	signal(SIGCHLD, SIG_IGN); // those who handle a connection are not waited for
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener < 0 || bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    listen(listener, 64) < 0) {
		perror("vmagent: cannot listen");
		return 1;
	}
	for (;;) {
		int conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (conn < 0)
			continue;
		setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (fork() == 0)
			handle(conn);
		close(conn);
	}
}

// ---- on this machine ---------------------------------------------------------------------------

static int reach(const char *address, uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval patience = {.tv_sec = CONNECT_S}, forever = {0};
	int one = 1, conn = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	setsockopt(conn, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(conn, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -1;
	setsockopt(conn, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof(forever));
	setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return conn;
}

static int send_command(int conn, char **args)
{
	size_t size = 0;

	for (; *args; args++) {
		size_t length = strlen(*args) + 1;

		if (size + length > sizeof(room)) {
			errno = E2BIG;
			return -1;
		}
		memcpy(room + size, *args, length);
		size += length;
	}
	return send_frame(conn, 'a', room, size);
}

// Our input for the command, in a process of its own that ends with us.
static void send_input(int conn, pid_t caller)
{
	ssize_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != caller)
		_exit(0);
	while ((n = read(STDIN_FILENO, room, sizeof(room))) > 0)
		if (send_frame(conn, 'i', room, (size_t)n) < 0)
			_exit(0);
	send_frame(conn, 'i', NULL, 0);
	_exit(0);
}

static void end_with(int conn, int machine, pid_t caller)
{
	struct pollfd gone = {machine, POLLIN, 0};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != caller)
		_exit(0);
	while (poll(&gone, 1, -1) < 0)
		;
	shutdown(conn, SHUT_RDWR);
	_exit(0);
}

static int take_output(int conn)
{
	size_t size;
	char letter;

	while ((letter = take_frame(conn, &size)) == 'o' || letter == 'e')
		if (write_all(letter == 'o' ? STDOUT_FILENO : STDERR_FILENO, room, size) < 0)
			return CALL_FAILS;
	if (letter == 'x' && size == 1)
		return (unsigned char)room[0];
	fprintf(stderr, "vmagent: the connection broke before the command ended\n");
	return CALL_FAILS;
}

static int call(const char *address, uint16_t port, pid_t pid, char **args)
{
	int machine = (int)syscall(SYS_pidfd_open, pid, 0);
	int code, conn = machine < 0 ? -1 : reach(address, port);
	pid_t caller = getpid(), sender, watcher;

	if (conn < 0 || send_command(conn, args) < 0) {
		fprintf(stderr, "vmagent: %s: %s\n", address, strerror(errno));
		return CALL_FAILS;
	}
	sender = fork();
	if (sender == 0)
		send_input(conn, caller);
	watcher = fork();
	if (watcher == 0)
		end_with(conn, machine, caller);
	code = take_output(conn);
	if (sender > 0)
		kill(sender, SIGKILL);
	if (watcher > 0)
		kill(watcher, SIGKILL);
	return code;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--serve") == 0)
		return serve((uint16_t)atoi(argv[2]));
	if (argc >= 7 && strcmp(argv[1], "--call") == 0 && strcmp(argv[5], "--") == 0)
		return call(argv[2], (uint16_t)atoi(argv[3]), atoi(argv[4]), argv + 6);
	fprintf(stderr,
		"usage: vmagent --serve PORT | --call ADDRESS PORT PID -- COMMAND [ARGUMENT...]\n");
	return 2;
}
