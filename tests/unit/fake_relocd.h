// SPDX-License-Identifier: Apache-2.0
// A stand-in for relocd: a thread that reads one request after another on a UNIX socket, keeps the
// last one, and answers what the test has laid ready.
#ifndef WPAR_TESTS_FAKE_RELOCD_H
#define WPAR_TESTS_FAKE_RELOCD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct fake {
	char dir[64], path[96];
	int listener;
	pthread_t thread;
	char request[16384]; // the last one, head and body
	unsigned connections;
	char answer[4096];                        // raw
	void (*serve)(struct fake *fake, int fd); // writes the answer itself, unless NULL
	int connection;
	bool hang_up; // close after each answer
};

// One request with its body into fake->request; false at the end of the connection.
static bool fake_read(struct fake *fake, int fd)
{
	size_t have = 0;
	for (;;) {
		ssize_t n = read(fd, fake->request + have, sizeof(fake->request) - 1 - have);
		if (n <= 0)
			return false;
		have += (size_t)n;
		fake->request[have] = 0;
		char *end = strstr(fake->request, "\r\n\r\n");
		char *length = strcasestr(fake->request, "Content-Length:");
		size_t body = length ? strtoul(length + 15, NULL, 10) : 0;
		if (end && have >= (size_t)(end + 4 - fake->request) + body)
			return true;
	}
}

static void fake_write(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = send(fd, text, length, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		text += n;
		length -= (size_t)n;
	}
}

static void *fake_run(void *arg)
{
	struct fake *fake = arg;
	for (;;) {
		int fd = accept(fake->listener, NULL, NULL);
		if (fd < 0)
			return NULL;
		fake->connections++;
		fake->connection = fd;
		while (fake_read(fake, fd)) {
			if (fake->serve)
				fake->serve(fake, fd);
			else
				fake_write(fd, fake->answer, strlen(fake->answer));
			if (fake->hang_up)
				break;
		}
		fake->connection = -1;
		close(fd);
	}
}

static int fake_start(void **state)
{
	struct fake *fake = calloc(1, sizeof(*fake));
	fake->connection = -1;
	strcpy(fake->dir, "/tmp/wpar-unit-XXXXXX");
	if (!mkdtemp(fake->dir))
		return -1;
	snprintf(fake->path, sizeof(fake->path), "%s/relocd.sock", fake->dir);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, fake->path);
	fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fake->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fake->listener, 8) < 0)
		return -1;
	*state = fake;
	return pthread_create(&fake->thread, NULL, fake_run, fake);
}

static int fake_stop(void **state)
{
	struct fake *fake = *state;
	if (fake->connection >= 0)
		shutdown(fake->connection, SHUT_RDWR); // a failed test leaves it open
	shutdown(fake->listener, SHUT_RDWR);           // wakes accept(2)
	pthread_join(fake->thread, NULL);
	close(fake->listener);
	unlink(fake->path);
	rmdir(fake->dir);
	free(fake);
	return 0;
}

// Lays an answer with a length ready.
__attribute__((unused)) static void fake_answer(struct fake *fake, const char *status,
						const char *body)
{
	snprintf(fake->answer, sizeof(fake->answer),
		 "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		 status, strlen(body), body);
}

#endif
