// SPDX-License-Identifier: Apache-2.0
#include "lib/storage/flush.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

// Belongs to who waits and to who works; the last one frees it.
struct flush {
	int fd, done; // done: an eventfd, readable at the end
	int result;   // errno, or 0
	atomic_int users;
};

static void leave(struct flush *f)
{
	if (atomic_fetch_sub(&f->users, 1) > 1)
		return;
	cleanup_close(&f->fd);
	cleanup_close(&f->done);
	free(f);
}

static void *work(void *arg)
{
	struct flush *f = arg;
	f->result = syncfs(f->fd) < 0 ? errno : 0;
	eventfd_write(f->done, 1);
	leave(f);
	return NULL;
}

// Nobody joins it.
static int start(struct flush *f)
{
	pthread_t thread;
	atomic_fetch_add(&f->users, 1);
	int failed = pthread_create(&thread, NULL, work, f);
	if (failed)
		atomic_fetch_sub(&f->users, 1);
	else
		pthread_detach(thread);
	return failed;
}

static struct flush *begin(int fd, struct error *err)
{
	struct flush *f = calloc(1, sizeof(*f));
	if (!f) {
		error_set(err, ERR_NOMEM, "no memory to write back files");
		return NULL;
	}
	f->users = 1;
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	f->done = eventfd(0, EFD_CLOEXEC);
	int failed = f->fd < 0 || f->done < 0 ? errno : start(f);
	if (!failed)
		return f;
	leave(f);
	error_sys(err, ERR_SYSTEM, failed, "cannot write back files");
	return NULL;
}

int flush_file_system(int fd, deadline_t deadline, struct error *err)
{
	struct flush *f = begin(fd, err);
	if (!f)
		return -1;
	int done = fdio_wait(f->done, POLLIN, deadline, err);
	if (done == 0)
		done = error_set(err, ERR_STORAGE,
				 "what was written is not on its storage in time: the storage does "
				 "not answer, or is slow");
	else if (done > 0 && f->result)
		done = error_sys(err, ERR_STORAGE, f->result, "cannot write back what was written");
	leave(f);
	return done < 0 ? -1 : 0;
}
