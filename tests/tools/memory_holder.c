// SPDX-License-Identifier: Apache-2.0
// A parent and a child that share memory of every kind and check it all the time: private, shared
// anonymous, SysV, memfd, a mapped file of /dev/shm. Every page holds its own number, mixed with a
// round that the parent raises and the child confirms over a pipe. Writes "ok ROUND" or "bad WHAT"
// into FILE (renamed into place).
//
// usage: memory_holder FILE MIB     (MIB of each kind)
#define PAGE 4096

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

struct kind {
	const char *name;
	uint64_t *memory;
	int shared; // the child sees the parent's writes
};

static struct kind kinds[5];
static size_t pages;

static void *map(int flags, int fd)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static int sized(int fd)
{
	if (fd < 0 || ftruncate(fd, (off_t)(pages * PAGE)) < 0) {
		perror("file");
		exit(1);
	}
	return fd;
}

static void *sysv(void)
{
	int id = shmget(IPC_PRIVATE, pages * PAGE, IPC_CREAT | 0600);
	void *p = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (p == (void *)-1) {
		perror("shm");
		exit(1);
	}
	return p;
}

static uint64_t mark(size_t kind, size_t page, uint64_t round)
{
	return (kind + 1) * 0x9e3779b97f4a7c15u ^ page << 20 ^ round;
}

// A tenth of the pages changes with the round, the rest stays as it was filled.
static uint64_t round_of(size_t page, uint64_t round)
{
	return page % 10 ? 0 : round;
}

static void fill(uint64_t round)
{
	for (size_t k = 0; k < 5; k++)
		for (size_t p = 0; p < pages; p += round ? 10 : 1)
			kinds[k].memory[p * PAGE / 8] = mark(k, p, round_of(p, round));
}

// The name of the first kind with a wrong page; NULL: all is well.
static const char *check(uint64_t round, int only_shared)
{
	for (size_t k = 0; k < 5; k++)
		for (size_t p = 0; (!only_shared || kinds[k].shared) && p < pages; p++)
			if (kinds[k].memory[p * PAGE / 8] != mark(k, p, round_of(p, round)))
				return kinds[k].name;
	return NULL;
}

static void report(const char *path, const char *bad, uint64_t round)
{
	char temporary[300];
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	FILE *f = fopen(temporary, "w");
	if (!f ||
	    (bad ? fprintf(f, "bad %s\n", bad)
		 : fprintf(f, "ok %llu\n", (unsigned long long)round)) < 0 ||
	    fclose(f) || rename(temporary, path))
		perror(path);
}

static int child(int in, int out)
{
	uint64_t round;
	while (read(in, &round, sizeof(round)) == sizeof(round)) {
		char ok = !check(round, 1);
		if (write(out, &ok, 1) != 1)
			break;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int to[2], from[2];
	if (argc != 3 || atoi(argv[2]) < 1) {
		fprintf(stderr, "usage: memory_holder FILE MIB\n");
		return 2;
	}
	pages = (size_t)atoi(argv[2]) * (1 << 20) / PAGE;
	kinds[0] = (struct kind){"private", map(MAP_PRIVATE | MAP_ANONYMOUS, -1), 0};
	kinds[1] = (struct kind){"shared anonymous", map(MAP_SHARED | MAP_ANONYMOUS, -1), 1};
	kinds[2] = (struct kind){"SysV", sysv(), 1};
	kinds[3] = (struct kind){"memfd", map(MAP_SHARED, sized(memfd_create("held", 0))), 1};
	kinds[4] = (struct kind){
		"/dev/shm", map(MAP_SHARED, sized(open("/dev/shm/held", O_RDWR | O_CREAT, 0600))),
		1};
	sysv(); // one that nobody touches: it has no page to send
	fill(0);
	if (pipe(to) < 0 || pipe(from) < 0)
		return 1;
	if (fork() == 0)
		return child(to[0], from[1]);
	const char *bad = NULL;
	for (uint64_t round = 0; !bad; round++) {
		char ok = 0;
		fill(round);
		bad = check(round, 0);
		if (write(to[1], &round, sizeof(round)) != sizeof(round) ||
		    read(from[0], &ok, 1) != 1 || !ok)
			bad = bad ? bad : "the child's view";
		report(argv[1], bad, round);
		usleep(20000);
	}
	pause();
	return 1;
}
