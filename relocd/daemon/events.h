// SPDX-License-Identifier: Apache-2.0
// The journal: what happened on this host, numbered, kept in the registry, followed by
// GET /v1/events.
#ifndef RELOCD_EVENTS_H
#define RELOCD_EVENTS_H

#include "relocd/daemon/daemon.h"

// After registry_open and before anything is added: takes up the numbers where they stopped.
int events_open(struct daemon *d, struct error *err);
// Writes what is not written yet, and forgets it all.
void events_close(struct daemon *d);

// With the lock held, all of these.

// Adds an event and wakes who follows. `kind`: partition, move, host, cluster or audit; `partition`
// and `move` may be NULL, `data` (an object, may be NULL) is taken over. Events are on disk when
// this returns, but those of kind audit within a second. A registry that cannot be written is
// logged; the event is then tried again with the next one.
void events_add(struct daemon *d, const char *kind, const char *event, const char *partition,
		const char *move, json_t *data);
// From now on in this thread: whose request leads to what is added, {"user","role","host","time"};
// borrowed. NULL: nobody's. Needs no lock.
void events_asked(json_t *asked);
// Writes the audit records that wait.
void events_flush(struct daemon *d);

struct events_query {
	int64_t after;
	const char *kind; // only these; NULL: all
	bool audit;       // the reader may see who asked for what
};

// The number of the newest event.
int64_t events_last(const struct daemon *d);
// Whether there may be more after query->after. Cheap.
bool events_more(const struct daemon *d, const struct events_query *query);
// Up to 256 events after query->after, which is moved past them; an empty array when there are none
// (yet). The caller's; NULL: error. ERR_EVENTS_PRUNED when the next one is gone.
json_t *events_read(struct daemon *d, struct events_query *query, struct error *err);
// Sets query->after so that the last `count` follow.
int events_seek_last(struct daemon *d, struct events_query *query, unsigned count,
		     struct error *err);

#endif
