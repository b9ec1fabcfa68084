// SPDX-License-Identifier: Apache-2.0
// Stepping back for other work on this host, while a move has time: the bulk of a memory is copied
// from a partition that runs, and beside others. Two things are done. It is sent faster and faster
// while some of the processors' time is left over, slower and slower while none is: so both hosts
// do less. And the priority is lowered, of the calling process and of all that it has started in
// its process group (its movers), with all their threads; not where it could not be raised again
// (CAP_SYS_NICE). CRIU has a session of its own and is not concerned.
#ifndef WPAR_MOVE_PRIORITY_H
#define WPAR_MOVE_PRIORITY_H

#include <stdbool.h>

// At the usual priority it shows what the link can do (bytes), and little memory is there at once.
#define PRIORITY_YIELD_AFTER (32u << 20)
#define PRIORITY_YIELD_MS    30000 // the longest

// Steps back, once in a process, until priority_resume(), or until priority_rate() finds that it
// was for long enough. Rates in bytes a second: the first one, and the least that is allowed.
// False: it had done so before.
bool priority_yield(double rate, double least);
// How fast may be sent now; 0: as fast as can be.
double priority_rate(void);
// Before anything that somebody waits for.
void priority_resume(void);

// The next rate, when that share of the processors' time was left over.
double priority_adapt(double rate, double least, double idle);

#endif
