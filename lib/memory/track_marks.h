// SPDX-License-Identifier: Apache-2.0
// Which pages of a shared segment were written, told by marks in the page tables of all that have
// it mapped, so that not all of it need be compared. A mark is there for every write through a
// mapping that is registered (arm_watch()); the rest is about proving that since the last round
// nobody can have written otherwise. Where that cannot be proved the segment is compared.
//
// Only segments made by mmap(MAP_SHARED | MAP_ANONYMOUS): no descriptor leads to them, so nothing
// but a mapping writes to one, and only fork(2) and mremap(2) of a mapping make another one. After
// a restore by CRIU they are memfds with the name "/dev/zero", which nobody has open.
// Descriptors of a memfd may be on their way in a socket and write without a mark; a SysV segment
// can be attached, written and detached by anybody between two looks: both are always compared.
//
// A page counts as unwritten only if each page table says so explicitly, be the page in it or not;
// that survives reclaim as a marker. What a page table has forgotten (a written page that was
// reclaimed, a huge page that was split) counts as written. Then marks are lost only with the
// mapping or the address space, and watch.h tells of both:
//   munmap, mremap, exit, exec   were before the telling: what they wrote is compared in this round
//   fork                         the child's mappings are registered from its first instruction on
//   MADV_REMOVE, MADV_DONTNEED   change contents without a mark, at some time after the telling: no
//                                marks from then on
// A mapping that is not registered, whatever it comes from, is noticed when it is looked at. One
// could escape that: of a child that is in the middle of being forked while its parent is being
// registered, is seen in no list yet, and has ended before the next one. So a task is registered
// while its only thread stands still; those with several threads are not: what they have mapped is
// compared. A first registration counts when no task has come in the round. A segment whose mapper
// has files open with O_DIRECT or asynchronous I/O is compared, since devices write past the marks
// of pages that they were given; as is everything when a task may open mappings of others
// (CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE). What remains is that of private memory:
// process_vm_writev and ptrace hold a page for some microseconds between looking at its mark and
// writing. Tasks outside of the partition have no such segment: all inside descend from one exec.
//
// That a kernel tells all this is tried out on memory of our own first. Seen on Linux 6.18: a scan
// for what is not protected costs 0.8 ms for each GB and task, the first protection 11 ms; a fork
// waits 18 ms for each GB, since page tables are copied that would not be otherwise.
#ifndef WPAR_MEMORY_TRACK_MARKS_H
#define WPAR_MEMORY_TRACK_MARKS_H

#include "lib/memory/track_segment.h"
#include "lib/memory/track_space.h"
#include "lib/memory/watch.h"

#define MARKS_LEAST   (8u << 20) // bytes of a segment: to compare less is cheaper than a fork
#define MARKS_MAPPERS 32         // of one segment: for more, to compare it is cheaper
#define MARKS_LOSSES  3 // rounds in a row that lost marks: tasks come and go, forks cost too much

struct marks {
	bool usable;         // on this kernel, and not given up
	struct watch *watch; // NULL: nothing is registered yet
	unsigned losses;
	// Of this round:
	bool fresh;      // mappings were registered
	bool unsure;     // somebody may write unseen
	bool in_threads; // a new task with several threads may be forking
	size_t own;      // userfaultfds of the tasks that were scanned
	size_t adopted;  // tasks that were registered by being forked
};

void marks_begin(struct marks *m);
void marks_end(struct marks *m);

// A new round.
void marks_forget(struct marks *m, struct segments *all);
// Every task of the partition that has been looked at; got: what space_look() said.
void marks_note(struct marks *m, const struct space *s, int got);
// Registers its mappings of segments where they are not, finds what was written and protects it.
int marks_follow(struct marks *m, struct segments *all, const struct space *s,
		 const struct space_view *view, struct track_round *round, struct error *err);
// Only finds what was written.
void marks_look(struct marks *m, struct segments *all, const struct space *s,
		const struct space_view *view);
// What the task has mapped must be compared.
void marks_doubt(struct segments *all, const struct space_view *view);
// The marks that are set of pages [first, end).
uint64_t marks_in(const struct segment *g, uint64_t first, uint64_t end);
// None any more: to see what has been written since the last round.
void marks_clear(struct segments *all);
// Decides of which segments the marks are to be trusted (struct segment). closed: the tasks that
// were looked at are all that there are. final: they stand still.
void marks_settle(struct marks *m, struct segments *all, bool closed, bool final);

#endif
