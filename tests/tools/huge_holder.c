// SPDX-License-Identifier: Apache-2.0
// Holds memory of huge pages (hugetlbfs) and checks it all the time: every small page of it has its
// own number, and a tenth of them a round that is raised. Writes "ok ROUND" or "bad PAGE" into FILE
// (renamed into place). Takes two free huge pages of the host.
//
// usage: huge_holder private|shared|memfd|sysv FILE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#define PAGE   4096ul
#define LENGTH (4ul << 20)
#define PAGES  (LENGTH / PAGE)
#define WORDS  (PAGE / 8)

static void *map_kind(const char *kind)
{
	int flags = MAP_HUGETLB | MAP_ANONYMOUS, fd = -1;
	if (!strcmp(kind, "sysv")) {
		int id = shmget(IPC_PRIVATE, LENGTH, IPC_CREAT | SHM_HUGETLB | 0600);
		return id < 0 ? MAP_FAILED : shmat(id, NULL, 0);
	}
	if (!strcmp(kind, "memfd")) {
		fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
		flags = 0;
		if (fd < 0 || ftruncate(fd, LENGTH) < 0)
			return MAP_FAILED;
	}
	flags |= strcmp(kind, "private") ? MAP_SHARED : MAP_PRIVATE;
	return mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, flags, fd, 0);
}

static uint64_t mark(size_t page, uint64_t round)
{
	return page * 0x9e3779b97f4a7c15u + (page % 10 ? 0 : round);
}

static void say(const char *path, const char *what, uint64_t number)
{
	char temporary[300];
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	FILE *f = fopen(temporary, "w");
	if (!f || fprintf(f, "%s %llu\n", what, (unsigned long long)number) < 0 || fclose(f) ||
	    rename(temporary, path)) {
		perror(path);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	uint64_t *memory = argc == 3 ? map_kind(argv[1]) : MAP_FAILED;
	if (memory == MAP_FAILED) {
		perror("huge_holder private|shared|memfd|sysv FILE");
		return 1;
	}
	for (uint64_t round = 0;; round++) {
		for (size_t i = 0; i < PAGES; i += round ? 10 : 1)
			memory[i * WORDS + round % WORDS] = memory[i * WORDS] = mark(i, round);
		usleep(20000);
		for (size_t i = 0; i < PAGES; i++)
			if (memory[i * WORDS] != mark(i, round)) {
				say(argv[2], "bad", i);
				pause();
			}
		say(argv[2], "ok", round);
	}
}
