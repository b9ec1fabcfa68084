// SPDX-License-Identifier: Apache-2.0
// A program that handles page faults of its own, which CRIU cannot checkpoint: holds the
// userfaultfd as descriptor 77 until it is ended. Exit code 1: there is none.
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define USER_MODE_ONLY 1 // of linux/userfaultfd.h, 5.11

int main(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY);
	if (fd < 0 || dup2(fd, 77) < 0) {
		perror("userfault_holder");
		return 1;
	}
	close(fd);
	for (;;)
		pause();
}
