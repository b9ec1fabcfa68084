// SPDX-License-Identifier: Apache-2.0
// Who a process is.
#ifndef WPAR_BASE_PROC_H
#define WPAR_BASE_PROC_H

#include <stdint.h>
#include <sys/types.h>

// When it was started, in clock ticks since boot (proc(5), field 22 of stat); with the pid it tells
// one process from any later one. 0 when there is none.
uint64_t proc_start_time(pid_t pid);

#endif
