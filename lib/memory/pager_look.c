// SPDX-License-Identifier: Apache-2.0
// Guard regions (madvise(2) MADV_GUARD_INSTALL, Linux 6.13) that a task puts over memory that is
// not filled yet. No event tells of them, and Linux 6.18 lets UFFDIO_COPY overwrite their
// markers; so we look for them in the task's page table: all over it every now and then, and before
// each copy. What is or was guarded is done: it needs nothing of the store any more, and is zeroes
// once the guard is gone.
//
// A userfaultfd does not say whose it is. Only we fill its memory: the process in which a page is
// there that was not a moment ago, when we have just brought it, is the one.
#include "lib/memory/pager_inner.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/memory/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define SWEEP_NS  1000000ll // at most so often
#define SWEEP_PER 20        // and at most such a part of the time
#define LIST_NS   1000000ll
#define PRESENT   (1ull << 63)
#define SWAPPED   (1ull << 62) // markers of guards, too

bool pager_guards_possible(void)
{
	void *page =
		mmap(NULL, PAGER_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return false;
	bool possible = madvise(page, PAGER_PAGE, MADV_GUARD_INSTALL) == 0;
	munmap(page, PAGER_PAGE);
	return possible && scan_usable();
}

// ---- whose it is --------------------------------------------------------------------------------

// The pid inside of its innermost namespace; 0: it is gone.
static int vpid_of(pid_t pid)
{
	char path[64], line[256];
	int vpid = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "NSpid:", 6)) {
			const char *last = strrchr(line, '\t');
			vpid = last ? atoi(last) : 0;
			break;
		}
	return vpid;
}

// Whether that was done now: it is not done all the time.
static bool list_people(struct pager_server *s)
{
	struct pager_people *people = &s->people;
	pid_t *pids = NULL;
	size_t count = 0;
	int64_t now = clock_now_ns();
	if (now < people->listed_at + LIST_NS)
		return false;
	people->listed_at = now;
	people->stale = false;
	if (s->p->ways.tasks(s->h->name, &pids, &count) < 0)
		return true;
	struct pager_person *list = calloc(count + 1, sizeof(*list));
	for (size_t i = 0; list && i < count; i++)
		list[i] = (struct pager_person){pids[i], vpid_of(pids[i])};
	free(pids);
	if (!list)
		return true;
	free(people->list);
	people->list = list;
	people->count = count;
	return true;
}

static bool is_taken(const struct pager_server *s, pid_t pid)
{
	for (uint32_t i = 0; i < atomic_load(&s->h->slots); i++)
		if (s->task[i].slot && s->task[i].pagemap >= 0 && s->task[i].pid == pid)
			return true;
	return false;
}

static bool entry_at(int pagemap, uint64_t address, uint64_t *entry)
{
	off_t at = (off_t)(address / PAGER_PAGE * sizeof(*entry));
	return pread(pagemap, entry, sizeof(*entry), at) == sizeof(*entry);
}

static void add_suspect(struct pager_suspects *list, pid_t pid, uint64_t address)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t entry;
	if (fd < 0 || !entry_at(fd, address, &entry))
		return;
	list->guarded = list->guarded || (entry & SWAPPED);
	if (!(entry & (PRESENT | SWAPPED)) && list->count < PAGER_SUSPECTS_MAX)
		list->who[list->count++] = (struct pager_suspect){pid, take_fd(&fd)};
}

// Those with that pid inside of the partition; 0: all.
static void suspect_all(const struct pager_server *s, int vpid, uint64_t address,
			struct pager_suspects *list)
{
	for (size_t i = 0; i < s->people.count; i++) {
		const struct pager_person *who = &s->people.list[i];
		if ((!vpid || vpid == who->vpid) && !is_taken(s, who->pid))
			add_suspect(list, who->pid, address);
	}
}

void pager_suspect(struct pager_server *s, struct pager_task *t, uint64_t address,
		   struct pager_suspects *list)
{
	list->count = 0;
	list->guarded = false;
	if (s->people.stale && list_people(s))
		t->tries++;
	suspect_all(s, t->slot->vpid, address, list);
	if (!list->count && t->slot->vpid)
		suspect_all(s, 0, address, list);
}

// Twice by itself: that it touches the same page by chance, in another mapping, does not count.
void pager_convict(struct pager_server *s, struct pager_task *t, uint64_t address,
		   struct pager_suspects *list, bool brought)
{
	const struct pager_suspect *found = NULL;
	size_t matches = 0;
	uint64_t entry;
	for (size_t i = 0; brought && i < list->count; i++)
		if (entry_at(list->who[i].pagemap, address, &entry) && entry & PRESENT) {
			found = &list->who[i];
			matches++;
		}
	s->people.stale = s->people.stale || (brought && !matches);
	bool sure = matches == 1 && found->pid == t->pid;
	if (sure)
		t->pagemap = found->pagemap;
	else if (brought) {
		t->pid = matches == 1 ? found->pid : 0;
		t->tries += matches > 1;
	}
	for (size_t i = 0; i < list->count; i++)
		if (!sure || list->who[i].pagemap != t->pagemap)
			close(list->who[i].pagemap);
	list->count = 0;
}

bool pager_is_known(const struct pager_server *s, const struct pager_task *t)
{
	return !s->guards || t->pagemap >= 0 || t->tries >= PAGER_TRIES;
}

bool pager_is_pagemap(int fd)
{
	char path[64], target[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = 0;
	const char *last = strrchr(target, '/');
	return last && !strcmp(last, "/pagemap");
}

void pager_forget_looks(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && pager_is_pagemap(atoi(entry->d_name)))
			close(atoi(entry->d_name));
}

// ---- looking ------------------------------------------------------------------------------------

// Notes a page that was seen guarded. What we saw may be of another mapping than the one that the
// store's page belongs to, if an event is under way: asking for zeroes, which never overwrites
// anything, fails with EAGAIN then. If it succeeds the guard is gone already.
static bool pass_over(struct pager_server *s, struct pager_task *t, uint64_t address)
{
	size_t count;
	const struct pager_run *runs = pager_runs(s, t, &count);
	size_t i = pagermap_find(runs, count, address);
	if (i == count || runs[i].vaddr > address)
		return false;
	uint64_t page = runs[i].first + (address - runs[i].vaddr) / PAGER_PAGE;
	if (pagerbits_test(t->bits, page))
		return false;
	int64_t got = pager_bring_zeroes(t, address);
	if (got < 0 && got != -EEXIST)
		return false;
	pager_done(s, t, page, page + 1);
	return true;
}

bool pager_look(struct pager_server *s, struct pager_task *t, uint64_t start, uint64_t end)
{
	struct scan_range ranges[64];
	struct error err;
	bool found = false;
	if (!s->guards || t->pagemap < 0)
		return false;
	while (start < end) {
		size_t count = ARRAY_SIZE(ranges);
		if (scan_guards(t->pagemap, &start, end, ranges, &count, &err) < 0)
			break; // it is gone
		for (size_t i = 0; i < count; i++)
			for (uint64_t at = ranges[i].start; at < ranges[i].end; at += PAGER_PAGE)
				found = pass_over(s, t, at) || found;
	}
	return found;
}

void pager_look_everywhere(struct pager_server *s, struct pager_task *t, uint64_t start)
{
	size_t count;
	const struct pager_run *runs = pager_runs(s, t, &count);
	if (!count || !t->left)
		return;
	if (start < runs[0].vaddr)
		start = runs[0].vaddr;
	pager_look(s, t, start, pager_run_end(&runs[count - 1]));
}

// Above the cursor page tables are mostly empty, and walked in no time.
int pager_sweep(struct pager_server *s)
{
	int64_t begun = clock_now_ns();
	bool any = false;
	if (!s->guards)
		return -1;
	if (begun < s->sweep_at)
		return (int)((s->sweep_at - begun) / 1000000) + 1;
	for (uint32_t i = 0; i < atomic_load(&s->h->slots); i++) {
		struct pager_task *t = &s->task[i];
		if (!t->slot || !t->left)
			continue;
		any = true;
		pager_look_everywhere(s, t, t->cursor);
	}
	int64_t cost = clock_now_ns() - begun;
	int64_t pause = cost * SWEEP_PER > SWEEP_NS ? cost * SWEEP_PER : SWEEP_NS;
	s->sweep_at = begun + pause;
	return any ? (int)(pause / 1000000) + 1 : -1;
}
