// SPDX-License-Identifier: Apache-2.0
// Private to pager*.c: what server and keeper share, and the server itself.
#ifndef WPAR_MEMORY_PAGER_INNER_H
#define WPAR_MEMORY_PAGER_INNER_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/memory/pager.h"
#include "lib/memory/pagermap.h"

#include <linux/userfaultfd.h>
#include <stdatomic.h>

// ---- the shared file ----------------------------------------------------------------------------
// Header, slots of tasks, then areas (bits and runs) that are taken from its end upwards and given
// back by punching holes. It is as long as it can ever become, and sparse.

#define PAGER_FILE_BYTES (256ull << 30)
#define PAGER_SLOTS_MAX  65536u

enum pager_slot_state {
	SLOT_FREE,
	SLOT_LIVE,
	SLOT_CLOSING, // filled: its descriptor is about to be closed
	SLOT_ENDED,   // of a task that CRIU restored, whose store its children may still need
};

// The runs of a task: one area, replaced as a whole.
struct pager_view {
	uint64_t at, count; // area, number of runs
	uint64_t event;     // the one that made it
};

struct pager_slot {
	_Atomic uint32_t state;
	int32_t uffd;
	int32_t vpid;     // inside the partition; 0: forked since
	uint32_t root;    // slot of the task whose store it uses
	int32_t store;    // of a root: descriptor
	uint64_t bytes;   // of a root: length of the store
	uint64_t pages;   // all that its map lists, done or not
	uint64_t bits;    // area
	uint64_t made_by; // the event; 0: CRIU's
	_Atomic uint32_t current;
	struct pager_view view[2];
};

// The event that is being dealt with. It is read straight into shared memory: the kernel lets the
// task go on before read(2) has returned, so nothing between may lose it.
struct pager_inbox {
	uint64_t number; // of the event, counted from 1
	uint32_t slot;
	struct uffd_msg msg; // event 0: none
};

struct pager_header {
	_Atomic bool fill, restored, complete, leaving;
	_Atomic uint64_t total, left; // pages
	_Atomic uint32_t slots;       // in use or used before
	_Atomic uint64_t end;         // of the areas
	_Atomic int32_t incoming;     // vpid whose descriptor comes next; 0: none
	_Atomic int32_t server;       // pid of the last one that was started
	int32_t listener, images, connection;
	int32_t command, news; // eventfds: to the server, to the keeper
	int32_t poll, parent;  // the server's
	char name[64], broken[256];
	struct pager_inbox inbox;
};

struct pager {
	int fd;
	uint8_t *base; // of the mapping of the whole file
	struct pager_header *h;
	struct pager_slot *slot;
	pid_t pid;
	unsigned starts;
	pid_t keeper;  // who started the first one
	bool orphaned; // it has ended, we are the guard
	pid_t guard;   // 0: none
	unsigned guards;
	struct pager_ways ways;
};

// ---- the server ---------------------------------------------------------------------------------

struct pager_task {
	struct pager_slot *slot; // NULL: not live
	uint64_t *bits;
	uint64_t left;
	uint64_t cursor;     // the background goes on from this address
	uint64_t progress;   // pages done when its cursor was at the beginning
	int64_t stuck_since; // nothing of what is left can be filled; 0: not so
	int pagemap;         // of /proc; -1: it is not known whose memory it is
	pid_t pid;           // probably, or certainly with a pagemap; 0: no idea
	unsigned tries;      // to find out
};

// Who might have a userfaultfd.
struct pager_person {
	pid_t pid;
	int vpid;
};
struct pager_people {
	struct pager_person *list;
	size_t count;
	int64_t listed_at;
	bool stale; // it did not have the one
};
#define PAGER_TRIES        64 // then its guards are not known
#define PAGER_SUSPECTS_MAX 64
struct pager_suspect {
	pid_t pid;
	int pagemap;
};
struct pager_suspects {
	size_t count;
	bool guarded; // one of them has a guard, or a page swapped out, there
	struct pager_suspect who[PAGER_SUSPECTS_MAX];
};

struct pager_wait { // a fault that could not be served at once
	uint32_t task;
	uint64_t address;
};

// A stretch of a store that is all data or all hole. To look for its end, the kernel goes over each
// of its pages: once, not for each piece that is taken from it.
struct pager_extent {
	uint64_t start, end; // bytes
	bool hole;
};

struct pager_server {
	struct pager *p;
	struct pager_header *h;
	struct pager_task *task;     // PAGER_SLOTS_MAX
	uint8_t **store;             // mapping of a root's store
	struct pager_extent *extent; // where the background is in it
	size_t live;
	uint32_t turn; // whose the background is
	struct pager_wait *waiting;
	size_t waits, room;
	uint64_t told;      // hundredths that the keeper knows of
	deadline_t fill_at; // once all is restored, also without being told
	bool guards;        // the kernel has guard regions
	int64_t sweep_at;   // when to look for them again
	struct pager_people people;
};

// pager.c
void *pager_area(const struct pager *p, uint64_t at);
// Room for `bytes`, zeroes; 0 when the file is full.
uint64_t pager_area_new(struct pager *p, uint64_t bytes);
void pager_area_drop(struct pager *p, uint64_t at, uint64_t bytes);

bool pager_is_uffd(int fd);
// Whether it is the userfaultfd of a live task, or a store.
bool pager_owns(const struct pager *p, int fd);
// A userfaultfd that no live task has: it came in, or was about to be closed, when a server ended.
// -1: none.
int pager_orphan(const struct pager *p);

// pager_guard.c
int pager_guard_start(struct pager *p, struct error *err);

// pager_serve.c
_Noreturn void pager_serve(struct pager *p);
// Says why it cannot go on; the keeper kills the partition.
_Noreturn void pager_give_up(struct pager_server *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void pager_tell(struct pager_server *s);

// pager_tasks.c
// A task of CRIU's with its userfaultfd; the descriptor is taken.
void pager_add_root(struct pager_server *s, int vpid, int uffd);
// Takes up the live task of a slot.
void pager_attach(struct pager_server *s, uint32_t slot);
// Nothing of it is needed any more, or it is gone.
void pager_end_task(struct pager_server *s, uint32_t slot);
const struct pager_run *pager_runs(const struct pager_server *s, const struct pager_task *t,
				   size_t *count);
void pager_done(struct pager_server *s, struct pager_task *t, uint64_t first, uint64_t end);
// Deals with the event in the inbox, any number of times.
void pager_apply(struct pager_server *s);

// pager_fill.c
// Serves a fault, or keeps it for later.
void pager_fault(struct pager_server *s, uint32_t task, uint64_t address);
void pager_retry(struct pager_server *s);
// A piece of the background. Returns whether there is more to do at once.
bool pager_fill_some(struct pager_server *s);
// A page of zeroes where there is nothing, not even a guard: 1, or -errno.
int64_t pager_bring_zeroes(const struct pager_task *t, uint64_t address);

// pager_look.c
bool pager_guards_possible(void);
// Around the bringing of a page to a task of which nobody knows whose memory it is: who does not
// have it yet, then who has it.
void pager_suspect(struct pager_server *s, struct pager_task *t, uint64_t address,
		   struct pager_suspects *list);
void pager_convict(struct pager_server *s, struct pager_task *t, uint64_t address,
		   struct pager_suspects *list, bool brought);
// Nothing is to be found out any more.
bool pager_is_known(const struct pager_server *s, const struct pager_task *t);
// Notes what is guarded in [start, end). Whether there was any that is new.
bool pager_look(struct pager_server *s, struct pager_task *t, uint64_t start, uint64_t end);
// From `start` to its end.
void pager_look_everywhere(struct pager_server *s, struct pager_task *t, uint64_t start);
// All over all tasks, if it is time. In how many milliseconds it is again; -1: never.
int pager_sweep(struct pager_server *s);
bool pager_is_pagemap(int fd);
// Closes what a server has looked with.
void pager_forget_looks(void);

#endif
