// SPDX-License-Identifier: Apache-2.0
// Address spaces that are large or odd, checked all the time. As in memwriter all words of a page
// follow from its number and its version; here each process has memory of its own (or its own view
// of what it inherited), and it is the shape that is extreme.
//
// usage: oddwriter KIND COUNT MIB FILE
//   vmas       MIB in COUNT mappings that the kernel cannot merge
//   threads    COUNT threads write MIB, each its own pages
//   processes  COUNT processes with MIB together, none of it shared
//   forks      COUNT children of one process with MIB; each writes eight pages, the rest is shared
//   sparse     a mapping of COUNT GiB without a reservation, MIB of it spread all over
//   locked     MIB in COUNT mappings that are locked into memory
// FILE gets "ok PASSES" (the slowest worker's) or "bad WHAT", renamed into place; after "bad"
// nothing is written any more.
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE        4096ull
#define WORDS       (PAGE / 8)
#define WORKERS_MAX 1024
#define WRITE_SHARE 64 // a pass writes one page in so many
#define FORK_WRITES 8
#define PAUSE_US    10000

struct progress {
	_Atomic uint64_t passes;
	_Atomic bool failed;
	char bad[160];
};

static struct progress *progress; // shared
static _Atomic bool *begun;       // shared: all workers are there
static uint64_t *memory;
static uint32_t *versions;
static size_t pages, stride = 1; // pages from one to the next
static size_t workers = 1;
static const char *report_path;

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *map(size_t bytes, int flags)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static uint64_t word(size_t page, size_t i)
{
	// the finalizer of splitmix64: Steele, Lea, Flood (2014)
	uint64_t x = page * 0x9e3779b97f4a7c15u + versions[page] + 1;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x + i * 0xd1342543de82ef95u;
}

static void write_page(size_t page)
{
	uint64_t *to = memory + page * stride * WORDS;
	versions[page]++;
	for (size_t i = 0; i < WORDS; i++)
		to[i] = word(page, i);
}

static void check_page(struct progress *mine, size_t page)
{
	const uint64_t *at = memory + page * stride * WORDS;
	for (size_t i = 0; i < WORDS; i++) {
		if (at[i] == word(page, i) || atomic_load(&mine->failed))
			continue;
		snprintf(mine->bad, sizeof(mine->bad),
			 "worker %zu page %zu version %u: word %zu is %016llx",
			 (size_t)(mine - progress), page, versions[page], i,
			 (unsigned long long)at[i]);
		atomic_store(&mine->failed, true);
	}
}

static void report(void)
{
	char temporary[300];
	const char *bad = NULL;
	uint64_t passes = UINT64_MAX;
	for (size_t i = 0; i < workers; i++) {
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

// Which pages a worker looks at: all, those that are its own, or in each pass others.
enum share { ALL, OWN, IN_TURN };
static enum share share = ALL;

static void one_pass(struct progress *mine, size_t slot, uint64_t pass)
{
	size_t step = share == ALL ? 1 : workers;
	size_t first = share == ALL ? 0 : (slot + (share == IN_TURN ? pass : 0)) % workers;
	for (size_t page = first; page < pages; page += step) {
		check_page(mine, page);
		if (share != IN_TURN && page / step % WRITE_SHARE == pass % WRITE_SHARE)
			write_page(page);
	}
	for (size_t i = 0; share == IN_TURN && i < FORK_WRITES; i++)
		write_page((slot * FORK_WRITES + i) % pages);
}

static void *work(void *arg)
{
	size_t slot = (size_t)arg;
	struct progress *mine = &progress[slot];
	while (slot && !atomic_load(begun))
		usleep(PAUSE_US);
	atomic_store(begun, true);
	for (uint64_t pass = 0; !atomic_load(&mine->failed); pass++) {
		one_pass(mine, slot, pass);
		atomic_fetch_add(&mine->passes, 1);
		if (slot == 0)
			report();
		usleep(PAUSE_US * (share == IN_TURN ? 100 : 1));
	}
	if (slot == 0)
		report();
	for (;;)
		pause();
	return NULL;
}

static void fill(size_t bytes, size_t spread)
{
	pages = bytes / PAGE;
	stride = spread;
	memory = map(bytes * spread, MAP_PRIVATE | MAP_NORESERVE);
	versions = map(pages * sizeof(*versions), MAP_PRIVATE);
	madvise(memory, bytes * spread, MADV_NOHUGEPAGE);
	for (size_t page = 0; page < pages; page++)
		write_page(page);
}

// Neighbours differ in what they permit.
static void cut(size_t count)
{
	size_t each = pages / count * PAGE;
	for (size_t i = 0; i < count; i += 2)
		if (mprotect((char *)memory + i * each, each, PROT_READ | PROT_WRITE | PROT_EXEC))
			die("mprotect");
}

static void start_threads(void)
{
	pthread_t thread;
	share = OWN;
	for (size_t i = 1; i < workers; i++)
		if (pthread_create(&thread, NULL, work, (void *)i))
			die("thread");
}

// Returns in each of them, with its number.
static size_t start_processes(void)
{
	for (size_t i = 1; i < workers; i++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0)
			return i;
	}
	return 0;
}

static size_t begin(const char *kind, size_t count, size_t bytes)
{
	size_t slot = 0;
	if (strcmp(kind, "processes") == 0) {
		workers = count;
		slot = start_processes();
		fill(bytes / count, 1);
		return slot;
	}
	fill(bytes, strcmp(kind, "sparse") == 0 ? (count << 30) / bytes : 1);
	if (strcmp(kind, "vmas") == 0 || strcmp(kind, "locked") == 0) {
		cut(count);
	} else if (strcmp(kind, "threads") == 0) {
		workers = count;
		start_threads();
	} else if (strcmp(kind, "forks") == 0) {
		workers = count + 1;
		share = IN_TURN;
		slot = start_processes();
	}
	if (strcmp(kind, "locked") == 0 && mlock(memory, bytes) < 0)
		die("mlock");
	return slot;
}

int main(int argc, char **argv)
{
	long count = argc == 5 ? atol(argv[2]) : 0;
	if (argc != 5 || count < 1 || atol(argv[3]) < 1) {
		fprintf(stderr, "usage: oddwriter vmas|threads|processes|forks|sparse|locked COUNT "
				"MIB FILE\n");
		return 2;
	}
	report_path = argv[4];
	progress = map(WORKERS_MAX * sizeof(*progress), MAP_SHARED);
	begun = map(sizeof(*begun), MAP_SHARED);
	work((void *)begin(argv[1], (size_t)count, (size_t)atol(argv[3]) << 20));
	return 1;
}
