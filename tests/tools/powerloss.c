// SPDX-License-Identifier: Apache-2.0
// powerloss DIR: the ext4 file system of DIR is as after a power failure from now on. What was not
// synced is lost, also the part of the journal that has not been written, and nothing more is
// written.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

// EXT4_IOC_SHUTDOWN and its flag, of the kernel's fs/ext4/ext4.h (not in its headers for programs).
#define SHUTDOWN    _IOR('X', 125, uint32_t)
#define NO_LOGFLUSH 2

int main(int argc, char **argv)
{
	uint32_t how = NO_LOGFLUSH;

	if (argc != 2) {
		fputs("usage: powerloss DIR\n", stderr);
		return 2;
	}
	int fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, SHUTDOWN, &how) < 0) {
		perror(argv[1]);
		return 1;
	}
	close(fd);
	return 0;
}
