// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/pagermap.h"

size_t pagermap_find(const struct pager_run *runs, size_t count, uint64_t vaddr)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (pager_run_end(&runs[middle]) > vaddr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

// The part of a run within [start, end), shifted; no pages when there is none.
static struct pager_run part_of(const struct pager_run *r, uint64_t start, uint64_t end)
{
	uint64_t from = r->vaddr > start ? r->vaddr : start;
	uint64_t to = pager_run_end(r) < end ? pager_run_end(r) : end;
	struct pager_run part = {.vaddr = from};
	if (to <= from)
		return part;
	uint64_t skipped = (from - r->vaddr) / PAGER_PAGE;
	part.pages = (to - from) / PAGER_PAGE;
	part.offset = r->offset + skipped * PAGER_PAGE;
	part.first = r->first + skipped;
	return part;
}

struct builder {
	struct pager_run *out;
	size_t count;
};

static void put(struct builder *b, struct pager_run run)
{
	if (run.pages)
		b->out[b->count++] = run;
}

// Everything of `runs` in [start, end) that is not in the window [hole, hole + length).
static void copy_around(struct builder *b, const struct pager_run *runs, size_t count,
			uint64_t start, uint64_t end, uint64_t hole, uint64_t length)
{
	for (size_t i = pagermap_find(runs, count, start); i < count && runs[i].vaddr < end; i++) {
		struct pager_run inside = part_of(&runs[i], start, end);
		if (!inside.pages)
			continue;
		put(b, part_of(&inside, 0, hole));
		put(b, part_of(&inside, hole + length, UINT64_MAX));
	}
}

size_t pagermap_move(const struct pager_run *runs, size_t count, uint64_t from, uint64_t to,
		     uint64_t length, struct pager_run *out)
{
	struct builder b = {.out = out};
	copy_around(&b, runs, count, 0, to, from, length);
	for (size_t i = pagermap_find(runs, count, from); i < count; i++) {
		struct pager_run moved = part_of(&runs[i], from, from + length);
		if (!moved.pages)
			break;
		moved.vaddr = moved.vaddr - from + to;
		put(&b, moved);
	}
	copy_around(&b, runs, count, to + length, UINT64_MAX, from, length);
	return b.count;
}

// ---- bits ---------------------------------------------------------------------------------------

#define WORD 64u

// Bits first..end of the word that holds `first`; *next is where the following word begins.
static uint64_t mask_at(uint64_t first, uint64_t end, uint64_t *next)
{
	uint64_t border = (first / WORD + 1) * WORD;
	uint64_t mask = ~0ull << first % WORD;
	*next = border < end ? border : end;
	if (*next < border)
		mask &= ~0ull >> (border - *next);
	return mask;
}

bool pagerbits_test(const uint64_t *bits, uint64_t page)
{
	return bits[page / WORD] >> page % WORD & 1;
}

uint64_t pagerbits_set(uint64_t *bits, uint64_t first, uint64_t end)
{
	uint64_t fresh = 0, next;
	for (; first < end; first = next) {
		uint64_t mask = mask_at(first, end, &next);
		uint64_t *word = &bits[first / WORD];
		fresh += (uint64_t)__builtin_popcountll(mask & ~*word);
		*word |= mask;
	}
	return fresh;
}

uint64_t pagerbits_next(const uint64_t *bits, uint64_t first, uint64_t end, bool set)
{
	uint64_t next;
	for (; first < end; first = next) {
		uint64_t mask = mask_at(first, end, &next);
		uint64_t found = (set ? bits[first / WORD] : ~bits[first / WORD]) & mask;
		if (found)
			return first / WORD * WORD + (uint64_t)__builtin_ctzll(found);
	}
	return end;
}

uint64_t pagerbits_count(const uint64_t *bits, uint64_t pages)
{
	uint64_t count = 0, next;
	for (uint64_t first = 0; first < pages; first = next) {
		uint64_t mask = mask_at(first, pages, &next);
		count += (uint64_t)__builtin_popcountll(bits[first / WORD] & mask);
	}
	return count;
}
