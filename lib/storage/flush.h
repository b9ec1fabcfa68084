// SPDX-License-Identifier: Apache-2.0
// Writing back what a file system still keeps to itself, with a deadline: syncfs(2) has none, and
// that of a network file system waits for as long as its server is away.
#ifndef WPAR_STORAGE_FLUSH_H
#define WPAR_STORAGE_FLUSH_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

// All of the file system that `fd` is on. ERR_STORAGE when it cannot be done, or not by the
// deadline: a thread then goes on waiting, and ends with it or with the process.
int flush_file_system(int fd, deadline_t deadline, struct error *err);

#endif
