// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/pager.h"

#include "lib/base/cleanup.h"
#include "lib/memory/pager_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NEEDED                                                          \
	((uint64_t)UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | \
	 UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)

bool pager_usable(char *why, size_t size)
{
	struct uffdio_api api = {.api = UFFD_API, .features = NEEDED};
	_cleanup_close_ int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0)
		return true;
	snprintf(why, size, "the kernel does not let relocd follow page faults (userfaultfd): %s",
		 strerror(errno));
	return false;
}

// ---- areas of the shared file -------------------------------------------------------------------

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + PAGER_PAGE - 1) / PAGER_PAGE * PAGER_PAGE;
}

void *pager_area(const struct pager *p, uint64_t at)
{
	return p->base + at;
}

uint64_t pager_area_new(struct pager *p, uint64_t bytes)
{
	uint64_t at = atomic_load(&p->h->end);
	if (bytes > PAGER_FILE_BYTES - at - PAGER_PAGE)
		return 0;
	atomic_store(&p->h->end, at + round_up(bytes));
	return at;
}

void pager_area_drop(struct pager *p, uint64_t at, uint64_t bytes)
{
	if (bytes)
		fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
			  (off_t)round_up(bytes));
}

// ---- descriptors --------------------------------------------------------------------------------

bool pager_is_uffd(int fd)
{
	char path[64], target[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = 0;
	return !strcmp(target, "anon_inode:[userfaultfd]");
}

bool pager_owns(const struct pager *p, int fd)
{
	for (uint32_t i = 0; i < atomic_load(&p->h->slots); i++) {
		const struct pager_slot *slot = &p->slot[i];
		uint32_t state = atomic_load(&slot->state);
		if ((state == SLOT_LIVE && slot->uffd == fd) ||
		    (state != SLOT_FREE && slot->vpid && slot->store == fd))
			return true;
	}
	return false;
}

int pager_orphan(const struct pager *p)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);
		if (pager_is_uffd(fd) && !pager_owns(p, fd))
			return fd;
	}
	return -1;
}

// ---- the keeper's side --------------------------------------------------------------------------

static int map_file(struct pager *p, struct error *err)
{
	p->fd = memfd_create("pager", MFD_CLOEXEC);
	if (p->fd < 0 || ftruncate(p->fd, (off_t)PAGER_FILE_BYTES) < 0)
		return error_sys(err, ERR_MEMORY, errno, "cannot make the page server's file");
	void *base = mmap(NULL, PAGER_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (base == MAP_FAILED)
		return error_sys(err, ERR_MEMORY, errno, "cannot map the page server's file");
	p->base = base;
	p->h = base;
	p->slot = (void *)(p->base + round_up(sizeof(*p->h)));
	p->h->end = round_up(sizeof(*p->h)) + round_up(PAGER_SLOTS_MAX * sizeof(*p->slot));
	p->h->connection = p->h->poll = p->h->parent = -1;
	return 0;
}

struct pager *pager_new(const char *name, int listener, int images, const struct pager_ways *ways,
			struct error *err)
{
	struct pager *p = calloc(1, sizeof(*p));
	if (p)
		*p = (struct pager){.fd = -1, .keeper = getpid(), .ways = *ways};
	if (!p || map_file(p, err) < 0) {
		if (!p)
			error_set(err, ERR_NOMEM, "no memory for a page server");
		close(listener);
		close(images);
		pager_free(p);
		return NULL;
	}
	snprintf(p->h->name, sizeof(p->h->name), "%s", name);
	p->h->listener = listener;
	p->h->images = images;
	p->h->command = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->h->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->h->command >= 0 && p->h->news >= 0)
		return p;
	error_sys(err, ERR_SYSTEM, errno, "cannot make an eventfd");
	pager_free(p);
	return NULL;
}

int pager_start(struct pager *p, struct error *err)
{
	if (p->h->broken[0])
		return error_set(err, ERR_MEMORY, "%s", p->h->broken);
	if (p->starts++ >= PAGER_STARTS_MAX)
		return error_set(err, ERR_MEMORY, "the page server has ended %u times",
				 PAGER_STARTS_MAX);
	if (!p->orphaned && !p->guard && pager_guard_start(p, err) < 0)
		return -1;
	// Not fork(3): one table of descriptors. The keeper has a single thread. The pid is noted
	// by the kernel: we may be killed at any time.
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | CLONE_PARENT_SETTID | SIGCHLD, NULL,
				   &p->h->server, NULL, NULL);
	if (pid < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot start the page server");
	if (pid == 0)
		pager_serve(p);
	p->pid = pid;
	return 0;
}

pid_t pager_pid(const struct pager *p)
{
	return p->pid;
}

void pager_ended(struct pager *p)
{
	p->pid = 0;
}

void pager_fill(struct pager *p)
{
	atomic_store(&p->h->fill, true);
	eventfd_write(p->h->command, 1);
}

void pager_progress(const struct pager *p, struct pager_progress *progress)
{
	*progress = (struct pager_progress){.total = atomic_load(&p->h->total),
					    .left = atomic_load(&p->h->left),
					    .complete = atomic_load(&p->h->complete)};
	snprintf(progress->broken, sizeof(progress->broken), "%s", p->h->broken);
}

int pager_news_fd(const struct pager *p)
{
	return p->h->news;
}

void pager_take_news(struct pager *p)
{
	eventfd_t count;
	eventfd_read(p->h->news, &count);
}

static void close_if(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void close_slot(const struct pager_slot *slot)
{
	uint32_t state = atomic_load(&slot->state);
	if (state == SLOT_LIVE)
		close(slot->uffd);
	if (state != SLOT_FREE && slot->vpid)
		close_if(slot->store);
}

static void close_all(struct pager *p)
{
	for (uint32_t i = 0; i < atomic_load(&p->h->slots); i++)
		close_slot(&p->slot[i]);
	const int fds[] = {p->h->listener, p->h->images, p->h->connection, p->h->command,
			   p->h->news,     p->h->poll,   p->h->parent};
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close_if(fds[i]);
	// What came in and was not noted any more. All that is live has been closed.
	atomic_store(&p->h->slots, 0);
	for (int fd; (fd = pager_orphan(p)) >= 0;)
		close(fd);
	pager_forget_looks();
}

static void end_child(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

void pager_free(struct pager *p)
{
	if (!p)
		return;
	end_child(p->guard); // first: it would start another server
	end_child(p->pid);
	if (p->base) {
		close_all(p);
		munmap(p->base, PAGER_FILE_BYTES);
	}
	close_if(p->fd);
	free(p);
}
