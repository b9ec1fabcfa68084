// SPDX-License-Identifier: Apache-2.0
// libexec/enter: runs one command inside a partition. Descriptor 3: a channel to relocd with the
// request, later {"resize":[rows,cols]}; 4: a pidfd of the partition's init; 0-2: the session. Its
// exit code is the command's, 128 + N for a signal, 125-127 when it could not be run.
//
// The command is in the partition's pid namespace and groups; this process stays outside of both,
// as its parent, and carries the bytes of a terminal.
#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/spawn.h"
#include "lib/base/version.h"
#include "lib/partition/exec.h"
#include "relocd/enter/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

#define CONTROL_FD 3
#define INIT_FD    4
#define REQUEST_MS 10000
#define HANGUP_MS  2000 // from SIGHUP to SIGKILL once nobody listens any more

struct session {
	pid_t pid;
	int signals;
	int control;    // -1: closed
	int terminal;   // the pty's master, -1 without one
	int input;      // 0, or -1 when it has ended
	deadline_t end; // SIGKILL then
};

// ---- the terminal ------------------------------------------------------------------------------

static void set_size(int terminal, unsigned rows, unsigned cols)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
	if (rows && cols)
		ioctl(terminal, TIOCSWINSZ, &size);
}

// The master of a new pty of the partition's own devpts, and its slave.
static int open_terminal(const struct command *command, int *slave, struct error *err)
{
	int unlock = 0;
	_cleanup_close_ int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return error_sys(err, ERR_EXEC, errno, "cannot make a terminal");
	// Not by its name, which root in there could have replaced.
	*slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave < 0)
		return error_sys(err, ERR_EXEC, errno, "cannot open the terminal");
	set_size(master, command->rows, command->cols);
	return take_fd(&master);
}

// Carries what is there from one descriptor to the other: false at the end.
static bool carry(int from, int to)
{
	char bytes[16384];
	ssize_t n = read(from, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	return n > 0 && fdio_write_all(to, bytes, (size_t)n, NULL) == 0;
}

static void end_of_input(struct session *s)
{
	// A terminal has no end of file; its line discipline makes one of this character.
	struct termios modes;
	s->input = -1;
	if (tcgetattr(s->terminal, &modes) == 0 && modes.c_lflag & ICANON)
		fdio_write_all(s->terminal, &modes.c_cc[VEOF], 1, NULL);
}

// What the command wrote before it ended; others may hold the terminal open for ever.
static void drain_terminal(struct session *s)
{
	while (s->terminal >= 0 && fdio_wait(s->terminal, POLLIN, 0, NULL) > 0)
		if (!carry(s->terminal, 1))
			return;
}

// ---- the loop ----------------------------------------------------------------------------------

static void hang_up(struct session *s)
{
	s->control = -1;
	s->end = deadline_in_ms(HANGUP_MS);
	kill(s->pid, SIGHUP);
}

static void serve_control(struct session *s)
{
	_cleanup_json_ json_t *message = NULL;
	int rows, cols;
	if (chan_recv(s->control, deadline_in_ms(REQUEST_MS), &message, NULL, NULL, NULL) < 0 ||
	    !message)
		hang_up(s);
	else if (s->terminal >= 0 &&
		 json_unpack(message, "{s:[i,i]}", "resize", &rows, &cols) == 0 && rows > 0 &&
		 cols > 0)
		set_size(s->terminal, (unsigned)rows, (unsigned)cols);
}

// True when the command has ended.
static bool reap(const struct session *s, int *status)
{
	struct signalfd_siginfo info;
	pid_t pid;
	while (read(s->signals, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, status, WNOHANG)) > 0)
		if (pid == s->pid)
			return true;
	return false;
}

static int relay(struct session *s)
{
	int status;
	for (;;) {
		bool terminal = s->terminal >= 0;
		struct pollfd fds[] = {{s->signals, POLLIN, 0},
				       {s->control, POLLIN, 0},
				       {s->terminal, POLLIN, 0},
				       {terminal ? s->input : -1, POLLIN, 0}};
		if (poll(fds, ARRAY_SIZE(fds), deadline_poll_ms(s->end)) < 0)
			continue;
		if (fds[2].revents && !carry(s->terminal, 1))
			s->terminal = -1; // EIO: nobody has it open any more
		if (fds[3].revents && s->terminal >= 0 && !carry(s->input, s->terminal))
			end_of_input(s);
		if (fds[1].revents)
			serve_control(s);
		if (fds[0].revents && reap(s, &status))
			break;
		if (deadline_passed(s->end))
			kill(s->pid, SIGKILL);
	}
	drain_terminal(s);
	return spawn_exit_code(status);
}

// ---- start -------------------------------------------------------------------------------------

static int watch_children(struct error *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? error_sys(err, ERR_EXEC, errno, "cannot watch for the end") : fd;
}

static int start(struct session *s, struct command *command, struct error *err)
{
	_cleanup_json_ json_t *request = NULL;
	_cleanup_close_ int slave = -1;
	if (chan_recv(CONTROL_FD, deadline_in_ms(REQUEST_MS), &request, NULL, NULL, err) < 0 ||
	    command_read(command, request, err) < 0 || command_join(INIT_FD, err) < 0)
		return -1;
	close(INIT_FD);
	s->signals = watch_children(err);
	if (s->signals < 0)
		return -1;
	if (command->tty && (s->terminal = open_terminal(command, &slave, err)) < 0)
		return -1;
	s->pid = command_start(command, slave, err);
	return s->pid < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	if (version_asked(argc, argv, "enter"))
		return 0;
	struct error err = {0};
	struct command command = {.def = NULL};
	struct session s = {.control = CONTROL_FD, .terminal = -1, .end = DEADLINE_NEVER};
	log_open("enter");
	fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
	fcntl(INIT_FD, F_SETFD, FD_CLOEXEC);
	int code = EXEC_CANNOT_START;
	if (start(&s, &command, &err) < 0) {
		dprintf(2, "exec: %s\n", err.message);
	} else {
		// The command alone reads and writes these when there is no terminal between.
		if (!command.tty) {
			close(0);
			close(1);
			close(2);
		}
		code = relay(&s);
	}
	command_free(&command);
	return code;
}
