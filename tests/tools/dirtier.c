// SPDX-License-Identifier: Apache-2.0
// A workload of a known size that writes at a known rate, for benchmarks of moves: it fills MIB of
// memory with data that cannot be compressed, then writes into pages at random, RATE MB/s (1e6) of
// pages, and answers INCR and GET (of one counter) and PING in the protocol of Redis, so that
// gapmeter measures it. It listens once the memory is filled. Time that it was frozen is not made
// up for.
//
// usage: dirtier [--huge] MIB RATE PORT     (--huge: asks for transparent huge pages)
// Exit codes: 1 no memory or no socket, 2 usage.
#include "lib/base/clock.h"

#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAGE        4096
#define TICK_NS     2000000 // the writer wakes so often
#define CONNECTIONS 16

static uint8_t *memory;
static size_t pages;
static double rate; // pages a second

static uint64_t next_random(uint64_t *state)
{
	// splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014)
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void fill(void)
{
	uint64_t state = 1, *word = (uint64_t *)(void *)memory;
	for (size_t i = 0; i < pages * (PAGE / sizeof(*word)); i++)
		word[i] = next_random(&state);
}

static void *dirty(void *unused)
{
	uint64_t state = 2;
	double owed = 0;
	(void)unused;
	for (int64_t last = clock_now_ns();;) {
		struct timespec tick = {.tv_nsec = TICK_NS};
		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
		int64_t now = clock_now_ns();
		int64_t passed = now - last;
		if (passed < 0 ||
		    passed > 10 * TICK_NS) // it was frozen, or is on a host with another clock
			passed = TICK_NS;
		last = now;
		for (owed += rate * (double)passed / 1e9; owed >= 1; owed--)
			memcpy(memory + next_random(&state) % pages * PAGE, &state, sizeof(state));
	}
	return NULL;
}

// ---- the protocol: an array of bulk strings, of which only the first counts
struct connection {
	size_t used;
	char buffer[4096];
};

// A number and CR LF at *at, after `mark`; -1: not all there.
static long take_number(const struct connection *c, size_t *at, char mark)
{
	const char *end = memchr(c->buffer + *at, '\n', c->used - *at);
	if (!end || c->buffer[*at] != mark)
		return -1;
	long number = strtol(c->buffer + *at + 1, NULL, 10);
	*at = (size_t)(end + 1 - c->buffer);
	return number;
}

// How long the first request is; 0: not all there. *verb: the first letter of its command.
static size_t request(const struct connection *c, char *verb)
{
	size_t at = 0;
	long count = c->used ? take_number(c, &at, '*') : 0;
	for (long i = 0; i < count; i++) {
		long length = at < c->used ? take_number(c, &at, '$') : -1;
		if (length < 0 || at + (size_t)length + 2 > c->used)
			return 0;
		if (i == 0)
			*verb = (char)toupper(c->buffer[at]);
		at += (size_t)length + 2;
	}
	return count > 0 ? at : 0;
}

static bool answer_all(struct connection *c, int fd)
{
	static long long counter;
	char reply[32];
	char verb = 0;
	for (size_t length; (length = request(c, &verb)) > 0;) {
		counter += verb == 'I';
		int n = verb == 'P' ? snprintf(reply, sizeof(reply), "+PONG\r\n")
				    : snprintf(reply, sizeof(reply), ":%lld\r\n", counter);
		c->used -= length;
		memmove(c->buffer, c->buffer + length, c->used);
		if (send(fd, reply, (size_t)n, MSG_NOSIGNAL) != n)
			return false;
	}
	return c->used < sizeof(c->buffer);
}

static bool serve_one(struct connection *c, int fd)
{
	ssize_t n = recv(fd, c->buffer + c->used, sizeof(c->buffer) - c->used, 0);
	if (n <= 0)
		return false;
	c->used += (size_t)n;
	return answer_all(c, fd);
}

static int accept_one(int listener)
{
	int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void serve(int listener)
{
	static struct connection connections[CONNECTIONS];
	struct pollfd polled[CONNECTIONS + 1] = {{.fd = listener, .events = POLLIN}};
	for (int i = 1; i <= CONNECTIONS; i++)
		polled[i].fd = -1;
	for (;;) {
		if (poll(polled, CONNECTIONS + 1, -1) < 0)
			continue; // a restored process is interrupted
		for (int i = 1; i <= CONNECTIONS; i++) {
			if (polled[i].fd < 0 && polled[0].revents) {
				polled[i] = (struct pollfd){.fd = accept_one(listener),
							    .events = POLLIN};
				connections[i - 1].used = 0;
				polled[0].revents = 0;
			} else if (polled[i].fd >= 0 && polled[i].revents &&
				   !serve_one(&connections[i - 1], polled[i].fd)) {
				close(polled[i].fd);
				polled[i].fd = -1;
			}
		}
	}
}

static int listen_on(int port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 8) < 0 ? -1 : fd;
}

int main(int argc, char **argv)
{
	pthread_t writer;
	bool huge = argc == 5 && strcmp(argv[1], "--huge") == 0;
	if (argc != 4 + huge || atol(argv[1 + huge]) < 1) {
		fprintf(stderr, "usage: dirtier [--huge] MIB RATE PORT\n");
		return 2;
	}
	argv += huge;
	pages = (size_t)atol(argv[1]) * (1 << 20) / PAGE;
	rate = atof(argv[2]) * 1e6 / PAGE;
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED) {
		perror("dirtier: mmap");
		return 1;
	}
	madvise(memory, pages * PAGE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	fill();
	int listener = listen_on(atoi(argv[3]));
	if (listener < 0 || (rate > 0 && pthread_create(&writer, NULL, dirty, NULL))) {
		perror("dirtier");
		return 1;
	}
	serve(listener);
	return 1;
}
