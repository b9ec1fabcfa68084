// SPDX-License-Identifier: Apache-2.0
// Memory engines: how the pages of a partition get to the other host.
//
// An engine copies in rounds while the partition runs (none for `stop`), and once more, the final
// part, while it is frozen and CRIU dumps the rest. Pages leave through a sink in frames of one run
// of pages each; the engine counts those of every stream for the manifest. Chosen by name or by
// probing.
#ifndef WPAR_MEMORY_ENGINE_H
#define WPAR_MEMORY_ENGINE_H

#include "images/manifest.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Where frames (images/pageframe.h) go. place() gives room for one frame (header and data; at least
// one page), send() hands it on with its true length; both may wait, by a deadline of their own. A
// place that is not needed stays usable for the next frame.
//
// Frames may travel over several connections at once, and arrive in any order. Those in places that
// were asked for after order(true) arrive in their order and behind all that went before; after
// order(false), which is how it begins, in any again, but never before what an earlier round has
// sent. NULL: they always arrive in their order.
struct memory_sink {
	void *(*place)(void *arg, size_t *room, struct error *err);
	int (*send)(void *arg, void *place, size_t length, struct error *err);
	void (*order)(void *arg, bool keep);
	void *arg;
};

// Whose memory it is. tasks() lists all its processes as they are now: host pids, an array that the
// caller frees.
struct memory_subject {
	pid_t init;
	int (*tasks)(void *arg, pid_t **pids, size_t *count, struct error *err);
	void *arg;
};

static inline void memory_sink_order(const struct memory_sink *sink, bool keep)
{
	if (sink->order)
		sink->order(sink->arg, keep);
}

struct memory_round {
	uint64_t bytes;        // of page data that were sent
	uint64_t zero_bytes;   // of pages of zeroes, which cost nothing to send
	double ms;             // until the last of it was handed to the sink
	double scan_ms;        // of that, all but reading and handing over what was sent
	double frozen_ms;      // that comparing shared memory will take in the final part, about
	double stop_ms;        // the longest that a thread stood still in it
	size_t unarmed;        // processes whose memory can only travel in the final part
	char unarmed_why[160]; // of the first of them
};

struct memory_run;

struct memory_engine {
	const char *name;

	// Can this kernel do it? Otherwise why not, as a sentence.
	bool (*usable)(char *why, size_t size);

	// PREPARE: changes nothing in the partition. NULL on error.
	struct memory_run *(*begin)(const struct memory_subject *subject,
				    const struct memory_sink *sink, struct error *err);

	// PRECOPY: one round; NULL when the engine has none. The first one copies everything.
	int (*round)(struct memory_run *run, struct memory_round *result, struct error *err);
	// What would have to be sent if the next round began now, in bytes. With round().
	int (*dirty)(struct memory_run *run, uint64_t *bytes, struct error *err);

	// FINAL, with round(): all is frozen and CRIU has touched nothing yet. Sends what was
	// written since the last round. What CRIU need not look at is then in `blank`
	// (lib/criu/blank.h); pages that it sends all the same are dropped.
	int (*frozen)(struct memory_run *run, int blank, struct memory_round *result,
		      struct error *err);

	// FINAL: what CRIU gets as its page server. The descriptor for CRIU's side is the caller's;
	// ours is to be polled (final_fd, for reading) and served by final_step() until *done.
	// `budget` bounds a step.
	int (*final_open)(struct memory_run *run, int *criu_side, struct error *err);
	int (*final_fd)(const struct memory_run *run);
	int (*final_step)(struct memory_run *run, size_t budget, bool *done, struct error *err);

	// Closes the stream from CRIU: one that still writes pages would not hear us.
	void (*final_close)(struct memory_run *run);

	// After the last step: adds every page stream to the manifest.
	int (*manifest)(struct memory_run *run, struct manifest *m, struct error *err);

	// RELEASE, with round(): how many mappings have got other flags (mlock(2), madvise(2))
	// since they were noted in the last round and before all was frozen: the copy has the old
	// ones.
	size_t (*flags_changed)(const struct memory_run *run);

	uint64_t (*bytes)(const struct memory_run *run); // page data handed to the sink so far

	// Frees; undoes what was done to the partition, which may take a while: not while it stands
	// still.
	void (*end)(struct memory_run *run);
};

// "auto" or NULL: the best that this kernel can do; `why` is then the reason why that is not a
// better one, or empty. ERR_USAGE for an unknown name.
const struct memory_engine *memory_engine_find(const char *name, char *why, size_t size,
					       struct error *err);
// Whether there is one of that name, or it is "auto".
bool memory_engine_exists(const char *name);

extern const struct memory_engine memory_engine_stop, memory_engine_track;

#endif
