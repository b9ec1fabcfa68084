// SPDX-License-Identifier: Apache-2.0
// Witnesses that a partition runs once: a child counts, and appends each number to a file that all
// hosts see; two copies that run would write numbers twice, and one that was taken back to an
// earlier state would repeat some.
//
//     witness FILE PROGRAM [ARG...]   starts to count, and becomes PROGRAM
//     witness --check FILE            prints how often counting began and how far it came; a number
//     that
//                                     does not follow the one before it fails (but a 1: a new
//                                     start)
// Exit codes of --check: 0; 1 a number is missing or repeated; 2 usage; 3 the file cannot be read.
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BEAT_NS 5000000

static void count(int fd)
{
	const struct timespec beat = {.tv_nsec = BEAT_NS};

	for (uint64_t n = 1; write(fd, &n, sizeof(n)) == sizeof(n); n++)
		nanosleep(&beat, NULL);
	perror("witness");
	_exit(1);
}

static int become(char **argv)
{
	int fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	pid_t child = fd < 0 ? -1 : fork();

	if (child == 0)
		count(fd);
	if (child > 0)
		execvp(argv[2], argv + 2);
	perror("witness");
	return 1;
}

static int check(const char *path)
{
	FILE *file = fopen(path, "re");
	uint64_t n, before = 0;
	unsigned starts = 0;

	if (!file) {
		perror(path);
		return 3;
	}
	while (fread(&n, sizeof(n), 1, file) == 1) {
		starts += n == 1;
		if (n != 1 && n != before + 1) {
			printf("%" PRIu64 " follows %" PRIu64 "\n", n, before);
			fclose(file);
			return 1;
		}
		before = n;
	}
	printf("%u %" PRIu64 "\n", starts, before);
	fclose(file);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--check"))
		return check(argv[2]);
	if (argc >= 3)
		return become(argv);
	fputs("usage: witness FILE PROGRAM [ARG...] | --check FILE\n", stderr);
	return 2;
}
