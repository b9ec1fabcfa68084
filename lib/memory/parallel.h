// SPDX-License-Identifier: Apache-2.0
// Divides work on memory among threads.
#ifndef WPAR_MEMORY_PARALLEL_H
#define WPAR_MEMORY_PARALLEL_H

#include <stddef.h>

#define PARALLEL_THREADS 4 // at most: memory is no faster with more

// Calls work(arg, part) once for each part below `parts`, in any order and in as many threads as
// there are processors, the caller's among them; returns when all is done. Threads that cannot be
// started are done without.
void parallel_for(size_t parts, void (*work)(void *arg, size_t part), void *arg);

#endif
