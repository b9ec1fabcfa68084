// SPDX-License-Identifier: Apache-2.0
// Holds what a move must be careful with, or asks for it:
//     lock flock|posix|ofd FILE      holds a lock; "has it" or "lost it" to FILE.state every 50 ms
//     serve SOCKET                   answers "ok\n" to each connection on a UNIX socket
//     ignore SOCKET                  listens and never accepts
//     ask SOCKET                     prints what SOCKET says
//     knock SOCKET                   connects and waits for ever
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static void sleep_ms(long ms)
{
	const struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&wait, NULL);
}

static int socket_at(const char *path, int (*attach)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return attach(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -1 : fd;
}

static int serve(const char *path, int answering)
{
	unlink(path);
	int listener = socket_at(path, bind);
	if (listener < 0 || listen(listener, 8) < 0)
		return fail(path);
	while (!answering)
		pause();
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0 && errno == EINTR)
			continue;
		if (fd < 0 || write(fd, "ok\n", 3) != 3)
			return fail("accept");
		close(fd);
	}
}

static int ask(const char *path, int quiet)
{
	char answer[16] = "";
	int fd = socket_at(path, connect);
	if (fd < 0)
		return fail(path);
	if (quiet)
		pause();
	if (read(fd, answer, sizeof(answer) - 1) <= 0)
		return fail("answer");
	fputs(answer, stdout);
	return 0;
}

// F_SETLK and F_OFD_SETLK take the same.
static int take(int fd, const char *kind)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (!strcmp(kind, "flock"))
		return flock(fd, LOCK_EX | LOCK_NB);
	return fcntl(fd, strcmp(kind, "ofd") ? F_SETLK : F_OFD_SETLK, &lock);
}

// As another open file, and another process, would find it.
static int is_locked(const char *path, const char *kind)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), locked;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (!strcmp(kind, "flock"))
		locked = flock(fd, LOCK_EX | LOCK_NB) < 0;
	else
		locked = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
	// Closing would give up a posix lock of this process.
	if (strcmp(kind, "posix") != 0)
		close(fd);
	return locked;
}

static int lock(const char *kind, const char *path)
{
	char state[256], next[264];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	snprintf(state, sizeof(state), "%s.state", path);
	snprintf(next, sizeof(next), "%s.next", state);
	if (fd < 0 || take(fd, kind) < 0)
		return fail(path);
	for (;; sleep_ms(50)) {
		FILE *f = fopen(next, "we");
		if (!f)
			return fail(next);
		// One descriptor more each time for a posix lock: few rounds are enough.
		fputs(is_locked(path, kind) ? "has it\n" : "lost it\n", f);
		fclose(f);
		rename(next, state);
		if (!strcmp(kind, "posix"))
			sleep_ms(200);
	}
}

int main(int argc, char **argv)
{
	const char *act = argc > 2 ? argv[1] : "";
	if (!strcmp(act, "lock") && argc == 4)
		return lock(argv[2], argv[3]);
	if (!strcmp(act, "serve"))
		return serve(argv[2], 1);
	if (!strcmp(act, "ignore"))
		return serve(argv[2], 0);
	if (!strcmp(act, "ask") || !strcmp(act, "knock"))
		return ask(argv[2], act[0] == 'k');
	fprintf(stderr, "usage: see the source\n");
	return 2;
}
