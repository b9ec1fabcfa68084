// SPDX-License-Identifier: Apache-2.0
// Decision files that are anything, and good ones that were damaged: what such a file says is its
// last record or that it cannot be known, never an earlier decision than the one that was acted on.
#include "lib/base/cleanup.h"
#include "lib/registry/decision.h"
#include "tests/fuzz/scratch.h"

#include <stdio.h>
#include <string.h>

enum { RECORD = 128, RECORDS = 32, FLIPS_MAX = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];
static int scratch;

static void demand(bool fact)
{
	if (!fact)
		abort();
}

static const char *name_of(enum decision_side side)
{
	return side == DECISION_DEPARTURE ? "m-1.departure" : "m-1.arrival";
}

static void remove_both(void)
{
	unlinkat(scratch, name_of(DECISION_DEPARTURE), 0);
	unlinkat(scratch, name_of(DECISION_ARRIVAL), 0);
}

// Whoever takes such a file over goes on after what it says, or does not get it.
static void take_over(enum decision_side side, const struct decision_facts *facts)
{
	struct error err = {0};
	struct decision *d = decision_open(folder, "m-1", side, &err);
	demand((d != NULL) == (facts->last != DECISION_NONE && facts->last != DECISION_UNKNOWN));
	if (!d)
		return;
	demand(decision_last(d) == facts->last && decision_epoch(d) == facts->epoch);
	for (unsigned type = DECISION_OPENED; type < DECISION_UNKNOWN; type++) {
		if (decision_append(d, (enum decision_type)type, &err) < 0)
			continue;
		struct decision_facts now;
		decision_look(folder, "m-1", side, &now);
		demand(now.last == type);
	}
	decision_close(d, false);
}

static void look(enum decision_side side)
{
	struct decision_facts facts;
	char move[DECISION_MOVE_MAX];
	uint64_t newest;
	decision_look(folder, "m-1", side, &facts);
	demand(facts.last <= DECISION_UNKNOWN && !facts.owned);
	demand(memchr(facts.note, 0, sizeof(facts.note)));
	decision_find(folder, side, "db1", move, &newest);
	take_over(side, &facts);
}

static void try_anything(enum decision_side side, const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd =
		openat(scratch, name_of(side), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	demand(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	look(side);
}

// A good file with the records that the input names, as far as they may follow each other.
static unsigned make(enum decision_side side, const uint8_t *types, size_t count,
		     enum decision_type *last)
{
	struct decision *d = decision_create(folder, "m-1", side, 7, "db1", NULL);
	unsigned records = 1;
	demand(d != NULL);
	for (size_t i = 0; i < count; i++)
		records += decision_append(d, types[i] % DECISION_UNKNOWN, NULL) == 0;
	*last = decision_last(d);
	decision_close(d, false);
	return records;
}

// Up to three bytes are changed, none of which can make a whole record look like one whose write
// was cut off.
static unsigned flip(int fd, size_t used, const uint8_t *data, size_t size)
{
	struct flip {
		uint16_t at;
		uint8_t by, near;
	} __attribute__((packed)) f;
	unsigned flips = 0;
	for (; flips < FLIPS_MAX && size >= sizeof(f); data += sizeof(f), size -= sizeof(f)) {
		memcpy(&f, data, sizeof(f));
		const off_t at = (off_t)(f.at % (f.near & 1 ? used : RECORD * RECORDS));
		uint8_t byte;
		demand(pread(fd, &byte, 1, at) == 1);
		byte ^= f.by;
		demand(pwrite(fd, &byte, 1, at) == 1);
		flips += f.by != 0;
	}
	return flips;
}

static void try_damage(enum decision_side side, const uint8_t *data, size_t size)
{
	enum decision_type last;
	struct decision_facts facts;
	const size_t count = data[0] % 6, head = 1 + count + sizeof(uint16_t);
	uint16_t cut;
	if (size < head)
		return;
	memcpy(&cut, data + 1 + count, sizeof(cut));
	cut %= RECORD * RECORDS;
	size_t used = make(side, data + 1, count, &last) * RECORD;
	_cleanup_close_ int fd = openat(scratch, name_of(side), O_RDWR | O_CLOEXEC);
	unsigned flips = flip(fd, used, data + head, size - head);
	if (cut)
		demand(ftruncate(fd, cut) == 0);
	decision_look(folder, "m-1", side, &facts);
	demand(facts.last == DECISION_UNKNOWN ||
	       (!cut ? facts.last == last : flips && facts.last == DECISION_NONE));
	look(side);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	scratch = scratch_folder();
	snprintf(folder, sizeof(folder), "/proc/self/fd/%d", scratch);
	enum decision_side side = data[0] & 1 ? DECISION_DEPARTURE : DECISION_ARRIVAL;
	remove_both();
	if (data[0] & 2)
		try_anything(side, data + 1, size - 1);
	else
		try_damage(side, data + 1, size - 1);
	remove_both();
	return 0;
}
