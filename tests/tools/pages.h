// SPDX-License-Identifier: Apache-2.0
// Pages whose contents follow from their number and version, written and checked by tests/tools
// that want to know whether a move keeps memory byte-exact, and the report of how that goes: FILE
// gets "ok PASSES" (the slowest worker's) or "bad WHAT", renamed into place; after "bad" nothing is
// written any more.
#ifndef WPAR_TOOLS_PAGES_H
#define WPAR_TOOLS_PAGES_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE    4096
#define WORDS   (PAGE / 8)
#define WORKERS 12
// Versions of pages that hold nothing, and of those that are not there to be read.
#define ZEROES UINT32_MAX
#define CLOSED (UINT32_MAX - 2)

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

static int n_workers = 1;
static struct progress *progress; // shared, WORKERS of them
static const char *report_path;

static inline _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

// ---- a page
static inline uint64_t mix(uint64_t x)
{
	// the finalizer of splitmix64: Steele, Lea, Flood (2014)
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static inline uint64_t first_word(const struct area *a, size_t page, uint32_t version)
{
	return version == ZEROES ? 0 : mix(a->seed + page * 0x9e3779b97f4a7c15u + version);
}

static inline uint64_t step_of(uint32_t version)
{
	return version == ZEROES ? 0 : 0xd1342543de82ef95u;
}

// A kernel's write: into a pipe and out of it into the page.
static inline void write_by_kernel(uint64_t *to, const uint64_t *text)
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

static inline void write_page(struct area *a, size_t page, bool by_kernel)
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

static inline bool fail(struct progress *mine, const struct area *a, size_t page, uint32_t version,
			size_t i)
{
	const uint64_t *at = a->memory + page * WORDS;
	if (!atomic_load(&mine->failed))
		snprintf(mine->bad, sizeof(mine->bad),
			 "area %llx page %zu version %u: word %zu is %016llx, page begins %016llx",
			 (unsigned long long)a->seed, page, version, i, (unsigned long long)at[i],
			 (unsigned long long)at[0]);
	atomic_store(&mine->failed, true);
	return false;
}

static inline bool check_page(struct progress *mine, const struct area *a, size_t page)
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

// Of all its pages.
static inline bool check_area(struct progress *mine, const struct area *a)
{
	for (size_t page = 0; page < a->pages; page++)
		if (!check_page(mine, a, page))
			return false;
	return true;
}

// ---- report
static inline void report(void)
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

static inline void *map(size_t bytes, int flags, int fd)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

#endif
