// SPDX-License-Identifier: Apache-2.0
// Messages between our own processes on one host: a JSON object a packet over AF_UNIX
// SOCK_SEQPACKET, optionally with descriptors. Requests are {"op": ...}; answers {"ok": true, ...}
// or {"error": {...}}.
#ifndef WPAR_BASE_CHAN_H
#define WPAR_BASE_CHAN_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <stddef.h>

#define CHAN_MESSAGE_MAX (160 * 1024)

// A connected pair; both ends O_CLOEXEC.
int chan_pair(int ends[2], struct error *err);
// Listens on / connects to a path (permissions 0600). Return the descriptor or -1.
int chan_listen(const char *path, struct error *err);
int chan_connect(const char *path, struct error *err);

// Sends; `message` stays the caller's. fds may be NULL when count is 0.
int chan_send(int fd, const json_t *message, const int *fds, size_t count, struct error *err);
// Receives one: *message is the caller's, NULL when the other end has closed (returns 0). fds/count
// as in fdio_recv_fds; NULL refuses descriptors. Deadline passed: ERR_DEADLINE.
int chan_recv(int fd, deadline_t deadline, json_t **message, int *fds, size_t *count,
	      struct error *err);

// Sends a request and waits for its answer. An {"error"} answer becomes *err (-1). Takes ownership
// of `request`. *answer may be NULL if not wanted.
int chan_call(int fd, json_t *request, const int *fds, size_t count, deadline_t deadline,
	      json_t **answer, struct error *err);
// Answers: takes ownership of `answer` ("ok" is added); or an error.
int chan_reply(int fd, json_t *answer, const int *fds, size_t count, struct error *err);
int chan_reply_error(int fd, const struct error *why);

#endif
