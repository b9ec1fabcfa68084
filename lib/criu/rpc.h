// SPDX-License-Identifier: Apache-2.0
//
// Client of CRIU's RPC protocol over one "criu swrk FD" child.
//
// The child is somebody else's (departure's, the keeper's): this module only speaks over our end
// of the SOCK_SEQPACKET socket pair whose other end the child inherited. One packet is one bare
// protobuf message. A dump or restore runs as:
//
//	criu_rpc_dump(c, &opts, &err);
//	while (criu_rpc_next(c, deadline, &ev, &err) == 0 && ev.type == CRIU_EVENT_NOTIFY)
//		criu_rpc_answer(c, true, &err);
//
// CRIU waits without limit for the answer to a notification: withholding it is the gate of a move
// ("post-dump" on the source, "post-restore" on the destination).
#ifndef WPAR_CRIU_RPC_H
#define WPAR_CRIU_RPC_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct criu_rpc;

struct criu_inherit_fd {
	const char *key; // the resource in CRIU's words: "pipe:[INODE]", or a key of external[]
	int fd;          // number inside the criu process
};

// What a dump or restore is asked to do. Start from CRIU_OPTIONS_INIT. Descriptors: images_fd and
// work_fd are numbers in the process that made the socket pair (CRIU opens /proc/PID/fd/N);
// page_server_fd and inherit[].fd are numbers inside the criu process. Strings stay the caller's.
struct criu_options {
	int images_fd;
	int work_fd;        // log and statistics; -1: the images' folder
	pid_t pid;          // dump: root of the tree, as criu sees it
	int page_server_fd; // dump: where pages go (pageserver.h); -1: pages-*.img in images_fd
	const char *root;   // restore: a mount point, or NULL
	bool tcp_established;
	bool tcp_skip_in_flight; // leave connections that nobody accepted yet out of the dump
	bool skip_network_lock;  // the lock is ours (cable pulled); else nftables
	bool ignore_cgroups;     // tasks are placed by us
	const char
		*freeze_cgroup; // dump: cgroup folder that holds the tree (and is frozen already)
	bool link_remap;
	bool file_locks;
	bool ext_unix_sk;
	bool lazy_pages;      // restore: pages come by userfaultfd (lazy-pages.socket in work_fd)
	bool rst_sibling;     // restore: the restored root becomes a child of criu's parent
	bool notify_scripts;  // send CRIU_EVENT_NOTIFY
	int log_level;        // 1 errors, 2 warnings, 3 info, 4 debug
	const char *log_file; // in work_fd
	unsigned timeout_s;   // 0: CRIU's own
	uint32_t ghost_limit; // bytes; 0: CRIU's own
	// dump: find the files of inotify watches by looking for their inodes below these folders,
	// where the filesystem has no handles (overlayfs). None: by handle.
	const char *const *irmap;
	size_t nr_irmap;
	const char *const *external;
	size_t nr_external;
	const struct criu_inherit_fd *inherit;
	size_t nr_inherit;
};

#define CRIU_OPTIONS_INIT                                                            \
	{                                                                            \
		.images_fd = -1, .work_fd = -1, .page_server_fd = -1, .log_level = 1 \
	}

enum criu_event_type {
	CRIU_EVENT_NONE,   // the deadline passed, nothing came
	CRIU_EVENT_NOTIFY, // must be answered with criu_rpc_answer()
	CRIU_EVENT_DONE,   // the request's end
};

struct criu_event {
	enum criu_event_type type;
	char script[40]; // NOTIFY: "post-dump" ...
	pid_t pid;    // NOTIFY: of the root task, where CRIU tells it; DONE of a restore: the same
	bool success; // DONE
	int cr_errno; // DONE: an errno by CRIU (EEXIST: pid taken, EBADRQC: bad options), or 0
	char message[256]; // DONE: CRIU's first error line, if any; may be set on success too
};

struct criu_version {
	int major, minor, sublevel;
};

struct criu_features {
	bool mem_track; // soft-dirty works: without it never ask for track_mem or a pre-dump
	bool lazy_pages;
	bool pidfd_store;
};

// Makes the socket pair for a child: *ours is close-on-exec, *theirs is as well: clear that in the
// child alone (spawn.h passes it).
int criu_rpc_socketpair(int *ours, int *theirs, struct error *err);

// Takes `fd` (our end of the pair), also on error.
struct criu_rpc *criu_rpc_new(int fd, struct error *err);
void criu_rpc_free(struct criu_rpc *c);

static inline void criu_rpc_freep(struct criu_rpc **c)
{
	criu_rpc_free(*c);
}
#define _cleanup_criu_rpc_ __attribute__((cleanup(criu_rpc_freep)))

// For poll(): readable when criu_rpc_next() has something to return.
int criu_rpc_fd(const struct criu_rpc *c);

// Send a request. ERR_CRIU when the child has ended.
int criu_rpc_dump(struct criu_rpc *c, const struct criu_options *o, struct error *err);
int criu_rpc_restore(struct criu_rpc *c, const struct criu_options *o, struct error *err);

// Waits until `deadline` for the next event; CRIU_EVENT_NONE when there was none by then (a
// deadline in the past makes it a poll). ERR_CRIU when the child closed the connection.
int criu_rpc_next(struct criu_rpc *c, deadline_t deadline, struct criu_event *ev,
		  struct error *err);

// Answers the notification that criu_rpc_next() returned last. With ok false CRIU aborts, as far
// as that notification allows it.
int criu_rpc_answer(struct criu_rpc *c, bool ok, struct error *err);
// Whether there is one that waits for an answer.
bool criu_rpc_waits(const struct criu_rpc *c);

// Whole questions to a child that does nothing else. The child ends after the answer.
int criu_rpc_version(struct criu_rpc *c, deadline_t deadline, struct criu_version *v,
		     struct error *err);
int criu_rpc_features(struct criu_rpc *c, deadline_t deadline, struct criu_features *f,
		      struct error *err);

#endif
