// SPDX-License-Identifier: Apache-2.0
// VALIDATE: how much memory travels. Pages that processes share since a fork(2) are charged to
// their group once, but travel for each of them.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"
#include "relocd/move/checks.h"
#include "relocd/move/facts.h"

#include <stdio.h>

#define WORTH_SAYING (64ull << 20)

static uint64_t of_tasks(const struct departure *d)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	uint64_t bytes = 0;
	if (cgroup_pids(d->cgroup, &pids, &count, NULL) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		struct facts_task task;
		if (facts_task(pids[i], &task, NULL) == 0)
			bytes += task.private_bytes;
	}
	return bytes;
}

static void tell_of_sharing(const struct departure *d, uint64_t travels, uint64_t charged,
			    json_t *checks)
{
	char sentence[200];
	snprintf(sentence, sizeof(sentence),
		 "its processes share memory since they were forked: %llu MiB of them are %llu MiB "
		 "here, and travel one by one",
		 (unsigned long long)(travels >> 20), (unsigned long long)(charged >> 20));
	checks_warn(checks, d->host, "sharing", sentence,
		    "the destination restores it before the partition runs, and finds the sharing "
		    "again");
}

void departure_measure(struct departure *d, json_t *checks)
{
	int64_t now = cgroup_memory_now(d->cgroup, NULL);
	uint64_t charged = 0, shared = 0, travels = of_tasks(d);
	d->travel_bytes = d->memory_bytes = now > 0 ? (uint64_t)now : 0;
	if (cgroup_memory_parts(d->cgroup, &charged, &shared, NULL) < 0)
		return;
	if (travels > charged + WORTH_SAYING)
		tell_of_sharing(d, travels, charged, checks);
	d->travel_bytes = travels + shared;
	if (d->travel_bytes > d->memory_bytes)
		d->memory_bytes = d->travel_bytes;
}
