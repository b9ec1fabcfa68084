// SPDX-License-Identifier: Apache-2.0
// Memory engines: how the pages of a partition get to the other host.
//
// An engine copies in rounds while the partition runs (none for `stop`), and once more, the final
// part, while it is frozen and CRIU dumps the rest. Pages leave through a sink in frames of one run
// of pages each; the engine keeps a digest of every stream for the manifest. Chosen by name or by
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
struct memory_sink {
	void *(*place)(void *arg, size_t *room, struct error *err);
	int (*send)(void *arg, void *place, size_t length, struct error *err);
	void *arg;
};

struct memory_round {
	uint64_t bytes; // copied in this round
	uint64_t dirty; // found dirty at its end
};

struct memory_run;

struct memory_engine {
	const char *name;

	// Can this kernel do it? Otherwise why not, as a sentence.
	bool (*usable)(char *why, size_t size);

	// PREPARE: for the tree below `init` (a host pid). NULL on error.
	struct memory_run *(*begin)(pid_t init, const struct memory_sink *sink, struct error *err);

	// PRECOPY: one round; NULL when the engine has none.
	int (*round)(struct memory_run *run, struct memory_round *result, struct error *err);

	// FINAL: what CRIU gets as its page server. The descriptor for CRIU's side is the caller's;
	// ours is to be polled (final_fd, for reading) and served by final_step() until *done.
	// `budget` bounds a step.
	int (*final_open)(struct memory_run *run, int *criu_side, struct error *err);
	int (*final_fd)(const struct memory_run *run);
	int (*final_step)(struct memory_run *run, size_t budget, bool *done, struct error *err);

	// After the last step: adds every page stream to the manifest.
	int (*manifest)(struct memory_run *run, struct manifest *m, struct error *err);

	uint64_t (*bytes)(const struct memory_run *run); // page data handed to the sink so far

	void (*end)(struct memory_run *run); // frees; undoes what begin did to the partition
};

// "auto" or NULL: the best that this kernel can do. ERR_USAGE for an unknown name.
const struct memory_engine *memory_engine_find(const char *name, struct error *err);

extern const struct memory_engine memory_engine_stop;

#endif
