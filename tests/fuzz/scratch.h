// SPDX-License-Identifier: Apache-2.0
// A folder for a fuzz target, in memory. It is gone when the target has ended, also when that
// crashed or was killed.
#ifndef WPAR_TESTS_SCRATCH_H
#define WPAR_TESTS_SCRATCH_H

#include "lib/base/fdio.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

// Removes it when the other end of the pipe is closed, which any end of the target does.
static void scratch_remove_at_end(const char *path, int alive)
{
	char unused;
	setsid(); // an interrupt from the terminal is not for us
	while (read(alive, &unused, 1) > 0)
		;
	fdio_remove_tree(AT_FDCWD, path, NULL);
	_exit(0);
}

// The same folder each time.
static int scratch_folder(void)
{
	static int dirfd = -1;
	char path[] = "/dev/shm/fuzz.XXXXXX";
	int alive[2];

	if (dirfd >= 0)
		return dirfd;
	if (pipe2(alive, O_CLOEXEC) < 0 || !mkdtemp(path))
		abort();
	dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t pid = fork();
	if (dirfd < 0 || pid < 0)
		abort();
	if (pid == 0) {
		close(alive[1]);
		scratch_remove_at_end(path, alive[0]);
	}
	close(alive[0]);
	return dirfd;
}

#endif
