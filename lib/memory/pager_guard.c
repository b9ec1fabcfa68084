// SPDX-License-Identifier: Apache-2.0
// A third process that has the table of descriptors: while it lives, no fault is answered with a
// page of zeroes even if server and keeper are killed at once. When the keeper is gone it does the
// one thing that is left of its work: it starts the server's successors.
#include "lib/memory/pager_inner.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LOOK_MS 100

// Returns when that process has ended. Without a descriptor for that, which is no sign of an end,
// it looks again and again: two servers would bring the same pages.
static void wait_for_end(pid_t pid)
{
	_cleanup_close_ int fd = -1;
	while ((fd = (int)syscall(SYS_pidfd_open, pid, 0)) < 0 && errno != ESRCH)
		clock_sleep_ms(LOOK_MS);
	struct pollfd polled = {.fd = fd, .events = POLLIN};
	while (fd >= 0 && poll(&polled, 1, -1) < 0 && errno == EINTR)
		;
}

_Noreturn static void guard(struct pager *p)
{
	struct error err;
	char who[96];
	snprintf(who, sizeof(who), "guard:%s", p->h->name);
	prctl(PR_SET_NAME, who, 0, 0, 0);
	snprintf(who, sizeof(who), "guard %s", p->h->name);
	log_open(who);
	wait_for_end(p->keeper);
	p->orphaned = true;
	for (;;) {
		wait_for_end(atomic_load(&p->h->server));
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
		if (atomic_load(&p->h->complete))
			_exit(0);
		log_warn("the page server and its keeper have been killed");
		if (pager_start(p, &err) == 0)
			continue;
		log_error_of(&err, "page server");
		p->ways.lose(p->h->name);
		_exit(1);
	}
}

int pager_guard_start(struct pager *p, struct error *err)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot start the page server's guard");
	if (pid == 0)
		guard(p);
	p->guard = pid;
	return 0;
}

bool pager_guard_ended(struct pager *p, pid_t pid)
{
	struct error err;
	if (pid <= 0 || pid != p->guard)
		return false;
	p->guard = 0;
	if (p->guards++ < PAGER_STARTS_MAX && pager_guard_start(p, &err) < 0)
		log_error_of(&err, "page server");
	return true;
}
