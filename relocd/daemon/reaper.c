// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/reaper.h"

#include "lib/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
	struct daemon *d;
	pid_t pid;
	int pidfd;
	uint64_t watch;
};

static void on_end(void *arg, short revents)
{
	struct child *child = arg;
	(void)revents;
	waitpid(child->pid, NULL, WNOHANG);
	loop_remove(child->d->loop, child->watch);
	close(child->pidfd);
	free(child);
}

void reaper_adopt(struct daemon *d, pid_t pid)
{
	struct child *child = calloc(1, sizeof(*child));
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (child && pidfd >= 0) {
		*child = (struct child){.d = d, .pid = pid, .pidfd = pidfd};
		child->watch = loop_add(d->loop, pidfd, POLLIN, DEADLINE_NEVER, on_end, child);
		if (child->watch)
			return;
	}
	log_warn("cannot watch child %d: %s", (int)pid, strerror(errno)); // it stays a zombie
	if (pidfd >= 0)
		close(pidfd);
	free(child);
}
