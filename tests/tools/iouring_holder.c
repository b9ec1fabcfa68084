// SPDX-License-Identifier: Apache-2.0
// A program that CRIU cannot dump: holds an io_uring instance, prints its pid and the descriptor,
// and sleeps.
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	struct io_uring_params params;
	int fd;

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
