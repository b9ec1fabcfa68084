// SPDX-License-Identifier: Apache-2.0
// A program that CRIU cannot dump: holds an io_uring instance, prints its pid and the descriptor,
// and sleeps.
//
// usage: iouring_holder [FILE]      (FILE: waits until that is there first)
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct io_uring_params params;
	int fd;

	while (argc == 2 && access(argv[1], F_OK) < 0)
		usleep(1000);
	memset(&params, 0, sizeof(params));
	fd = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (fd < 0) {
		perror("iouring_holder: io_uring_setup");
		return 1;
	}
	printf("pid %d fd %d\n", (int)getpid(), fd);
	fflush(stdout);
	for (;;)
		pause();
}
