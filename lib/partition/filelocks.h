// SPDX-License-Identifier: Apache-2.0
// File locks that processes hold, as /proc/PID/fdinfo shows them (proc_pid_fdinfo(5)).
#ifndef WPAR_PARTITION_FILELOCKS_H
#define WPAR_PARTITION_FILELOCKS_H

#include "lib/partition/locality.h"

#include <stdbool.h>

struct filelock {
	char kind[16]; // "FLOCK", "POSIX", "OFDLCK", "LEASE" ...
	dev_t filesystem;
	unsigned long inode;
};

// The next lock in the text of an fdinfo file; *text moves on. False: none any more.
bool filelock_next(const char **text, struct filelock *lock);

// Whether descriptor `fd` of the process whose /proc folder that is holds a lock on a file that is
// not private: 1 with *lock, else 0 (also when it was closed meanwhile).
int filelock_shared(int folder, const char *fd, const struct locality *l, struct filelock *lock);

#endif
