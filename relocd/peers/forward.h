// SPDX-License-Identifier: Apache-2.0
// Requests that another host has to answer: who that is, and how its answer gets back to the
// client.
#ifndef RELOCD_FORWARD_H
#define RELOCD_FORWARD_H

#include "relocd/api/api.h"

// ---- the decision -------------------------------------------------------------------------------

enum forward_subject {
	FORWARD_NOTHING,   // concerns this host, or is gathered from all by its handler
	FORWARD_PARTITION, // /v1/partitions/{}...
	FORWARD_MOVE,      // /v1/moves/{}...
	FORWARD_BEGIN,     // POST /v1/moves: the partition is in the body
	FORWARD_HOSTS,     // /v1/hosts/{}/...
};

enum forward_subject forward_subject(const char *method, const char *route);

// What is known here of the partition or the move.
enum forward_row {
	ROW_NONE,
	ROW_HERE,
	ROW_ELSEWHERE, // Departed, or a move that comes in: `elsewhere` says from or to where
};

struct forward_facts {
	const char *self;
	bool member;      // of a cluster
	bool from_peer;   // the request came from another host
	const char *host; // ?host=, NULL: none
	bool local;       // ?local=1
	enum forward_subject subject;
	const char *param; // of FORWARD_HOSTS
	enum forward_row row;
	const char *elsewhere;
};

enum forward_way {
	FORWARD_HERE,
	FORWARD_TO,          // the host in *to
	FORWARD_GUESS,       // the host in *to, unless it says that it is not there
	FORWARD_SEARCH,      // ask all hosts
	FORWARD_MISDIRECTED, // came from a peer and is not for us: the peer looks further
	FORWARD_LOOP,        // a peer wants it passed on: refused
};

enum forward_way forward_decide(const struct forward_facts *facts, const char **to);

// ---- requests -----------------------------------------------------------------------------------

// Called before a request's handler, without the lock. *forwarded: another host has answered, and
// its answer is q->response; otherwise the handler goes on. Errors name the host.
int forward_request(struct request *q, const struct route *route, bool *forwarded,
		    struct error *err);

// ---- lists of all hosts -------------------------------------------------------------------------

// The request is for this host alone: ?local=1, from a peer, or there is no cluster.
bool forward_is_local(struct request *q);
// Adds what the other hosts have to q->data, an array of partitions, and a warning for each host
// that cannot be asked. `query` as it stands in the path ("state=Active"), NULL: none.
int forward_gather_partitions(struct request *q, const char *query, struct error *err);
int forward_gather_moves(struct request *q, struct error *err);
// The newest `limit` of all hosts, the newest first; nobody is asked if the request is local.
int forward_gather_history(struct request *q, unsigned limit, struct error *err);
// A new partition of that name may be made: no other host has one (ERR_NAME_TAKEN). A warning for
// each host that cannot be asked. When all could, a trace of one that went and was removed there is
// dropped here.
int forward_name_free(struct request *q, const char *name, struct error *err);

// ---- traces -------------------------------------------------------------------------------------

// A partition that has moved leaves a Departed record where it was. When it is removed for good,
// those are dropped on all hosts that answer.
void forward_drop_traces(struct request *q, const char *name, const char *uuid);
// Drops that of this host, if it is one and of that uuid (NULL: any); ERR_NAME_UNKNOWN if not.
int forward_drop_trace(struct daemon *d, const char *name, const char *uuid, struct error *err);

#endif
