// SPDX-License-Identifier: Apache-2.0
// The page server of a restore on demand: CRIU restores a partition without its private memory and
// hands over a userfaultfd of each task; what the tasks touch is brought at once from a store on
// this host, the rest in the background (userfaultfd(2), ioctl_userfaultfd(2)).
//
// When the last copy of a userfaultfd is closed the kernel answers faults with pages of zeroes. So
// the server is a process that the keeper forks with one table of descriptors for both (CLONE_FILES
// of clone(2)): whatever it has, the keeper has from the same moment on, also the userfaultfd of a
// child that a task has forked, which the kernel makes in read(2). All that the server knows is in
// a file in memory, each step of it written so that a successor can go on from there, whenever its
// predecessor was killed. A third process of that table, the guard, starts successors when the
// keeper has been killed, too. The functions below are the keeper's side.
#ifndef WPAR_MEMORY_PAGER_H
#define WPAR_MEMORY_PAGER_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// The name of the socket that CRIU looks for in its work directory.
#define PAGER_SOCKET "lazy-pages.socket"
// So many successors: after that it is the store or the kernel that is at fault.
#define PAGER_STARTS_MAX 8

struct pager;

// Whether this kernel can: otherwise why not, as a sentence.
bool pager_usable(char *why, size_t size);

// What is done with the partition of that name, in other processes than the keeper.
struct pager_ways {
	// Kills it: there is neither keeper nor server.
	void (*lose)(const char *name);
	// Its processes: the array is the caller's to free. -1: not known. The descriptors that it
	// opens are closed when it returns.
	int (*tasks)(const char *name, pid_t **pids, size_t *count);
};

// A server to be. It takes `listener` (a listening SOCK_STREAM socket, where CRIU connects) and
// `images` (the folder with the files of images/lazymap.h), also on error. `name` is the
// partition's.
struct pager *pager_new(const char *name, int listener, int images, const struct pager_ways *ways,
			struct error *err);
// Starts it, or its successor: ERR_MEMORY after PAGER_STARTS_MAX of them.
int pager_start(struct pager *p, struct error *err);
// Its pid, for the caller to reap; 0: none runs.
pid_t pager_pid(const struct pager *p);
// It has been reaped.
void pager_ended(struct pager *p);
// Whether the process that has been reaped was the guard; then there is another one.
bool pager_guard_ended(struct pager *p, pid_t pid);

// From now on it fills what nobody has touched yet.
void pager_fill(struct pager *p);

struct pager_progress {
	uint64_t total, left; // pages
	bool complete;        // nothing is left to do, all descriptors are closed
	char broken[256];     // why it cannot go on; "": it can
};
void pager_progress(const struct pager *p, struct pager_progress *progress);
// Readable when a further hundredth is done.
int pager_news_fd(const struct pager *p);
void pager_take_news(struct pager *p);

// Kills and reaps it if it runs, and closes everything: only when no task is left that needs it.
void pager_free(struct pager *p);

#endif
