// SPDX-License-Identifier: Apache-2.0
// A program that handles page faults of its own, which CRIU cannot checkpoint: holds the
// userfaultfd as descriptor 77 until it is ended. Exit code 1: there is none.
//
// usage: userfault_holder [FILE]      (FILE: waits until that is there first)
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define USER_MODE_ONLY 1 // of linux/userfaultfd.h, 5.11

int main(int argc, char **argv)
{
	while (argc == 2 && access(argv[1], F_OK) < 0)
		usleep(1000);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY);
	if (fd < 0 || dup2(fd, 77) < 0) {
		perror("userfault_holder");
		return 1;
	}
	close(fd);
	for (;;)
		pause();
}
