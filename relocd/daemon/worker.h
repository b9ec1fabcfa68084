// SPDX-License-Identifier: Apache-2.0
// A departure, arrival or caller process, seen from relocd: its channel and its end.
#ifndef RELOCD_WORKER_H
#define RELOCD_WORKER_H

#include "relocd/daemon/daemon.h"

#include <sys/types.h>

struct worker;

struct worker_handler {
	// Both in the loop, with the lock held. The message is the worker's.
	void (*message)(struct worker *w, const json_t *message);
	// After the last message; status as of wait(2). The worker is freed afterwards.
	void (*end)(struct worker *w, int status);
};

struct worker {
	struct daemon *d;
	const struct worker_handler *handler;
	void *arg;
	pid_t pid;
	uint64_t pid_start;
	int pidfd;
	int chan; // never blocks
	uint64_t chan_watch, pid_watch;
	bool attached; // it was started by an earlier relocd: its status is not for us
	int given;     // descriptor that came with the message; -1: none. Closed unless it is taken
};

// With the lock held. Starts libexec/`program` in a session of its own with its end of the channel
// as descriptor 3 and `sock` (if >= 0; stays the caller's) as 4. It waits for worker_send.
struct worker *worker_start(struct daemon *d, const char *program, int sock,
			    const struct worker_handler *handler, void *arg, struct error *err);
// The same with a process of an earlier relocd: `pidfd` and `chan` (-1: it does not speak to us,
// and is only watched) are taken over, also on failure.
struct worker *worker_attach(struct daemon *d, pid_t pid, int pidfd, int chan,
			     const struct worker_handler *handler, void *arg, struct error *err);
// Takes the message over.
int worker_send(struct worker *w, json_t *message, struct error *err);
// The same with a descriptor, which stays the caller's.
int worker_send_fd(struct worker *w, json_t *message, int fd, struct error *err);
// Kills it; its end comes through the loop as any other.
void worker_kill(struct worker *w);

// Closes the channel: from now on it is only watched.
void worker_mute(struct worker *w);

// "was killed by signal 9", "ended with status 1"; of an attached one "has ended".
char *worker_end_text(const struct worker *w, int status, char text[48]);

#endif
