// SPDX-License-Identifier: Apache-2.0
#include "images/pageplace.h"

#include <stdbool.h>
#include <stdlib.h>

enum { LEVELS = 5, BITS = 9, FANOUT = 1 << BITS };

// An entry of a leaf: 0 absent, 1 blank, else slot + 2, with the top bit when cleared.
enum { ENTRY_ABSENT = 0, ENTRY_BLANK = 1, ENTRY_SLOT = 2 };
#define ENTRY_CLEARED (1u << 31)

struct leaf {
	uint32_t entry[FANOUT];
};

struct table {
	void *below[FANOUT]; // tables, at the last but one level leaves; NULL: all absent
};

struct pageplace {
	uint64_t nodes, nodes_max;
	struct table root;
};

// In place of a table or a leaf whose pages are all blank.
static char all_blank;
#define ALL_BLANK ((void *)&all_blank)

struct pageplace *pageplace_new(uint64_t nodes_max, struct error *err)
{
	struct pageplace *p = calloc(1, sizeof(*p));

	if (!p) {
		error_set(err, ERR_NOMEM, "no memory for a page table");
		return NULL;
	}
	p->nodes_max = nodes_max;
	return p;
}

// level: of the table; 0 is a leaf.
static void free_below(void *node, unsigned level)
{
	if (!node || node == ALL_BLANK)
		return;
	if (level > 0)
		for (unsigned i = 0; i < FANOUT; i++)
			free_below(((struct table *)node)->below[i], level - 1);
	free(node);
}

void pageplace_free(struct pageplace *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < FANOUT; i++)
		free_below(p->root.below[i], LEVELS - 2);
	free(p);
}

// How many pages one entry of a table of that level spans.
static uint64_t span_of(unsigned level)
{
	return 1ull << (BITS * level);
}

static unsigned index_at(uint64_t page, unsigned level)
{
	return (page >> (BITS * level)) & (FANOUT - 1);
}

static struct pageplace_run decode(uint32_t entry)
{
	struct pageplace_run run = {.kind = PAGEPLACE_ABSENT, .pages = 1};

	if (entry == ENTRY_BLANK)
		run.kind = PAGEPLACE_BLANK;
	if (entry < ENTRY_SLOT)
		return run;
	run.kind = entry & ENTRY_CLEARED ? PAGEPLACE_CLEARED : PAGEPLACE_STORED;
	run.slot = (entry & ~ENTRY_CLEARED) - ENTRY_SLOT;
	return run;
}

static uint32_t encode(const struct pageplace_run *run, uint64_t index)
{
	uint32_t entry = run->slot + (uint32_t)index + ENTRY_SLOT;

	if (run->kind == PAGEPLACE_BLANK)
		return ENTRY_BLANK;
	return run->kind == PAGEPLACE_CLEARED ? entry | ENTRY_CLEARED : entry;
}

static struct pageplace_run look_in_leaf(const struct leaf *leaf, unsigned at, uint64_t max)
{
	struct pageplace_run run = decode(leaf->entry[at]);
	uint32_t step = leaf->entry[at] >= ENTRY_SLOT;

	while (run.pages < max && at + run.pages < FANOUT &&
	       leaf->entry[at + run.pages] == leaf->entry[at] + step * run.pages)
		run.pages++;
	return run;
}

struct pageplace_run pageplace_look(const struct pageplace *p, uint64_t page, uint64_t max)
{
	const void *node = &p->root;

	for (unsigned level = LEVELS - 1; level > 0; level--) {
		uint64_t span = span_of(level), left = span - page % span;

		node = ((const struct table *)node)->below[index_at(page, level)];
		if (!node || node == ALL_BLANK)
			return (struct pageplace_run){.kind = node ? PAGEPLACE_BLANK
								   : PAGEPLACE_ABSENT,
						      .pages = left < max ? left : max};
	}
	return look_in_leaf(node, index_at(page, 0), max);
}

// A new table or leaf; blank all over where its place was.
static void *new_node(struct pageplace *p, unsigned level, bool blank, struct error *err)
{
	void *node;

	if (p->nodes >= p->nodes_max) {
		error_set(err, ERR_PROTOCOL, "pages are scattered over more than %llu tables",
			  (unsigned long long)p->nodes_max);
		return NULL;
	}
	node = calloc(1, level ? sizeof(struct table) : sizeof(struct leaf));
	if (!node) {
		error_set(err, ERR_NOMEM, "no memory for a page table");
		return NULL;
	}
	p->nodes++;
	for (unsigned i = 0; blank && i < FANOUT; i++)
		if (level)
			((struct table *)node)->below[i] = ALL_BLANK;
		else
			((struct leaf *)node)->entry[i] = ENTRY_BLANK;
	return node;
}

// The part of a run that one entry of a table of that level holds; returns its pages, 0 on error.
static uint64_t set_part(struct pageplace *p, uint64_t page, const struct pageplace_run *run,
			 uint64_t done, struct error *err)
{
	uint64_t left = run->pages - done;
	void *node = &p->root;

	for (unsigned level = LEVELS - 1; level > 0; level--) {
		void **below = &((struct table *)node)->below[index_at(page, level)];
		bool nothing = !*below || *below == ALL_BLANK;

		if (run->kind == PAGEPLACE_BLANK && nothing && page % span_of(level) == 0 &&
		    left >= span_of(level)) {
			*below = ALL_BLANK;
			return span_of(level);
		}
		if (nothing) {
			void *made = new_node(p, level - 1, *below == ALL_BLANK, err);

			if (!made)
				return 0;
			*below = made;
		}
		node = *below;
	}
	unsigned first = index_at(page, 0);
	uint64_t count = left < FANOUT - first ? left : FANOUT - first;

	for (uint64_t i = 0; i < count; i++)
		((struct leaf *)node)->entry[first + i] = encode(run, done + i);
	return count;
}

int pageplace_set(struct pageplace *p, uint64_t page, const struct pageplace_run *run,
		  struct error *err)
{
	for (uint64_t done = 0; done < run->pages;) {
		uint64_t part = set_part(p, page + done, run, done, err);

		if (part == 0)
			return -1;
		done += part;
	}
	return 0;
}
