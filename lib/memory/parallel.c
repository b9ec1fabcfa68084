// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/parallel.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

struct job {
	void (*work)(void *arg, size_t part);
	void *arg;
	size_t parts;
	atomic_size_t next;
};

static void *take_parts(void *arg)
{
	struct job *job = arg;
	for (size_t part; (part = atomic_fetch_add(&job->next, 1)) < job->parts;)
		job->work(job->arg, part);
	return NULL;
}

static size_t threads_for(size_t parts)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	size_t most = online < 1 ? 1 : (size_t)online;
	if (most > PARALLEL_THREADS)
		most = PARALLEL_THREADS;
	return parts < most ? parts : most;
}

void parallel_for(size_t parts, void (*work)(void *arg, size_t part), void *arg)
{
	struct job job = {.work = work, .arg = arg, .parts = parts};
	pthread_t others[PARALLEL_THREADS];
	size_t started = 0, wanted = threads_for(parts);
	sigset_t all, was;
	// Signals of this process are for its first thread.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	while (started + 1 < wanted &&
	       pthread_create(&others[started], NULL, take_parts, &job) == 0)
		started++;
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	take_parts(&job);
	while (started)
		pthread_join(others[--started], NULL);
}
