// SPDX-License-Identifier: Apache-2.0
// The journal of this host in the registry: what happened to partitions, moves, hosts and the
// cluster, and who asked for what. Numbers (seq) only rise and are never used twice, so that a
// reader can go on where it stopped.
#ifndef WPAR_REGISTRY_EVENTS_H
#define WPAR_REGISTRY_EVENTS_H

#include "lib/registry/registry.h"

// The last number that was given to any event, pruned ones included; and the highest of those that
// were pruned for their age or their count, 0 for none.
int registry_events_span(struct registry *r, int64_t *last, int64_t *pruned, struct error *err);

// Writes events, each {"seq","time","kind","event","partition","move","data","asked"} with null for
// what it does not have, in one transaction.
int registry_events_add(struct registry *r, const json_t *events, struct error *err);

struct registry_events_query {
	int64_t after;    // only those with a greater number
	const char *kind; // only of this kind; NULL: all
	const char *but;  // none of this kind; NULL: all
	unsigned limit;
};

// A JSON array of such objects in order. NULL: error.
json_t *registry_events_list(struct registry *r, const struct registry_events_query *query,
			     struct error *err);
// The number before the last `count` events that match, so that reading after it gives those.
int registry_events_before_last(struct registry *r, const struct registry_events_query *query,
				unsigned count, int64_t *after, struct error *err);

// Removes events older than `oldest` (RFC 3339), and those beyond the newest `keep`. Of audit
// records that changed nothing (reads and refusals) only the newest `keep_reads` stay, which does
// not count as pruning.
int registry_events_prune(struct registry *r, const char *oldest, unsigned keep,
			  unsigned keep_reads, struct error *err);

#endif
