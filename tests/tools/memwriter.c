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
//   churn     mappings come, go, grow, move, shrink, are emptied, locked away and made huge
// Every worker checks all pages and writes a part of its own, by itself, through the kernel
// (read(2)), and in `tree` it forks children that only check. FILE gets "ok PASSES" (the slowest
// worker's) or "bad WHAT", renamed into place; after "bad" nothing is written any more.
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE        4096
#define WORDS       (PAGE / 8)
#define AREAS       3
#define WORKERS     5
#define REGIONS     24
#define WRITE_SHARE 20 // a pass writes one page in so many
#define PAUSE_US    10000
#define ZEROES      UINT32_MAX // the version of a page that holds nothing

// A page's version is odd while it is being written, so that others skip it.
struct area {
	uint64_t *memory;
	_Atomic uint32_t *versions;
	size_t pages;
	uint64_t seed;
};

struct progress {
	_Atomic uint64_t passes;
	_Atomic bool failed;
	char bad[160];
};

static struct area areas[AREAS];
static int n_areas, n_workers = 1;
static struct progress *progress; // shared, WORKERS of them
static const char *report_path;
static bool forks; // children that check

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

// ---- a page
static uint64_t mix(uint64_t x)
{
	// the finalizer of splitmix64: Steele, Lea, Flood (2014)
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t first_word(const struct area *a, size_t page, uint32_t version)
{
	return version == ZEROES ? 0 : mix(a->seed + page * 0x9e3779b97f4a7c15u + version);
}

static uint64_t step_of(uint32_t version)
{
	return version == ZEROES ? 0 : 0xd1342543de82ef95u;
}

// A kernel's write: into a pipe and out of it into the page.
static void write_by_kernel(uint64_t *to, const uint64_t *text)
{
	static __thread int ends[2] = {-1, -1};
	if (ends[0] < 0 && pipe2(ends, O_CLOEXEC) < 0)
		die("pipe");
	if (write(ends[1], text, PAGE) != PAGE)
		die("write");
	for (size_t got = 0; got < PAGE;) {
		ssize_t n = read(ends[0], (char *)to + got, PAGE - got);
		if (n <= 0)
			die("read");
		got += (size_t)n;
	}
}

static void write_page(struct area *a, size_t page, bool by_kernel)
{
	uint32_t old = atomic_load(&a->versions[page]), version = old == ZEROES ? 2 : old + 2;
	uint64_t text[WORDS], *to = a->memory + page * WORDS;
	uint64_t word = first_word(a, page, version), step = step_of(version);
	for (size_t i = 0; i < WORDS; i++)
		text[i] = word + i * step;
	atomic_store(&a->versions[page], version - 1);
	atomic_thread_fence(memory_order_seq_cst);
	if (by_kernel)
		write_by_kernel(to, text);
	else
		memcpy(to, text, PAGE);
	atomic_store(&a->versions[page], version);
}

static bool fail(struct progress *mine, const struct area *a, size_t page, uint32_t version,
		 size_t i)
{
	const uint64_t *at = a->memory + page * WORDS;
	if (!atomic_load(&mine->failed))
		snprintf(mine->bad, sizeof(mine->bad),
			 "area %d page %zu version %u: word %zu is %016llx, page begins %016llx",
			 (int)(a - areas), page, version, i, (unsigned long long)at[i],
			 (unsigned long long)at[0]);
	atomic_store(&mine->failed, true);
	return false;
}

static bool check_page(struct progress *mine, const struct area *a, size_t page)
{
	uint32_t version = atomic_load(&a->versions[page]);
	const volatile uint64_t *at = a->memory + page * WORDS;
	uint64_t word = first_word(a, page, version), step = step_of(version);
	if (version % 2 && version != ZEROES)
		return true;
	for (size_t i = 0; i < WORDS; i++) {
		if (at[i] == word + i * step)
			continue;
		atomic_thread_fence(memory_order_seq_cst);
		return atomic_load(&a->versions[page]) != version ||
		       fail(mine, a, page, version, i);
	}
	return true;
}

static bool check_area(struct progress *mine, const struct area *a)
{
	for (size_t page = 0; page < a->pages; page++)
		if (!check_page(mine, a, page))
			return false;
	return true;
}

// ---- report
static void report(void)
{
	char temporary[300];
	const char *bad = NULL;
	uint64_t passes = UINT64_MAX;
	for (int i = 0; i < n_workers; i++) {
		uint64_t own = atomic_load(&progress[i].passes);
		passes = own < passes ? own : passes;
		bad = atomic_load(&progress[i].failed) ? progress[i].bad : bad;
	}
	snprintf(temporary, sizeof(temporary), "%s.new", report_path);
	FILE *f = fopen(temporary, "w");
	if (!f ||
	    (bad ? fprintf(f, "bad %s\n", bad)
		 : fprintf(f, "ok %llu\n", (unsigned long long)passes)) < 0 ||
	    fclose(f) || rename(temporary, report_path))
		die(report_path);
	while (bad)
		pause();
}

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
		usleep(PAUSE_US);
	}
	if (slot == 0)
		report();
	for (;;)
		pause();
	return NULL;
}

static void *map(size_t bytes, int flags, int fd)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
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
	n_workers = WORKERS;
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
	bool closed; // PROT_NONE
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

static void region_change(struct region *r, size_t pages, uint64_t dice)
{
	if (!r->area.memory) {
		region_map(r, pages / 2 + (dice >> 8) % pages, dice);
		return;
	}
	if (r->closed) {
		region_protect(r, false);
		return;
	}
	switch (dice % 6) {
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
			if (regions[i].area.memory && !regions[i].closed)
				check_area(progress, &regions[i].area);
		atomic_fetch_add(&progress->passes, 1);
		report();
		usleep(PAUSE_US);
	}
}

static void begin(const char *mode, size_t bytes)
{
	if (strcmp(mode, "churn") == 0)
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
		fprintf(stderr, "usage: memwriter single|threads|tree|shared|churn MIB FILE\n");
		return 2;
	}
	report_path = argv[3];
	progress = map(WORKERS * sizeof(*progress), MAP_SHARED | MAP_ANONYMOUS, -1);
	begin(argv[1], (size_t)atol(argv[2]) << 20);
	work(NULL);
	return 1;
}
