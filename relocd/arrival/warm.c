// SPDX-License-Identifier: Apache-2.0
// Moving the restored root into its control groups would first wait for an RCU grace period, 5 to
// 12 ms in the blackout; not so if another move was a moment ago. A thread keeps that moment recent
// while the source dumps.
#include "relocd/arrival/arrival.h"

#include <errno.h>

#define EVERY_MS 1

static void *keep_warm(void *arg)
{
	struct arrival *a = arg;
	while (!atomic_load(&a->cooling)) {
		cgroup_place_warm(a->place);
		clock_sleep_ms(EVERY_MS);
	}
	return NULL;
}

int arrival_warm_begin(struct arrival *a, struct error *err)
{
	int failed = pthread_create(&a->warmer, NULL, keep_warm, a);
	if (failed)
		return error_sys(err, ERR_SYSTEM, failed, "cannot start a thread");
	a->warming = true;
	return 0;
}

void arrival_warm_end(struct arrival *a)
{
	if (!a->warming)
		return;
	atomic_store(&a->cooling, true);
	pthread_join(a->warmer, NULL);
	a->warming = false;
}
