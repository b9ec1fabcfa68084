// SPDX-License-Identifier: Apache-2.0
// For tests of copying memory (lib/memory/track.h): a store that takes frames as their receiver
// would, processes that are started, listed and stopped, and the comparison of the two.
#ifndef WPAR_TESTS_TRACK_FIXTURE_H
#define WPAR_TESTS_TRACK_FIXTURE_H

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/memory/arm.h"
#include "lib/memory/scan.h"
#include "lib/memory/track.h"

#include "images/pageframe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define PAGE          4096ul
#define ARENA         ((uint8_t *)0x200000000000)
#define ARENA_PAGES   4096ul
#define ROUNDS        5
#define PIDS_MAX      64
#define GUARD_INSTALL 102 // MADV_GUARD_INSTALL, Linux 6.13

// ---- a store ------------------------------------------------------------------------------------

struct page {
	uint64_t destination, vaddr;
	uint8_t *bytes; // NULL: free
};

static const uint8_t zeroes[PAGE];

#define POOL_PAGES 131072ul

static struct {
	struct page *table;
	size_t room, used;
	uint8_t place[256 * 1024];
	uint64_t data_pages, zero_pages;
	// Not of malloc(): AddressSanitizer keeps what was freed, and children would inherit it.
	uint8_t *pool;
} store;

static inline struct page *slot(struct page *table, size_t room, uint64_t destination,
				uint64_t vaddr)
{
	uint64_t mixed = (destination ^ vaddr / PAGE) * 0x9e3779b97f4a7c15u;
	size_t i = (mixed ^ mixed >> 32) % room;
	while (table[i].bytes && (table[i].destination != destination || table[i].vaddr != vaddr))
		i = (i + 1) % room;
	return &table[i];
}

static inline void store_grow(void)
{
	size_t room = store.room ? store.room * 2 : 1 << 16;
	struct page *table = calloc(room, sizeof(*table));
	assert_non_null(table);
	for (size_t i = 0; i < store.room; i++)
		if (store.table[i].bytes)
			*slot(table, room, store.table[i].destination, store.table[i].vaddr) =
				store.table[i];
	free(store.table);
	store.table = table;
	store.room = room;
}

static inline void store_page(uint64_t destination, uint64_t vaddr, const uint8_t *bytes)
{
	if (store.used * 2 >= store.room)
		store_grow();
	struct page *p = slot(store.table, store.room, destination, vaddr);
	if (!store.pool)
		store.pool = mmap(NULL, POOL_PAGES * PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!p->bytes)
		p->bytes = store.pool + store.used++ * PAGE;
	assert_true(store.used < POOL_PAGES);
	p->destination = destination;
	p->vaddr = vaddr;
	memcpy(p->bytes, bytes ? bytes : zeroes, PAGE);
}

static inline void store_clear(void)
{
	if (store.pool)
		munmap(store.pool, POOL_PAGES * PAGE);
	store.pool = NULL;
	free(store.table);
	store.table = NULL;
	store.room = store.used = 0;
	store.data_pages = store.zero_pages = 0;
}

static inline void *place(void *arg, size_t *room, struct error *err)
{
	(void)arg;
	(void)err;
	*room = sizeof(store.place);
	return store.place;
}

// Takes a message apart as its receiver would.
static inline int take_message(void *arg, void *at, size_t length, struct error *err)
{
	(void)arg;
	const uint8_t *p = at, *end = p + length;
	while (p < end) {
		struct pageframe f;
		assert_true((size_t)(end - p) >= PAGEFRAME_HEADER);
		pageframe_get(p, &f);
		p += PAGEFRAME_HEADER;
		size_t data = pageframe_has_data(&f) ? f.pages * PAGE : 0;
		assert_true(data <= (size_t)(end - p));
		assert_int_equal(pageframe_check(&f, err), 0);
		assert_true(f.flags & PAGEFRAME_ROUND);
		for (uint64_t i = 0; i < f.pages; i++)
			store_page(f.destination, f.vaddr + i * PAGE, data ? p + i * PAGE : NULL);
		*(data ? &store.data_pages : &store.zero_pages) += f.pages;
		p += data;
	}
	return 0;
}

// ---- processes ----------------------------------------------------------------------------------

// A process of the test and all that descend from it.
static inline void add_tree(pid_t pid, pid_t *pids, size_t *count)
{
	char path[64], text[4096] = "";
	assert_true(*count < PIDS_MAX);
	pids[(*count)++] = pid;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", (int)pid,
			 entry->d_name);
		_cleanup_close_ int fd = entry->d_name[0] == '.' ? -1 : open(path, O_RDONLY);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		text[n < 0 ? 0 : n] = 0;
		for (char *at = text, *stop; *at; at = stop + strspn(stop, " ")) {
			pid_t child = (pid_t)strtol(at, &stop, 10);
			if (child)
				add_tree(child, pids, count);
		}
	}
}

static inline int list_tree(void *arg, pid_t **pids, size_t *count, struct error *err)
{
	(void)err;
	*count = 0;
	*pids = calloc(PIDS_MAX, sizeof(**pids));
	add_tree(*(pid_t *)arg, *pids, count);
	return 0;
}

static inline bool all_threads_stopped(pid_t pid)
{
	char path[64], text[512];
	bool all = true;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", (int)pid, entry->d_name);
		_cleanup_fclose_ FILE *f = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!f || !fgets(text, sizeof(text), f))
			continue;
		char state = strrchr(text, ')')[2];
		all = all && strchr("TtZX", state);
	}
	return all;
}

static inline void stop_tree(pid_t root)
{
	for (size_t before = 0, count = 0;; before = count) {
		pid_t pids[PIDS_MAX];
		bool all = true;
		count = 0;
		add_tree(root, pids, &count);
		for (size_t i = 0; i < count; i++)
			kill(pids[i], SIGSTOP);
		for (size_t i = 0; i < count; i++)
			all = all && all_threads_stopped(pids[i]);
		if (all && count == before)
			return;
		usleep(500);
	}
}

static inline void kill_tree(pid_t root)
{
	pid_t pids[PIDS_MAX];
	size_t count = 0;
	add_tree(root, pids, &count);
	for (size_t i = 0; i < count; i++)
		kill(pids[i], SIGKILL);
	waitpid(root, NULL, 0);
}

// Runs body in a child; returns when it says that it is ready.
static inline pid_t start(void (*body)(int ready))
{
	int ends[2];
	char byte;
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		body(ends[1]);
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	return pid;
}

static inline void ready(int to)
{
	if (write(to, "r", 1) != 1)
		_exit(1);
}

static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline uint8_t *map_arena(void)
{
	void *p = mmap(ARENA, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
	if (p != ARENA)
		_exit(1);
	return p;
}

static inline void fill(uint8_t *from, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		memset(from + i * PAGE, (int)(i % 250) + 1, PAGE);
}

static inline void scribble(uint8_t *at, size_t pages, uint64_t *seed)
{
	for (size_t i = 0; i < pages; i += 1 + next_random(seed) % 3)
		at[i * PAGE + next_random(seed) % PAGE] = (uint8_t)next_random(seed);
}

static inline void wait_only(int to)
{
	ready(to);
	for (;;)
		pause();
}

// ---- a track and its comparison -----------------------------------------------------------------

static inline struct track *begin_to(pid_t *root, const struct memory_sink *sink)
{
	struct error err = {0};
	const struct track_tasks tasks = {list_tree, root};
	struct track *t = track_begin(*root, &tasks, sink, &err);
	if (!t)
		fail_msg("%s", err.message);
	return t;
}

static inline struct track *begin(pid_t *root)
{
	static const struct memory_sink sink = {.place = place, .send = take_message};
	return begin_to(root, &sink);
}

static inline struct track_round one_round(struct track *t)
{
	struct track_round r;
	struct error err = {0};
	if (track_round(t, &r, &err) < 0)
		fail_msg("%s", err.message);
	return r;
}

// On a busy machine a thread may not stop in time to be armed: then the next round tries again.
// Rounds until all are, and none needed to be; how many times tasks were armed.
static inline size_t arm_all(struct track *t)
{
	size_t armed = 0;
	for (int turn = 0; turn < 200; turn++) {
		struct track_round r = one_round(t);
		armed += r.armed;
		if (r.armed == 0 && r.unarmed == 0)
			return armed;
	}
	fail_msg("tasks cannot be armed");
	return 0;
}

// The first round that could arm all.
static inline struct track_round first_round(struct track *t)
{
	struct track_round r = one_round(t);
	for (int turn = 0; turn < 200 && r.unarmed; turn++)
		r = one_round(t);
	assert_int_equal(r.unarmed, 0);
	return r;
}

static inline struct track_round last_round(struct track *t, pid_t root)
{
	struct track_round r;
	struct error err = {0};
	stop_tree(root);
	if (track_final(t, &r, &err) < 0)
		fail_msg("%s", err.message);
	return r;
}

static inline const struct track_entry *entry_of(const struct track *t, uint64_t destination,
						 uint64_t vaddr)
{
	const struct track_entry *list;
	size_t count;
	track_map(t, &list, &count);
	for (size_t i = 0; i < count; i++)
		if (list[i].destination == destination && list[i].vaddr <= vaddr &&
		    vaddr < list[i].vaddr + list[i].pages * PAGE)
			return &list[i];
	return NULL;
}

static inline int open_mem(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static inline bool in_order(const struct track_entry *list, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (list[i - 1].destination > list[i].destination ||
		    (list[i - 1].destination == list[i].destination &&
		     list[i - 1].vaddr + list[i - 1].pages * PAGE > list[i].vaddr))
			return false;
	return true;
}

// Number of pages of the map that differ between the store and the stopped process, or were never
// sent.
static inline size_t differences(const struct track *t, pid_t pid)
{
	const struct track_entry *list;
	size_t count, bad = 0, seen = 0;
	uint8_t bytes[PAGE];
	_cleanup_close_ int mem = open_mem(pid);
	track_map(t, &list, &count);
	assert_true(in_order(list, count));
	for (size_t i = 0; i < count; i++)
		for (uint64_t k = 0; k < list[i].pages; k++) {
			uint64_t vaddr = list[i].vaddr + k * PAGE;
			if (list[i].destination != ((uint64_t)pid << 8 | 1))
				continue;
			struct page *p = slot(store.table, store.room, list[i].destination, vaddr);
			seen++;
			if (pread(mem, bytes, PAGE, (off_t)vaddr) != (ssize_t)PAGE)
				fail_msg("page %llx is in the map and not there",
					 (unsigned long long)vaddr);
			bad += !p->bytes || memcmp(bytes, p->bytes, PAGE) != 0;
		}
	assert_true(seen > 0);
	return bad;
}

// Pages of the arena that hold something and are not in the map.
static inline size_t missing(const struct track *t, pid_t pid)
{
	uint8_t bytes[PAGE];
	size_t n = 0;
	_cleanup_close_ int mem = open_mem(pid);
	for (uint64_t i = 0; i < ARENA_PAGES; i++) {
		uint64_t vaddr = (uintptr_t)ARENA + i * PAGE;
		if (pread(mem, bytes, PAGE, (off_t)vaddr) == (ssize_t)PAGE &&
		    memcmp(bytes, zeroes, PAGE) != 0 && !entry_of(t, (uint64_t)pid << 8 | 1, vaddr))
			n++;
	}
	return n;
}

static inline void finish(struct track *t, pid_t root)
{
	track_end(t);
	kill_tree(root);
	store_clear();
}

static inline int usable(void **state)
{
	char why[200];
	(void)state;
	if (track_usable(why, sizeof(why)))
		return 0;
	print_message("skipped: %s\n", why);
	exit(0);
}

#endif
