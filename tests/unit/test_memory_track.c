// SPDX-License-Identifier: Apache-2.0
// Copying the memory of running processes: what a store of frames has in the end is what the
// stopped processes have, whatever they did meanwhile. And: copying before protecting is found out.
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

static struct page *slot(struct page *table, size_t room, uint64_t destination, uint64_t vaddr)
{
	uint64_t mixed = (destination ^ vaddr / PAGE) * 0x9e3779b97f4a7c15u;
	size_t i = (mixed ^ mixed >> 32) % room;
	while (table[i].bytes && (table[i].destination != destination || table[i].vaddr != vaddr))
		i = (i + 1) % room;
	return &table[i];
}

static void store_grow(void)
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

static void store_page(uint64_t destination, uint64_t vaddr, const uint8_t *bytes)
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

static void store_clear(void)
{
	if (store.pool)
		munmap(store.pool, POOL_PAGES * PAGE);
	store.pool = NULL;
	free(store.table);
	store.table = NULL;
	store.room = store.used = 0;
	store.data_pages = store.zero_pages = 0;
}

static void *place(void *arg, size_t *room, struct error *err)
{
	(void)arg;
	(void)err;
	*room = sizeof(store.place);
	return store.place;
}

// Takes a message apart as its receiver would.
static int take_message(void *arg, void *at, size_t length, struct error *err)
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
static void add_tree(pid_t pid, pid_t *pids, size_t *count)
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

static int list_tree(void *arg, pid_t **pids, size_t *count, struct error *err)
{
	(void)err;
	*count = 0;
	*pids = calloc(PIDS_MAX, sizeof(**pids));
	add_tree(*(pid_t *)arg, *pids, count);
	return 0;
}

static bool all_threads_stopped(pid_t pid)
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

static void stop_tree(pid_t root)
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

static void kill_tree(pid_t root)
{
	pid_t pids[PIDS_MAX];
	size_t count = 0;
	add_tree(root, pids, &count);
	for (size_t i = 0; i < count; i++)
		kill(pids[i], SIGKILL);
	waitpid(root, NULL, 0);
}

// Runs body in a child; returns when it says that it is ready.
static pid_t start(void (*body)(int ready))
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

static void ready(int to)
{
	if (write(to, "r", 1) != 1)
		_exit(1);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint8_t *map_arena(void)
{
	void *p = mmap(ARENA, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
	if (p != ARENA)
		_exit(1);
	return p;
}

// ---- a track and its comparison -----------------------------------------------------------------

static struct track *begin_to(pid_t *root, const struct memory_sink *sink)
{
	struct error err = {0};
	const struct track_tasks tasks = {list_tree, root};
	struct track *t = track_begin(*root, &tasks, sink, &err);
	if (!t)
		fail_msg("%s", err.message);
	return t;
}

static struct track *begin(pid_t *root)
{
	static const struct memory_sink sink = {place, take_message, NULL};
	return begin_to(root, &sink);
}

static struct track_round one_round(struct track *t)
{
	struct track_round r;
	struct error err = {0};
	if (track_round(t, &r, &err) < 0)
		fail_msg("%s", err.message);
	return r;
}

// On a busy machine a thread may not stop in time to be armed: then the next round tries again.
// Rounds until all are, and none needed to be; how many times tasks were armed.
static size_t arm_all(struct track *t)
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
static struct track_round first_round(struct track *t)
{
	struct track_round r = one_round(t);
	for (int turn = 0; turn < 200 && r.unarmed; turn++)
		r = one_round(t);
	assert_int_equal(r.unarmed, 0);
	return r;
}

static struct track_round last_round(struct track *t, pid_t root)
{
	struct track_round r;
	struct error err = {0};
	stop_tree(root);
	if (track_final(t, &r, &err) < 0)
		fail_msg("%s", err.message);
	return r;
}

static const struct track_entry *entry_of(const struct track *t, uint64_t destination,
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

static int open_mem(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static bool in_order(const struct track_entry *list, size_t count)
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
static size_t differences(const struct track *t, pid_t pid)
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
static size_t missing(const struct track *t, pid_t pid)
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

static void finish(struct track *t, pid_t root)
{
	track_end(t);
	kill_tree(root);
	store_clear();
}

// ---- writers ------------------------------------------------------------------------------------

static void *write_pages(void *arg)
{
	uint64_t seed = 0x9e3779b97f4a7c15u * (1 + (uintptr_t)arg), version = 0;
	for (;;) {
		uint64_t at = next_random(&seed);
		uint64_t page = at % 10 < 7 ? at / 10 % 512 : at / 10 % (ARENA_PAGES / 2);
		volatile uint64_t *words = (uint64_t *)(ARENA + page * PAGE);
		version++;
		if (at >> 60 == 0)
			for (size_t i = 0; i < PAGE / 8; i++)
				words[i] = version + i;
		else
			words[(at >> 20) % (PAGE / 8)] = version;
		if (version % 256 == 0)
			usleep(50); // others need the CPU as well
	}
	return NULL;
}

// One page after another, so that none is written again soon.
static void *sweep(void *arg)
{
	for (uint64_t i = 0;; i++) {
		ARENA[(ARENA_PAGES / 2 + i % (ARENA_PAGES / 2)) * PAGE] += 1;
		if (i % 8 == 0)
			usleep(10);
	}
	return arg;
}

static void fill(uint8_t *from, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		memset(from + i * PAGE, (int)(i % 250) + 1, PAGE);
}

static void writers(int to)
{
	map_arena();
	fill(ARENA, ARENA_PAGES / 2);
	pthread_t t;
	pthread_create(&t, NULL, write_pages, NULL);
	pthread_create(&t, NULL, sweep, NULL);
	ready(to);
	for (;;)
		pause();
}

static void copies_what_is_written(void **state)
{
	(void)state;
	pid_t root = start(writers);
	struct track *t = begin(&root);
	assert_int_equal(arm_all(t), 1);
	assert_true(store.data_pages >= ARENA_PAGES / 2);
	for (int i = 1; i < ROUNDS; i++) {
		struct track_round r = one_round(t);
		assert_int_equal(r.armed, 0);
		assert_int_equal(r.unarmed, 0);
	}
	uint64_t dirty = 0;
	while (dirty == 0)
		assert_int_equal(track_dirty(t, &dirty, NULL), 0);
	struct track_round last = last_round(t, root);
	assert_true(last.pages > 0);
	assert_int_equal(differences(t, root), 0);
	assert_int_equal(missing(t, root), 0);
	finish(t, root);
}

// ---- mappings that change -----------------------------------------------------------------------

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	uint8_t *page = (uint8_t *)((uintptr_t)info->si_addr & ~(PAGE - 1));
	if (page < ARENA || page >= ARENA + ARENA_PAGES * PAGE)
		_exit(11);
	if (mprotect(page, PAGE, PROT_READ | PROT_WRITE) < 0)
		mmap(page, PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void scribble(uint8_t *at, size_t pages, uint64_t *seed)
{
	for (size_t i = 0; i < pages; i += 1 + next_random(seed) % 3)
		at[i * PAGE + next_random(seed) % PAGE] = (uint8_t)next_random(seed);
}

static void move(uint8_t *from, uint8_t *to, size_t length)
{
	size_t apart = (size_t)(from > to ? from - to : to - from);
	if (apart < length ||
	    mremap(from, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		return;
	mmap(from, length, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void change(uint64_t *seed)
{
	const size_t half = ARENA_PAGES / 2;
	uint8_t *base = ARENA + half * PAGE;
	uint8_t *at = base + next_random(seed) % (half - 300) * PAGE;
	size_t pages = 1 + next_random(seed) % 256, length = pages * PAGE;
	pid_t child;
	switch (next_random(seed) % 16) {
	case 0:
		madvise(at, length, MADV_DONTNEED);
		break;
	case 1:
		madvise(at, length, MADV_FREE);
		break;
	case 2:
		mprotect(at, length, PROT_READ);
		break;
	case 3:
		mprotect(at, length, PROT_NONE);
		break;
	case 4:
		munmap(at, length);
		mmap(at, length, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		scribble(at, pages, seed);
		break;
	case 5:
		munmap(at, length);
		break;
	case 6:
	case 7:
		move(at, base + next_random(seed) % (half - 300) * PAGE, length);
		break;
	case 8:
		child = fork();
		if (child == 0) {
			usleep(next_random(seed) % 1000);
			_exit(0);
		}
		waitpid(child, NULL, 0);
		break;
	case 9:
		at = (uint8_t *)((uintptr_t)at & ~((2ul << 20) - 1));
		madvise(at, 2ul << 20, MADV_HUGEPAGE);
		break;
	case 10:
		madvise(at, length, 21); // MADV_PAGEOUT
		break;
	default:
		mprotect(at, length, PROT_READ | PROT_WRITE);
		scribble(at, pages, seed);
	}
}

static void *change_mappings(void *arg)
{
	uint64_t seed = 77 + (uintptr_t)arg;
	for (;;) {
		change(&seed);
		usleep(20);
	}
	return NULL;
}

static void churn(int to)
{
	struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	map_arena();
	fill(ARENA, ARENA_PAGES);
	pthread_t t;
	pthread_create(&t, NULL, write_pages, NULL);
	pthread_create(&t, NULL, change_mappings, NULL);
	ready(to);
	for (;;)
		pause();
}

static void follows_changing_mappings(void **state)
{
	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		pid_t root = start(churn);
		struct track *t = begin(&root);
		for (int i = 0; i < ROUNDS; i++) {
			one_round(t);
			usleep(2000);
		}
		last_round(t, root);
		assert_int_equal(differences(t, root), 0);
		assert_int_equal(missing(t, root), 0);
		finish(t, root);
	}
}

// ---- processes that come and go -----------------------------------------------------------------

static void forks_and_execs(int to)
{
	map_arena();
	fill(ARENA, 256);
	signal(SIGUSR1, SIG_IGN);
	if (fork() == 0) { // lives on, with the arena as its own
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ready(to);
		for (uint64_t seed = 5;;)
			scribble(ARENA, 256, &seed);
	}
	sigset_t set;
	int number;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigwait(&set, &number);
	execl("/bin/sleep", "sleep", "1000", NULL);
}

static void follows_processes(void **state)
{
	(void)state;
	pid_t root = start(forks_and_execs), pids[PIDS_MAX];
	size_t count = 0;
	struct track *t = begin(&root);
	assert_int_equal(arm_all(t), 2);
	kill(root, SIGUSR2);
	char name[64] = "", path[64];
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)root);
	while (strcmp(name, "sleep\n") != 0) {
		_cleanup_fclose_ FILE *f = fopen(path, "re");
		assert_non_null(fgets(name, sizeof(name), f));
	}
	assert_true(arm_all(t) >= 1); // another address space
	last_round(t, root);
	add_tree(root, pids, &count);
	assert_int_equal(count, 2);
	assert_int_equal(differences(t, pids[0]), 0);
	assert_int_equal(differences(t, pids[1]), 0);
	assert_int_equal(missing(t, pids[1]), 0);
	finish(t, root);
}

static size_t userfaultfds(pid_t pid)
{
	char path[64], link[64];
	size_t n = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		ssize_t got = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		link[got < 0 ? 0 : got] = 0;
		n += !strcmp(link, "anon_inode:[userfaultfd]");
	}
	return n;
}

struct pair {
	pid_t pids[2];
	size_t count;
};

static int list_pair(void *arg, pid_t **pids, size_t *count, struct error *err)
{
	const struct pair *pair = arg;
	(void)err;
	*count = pair->count;
	*pids = malloc(sizeof(pair->pids));
	memcpy(*pids, pair->pids, sizeof(pair->pids));
	return 0;
}

static void wait_only(int to)
{
	ready(to);
	for (;;)
		pause();
}

// A child that was forked while its parent had our userfaultfd; this one has it from us.
static void takes_back_what_a_child_inherited(void **state)
{
	(void)state;
	static const struct memory_sink sink = {place, take_message, NULL};
	struct pair pair = {{start(wait_only), 0}, 1};
	const struct track_tasks tasks = {list_pair, &pair};
	struct track *t = track_begin(pair.pids[0], &tasks, &sink, NULL);
	size_t others = userfaultfds(getpid());
	assert_int_equal(arm_all(t), 1);
	pair.pids[1] = start(wait_only);
	pair.count = 2;
	assert_int_equal(userfaultfds(pair.pids[1]), others + 1);
	assert_int_equal(arm_all(t), 1);
	assert_int_equal(userfaultfds(pair.pids[1]), others);
	kill_tree(pair.pids[1]);
	finish(t, pair.pids[0]);
}

// ---- shared segments ----------------------------------------------------------------------------

#define SEGMENT_PAGES 512ul

static struct {
	pid_t writer;
	uint8_t *anonymous, *memfd, *sysv;
	int fd;
} shared; // the same addresses in parent and child

static void make_segments(void)
{
	size_t length = SEGMENT_PAGES * PAGE;
	shared.fd = memfd_create("of a test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(shared.fd, (off_t)length), 0);
	shared.memfd = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, shared.fd, 0);
	shared.anonymous =
		mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int id = shmget(IPC_PRIVATE, length, IPC_CREAT | 0600);
	shared.sysv = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	memset(shared.anonymous, 1, length / 2);
	memset(shared.memfd, 2, length / 2);
	memset(shared.sysv, 3, length / 2);
}

static void drop_segments(void)
{
	munmap(shared.memfd, SEGMENT_PAGES * PAGE);
	munmap(shared.anonymous, SEGMENT_PAGES * PAGE);
	shmdt(shared.sysv);
	close(shared.fd);
}

// Processes that write to shared memory and are gone before anybody has seen them, and write(2).
static void short_lived(int to)
{
	ready(to);
	for (uint64_t seed = 9;; next_random(&seed)) {
		pid_t pid = fork();
		if (pid == 0) {
			scribble(shared.anonymous, SEGMENT_PAGES, &seed);
			scribble(shared.memfd, SEGMENT_PAGES / 2, &seed);
			scribble(shared.sysv, SEGMENT_PAGES, &seed);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		if (pwrite(shared.fd, &seed, sizeof(seed),
			   (off_t)(next_random(&seed) % (SEGMENT_PAGES * PAGE - 8))) < 0)
			_exit(1);
	}
}

static uint64_t inode_at(const void *address)
{
	char line[512];
	unsigned long long from, to, inode = 0;
	_cleanup_fclose_ FILE *f = fopen("/proc/self/maps", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx %*s %*s %*s %llu", &from, &to, &inode) == 3 &&
		    from <= (uintptr_t)address && (uintptr_t)address < to)
			return inode;
	return 0;
}

// Our own view of it is the truth.
static void segment_is_whole(const struct track *t, const uint8_t *bytes)
{
	uint64_t destination = inode_at(bytes) << 8 | 2;
	const struct track_segment *list;
	size_t count, found = 0;
	track_segments(t, &list, &count);
	for (size_t i = 0; i < count; i++)
		found += list[i].destination == destination;
	assert_int_equal(found, 1);
	for (uint64_t i = 0; i < SEGMENT_PAGES; i++) {
		struct page *p = slot(store.table, store.room, destination, i * PAGE);
		bool listed = entry_of(t, destination, i * PAGE) != NULL;
		if (listed)
			assert_non_null(p->bytes);
		const uint8_t *copy = listed ? p->bytes : zeroes;
		if (memcmp(copy, bytes + i * PAGE, PAGE) != 0)
			fail_msg("page %llu of a segment differs", (unsigned long long)i);
	}
}

static void copies_shared_segments(void **state)
{
	(void)state;
	make_segments();
	pid_t root = start(short_lived);
	struct track *t = begin(&root);
	for (int i = 0; i < ROUNDS; i++) {
		one_round(t);
		usleep(1000);
	}
	last_round(t, root);
	segment_is_whole(t, shared.memfd); // also by its descriptor
	if (geteuid() == 0) {
		segment_is_whole(t, shared.anonymous);
		segment_is_whole(t, shared.sysv);
	}
	finish(t, root);
	drop_segments();
	if (geteuid() != 0) {
		print_message("skipped: opening shared memory of others takes root\n");
		skip();
	}
}

#define SPARSE_PAGES 1024ul
#define SPARSE_STEP  (64ul << 20)

static void sparse_segment(int to)
{
	int fd = memfd_create("of a test", MFD_CLOEXEC);
	if (ftruncate(fd, (off_t)(SPARSE_PAGES * SPARSE_STEP)) < 0)
		_exit(1);
	for (uint64_t i = 0; i < SPARSE_PAGES; i++)
		if (pwrite(fd, "x", 1, (off_t)(i * SPARSE_STEP)) != 1)
			_exit(1);
	wait_only(to);
}

// What it costs is for its pages, not for its length.
static void takes_sparse_segments(void **state)
{
	(void)state;
	pid_t root = start(sparse_segment);
	struct track *t = begin(&root);
	struct track_round r = one_round(t);
	assert_true(r.pages >= SPARSE_PAGES);
	assert_true(r.ns < 10000000000u);
	last_round(t, root);
	const struct track_segment *list;
	size_t count;
	track_segments(t, &list, &count);
	assert_int_equal(count, 1);
	for (uint64_t i = 0; i < SPARSE_PAGES; i++) {
		assert_non_null(entry_of(t, list[0].destination, i * SPARSE_STEP));
		assert_null(entry_of(t, list[0].destination, i * SPARSE_STEP + PAGE));
	}
	finish(t, root);
}

// ---- special pages ------------------------------------------------------------------------------

#define ODD_PAGES 16ul

enum { ODD_NONE, ODD_LOCKED, ODD_GUARD, ODD_READ, ODD_ZERO, ODD_HUGE, ODD_COUNT };

static uint8_t *odd(int which)
{
	return ARENA + (size_t)which * 512 * PAGE;
}

static void odd_pages(int to)
{
	map_arena();
	fill(odd(ODD_NONE), ODD_PAGES);
	mprotect(odd(ODD_NONE), ODD_PAGES * PAGE, PROT_NONE);
	fill(odd(ODD_LOCKED), ODD_PAGES);
	syscall(SYS_mlock, odd(ODD_LOCKED), ODD_PAGES * PAGE); // not of AddressSanitizer
	fill(odd(ODD_GUARD), ODD_PAGES);
	madvise(odd(ODD_GUARD) + PAGE, 4 * PAGE, GUARD_INSTALL);
	volatile uint8_t sum = 0;
	for (size_t i = 0; i < ODD_PAGES; i++) // the kernel's page of zeroes
		sum += odd(ODD_READ)[i * PAGE];
	memset(odd(ODD_ZERO), 1, ODD_PAGES * PAGE);
	memset(odd(ODD_ZERO), 0, ODD_PAGES * PAGE);
	madvise(odd(ODD_HUGE), 512 * PAGE, MADV_HUGEPAGE);
	fill(odd(ODD_HUGE), 512);
	ready(to);
	for (;;)
		pause();
}

static void handles_odd_pages(void **state)
{
	(void)state;
	pid_t root = start(odd_pages);
	uint64_t destination = (uint64_t)root << 8 | 1;
	struct track *t = begin(&root);
	struct track_round r = first_round(t);
	assert_true(r.zero_bytes >= ODD_PAGES * PAGE);
	assert_int_equal(r.sent_bytes, store.data_pages * PAGE);
	assert_int_equal(r.zero_bytes, store.zero_pages * PAGE);
	r = last_round(t, root);
	// Nothing was written since, but where the kernel notes on which CPU a thread runs (rseq).
	assert_true(r.pages <= 4);
	assert_int_equal(differences(t, root), 0);
	assert_int_equal(missing(t, root), 0);
	const struct track_entry *e = entry_of(t, destination, (uintptr_t)odd(ODD_NONE));
	assert_int_equal(e->flags, PAGEFRAME_PRESENT | PAGEFRAME_LAZY);
	e = entry_of(t, destination, (uintptr_t)odd(ODD_LOCKED));
	assert_int_equal(e->flags, PAGEFRAME_PRESENT);
	assert_null(entry_of(t, destination, (uintptr_t)odd(ODD_READ)));
	assert_non_null(entry_of(t, destination, (uintptr_t)odd(ODD_ZERO)));
	assert_non_null(entry_of(t, destination, (uintptr_t)odd(ODD_GUARD)));
	if (madvise(store.place, 0, GUARD_INSTALL) == 0)
		assert_null(entry_of(t, destination, (uintptr_t)odd(ODD_GUARD) + PAGE));
	finish(t, root);
}

static void many_mappings(int to)
{
	map_arena();
	fill(ARENA, ARENA_PAGES);
	for (size_t i = 0; i < ARENA_PAGES; i += 2)
		mprotect(ARENA + i * PAGE, PAGE, PROT_READ);
	ready(to);
	for (uint64_t seed = 3;;)
		ARENA[(next_random(&seed) % ARENA_PAGES | 1) * PAGE] = (uint8_t)seed;
}

static void takes_many_mappings(void **state)
{
	(void)state;
	pid_t root = start(many_mappings);
	struct track *t = begin(&root);
	for (int i = 0; i < 3; i++)
		one_round(t);
	last_round(t, root);
	assert_int_equal(differences(t, root), 0);
	assert_int_equal(missing(t, root), 0);
	finish(t, root);
}

// What cannot be armed is copied whole in the end.
static void brings_unarmed_tasks_in_the_end(void **state)
{
	(void)state;
	pid_t root = start(writers);
	assert_int_equal(ptrace(PTRACE_SEIZE, root, NULL, 0), 0);
	struct track *t = begin(&root);
	struct track_round r = one_round(t);
	assert_int_equal(r.unarmed, 1);
	assert_non_null(strstr(r.unarmed_why, "traced"));
	assert_int_equal(store.data_pages, 0);
	ptrace(PTRACE_INTERRUPT, root, NULL, NULL);
	waitpid(root, NULL, __WALL);
	assert_int_equal(ptrace(PTRACE_DETACH, root, NULL, 0), 0);
	r = last_round(t, root);
	assert_int_equal(r.unarmed, 1);
	assert_true(r.pages >= ARENA_PAGES / 2);
	assert_int_equal(differences(t, root), 0);
	assert_int_equal(missing(t, root), 0);
	finish(t, root);
}

// A device may still write to what was protected and copied: the next round copies it again.
static void direct_io(int to)
{
	map_arena();
	fill(ARENA, ODD_PAGES);
	int fd = open("/proc/self/exe", O_RDONLY | O_DIRECT);
	if (fd < 0)
		_exit(1);
	ready(to);
	for (;;)
		pause();
}

static void copies_twice_for_direct_io(void **state)
{
	(void)state;
	pid_t root = start(direct_io);
	struct track *t = begin(&root);
	struct track_round first = first_round(t), second = one_round(t), third = one_round(t);
	assert_true(second.sent_bytes >= first.sent_bytes / 2);
	assert_true(third.sent_bytes < first.sent_bytes / 2);
	finish(t, root);
}

// A task that ends between two rounds, or in one.
static void survives_an_end(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		pid_t root = start(writers);
		struct track *t = begin(&root);
		one_round(t);
		pid_t killer = fork();
		if (killer == 0) {
			usleep((useconds_t)i * 300);
			kill(root, SIGKILL);
			_exit(0);
		}
		for (int k = 0; k < 3; k++)
			one_round(t);
		waitpid(killer, NULL, 0);
		waitpid(root, NULL, 0);
		assert_int_equal(one_round(t).tasks, 0);
		track_end(t);
		store_clear();
	}
}

// ---- figures ------------------------------------------------------------------------------------

static int drop_message(void *arg, void *at, size_t length, struct error *err)
{
	(void)arg;
	(void)at;
	(void)length;
	(void)err;
	return 0;
}

static void idle(int to)
{
	map_arena();
	fill(ARENA, ARENA_PAGES);
	ready(to);
	for (;;)
		pause();
}

// A task that is written to right after its first pages were copied, once.
struct poked {
	pid_t pid;
	bool done;
};

static int take_and_poke(void *arg, void *bytes, size_t length, struct error *err)
{
	struct poked *poked = arg;
	char path[64];
	if (take_message(NULL, bytes, length, err) < 0)
		return -1;
	struct page *first =
		slot(store.table, store.room, (uint64_t)poked->pid << 8 | 1, (uintptr_t)ARENA);
	if (poked->done || !first->bytes)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)poked->pid);
	_cleanup_close_ int mem = open(path, O_WRONLY | O_CLOEXEC);
	poked->done = pwrite(mem, "new", 3, (off_t)(uintptr_t)ARENA) == 3;
	return poked->done ? 0 : -1;
}

static size_t differences_after_a_poke(const char *swapped)
{
	struct poked poked = {.pid = start(idle)};
	const struct memory_sink sink = {place, take_and_poke, &poked};
	setenv("RELOCD_TEST_SWAP_ORDER", swapped, 1);
	struct track *t = begin_to(&poked.pid, &sink);
	unsetenv("RELOCD_TEST_SWAP_ORDER");
	arm_all(t);
	one_round(t);
	assert_true(poked.done);
	last_round(t, poked.pid);
	size_t bad = differences(t, poked.pid);
	finish(t, poked.pid);
	return bad;
}

// In the wrong order a write between copy and protection is lost.
static void notices_the_wrong_order(void **state)
{
	(void)state;
	assert_int_equal(differences_after_a_poke("0"), 0);
	assert_int_equal(differences_after_a_poke("1"), 1);
}

static double per_gb(uint64_t ns, uint64_t bytes)
{
	return bytes ? (double)ns / 1e6 / ((double)bytes / 1e9) : 0;
}

static void tells_figures(void **state)
{
	(void)state;
	static const struct memory_sink nowhere = {place, drop_message, NULL};
	pid_t root = start(idle);
	const struct track_tasks tasks = {list_tree, &root};
	struct track *t = track_begin(root, &tasks, &nowhere, NULL);
	struct track_round first = first_round(t), none = one_round(t);
	uint64_t bytes = ARENA_PAGES * PAGE;
	struct track_round last = last_round(t, root);
	print_message("armed in %.0f us; protecting %.1f ms/GB, again %.1f ms/GB, last list %.1f "
		      "ms/GB; copying %.2f GB/s\n",
		      (double)first.arm_ns / 1e3, per_gb(first.protect_ns, bytes),
		      per_gb(none.protect_ns, bytes), per_gb(last.protect_ns, bytes),
		      (double)first.sent_bytes / (double)first.copy_ns);
	assert_true(first.sent_bytes >= bytes);
	finish(t, root);
}

static int usable(void **state)
{
	char why[200];
	(void)state;
	if (track_usable(why, sizeof(why)))
		return 0;
	print_message("skipped: %s\n", why);
	exit(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_what_is_written),
		cmocka_unit_test(notices_the_wrong_order),
		cmocka_unit_test(follows_changing_mappings),
		cmocka_unit_test(follows_processes),
		cmocka_unit_test(takes_back_what_a_child_inherited),
		cmocka_unit_test(copies_shared_segments),
		cmocka_unit_test(takes_sparse_segments),
		cmocka_unit_test(handles_odd_pages),
		cmocka_unit_test(takes_many_mappings),
		cmocka_unit_test(brings_unarmed_tasks_in_the_end),
		cmocka_unit_test(copies_twice_for_direct_io),
		cmocka_unit_test(survives_an_end),
		cmocka_unit_test(tells_figures),
	};
	return cmocka_run_group_tests(tests, usable, NULL);
}
