// SPDX-License-Identifier: Apache-2.0
// Calls between the control APIs of the hosts: those that this host makes, and whose those are that
// it serves.
#ifndef RELOCD_PEERS_H
#define RELOCD_PEERS_H

#include "relocd/api/answer.h"
#include "relocd/api/api.h"

#define PEERS_CALLS_MAX  64   // made at once
#define PEERS_SERVED_MAX 64   // served at once
#define PEERS_ASK_MS     4000 // for questions to all hosts

// On whose behalf.
struct peer_caller {
	char user[64];
	enum role role;
};
void peer_caller_of(const struct request *q, struct peer_caller *caller);
// relocd itself.
extern const struct peer_caller peer_relocd;

// ---- calls that we make -------------------------------------------------------------------------

// All without the lock.

// One connection to the control API of `host`: the descriptor of a stream socket, the caller's, or
// -1. It is returned before the host has been reached: what prevents that is the answer, in HTTP.
// connect_ms: to be connected; answer_ms: for the answer to begin, 0: as long as it takes.
int peer_open(struct daemon *d, const char *host, const struct peer_caller *caller, int connect_ms,
	      int answer_ms, struct error *err);

// The answer to one question.
struct peer_answer {
	char host[REGISTRY_NAME_MAX];
	json_t *data; // NULL: error
	unsigned status;
	struct error error;
	int64_t asked_ms, answered_ms; // since 1970
};

// Asks one host, within the deadline. `body` may be NULL and stays the caller's. *data may be NULL
// if not wanted.
int peer_ask(struct daemon *d, const char *host, const struct peer_caller *caller,
	     const char *method, const char *path, const json_t *body, deadline_t deadline,
	     json_t **data, struct error *err);
// Asks all other hosts that are not revoked, at the same time. Free with peer_answers_free.
int peer_ask_all(struct daemon *d, const struct peer_caller *caller, const char *method,
		 const char *path, const json_t *body, deadline_t deadline,
		 struct peer_answer **answers, size_t *count, struct error *err);
void peer_answers_free(struct peer_answer *answers, size_t count);
// {"host",...} of an answer that is none, for "warnings".
json_t *peer_warning(const struct peer_answer *answer);

// ---- calls that we serve ------------------------------------------------------------------------

// With the lock held. Serves a socket (its own from now on, also when it fails) as the API does,
// for somebody of that host.
int peers_serve(struct daemon *d, int sock, const char *host, const char *user, enum role role,
		struct error *err);
// Whether the connection is that of a peer: fills in peer, user and role.
bool peers_identify(int sock, struct request *q);
void peers_closed(int sock); // by the API, for every connection
// With the lock held. Ends the calls that are under way from and to a host.
void peers_cut(struct daemon *d, const char *host);

// What a host may do here at most.
enum role peers_max_role(const struct daemon *d);

#endif
