// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/decision.h"

#include "lib/base/cleanup.h"
#include "lib/base/fault.h"
#include "lib/base/fdio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <xxhash.h>

#define RECORD_MAGIC 0x57504443u // "WPDC"
#define RECORD_COUNT 32
// Version 2 has notes and the types from REVOKED on; records that need neither are still written as
// version 1, which an older relocd reads.
#define RECORD_VERSION 2

// The order of bytes is the host's: the file never leaves it.
struct record {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint32_t sequence;
	uint32_t side;
	uint64_t epoch;
	uint64_t time_ns; // CLOCK_REALTIME, for people
	char move[DECISION_MOVE_MAX];
	char note[DECISION_NOTE_MAX]; // of version 2; zero in version 1
	uint64_t before;              // the check of the record before
	uint64_t check;               // over all fields above
};

_Static_assert(sizeof(struct record) == 128, "records have a fixed size");

struct decision {
	int fd;
	char path[PATH_MAX];
	struct record last;
};

static const char *const names[] = {
	[DECISION_NONE] = "none",         [DECISION_OPENED] = "opened",
	[DECISION_FINAL] = "final",       [DECISION_PREPARED] = "prepared",
	[DECISION_COMMIT] = "commit",     [DECISION_ABORT] = "abort",
	[DECISION_RESUMING] = "resuming", [DECISION_RELEASED] = "released",
	[DECISION_REFUSED] = "refused",   [DECISION_REVOKED] = "revoked",
	[DECISION_KEPT] = "kept",         [DECISION_GIVEN_UP] = "given-up",
	[DECISION_SETTLED] = "settled",   [DECISION_UNKNOWN] = "unknown",
};

// What may follow what (wpar-protocol(7)): a bit for each permitted successor.
#define MAY(type) (1u << DECISION_##type)
#define HEURISTIC (MAY(KEPT) | MAY(GIVEN_UP))
static const unsigned successors[] = {
	[DECISION_NONE] = MAY(OPENED),
	[DECISION_OPENED] = MAY(FINAL) | MAY(PREPARED) | MAY(ABORT) | MAY(REFUSED) | HEURISTIC,
	[DECISION_FINAL] = MAY(COMMIT) | MAY(ABORT) | HEURISTIC,
	[DECISION_PREPARED] = MAY(RESUMING) | MAY(ABORT) | MAY(REFUSED) | HEURISTIC,
	[DECISION_COMMIT] = MAY(RELEASED) | MAY(REVOKED) | HEURISTIC,
	[DECISION_ABORT] = HEURISTIC,
	[DECISION_RESUMING] = HEURISTIC | MAY(SETTLED), // of a copy that was kept
	[DECISION_RELEASED] = 0,
	[DECISION_REFUSED] = 0,
	[DECISION_REVOKED] = 0,
	[DECISION_KEPT] = MAY(RESUMING) | MAY(SETTLED),
	[DECISION_GIVEN_UP] = 0,
	[DECISION_SETTLED] = 0,
	[DECISION_UNKNOWN] = 0,
};

const char *decision_name(enum decision_type type)
{
	return type <= DECISION_UNKNOWN ? names[type] : "unknown";
}

enum decision_type decision_of_name(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], name))
			return (enum decision_type)i;
	return DECISION_UNKNOWN;
}

static uint64_t check_of(const struct record *r)
{
	return XXH3_64bits(r, offsetof(struct record, check));
}

static void path_of(char path[PATH_MAX], const char *folder, const char *move,
		    enum decision_side side, const char *suffix)
{
	snprintf(path, PATH_MAX, "%s/%s.%s%s", folder, move,
		 side == DECISION_DEPARTURE ? "departure" : "arrival", suffix);
}

static int lock(int fd, const char *path, struct error *err)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(fd, F_OFD_SETLK, &whole) < 0)
		return error_sys(err, ERR_MOVE_BUSY, errno, "%s is held by another process", path);
	return 0;
}

static int sync_folder(const char *folder, struct error *err)
{
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot sync folder %s", folder);
	return 0;
}

static int allocate(struct decision *d, const char *folder, struct error *err)
{
	d->fd = open(d->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot create decision file %s",
				 d->path);
	int failed = posix_fallocate(d->fd, 0, RECORD_COUNT * (off_t)sizeof(struct record));
	if (failed)
		return error_sys(err, ERR_STORAGE, failed, "cannot allocate decision file %s",
				 d->path);
	if (lock(d->fd, d->path, err) < 0)
		return -1;
	if (fsync(d->fd) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot sync decision file %s", d->path);
	return sync_folder(folder, err);
}

// `suffix`: of the file, while it is not the one that counts.
static struct decision *create(const char *folder, const char *move, enum decision_side side,
			       const char *suffix, uint64_t epoch, const char *partition,
			       struct error *err)
{
	struct decision *d = calloc(1, sizeof(*d));
	if (!d) {
		error_set(err, ERR_NOMEM, "no memory for a decision file");
		return NULL;
	}
	d->fd = -1;
	path_of(d->path, folder, move, side, suffix);
	d->last.side = side;
	d->last.epoch = epoch;
	snprintf(d->last.move, sizeof(d->last.move), "%s", move);
	if (fdio_mkdir_p(folder, 0700, err) < 0 || allocate(d, folder, err) < 0 ||
	    decision_append_as(d, DECISION_OPENED, epoch, partition, err) < 0) {
		decision_close(d, d->fd >= 0);
		return NULL;
	}
	return d;
}

struct decision *decision_create(const char *folder, const char *move, enum decision_side side,
				 uint64_t epoch, const char *partition, struct error *err)
{
	return create(folder, move, side, "", epoch, partition, err);
}

// Durably; -1 with errno.
static int write_record(const struct decision *d, const struct record *r, enum fault fault)
{
	const size_t length =
		fault == FAULT_SHORT_WRITE || fault == FAULT_TORN ? sizeof(*r) / 2 : sizeof(*r);
	errno = ENOSPC;
	if (fault == FAULT_NO_SPACE)
		return -1;
	ssize_t n = pwrite(d->fd, r, length, r->sequence * (off_t)sizeof(*r));
	if (fault == FAULT_TORN && fdatasync(d->fd) == 0)
		kill(getpid(), SIGKILL);
	if (n >= 0 && (size_t)n < sizeof(*r))
		errno = EIO;
	return n == (ssize_t)sizeof(*r) && fdatasync(d->fd) == 0 ? 0 : -1;
}

int decision_append_as(struct decision *d, enum decision_type type, uint64_t epoch,
		       const char *note, struct error *err)
{
	if (!(successors[d->last.type] & (1u << type)))
		return error_set(err, ERR_INTERNAL, "record %s cannot follow %s in %s",
				 decision_name(type), decision_name(d->last.type), d->path);
	if (d->last.magic && (epoch < d->last.epoch || d->last.sequence + 1 >= RECORD_COUNT))
		return error_set(err, ERR_INTERNAL, "%s takes no record %s of epoch %llu", d->path,
				 decision_name(type), (unsigned long long)epoch);
	struct record next = d->last;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	next.magic = RECORD_MAGIC;
	next.version = note || type >= DECISION_REVOKED ? RECORD_VERSION : 1;
	next.type = type;
	next.epoch = epoch;
	memset(next.note, 0, sizeof(next.note));
	snprintf(next.note, sizeof(next.note), "%s", note ? note : "");
	next.sequence = d->last.magic ? d->last.sequence + 1 : 0;
	next.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	next.before = d->last.check;
	next.check = check_of(&next);
	enum fault fault = fault_at(FAULT_RECORD, decision_name(type), FAULT_BEFORE, err);
	if (fault == FAULT_ERROR)
		return -1;
	if (write_record(d, &next, fault) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot write record %s to %s",
				 decision_name(type), d->path);
	d->last = next;
	// It holds: whatever happens now comes too late to undo it.
	fault_at(FAULT_RECORD, decision_name(type), FAULT_AFTER, NULL);
	return 0;
}

int decision_append(struct decision *d, enum decision_type type, struct error *err)
{
	return decision_append_as(d, type, d->last.epoch, NULL, err);
}

enum decision_type decision_last(const struct decision *d)
{
	return d->last.type;
}

uint64_t decision_epoch(const struct decision *d)
{
	return d->last.epoch;
}

void decision_close(struct decision *d, bool remove)
{
	if (!d)
		return;
	if (remove)
		unlink(d->path);
	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

static bool is_valid(const struct record *r, const struct record *before, const char *move,
		     enum decision_side side, uint32_t sequence)
{
	return r->magic == RECORD_MAGIC && r->version >= 1 && r->version <= RECORD_VERSION &&
	       r->check == check_of(r) && r->sequence == sequence && r->side == side &&
	       r->type > DECISION_NONE && r->type < DECISION_UNKNOWN &&
	       r->before == (before ? before->check : 0) &&
	       !strncmp(r->move, move, sizeof(r->move)) &&
	       (successors[before ? before->type : DECISION_NONE] & (1u << r->type));
}

static bool is_blank(const struct record *from, size_t count)
{
	const uint8_t *bytes = (const uint8_t *)from;
	for (size_t i = 0; i < count * sizeof(*from); i++)
		if (bytes[i])
			return false;
	return true;
}

// A write that was cut off has written nothing from some byte on, where the file is blank: the
// check comes last. With a part of it a cut cannot be told from a flipped bit: that is damage.
static bool is_torn(const struct record *r)
{
	return r->check == 0;
}

// 1: *last is the last valid record; 0: there is none; -1: damage that a torn last write does not
// explain.
static int read_last(int fd, const char *move, enum decision_side side, struct record *last,
		     bool *kept)
{
	struct record records[RECORD_COUNT] = {0};
	ssize_t length = pread(fd, records, sizeof(records), 0);
	// It was allocated whole, before its first record.
	if (length < 0 || (length < (ssize_t)sizeof(records) && !is_blank(records, RECORD_COUNT)))
		return -1;
	const struct record *at = NULL;
	uint32_t i = 0;
	for (; i < RECORD_COUNT && is_valid(&records[i], at, move, side, i); i++)
		at = &records[i], *kept = *kept || at->type == DECISION_KEPT;
	// A torn last write leaves one bad record and nothing behind it; anything else is damage.
	if (i < RECORD_COUNT && !is_blank(&records[i + 1], RECORD_COUNT - i - 1))
		return -1;
	if (i < RECORD_COUNT && !is_torn(&records[i]))
		return -1;
	if (at)
		*last = *at;
	return at != NULL;
}

enum decision_type decision_read(const char *folder, const char *move, enum decision_side side,
				 uint64_t *epoch)
{
	struct decision_facts facts;
	decision_look(folder, move, side, &facts);
	if (facts.last != DECISION_NONE && facts.last != DECISION_UNKNOWN)
		*epoch = facts.epoch;
	return facts.last;
}

static bool is_owned(int fd)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

void decision_look(const char *folder, const char *move, enum decision_side side,
		   struct decision_facts *facts)
{
	char path[PATH_MAX];
	struct record last;
	*facts = (struct decision_facts){.last = DECISION_UNKNOWN};
	path_of(path, folder, move, side, "");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT)
			facts->last = DECISION_NONE;
		return;
	}
	facts->owned = is_owned(fd);
	bool kept = false;
	int found = read_last(fd, move, side, &last, &kept);
	if (found == 0)
		facts->last = DECISION_NONE;
	if (found <= 0)
		return;
	facts->last = last.type;
	facts->kept = kept && last.type != DECISION_SETTLED && last.type != DECISION_GIVEN_UP;
	facts->epoch = last.epoch;
	facts->time_ns = last.time_ns;
	snprintf(facts->note, sizeof(facts->note), "%.39s", last.version >= 2 ? last.note : "");
}

// What nothing can follow but a person's will. A destination that was given the partition
// (RESUMING) or kept it may still be asked; so may a source that has committed.
static bool is_end(const struct decision_facts *facts)
{
	switch (facts->last) {
	case DECISION_ABORT:
	case DECISION_RELEASED:
	case DECISION_REFUSED:
	case DECISION_REVOKED:
	case DECISION_GIVEN_UP:
	case DECISION_SETTLED:
		return !facts->owned && !facts->kept;
	default:
		return false;
	}
}

// "m-1f3.departure" as the move and its side.
static bool parse_name(const char *name, char move[DECISION_MOVE_MAX], enum decision_side *side)
{
	const char *dot = strrchr(name, '.');
	size_t length = dot ? (size_t)(dot - name) : 0;
	if (!length || length >= DECISION_MOVE_MAX)
		return false;
	*side = !strcmp(dot, ".departure") ? DECISION_DEPARTURE : DECISION_ARRIVAL;
	memcpy(move, name, length);
	move[length] = 0;
	return *side == DECISION_DEPARTURE || !strcmp(dot, ".arrival");
}

unsigned decision_prune(const char *folder, uint64_t before_ns,
			bool (*open)(const char *move, void *arg), void *arg)
{
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *entry;
	unsigned removed = 0;
	while (dir && (entry = readdir(dir))) {
		char move[DECISION_MOVE_MAX];
		enum decision_side side;
		struct decision_facts facts;
		if (!parse_name(entry->d_name, move, &side))
			continue;
		decision_look(folder, move, side, &facts);
		if (is_end(&facts) && facts.time_ns < before_ns && !open(move, arg) &&
		    unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			removed++;
	}
	return removed;
}

static int take_over(struct decision *d, const char *move, enum decision_side side,
		     struct error *err)
{
	d->fd = open(d->path, O_RDWR | O_CLOEXEC);
	if (d->fd < 0 && errno == ENOENT)
		return error_set(err, ERR_MOVE_UNKNOWN, "there is no decision file %s", d->path);
	if (d->fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open decision file %s", d->path);
	if (lock(d->fd, d->path, err) < 0)
		return -1;
	bool kept = false;
	if (read_last(d->fd, move, side, &d->last, &kept) == 1)
		return 0;
	return error_set(err, ERR_STORAGE, "decision file %s is damaged", d->path);
}

struct decision *decision_open(const char *folder, const char *move, enum decision_side side,
			       struct error *err)
{
	struct decision *d = calloc(1, sizeof(*d));
	if (!d) {
		error_set(err, ERR_NOMEM, "no memory for a decision file");
		return NULL;
	}
	path_of(d->path, folder, move, side, "");
	if (take_over(d, move, side, err) == 0)
		return d;
	decision_close(d, false);
	return NULL;
}

int decision_overrule(const char *folder, const char *move, enum decision_side side,
		      uint64_t opened, const char *partition, enum decision_type type,
		      uint64_t epoch, const char *note, struct error *err)
{
	char path[PATH_MAX], damaged[PATH_MAX];
	path_of(damaged, folder, move, side, ".damaged");
	path_of(path, folder, move, side, ".new");
	unlink(path); // of a try that was interrupted
	path_of(path, folder, move, side, "");
	struct decision *d = create(folder, move, side, ".new", opened, partition, err);
	if (!d)
		return -1;
	int failed = decision_append_as(d, type, epoch, note, err);
	if (!failed && link(path, damaged) < 0 && errno != EEXIST)
		failed = error_sys(err, ERR_STORAGE, errno, "cannot keep %s", damaged);
	if (!failed && rename(d->path, path) < 0)
		failed = error_sys(err, ERR_STORAGE, errno, "cannot replace %s", path);
	decision_close(d, failed);
	return failed ? -1 : sync_folder(folder, err);
}

// ---- by partition -------------------------------------------------------------------------------

static bool is_of_partition(const struct record *first, const char *partition)
{
	return first->magic == RECORD_MAGIC && first->type == DECISION_OPENED &&
	       first->check == check_of(first) && first->version >= 2 &&
	       !strncmp(first->note, partition, sizeof(first->note) - 1);
}

static bool read_first(int folder, const char *name, struct record *first)
{
	_cleanup_close_ int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && pread(fd, first, sizeof(*first), 0) == (ssize_t)sizeof(*first);
}

bool decision_find(const char *folder, enum decision_side side, const char *partition,
		   char move[DECISION_MOVE_MAX], uint64_t *newest)
{
	uint64_t time_ns = 0;
	struct dirent *entry;
	DIR *dir = opendir(folder);
	*newest = 0;
	while (dir && (entry = readdir(dir))) {
		struct record first;
		struct decision_facts facts;
		char id[DECISION_MOVE_MAX + 1] = "";
		if (!read_first(dirfd(dir), entry->d_name, &first) ||
		    !is_of_partition(&first, partition))
			continue;
		snprintf(id, sizeof(id), "%.40s", first.move);
		decision_look(folder, id, first.side, &facts);
		if (facts.epoch > *newest)
			*newest = facts.epoch;
		if (first.side != side || first.time_ns < time_ns)
			continue;
		time_ns = first.time_ns;
		snprintf(move, DECISION_MOVE_MAX, "%s", id);
	}
	if (dir)
		closedir(dir);
	return time_ns;
}
