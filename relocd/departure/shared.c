// SPDX-License-Identifier: Apache-2.0
// Files that the other host sees as well: what is written must be there, names of sockets must
// survive an abort, and nobody may hold a lock.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/partition/undumpable.h"
#include "lib/storage/flush.h"
#include "relocd/move/query.h"
#include "relocd/move/sockets.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FLUSH_MS        60000
#define FLUSH_FROZEN_MS 5000 // what was written since
#define PEER_MS         5000
#define RESTORE_MS      60000 // a destination that is not heard of has given its restore up by then
#define DOUBT_MS        10000
#define DYING_MS        2000
#define LOOK_MS         200
#define NO_LOCKS        8 // bytes of an image without entries

// Filesystems whose clients keep written data to themselves for a while. Others are seen by one
// host only, or by all at once.
static bool writes_back(int fd)
{
	static const unsigned types[] = {
		NFS_SUPER_MAGIC, SMB_SUPER_MAGIC,  CIFS_SUPER_MAGIC,        SMB2_SUPER_MAGIC,
		V9FS_MAGIC,      FUSE_SUPER_MAGIC, CEPH_SUPER_MAGIC,        AFS_FS_MAGIC,
		AFS_SUPER_MAGIC, CODA_SUPER_MAGIC, 0x0bd00bd0 /* Lustre */,
	};
	struct statfs fs;
	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((unsigned)fs.f_type == types[i])
			return true;
	return false;
}

static void add(struct departure *d, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && d->flush_count < DEPARTURE_FLUSH_MAX && writes_back(fd))
		d->flush[d->flush_count++] = take_fd(&fd);
}

static int flush(struct departure *d, int ms, struct error *err)
{
	deadline_t deadline = deadline_in_ms(ms);
	for (size_t i = 0; i < d->flush_count; i++)
		if (flush_file_system(d->flush[i], deadline, err) < 0)
			return error_wrap(err, "the partition's shared files");
	return 0;
}

int departure_share(struct departure *d, struct error *err)
{
	if (d->def->rootfs[0])
		add(d, d->def->rootfs);
	for (size_t i = 0; i < d->def->mount_count; i++)
		if (d->def->mounts[i].type == MOUNT_BIND)
			add(d, d->def->mounts[i].source);
	return flush(d, FLUSH_MS, err);
}

void departure_unshare(struct departure *d)
{
	while (d->flush_count)
		close(d->flush[--d->flush_count]);
}

int departure_share_frozen(struct departure *d, struct error *err)
{
	if (flush(d, FLUSH_FROZEN_MS, err) < 0)
		return -1;
	return sockets_keep(d->backlog, d->cgroup, d->status.pid, d->def, d->move, &d->sockets,
			    err);
}

int departure_share_dumped(struct departure *d, struct error *err)
{
	struct stat st;
	if (fstatat(d->images, "filelocks.img", &st, 0) == 0 && st.st_size > NO_LOCKS &&
	    undumpable_check_locks(d->cgroup, d->status.pid, err) < 0)
		return -1;
	return d->sockets ? sockets_aside(d->move, err) : 0;
}

void departure_give_back(struct departure *d)
{
	struct error err;
	if (sockets_restore(d->move, -1, &err) < 0)
		log_error_of(&err, "after an abort");
}

// It ends its side of the link when nothing of the partition is left there.
static bool peer_has_ended(struct departure *d)
{
	deadline_t deadline = deadline_in_ms(PEER_MS);
	struct link_message message;
	int got;
	while ((got = link_recv(d->link, deadline, &message, NULL)) > 0)
		link_done(d->link, &message);
	return got < 0;
}

// The link is gone. Without a record the peer has cleared everything away. One that it has tells
// that its arrival asks what became of the move, or is dying: that takes moments.
static bool peer_says_so(struct departure *d, deadline_t *patience)
{
	struct error err;
	enum decision_type last = query_peer(d->peer_address, d->peer, d->host, &d->tls, d->move,
					     d->epoch, NULL, &err);
	if (last == DECISION_UNKNOWN)
		*patience = DEADLINE_NEVER;
	else if (last == DECISION_NONE)
		return true;
	else if (*patience == DEADLINE_NEVER)
		*patience = deadline_in_ms(last == DECISION_OPENED ? DYING_MS : DOUBT_MS);
	return deadline_passed(*patience);
}

void departure_settle(struct departure *d, bool told)
{
	struct error err;
	deadline_t patience = DEADLINE_NEVER,
		   end = deadline_in_ms(RESTORE_MS + talk_restore_ms(d->sent_bytes));
	if (!d->sockets)
		return;
	// One that has not got all images restores nothing.
	bool done = d->report.phase < PHASE_RESTORE || (told && peer_has_ended(d));
	for (;; clock_sleep_ms(LOOK_MS)) {
		done = done || peer_says_so(d, &patience) || deadline_passed(end);
		if (sockets_restore(d->move, d->backlog, &err) < 0)
			log_error_of(&err, "after an abort");
		if (done)
			break;
	}
	sockets_forget(d->move);
}
