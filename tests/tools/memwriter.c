// SPDX-License-Identifier: Apache-2.0
// Memory in which every page has a version, written and checked all the time, to see whether a move
// keeps it byte-exact. All 512 words of a page follow from its number and its version; the versions
// are kept elsewhere, so that a page that is stale, torn, zeroed or another one's is noticed.
//
// usage: memwriter MODE MIB FILE
//   single    one process
//   threads   four threads write the same memory, each its own pages
//   tree      five processes, forked from each other: what one does not write stays shared
//   shared    two processes and memory of every shared kind: anonymous, memfd, SysV
//   remap     mappings come, go, grow, move, shrink, are emptied, closed, swapped out and made of
//             huge pages
//   churn     the same, and they are guarded (madvise(2) MADV_GUARD_INSTALL): only for a restore
//             before it runs, wpar(7)
// Every worker checks all pages and writes a part of its own, by itself, through the kernel
// (read(2)), and in `tree` it forks children that only check. FILE gets "ok PASSES" (the slowest
// worker's) or "bad WHAT", renamed into place; after "bad" nothing is written any more.
#include "tests/tools/pages.h"

#include <errno.h>
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>

#define AREAS       3
#define TREE        5 // workers of a tree
#define REGIONS     24
#define WRITE_SHARE 20 // a pass writes one page in so many
#define PAUSE_US    10000

// madvise(2), newer than the headers of Debian 12.
#define PAGEOUT       21  // 5.4
#define COLLAPSE      25  // 6.1
#define GUARD_INSTALL 102 // 6.13
#define GUARD_REMOVE  103

static struct area areas[AREAS];
static int n_areas;
static bool forks;  // children that check
static bool guards; // of memory, come and go

// ---- workers
static uint64_t next_random(uint64_t *state)
{
	return mix(*state += 0x9e3779b97f4a7c15u);
}

// Half of the writes go into an eighth of the memory, the others everywhere.
static void write_some(struct area *a, int slot, uint64_t *state)
{
	for (size_t n = a->pages / WRITE_SHARE / (size_t)n_workers + 1; n > 0; n--) {
		uint64_t dice = next_random(state);
		size_t range = dice % 2 ? a->pages / 8 : a->pages;
		size_t page = (dice >> 8) % (range / (size_t)n_workers) * (size_t)n_workers +
			      (size_t)slot;
		write_page(a, page, dice >> 1 & 1 && dice >> 2 & 1);
	}
}

// A child's view of what it got; that it came to nothing is the parent's to see.
static void fork_checker(struct progress *mine)
{
	int status;
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		for (int i = 0; i < n_areas; i++)
			if (!check_area(mine, &areas[i]))
				_exit(1);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
}

static void *work(void *arg)
{
	int slot = (int)(intptr_t)arg;
	struct progress *mine = &progress[slot];
	uint64_t state = (uint64_t)slot + 1;
	for (uint64_t pass = 1; !atomic_load(&mine->failed); pass++) {
		for (int i = 0; i < n_areas && check_area(mine, &areas[i]); i++)
			write_some(&areas[i], slot, &state);
		if (forks && pass % 8 == 0)
			fork_checker(mine);
		atomic_fetch_add(&mine->passes, 1);
		if (slot == 0)
			report();
		// All of them together keep a processor as busy as a single one does: a move steps
		// back for other work while it copies, and would wait for them more than it moves.
		usleep(PAUSE_US * (unsigned)n_workers);
	}
	if (slot == 0)
		report();
	for (;;)
		pause();
	return NULL;
}

static void *map_memfd(size_t bytes)
{
	int fd = memfd_create("memwriter", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		die("memfd");
	return map(bytes, MAP_SHARED, fd);
}

static void *map_sysv(size_t bytes)
{
	int id = shmget(IPC_PRIVATE, bytes, IPC_CREAT | 0600);
	void *p = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (p == (void *)-1)
		die("shm");
	return p;
}

// What is known of the pages is as shared as the pages.
static void add_area(void *memory, size_t pages, int flags)
{
	struct area *a = &areas[n_areas];
	*a = (struct area){.memory = memory,
			   .versions = map(pages * sizeof(*a->versions), flags | MAP_ANONYMOUS, -1),
			   .pages = pages,
			   .seed = mix((uint64_t)++n_areas)};
	for (size_t page = 0; page < pages; page++)
		write_page(a, page, false);
}

static void run_threads(void)
{
	pthread_t thread;
	n_workers = 4;
	for (int i = 1; i < n_workers; i++)
		if (pthread_create(&thread, NULL, work, (void *)(intptr_t)i))
			die("thread");
}

// Two children, of which each has one; `forks` and the memory are theirs, too.
static void run_tree(void)
{
	n_workers = TREE;
	forks = true;
	for (int child = 1; child <= 2; child++) {
		if (fork() > 0)
			continue;
		if (fork() == 0)
			work((void *)(intptr_t)(child + 2));
		work((void *)(intptr_t)child);
	}
}

static void run_shared(size_t bytes)
{
	size_t each = bytes / 3 / PAGE;
	add_area(map(each * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1), each, MAP_SHARED);
	add_area(map_memfd(each * PAGE), each, MAP_SHARED);
	add_area(map_sysv(each * PAGE), each, MAP_SHARED);
	n_workers = 2;
	if (fork() == 0)
		work((void *)1);
}

// ---- churn
struct region {
	struct area area;
	bool closed;  // PROT_NONE
	bool guarded; // a quarter of it
};

static void region_map(struct region *r, size_t pages, uint64_t seed)
{
	r->area = (struct area){.memory = map(pages * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1),
				.versions = calloc(pages, sizeof(*r->area.versions)),
				.pages = pages,
				.seed = seed};
	if (!r->area.versions)
		die("calloc");
	if (seed % 3 == 0)
		madvise(r->area.memory, pages * PAGE, MADV_HUGEPAGE);
	for (size_t page = 0; page < pages; page++)
		atomic_store(&r->area.versions[page], ZEROES);
	for (size_t page = 0; page < pages; page += 1 + seed % 2)
		write_page(&r->area, page, false);
}

static void region_unmap(struct region *r)
{
	munmap(r->area.memory, r->area.pages * PAGE);
	free((void *)r->area.versions);
	memset(r, 0, sizeof(*r));
}

static void region_resize(struct region *r, size_t pages)
{
	struct area *a = &r->area;
	void *memory = mremap(a->memory, a->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);
	void *versions = realloc((void *)a->versions, pages * sizeof(*a->versions));
	if (memory == MAP_FAILED || !versions)
		die("mremap");
	a->memory = memory;
	a->versions = versions;
	for (size_t page = a->pages; page < pages; page++)
		atomic_store(&a->versions[page], ZEROES);
	a->pages = pages;
}

static void region_empty(struct region *r, size_t from, size_t pages)
{
	if (madvise(r->area.memory + from * WORDS, pages * PAGE, MADV_DONTNEED) < 0)
		die("madvise");
	for (size_t page = from; page < from + pages; page++)
		atomic_store(&r->area.versions[page], ZEROES);
}

static void region_protect(struct region *r, bool closed)
{
	if (mprotect(r->area.memory, r->area.pages * PAGE,
		     closed ? PROT_NONE : PROT_READ | PROT_WRITE) < 0)
		die("mprotect");
	r->closed = closed;
}

// madvise(2) of newer kernels than the headers of Debian 12; one that the kernel does not know is
// left out.
static bool advise(const struct region *r, size_t from, size_t pages, int advice)
{
	return madvise(r->area.memory + from * WORDS, pages * PAGE, advice) == 0;
}

// A quarter of it may not be touched any more, and is empty afterwards.
static void region_guard(struct region *r, bool guarded)
{
	size_t from = r->area.pages / 4, pages = from;
	if (!advise(r, from, pages, guarded ? GUARD_INSTALL : GUARD_REMOVE))
		return;
	for (size_t page = from; page < from + pages; page++)
		atomic_store(&r->area.versions[page], guarded ? CLOSED : ZEROES);
	r->guarded = guarded;
}

// Whether what is guarded is so still, after a move, too: the kernel itself cannot read it.
static void check_guard(struct region *r)
{
	static int ends[2] = {-1, -1};
	size_t page = r->area.pages / 4;
	if (ends[0] < 0 && pipe2(ends, O_CLOEXEC) < 0)
		die("pipe");
	if (r->guarded &&
	    (write(ends[1], r->area.memory + page * WORDS, 1) == 1 || errno != EFAULT))
		fail(progress, &r->area, page, CLOSED, 0);
}

// True when it was closed or guarded, and is open now.
static bool region_open(struct region *r)
{
	if (r->closed)
		region_protect(r, false);
	else if (r->guarded)
		region_guard(r, false);
	else
		return false;
	return true;
}

static void region_change(struct region *r, size_t pages, uint64_t dice)
{
	if (!r->area.memory) {
		region_map(r, pages / 2 + (dice >> 8) % pages, dice);
		return;
	}
	if (region_open(r))
		return;
	switch (dice % 9) {
	case 0:
		region_unmap(r);
		break;
	case 1:
		region_resize(r, r->area.pages < pages ? r->area.pages * 2 : r->area.pages / 2);
		break;
	case 2:
		region_empty(r, r->area.pages / 4, r->area.pages / 2);
		break;
	case 3:
		region_protect(r, true);
		break;
	case 4:
		if (guards)
			region_guard(r, true);
		break;
	case 5:
		advise(r, 0, r->area.pages, COLLAPSE);
		break;
	case 6:
		advise(r, 0, r->area.pages, PAGEOUT);
		break;
	default:
		for (size_t page = dice % 7; page < r->area.pages; page += 7)
			write_page(&r->area, page, page % 3 == 0);
	}
}

static _Noreturn void churn(size_t bytes)
{
	static struct region regions[REGIONS];
	uint64_t state = 1;
	for (size_t i = 0; i < REGIONS; i++)
		region_map(&regions[i], bytes / PAGE / REGIONS, i + 1);
	for (;;) {
		for (int n = 0; n < 3; n++) {
			uint64_t dice = next_random(&state);
			region_change(&regions[(dice >> 40) % REGIONS], bytes / PAGE / REGIONS,
				      dice);
		}
		for (size_t i = 0; i < REGIONS && !atomic_load(&progress->failed); i++)
			if (regions[i].area.memory && !regions[i].closed) {
				check_area(progress, &regions[i].area);
				check_guard(&regions[i]);
			}
		atomic_fetch_add(&progress->passes, 1);
		report();
		usleep(PAUSE_US);
	}
}

static void begin(const char *mode, size_t bytes)
{
	guards = strcmp(mode, "churn") == 0;
	if (guards || strcmp(mode, "remap") == 0)
		churn(bytes);
	if (strcmp(mode, "shared") == 0) {
		run_shared(bytes);
		return;
	}
	add_area(map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1), bytes / PAGE, MAP_PRIVATE);
	if (strcmp(mode, "threads") == 0)
		run_threads();
	else if (strcmp(mode, "tree") == 0)
		run_tree();
	else if (strcmp(mode, "single") != 0) {
		fprintf(stderr, "memwriter: no mode %s\n", mode);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	if (argc != 4 || atol(argv[2]) < 1) {
		fprintf(stderr,
			"usage: memwriter single|threads|tree|shared|remap|churn MIB FILE\n");
		return 2;
	}
	report_path = argv[3];
	progress = map(WORKERS * sizeof(*progress), MAP_SHARED | MAP_ANONYMOUS, -1);
	begin(argv[1], (size_t)atol(argv[2]) << 20);
	work(NULL);
	return 1;
}
