// SPDX-License-Identifier: Apache-2.0
// How fast the page store takes memory in: storebench FOLDER MIB. The folder should be on a tmpfs.
// One thread, messages as a link hands them out; prints a line of JSON for each way.
#include "images/pageintake.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGES 63 // of a message
#define TASK  (1 << 8 | PAGESTORE_TASK)

static struct error err;
static uint8_t message[PAGEFRAME_HEADER + PAGES * PAGEFRAME_PAGE];

static void must(int done)
{
	if (done >= 0)
		return;
	fprintf(stderr, "storebench: %s\n", err.message);
	exit(1);
}

static void frame(struct pageintake *in, struct pagestore *s, uint64_t page, uint64_t pages,
		  uint64_t flags)
{
	const struct pageframe f = {TASK, page * PAGEFRAME_PAGE, pages, flags};
	size_t data = pageframe_has_data(&f) ? pages * PAGEFRAME_PAGE : 0;
	pageframe_put(message, &f);
	must(pageintake_take(in, s, false, message, PAGEFRAME_HEADER + data, &err) < 0 ? -1 : 0);
}

struct stopwatch {
	double wall, cpu; // seconds
};

static double seconds(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct stopwatch start(void)
{
	return (struct stopwatch){seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

static void tell(const char *what, uint64_t bytes, struct stopwatch began)
{
	struct stopwatch now = start();
	double gb = (double)bytes / 1e9;
	printf("{\"what\":\"%s\",\"mib\":%llu,\"gb_s\":%.2f,\"cpu_s_per_gb\":%.2f}\n", what,
	       (unsigned long long)(bytes >> 20), gb / (now.wall - began.wall),
	       (now.cpu - began.cpu) / gb);
}

static void a_round(struct pageintake *in, struct pagestore *s, uint64_t pages, const char *what)
{
	struct stopwatch began = start();
	for (uint64_t at = 0; at < pages; at += PAGES)
		frame(in, s, at, PAGES, PAGEFRAME_ROUND);
	tell(what, pages * PAGEFRAME_PAGE, began);
}

// Every other page: each is a frame and a place of its own.
static void scattered(struct pageintake *in, struct pagestore *s, uint64_t pages)
{
	struct stopwatch began = start();
	for (uint64_t at = 0; at < pages; at += 2)
		frame(in, s, at, 1, PAGEFRAME_ROUND);
	tell("overwritten, every other page", pages / 2 * PAGEFRAME_PAGE, began);
}

static void all_ways(int dirfd, uint64_t bytes, bool ahead, enum pagestore_mode mode)
{
	const struct pagestore_limits limits = {
		.bytes = bytes + (1 << 20), .entries = 1 << 20, .destinations = 1};
	uint64_t pages = bytes / PAGEFRAME_PAGE / PAGES * PAGES;
	_cleanup_pagestore_ struct pagestore *s = pagestore_open(dirfd, &limits, &err);
	struct pageintake *in = pageintake_new(sizeof(message), &err);
	if (!s || !in)
		must(-1);
	if (ahead) {
		struct stopwatch began = start();
		must(pagestore_expect(s, TASK, bytes, &err));
		tell("touched ahead", bytes, began);
	}
	a_round(in, s, pages, ahead ? "first round, touched ahead" : "first round, fresh");
	a_round(in, s, pages, "overwritten");
	scattered(in, s, pages);
	struct stopwatch began = start();
	frame(in, s, PAGES, pages - PAGES, PAGEFRAME_MAP | PAGEFRAME_PRESENT | PAGEFRAME_LAZY);
	must(pagestore_finish(s, mode, &err));
	if (mode == PAGESTORE_EAGER)
		tell("sorted", pages * PAGEFRAME_PAGE, began);
	else
		printf("{\"what\":\"kept for on demand\",\"ms\":%.1f}\n",
		       (start().wall - began.wall) * 1e3);
	pageintake_free(in);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: storebench FOLDER MIB\n");
		return 2;
	}
	for (int i = 0; i < 2; i++) {
		char path[4096];
		snprintf(path, sizeof(path), "%s/storebench.XXXXXX", argv[1]);
		if (!mkdtemp(path)) {
			perror(path);
			return 1;
		}
		_cleanup_close_ int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		for (size_t n = 0; n < sizeof(message); n++)
			message[n] = (uint8_t)n;
		all_ways(dirfd, strtoull(argv[2], NULL, 10) << 20, i,
			 i ? PAGESTORE_LAZY_KEPT : PAGESTORE_EAGER);
		fdio_remove_tree(AT_FDCWD, path, NULL);
	}
	return 0;
}
