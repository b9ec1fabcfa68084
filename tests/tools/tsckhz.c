// SPDX-License-Identifier: Apache-2.0
// Prints how fast the processor's time stamp counter runs, in kHz. An emulated processor has the
// same counter; its kernel would measure it while others take the processor away, and its clock
// would be wrong by some percent.
#include "lib/base/clock.h"

#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define APART_MS 200
#define TRIES    200

struct moment {
	int64_t ns;
	uint64_t ticks;
};

// Both clocks at once: of many looks that with the least time in between.
static struct moment look(void)
{
	struct moment best = {0};
	int64_t least = INT64_MAX;
	for (int i = 0; i < TRIES; i++) {
		int64_t before = clock_now_ns();
		uint64_t ticks = __rdtsc();
		int64_t after = clock_now_ns();
		if (after - before >= least)
			continue;
		least = after - before;
		best = (struct moment){before + least / 2, ticks};
	}
	return best;
}

int main(void)
{
	struct moment first = look();
	struct timespec apart = {.tv_nsec = APART_MS * 1000000};
	while (nanosleep(&apart, &apart) < 0)
		;
	struct moment last = look();
	printf("%.0f\n", (double)(last.ticks - first.ticks) * 1e6 / (double)(last.ns - first.ns));
	return 0;
}
