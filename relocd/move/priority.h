// SPDX-License-Identifier: Apache-2.0
// Stepping back for other work on this host, while a move has time: the bulk of a memory is copied
// from a partition that runs, and beside others. Two things are done.
//
// It is sent slower and slower while no processor has time left over and others use most of it, and
// little by little faster again once there is: so both hosts do less. What others use is what is
// neither left over nor used by this process and its children (its movers): without anybody else it
// goes as fast as can be. It also goes slower while the partition itself waits for a processor.
//
// And the priority is lowered, of the calling process and of all that it has started in its process
// group, with all their threads, and of their session as a whole, which is what counts where the
// kernel groups processes by session (sched(7), autogroup); not where it could not be raised again
// (CAP_SYS_NICE). Not to the lowest there is: a mapping that they hold locked is waited for by
// those that it belongs to. CRIU has a session of its own and is not concerned.
#ifndef WPAR_MOVE_PRIORITY_H
#define WPAR_MOVE_PRIORITY_H

#include <stdbool.h>
#include <stdint.h>

// At the usual priority it shows what the link can do (bytes), and little memory is there at once.
#define PRIORITY_YIELD_AFTER (32u << 20)
#define PRIORITY_YIELD_MS    30000 // the longest
#define PRIORITY_SLOWEST     25    // times slower than at first

// Of the processors' time since the last look, as parts of 1.
struct priority_use {
	double idle;  // left over
	double own;   // used by this process and its children
	double waits; // of the time, in which some of the partition's tasks waited for a processor
};

// How long they have waited so far, in microseconds; -1: not known.
struct priority_watch {
	int64_t (*waited_us)(void *arg);
	void *arg;
};

// Steps back, once in a process, until priority_resume(), or until priority_rate() finds that it
// was for long enough. Rates in bytes a second: the first one, and the least that is allowed.
// `watch`: of the partition, asked until then; NULL: nobody's. False: it had done so before.
bool priority_yield(double rate, double least, const struct priority_watch *watch);
// How fast may be sent now; 0: as fast as can be.
double priority_rate(void);
// Lowers the priority alone, until priority_resume().
void priority_lower(void);
// Before anything that somebody waits for.
void priority_resume(void);

// The next rate.
double priority_adapt(double rate, double least, const struct priority_use *use);
// The least rate for a memory of so many bytes that could be sent at `rate`: that slows it down
// enough for others, and is done in time.
double priority_least(double rate, double bytes);

#endif
