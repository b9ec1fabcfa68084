// SPDX-License-Identifier: Apache-2.0
// How long the partition will stand still, as far as that can be told before it does.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"

#define BASE_MS           45   // whatever moves
#define TASK_MS           7    // for each process
#define LIST_MS_PER_GB    5    // to list all pages once more
#define RESTORE_MS_PER_GB 1000 // of what is restored before it runs
#define STOP_MS_PER_GB    1000 // of what is sent while it stands still, at best
#define GB                1e9

static double fixed_ms(struct departure *d)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	if (!d->cgroup || cgroup_pids(d->cgroup, &pids, &count, NULL) < 0)
		return BASE_MS;
	return BASE_MS + TASK_MS * (double)count + LIST_MS_PER_GB * (double)d->memory_bytes / GB;
}

// Shared memory never comes on demand.
static double restore_ms(struct departure *d)
{
	uint64_t anonymous = d->memory_bytes, shared = 0;
	if (d->cgroup)
		cgroup_memory_parts(d->cgroup, &anonymous, &shared, NULL);
	uint64_t bytes = d->on_demand ? shared : anonymous + shared;
	return RESTORE_MS_PER_GB * (double)bytes / GB;
}

void departure_predict(struct departure *d, struct departure_prediction *p)
{
	double copy_ms = d->engine->round ? 0 : STOP_MS_PER_GB * (double)d->memory_bytes / GB;
	p->fixed_ms = fixed_ms(d);
	p->restore_ms = restore_ms(d);
	p->total_ms = p->fixed_ms + p->restore_ms + copy_ms + d->upper_ms;
	snprintf(p->text, sizeof(p->text),
		 "about %.0f ms of downtime are certain: %.0f for processes and mounts, %.0f to "
		 "restore memory%s",
		 p->total_ms, p->fixed_ms, p->restore_ms,
		 copy_ms > 0 ? ", the rest to copy it while it stands still" : "");
}
