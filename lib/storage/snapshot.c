// SPDX-License-Identifier: Apache-2.0
#include "lib/storage/snapshot.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <linux/magic.h>
#include <search.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define GRAIN_NS 50000000 // more than a tick of any kernel

// What an entry was when it was sent.
struct record {
	ino_t inode;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	dev_t device;
	nlink_t links;
	off_t size;
	int64_t mtime_ns, ctime_ns;
	bool settled;                 // a later change shows in its change time
	unsigned round;               // in which it was seen last
	struct folder_blocks *blocks; // of a large file; NULL: none were sent
	char path[];
};

struct snapshot {
	void *records; // tsearch(3), by path
	unsigned round;
	struct record *wanted; // last
	int64_t began_ns;      // of this round, on the clock of change times
	bool blind;            // writes through mappings change no time here
	struct snapshot_round *counts;
	// for the walk that looks for what is gone
	const struct folder_sink *sink;
	struct record **gone;
	size_t gone_count, gone_room;
	bool gone_failed;
};

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct record *)a)->path, ((const struct record *)b)->path);
}

static void fill(const struct snapshot *s, struct record *r, const struct stat *st)
{
	r->inode = st->st_ino;
	r->mode = st->st_mode;
	r->uid = st->st_uid;
	r->gid = st->st_gid;
	r->device = st->st_rdev;
	r->links = S_ISDIR(st->st_mode) ? 0 : st->st_nlink;
	r->size = S_ISREG(st->st_mode) ? st->st_size : 0;
	r->mtime_ns = ns_of(&st->st_mtim);
	r->ctime_ns = ns_of(&st->st_ctim);
	r->settled = !s->blind && r->ctime_ns < s->began_ns - GRAIN_NS;
	r->round = s->round;
}

static bool same(const struct record *r, const struct record *now)
{
	return r->settled && r->inode == now->inode && r->mode == now->mode && r->uid == now->uid &&
	       r->gid == now->gid && r->device == now->device && r->links == now->links &&
	       r->size == now->size && r->mtime_ns == now->mtime_ns && r->ctime_ns == now->ctime_ns;
}

static struct folder_blocks **place(void *arg)
{
	struct snapshot *s = arg;
	return &s->wanted->blocks;
}

static void record_free(void *record)
{
	folder_blocks_free(((struct record *)record)->blocks);
	free(record);
}

// Counts what goes to the caller's sink.
static int put(void *arg, const void *bytes, size_t length, struct error *err)
{
	struct snapshot *s = arg;
	s->counts->bytes += length;
	return s->sink->put(s->sink->arg, bytes, length, err);
}

static int wants(void *arg, const char *path, const struct stat *st, struct error *err)
{
	struct snapshot *s = arg;
	struct record *r = malloc(sizeof(*r) + strlen(path) + 1), **found = NULL;
	if (r) {
		strcpy(r->path, path);
		r->blocks = NULL;
		fill(s, r, st);
		found = tsearch(r, &s->records, by_path);
	}
	if (!found) {
		free(r);
		return error_set(err, ERR_NOMEM, "no memory to note %.200s", path);
	}
	struct record *known = *found;
	bool changed = known == r || !same(known, r);
	// What is there under this name is another file, or has been.
	if (known != r &&
	    !(S_ISREG(known->mode) && S_ISREG(r->mode) && known->links == 1 && r->links == 1)) {
		folder_blocks_free(known->blocks);
		known->blocks = NULL;
	}
	if (known != r) {
		fill(s, known, st);
		free(r);
	}
	s->wanted = known;
	s->counts->entries += changed;
	return changed;
}

// ---- what is gone -------------------------------------------------------------------------------

static void note_gone(const void *node, VISIT which, void *arg)
{
	struct snapshot *s = arg;
	struct record *r = *(struct record *const *)node;
	if ((which != postorder && which != leaf) || r->round == s->round)
		return;
	if (s->gone_count == s->gone_room) {
		size_t room = s->gone_room ? s->gone_room * 2 : 64;
		struct record **more = reallocarray(s->gone, room, sizeof(*more));
		if (!more) {
			s->gone_failed = true;
			return;
		}
		s->gone = more;
		s->gone_room = room;
	}
	s->gone[s->gone_count++] = r;
}

static int send_gone(struct snapshot *s, struct error *err)
{
	s->gone_count = 0;
	s->gone_failed = false;
	twalk_r(s->records, note_gone, s);
	if (s->gone_failed)
		return error_set(err, ERR_NOMEM, "no memory to note what was removed");
	for (size_t i = 0; i < s->gone_count; i++) {
		struct record *r = s->gone[i];
		int sent = folder_stream_removed(s->sink, r->path, err);
		tdelete(r, &s->records, by_path);
		record_free(r);
		if (sent < 0)
			return -1;
		s->counts->removed++;
	}
	return 0;
}

// ---- a round ------------------------------------------------------------------------------------

int snapshot_send(struct snapshot *s, int dirfd, bool last, const struct folder_sink *sink,
		  struct snapshot_round *round, struct error *err)
{
	const struct folder_how how = {.whole = true, .wants = wants, .place = place, .arg = s};
	const struct folder_sink counted = {put, s};
	struct timespec now;
	int64_t began = clock_now_ns();
	*round = (struct snapshot_round){.ms = 0};
	clock_gettime(CLOCK_REALTIME, &now);
	s->began_ns = ns_of(&now);
	s->round++;
	s->counts = round;
	s->sink = sink;
	struct statfs fs;
	if (fstatfs(dirfd, &fs) < 0 || (!last && syncfs(dirfd) < 0))
		return error_sys(err, ERR_STORAGE, errno,
				 "cannot write the partition's files back");
	s->blind = fs.f_type == TMPFS_MAGIC; // nothing is ever written back
	if (folder_stream(dirfd, &how, &counted, err) < 0 || send_gone(s, err) < 0 ||
	    folder_stream_end(sink, err) < 0)
		return -1;
	round->ms = clock_ms_since(began);
	return 0;
}

struct snapshot *snapshot_new(struct error *err)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	if (!s)
		error_set(err, ERR_NOMEM, "no memory for a list of files");
	return s;
}

void snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	tdestroy(s->records, record_free);
	free(s->gone);
	free(s);
}
