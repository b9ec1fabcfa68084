// SPDX-License-Identifier: Apache-2.0
#include "images/folder.h"

#include "images/folder_format.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <search.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define FOLDERS_MAX (1u << 20) // whose times are remembered during one stream

// What the next bytes are.
enum expects { EXPECTS_ENTRY, EXPECTS_PARTS, EXPECTS_EXTENT, EXPECTS_BYTES };

// A folder whose time has to be set again when all that is in it has been made.
struct touched {
	struct timespec mtime;
	char path[];
};

struct folder_unpacker {
	int dirfd;
	bool whole, failed;
	enum expects expects;
	struct buf waiting; // what does not make up a part yet
	struct folder_entry entry;
	int file; // that is being written; -1: none
	uint64_t at, left;
	void *touched; // tsearch(3), by path
	size_t touched_count;
};

static int malformed(struct error *err, const char *what)
{
	return error_set(err, ERR_PROTOCOL, "a packed folder is malformed: %s", what);
}

// ---- times of folders ---------------------------------------------------------------------------

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct touched *)a)->path, ((const struct touched *)b)->path);
}

// Remembers the time of a folder; one that is known keeps its time, unless this one is `told`.
static int touch(struct folder_unpacker *u, const char *path, const struct timespec *mtime,
		 bool told, struct error *err)
{
	struct touched *mine = malloc(sizeof(*mine) + strlen(path) + 1);
	if (!mine || u->touched_count == FOLDERS_MAX) {
		free(mine);
		return error_set(err, ERR_NOMEM, "too many folders to unpack");
	}
	mine->mtime = *mtime;
	strcpy(mine->path, path);
	struct touched **found = tsearch(mine, &u->touched, by_path);
	if (found && *found == mine) {
		u->touched_count++;
		return 0;
	}
	if (found && told)
		(*found)->mtime = *mtime;
	free(mine);
	return found ? 0 : error_set(err, ERR_NOMEM, "too many folders to unpack");
}

static int open_beneath(int dirfd, const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

// Of what the stream itself has removed or replaced since there is nothing to set.
static int restore_times(struct folder_unpacker *u, struct error *err)
{
	while (u->touched) {
		struct touched *t = *(struct touched **)u->touched; // any: the root of the tree
		const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, t->mtime};
		_cleanup_close_ int fd = open_beneath(u->dirfd, t->path);
		int done = fd < 0 ? 0 : futimens(fd, times);
		tdelete(t, &u->touched, by_path);
		u->touched_count--;
		if (done < 0)
			error_sys(err, ERR_STORAGE, errno, "cannot set the time of %s", t->path);
		free(t);
		if (done < 0)
			return -1;
	}
	return 0;
}

// ---- one entry ----------------------------------------------------------------------------------

struct target {
	int parent;
	const char *name;
	char path[FOLDER_PATH_LIMIT];
};

static void target_close(struct target *t)
{
	if (t->parent >= 0)
		close(t->parent);
}

// Opens the folder that holds `path`, beneath dirfd, following nothing; *name is the last part.
static int open_parent(int dirfd, char *path, const char **name, struct error *err)
{
	char *slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	if (!**name || !strcmp(*name, ".") || !strcmp(*name, ".."))
		return error_set(err, ERR_PROTOCOL, "a packed path ends in \"%s\"", *name);
	if (slash)
		*slash = 0;
	int fd = open_beneath(dirfd, slash ? path : ".");
	if (fd < 0)
		return error_sys(err, ERR_PROTOCOL, errno, "cannot open packed folder %.200s",
				 slash ? path : ".");
	return fd;
}

static int open_target(struct folder_unpacker *u, struct target *t, struct error *err)
{
	struct stat st;
	t->parent = open_parent(u->dirfd, t->path, &t->name, err);
	if (t->parent < 0)
		return -1;
	if (fstat(t->parent, &st) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot look at a folder");
	return touch(u, t->name == t->path ? "." : t->path, &st.st_mtim, false, err);
}

static int refuse(const char *doing, const struct target *t, struct error *err)
{
	return error_sys(err, ERR_STORAGE, errno, "cannot %s %.200s", doing, t->name);
}

static int clear_way(const struct target *t, struct error *err)
{
	return fdio_remove_tree(t->parent, t->name, err);
}

static int make_folder(const struct target *t, struct error *err)
{
	struct stat st;
	if (mkdirat(t->parent, t->name, 0700) == 0)
		return 0;
	if (errno != EEXIST || fstatat(t->parent, t->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return refuse("create folder", t, err);
	if (S_ISDIR(st.st_mode))
		return 0;
	if (clear_way(t, err) < 0)
		return -1;
	return mkdirat(t->parent, t->name, 0700) < 0 ? refuse("create folder", t, err) : 0;
}

// A file that is there is written anew in place, so that its folder keeps its time; not one that
// has other names.
static int make_file(struct folder_unpacker *u, const struct target *t, struct error *err)
{
	struct stat st;
	const int flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC;
	bool again = fstatat(t->parent, t->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (again && (!S_ISREG(st.st_mode) || st.st_nlink > 1)) {
		if (clear_way(t, err) < 0)
			return -1;
		again = false;
	}
	u->file = openat(t->parent, t->name, flags | (again ? O_TRUNC : O_CREAT | O_EXCL), 0600);
	return u->file < 0 ? refuse("create", t, err) : 0;
}

static int open_again(struct folder_unpacker *u, const struct target *t, struct error *err)
{
	struct stat st;
	u->file = openat(t->parent, t->name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (u->file < 0)
		return refuse("open", t, err);
	if (fstat(u->file, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
		return 0;
	close(take_fd(&u->file));
	return malformed(err, "blocks for what is no file");
}

static int make_hard_link(struct folder_unpacker *u, const struct target *t, char *to,
			  struct error *err)
{
	struct stat mine, other;
	const char *last;
	_cleanup_close_ int from = open_parent(u->dirfd, to, &last, err);
	if (from < 0)
		return -1;
	if (fstatat(from, last, &other, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, ERR_PROTOCOL, errno, "a packed hard link to %.200s", last);
	bool there = fstatat(t->parent, t->name, &mine, AT_SYMLINK_NOFOLLOW) == 0;
	if (there && mine.st_ino == other.st_ino)
		return 0;
	if (!S_ISREG(other.st_mode))
		return malformed(err, "a hard link to what is no file");
	if ((there && clear_way(t, err) < 0) || linkat(from, last, t->parent, t->name, 0) < 0)
		return refuse("link", t, err);
	return 0;
}

static int make_special(const struct target *t, mode_t type, dev_t device, struct error *err)
{
	if (clear_way(t, err) < 0)
		return -1;
	return mknodat(t->parent, t->name, type | 0600, device) < 0 ? refuse("create", t, err) : 0;
}

static int make_link(const struct target *t, const char *to, struct error *err)
{
	if (clear_way(t, err) < 0)
		return -1;
	return symlinkat(to, t->parent, t->name) < 0 ? refuse("create link", t, err) : 0;
}

// `data`: the target of a link.
static int create(struct folder_unpacker *u, enum folder_kind kind, const struct target *t,
		  char *data, struct error *err)
{
	mode_t type = le32toh(u->entry.mode) & S_IFMT;
	switch (kind) {
	case FOLDER_FOLDER:
		return make_folder(t, err);
	case FOLDER_FILE:
		return make_file(u, t, err);
	case FOLDER_PATCH:
		return u->whole ? open_again(u, t, err) : malformed(err, "blocks come along");
	case FOLDER_HARD_LINK:
		return make_hard_link(u, t, data, err);
	case FOLDER_LINK:
		return make_link(t, data, err);
	case FOLDER_FIFO:
		return make_special(t, S_IFIFO, 0, err);
	case FOLDER_SOCKET:
		return u->whole ? make_special(t, S_IFSOCK, 0, err)
				: malformed(err, "a socket comes along");
	case FOLDER_DEVICE:
		if (!u->whole || (type != S_IFCHR && type != S_IFBLK))
			return malformed(err, "a device comes along");
		return make_special(t, type, (dev_t)le64toh(u->entry.device), err);
	default:
		return malformed(err, "an entry is of an unknown kind");
	}
}

// ---- attributes ---------------------------------------------------------------------------------

static int drop_attributes(const char *path, struct error *err)
{
	char names[4096];
	ssize_t length = llistxattr(path, names, sizeof(names));
	for (ssize_t i = 0; i < length; i += (ssize_t)strlen(names + i) + 1)
		if (strcmp(names + i, "security.selinux") != 0 &&
		    lremovexattr(path, names + i) < 0 && errno != ENODATA)
			return error_sys(err, ERR_STORAGE, errno, "attribute %s", names + i);
	return 0;
}

static int set_attribute(const char *path, const uint8_t **at, const uint8_t *end,
			 struct error *err)
{
	struct folder_attribute head;
	char name[256];
	if ((size_t)(end - *at) < sizeof(head))
		return malformed(err, "an attribute");
	memcpy(&head, *at, sizeof(head));
	*at += sizeof(head);
	size_t name_length = le16toh(head.name_length), length = le32toh(head.value_length);
	if (name_length >= sizeof(name) || name_length > (size_t)(end - *at) ||
	    length > (size_t)(end - *at) - name_length)
		return malformed(err, "an attribute");
	memcpy(name, *at, name_length);
	name[name_length] = 0;
	*at += name_length;
	if (strlen(name) != name_length || !folder_attribute_travels(name))
		return malformed(err, "an attribute that may not come along");
	if (lsetxattr(path, name, *at, length, 0) < 0)
		return error_sys(err, ERR_STORAGE, errno, "attribute %s", name);
	*at += length;
	return 0;
}

static int set_attributes(const struct folder_unpacker *u, int parent, const char *name,
			  const uint8_t *bytes, size_t length, struct error *err)
{
	char path[64 + FOLDER_PATH_LIMIT];
	if (!u->whole)
		return length ? malformed(err, "attributes come along") : 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", parent, name);
	if (drop_attributes(path, err) < 0)
		return -1;
	for (const uint8_t *at = bytes; at < bytes + length;)
		if (set_attribute(path, &at, bytes + length, err) < 0)
			return error_wrap(err, "%.200s", name);
	return 0;
}

static struct timespec mtime_of(const struct folder_entry *e)
{
	return (struct timespec){.tv_sec = (time_t)(int64_t)le64toh((uint64_t)e->mtime_s),
				 .tv_nsec = (long)(le32toh(e->mtime_ns) % 1000000000u)};
}

static int set_owner(const struct folder_unpacker *u, int parent, const char *name, bool link,
		     struct error *err)
{
	const struct folder_entry *e = &u->entry;
	if (fchownat(parent, name, le32toh(e->uid), le32toh(e->gid), AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot set the owner of %.200s", name);
	// Never through a link: what is there was made a moment ago, in folders of ours.
	if (!link && fchmodat(parent, name, le32toh(e->mode) & folder_mode_kept(u->whole), 0) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot set the mode of %.200s", name);
	return 0;
}

static int set_time(const struct folder_unpacker *u, int parent, const char *name,
		    struct error *err)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, mtime_of(&u->entry)};
	if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot set the time of %.200s", name);
	return 0;
}

// ---- parts of the stream ------------------------------------------------------------------------

static int unpack_top(struct folder_unpacker *u, const uint8_t *attributes, size_t length,
		      struct error *err)
{
	struct timespec mtime = mtime_of(&u->entry);
	if (set_owner(u, u->dirfd, ".", false, err) < 0 ||
	    set_attributes(u, u->dirfd, ".", attributes, length, err) < 0)
		return -1;
	return touch(u, ".", &mtime, true, err);
}

static int remove_one(struct folder_unpacker *u, struct target *t, struct error *err)
{
	struct error why = {0};
	if (open_target(u, t, &why) == 0)
		return clear_way(t, err);
	if (why.sys == ENOENT || why.sys == ENOTDIR)
		return 0; // with the folder that it was in
	if (err)
		*err = why;
	return -1;
}

static int unpack_entry(struct folder_unpacker *u, struct target *t, const uint8_t *attributes,
			char *data, struct error *err)
{
	enum folder_kind kind = le16toh(u->entry.kind);
	size_t length = le32toh(u->entry.attribute_length);
	if (kind == FOLDER_FOLDER && !strcmp(t->path, "."))
		return unpack_top(u, attributes, length, err);
	if (kind == FOLDER_REMOVED)
		return remove_one(u, t, err);
	char whole[FOLDER_PATH_LIMIT];
	strcpy(whole, t->path);
	if (open_target(u, t, err) < 0 || create(u, kind, t, data, err) < 0)
		return -1;
	if (kind == FOLDER_HARD_LINK)
		return 0;
	if (set_owner(u, t->parent, t->name, kind == FOLDER_LINK, err) < 0 ||
	    set_attributes(u, t->parent, t->name, attributes, length, err) < 0)
		return -1;
	struct timespec mtime = mtime_of(&u->entry);
	if (kind == FOLDER_FOLDER)
		return touch(u, whole, &mtime, true, err);
	if (kind == FOLDER_FILE || kind == FOLDER_PATCH)
		return 0; // when it is written
	return set_time(u, t->parent, t->name, err);
}

static int end_of_stream(struct folder_unpacker *u, struct error *err)
{
	u->expects = EXPECTS_ENTRY;
	return restore_times(u, err);
}

static size_t parts_length(const struct folder_unpacker *u)
{
	return le16toh(u->entry.path_length) + le32toh(u->entry.attribute_length) +
	       (size_t)le64toh(u->entry.data_length);
}

static int on_entry(struct folder_unpacker *u, const uint8_t *bytes, struct error *err)
{
	struct folder_entry *e = &u->entry;
	memcpy(e, bytes, sizeof(*e));
	if (le32toh(e->magic) != FOLDER_MAGIC)
		return malformed(err, "no entry where one is due");
	if (le16toh(e->path_length) >= FOLDER_PATH_LIMIT ||
	    le32toh(e->attribute_length) > FOLDER_ATTRIBUTES_MAX ||
	    le64toh(e->data_length) >= FOLDER_PATH_LIMIT)
		return malformed(err, "an entry is too long");
	if (le16toh(e->kind) == FOLDER_END)
		return parts_length(u) ? malformed(err, "its end") : end_of_stream(u, err);
	u->expects = EXPECTS_PARTS;
	return 0;
}

static int on_parts(struct folder_unpacker *u, const uint8_t *bytes, struct error *err)
{
	__attribute__((cleanup(target_close))) struct target t = {.parent = -1};
	char data[FOLDER_PATH_LIMIT];
	size_t path = le16toh(u->entry.path_length), length = (size_t)le64toh(u->entry.data_length);
	const uint8_t *attributes = bytes + path;
	const uint8_t *rest = attributes + le32toh(u->entry.attribute_length);
	if (memchr(bytes, 0, path) || memchr(rest, 0, length))
		return malformed(err, "a path");
	memcpy(t.path, bytes, path);
	t.path[path] = 0;
	memcpy(data, rest, length);
	data[length] = 0;
	if (unpack_entry(u, &t, attributes, data, err) < 0)
		return -1;
	u->expects = u->file < 0 ? EXPECTS_ENTRY : EXPECTS_EXTENT;
	return 0;
}

static int end_of_file(struct folder_unpacker *u, uint64_t size, struct error *err)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, mtime_of(&u->entry)};
	_cleanup_close_ int fd = take_fd(&u->file);
	u->expects = EXPECTS_ENTRY;
	if (size > INT64_MAX || ftruncate(fd, (off_t)size) < 0 || futimens(fd, times) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot end a file");
	return 0;
}

static int on_extent(struct folder_unpacker *u, const uint8_t *bytes, struct error *err)
{
	struct folder_extent extent;
	memcpy(&extent, bytes, sizeof(extent));
	u->at = le64toh(extent.offset);
	u->left = le64toh(extent.length);
	if (u->at > INT64_MAX || u->left > INT64_MAX - u->at)
		return malformed(err, "an extent");
	if (!u->left)
		return end_of_file(u, u->at, err);
	u->expects = EXPECTS_BYTES;
	return 0;
}

static int write_bytes(struct folder_unpacker *u, const uint8_t *bytes, size_t length,
		       struct error *err)
{
	while (length) {
		ssize_t n = pwrite(u->file, bytes, length, (off_t)u->at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_STORAGE, errno, "cannot write a file");
		u->at += (uint64_t)n;
		u->left -= (uint64_t)n;
		bytes += n;
		length -= (size_t)n;
	}
	if (!u->left)
		u->expects = EXPECTS_EXTENT;
	return 0;
}

// ---- feeding ------------------------------------------------------------------------------------

static size_t needed(const struct folder_unpacker *u)
{
	switch (u->expects) {
	case EXPECTS_ENTRY:
		return sizeof(struct folder_entry);
	case EXPECTS_PARTS:
		return parts_length(u);
	default:
		return sizeof(struct folder_extent);
	}
}

static int take_part(struct folder_unpacker *u, struct error *err)
{
	switch (u->expects) {
	case EXPECTS_ENTRY:
		return on_entry(u, u->waiting.data, err);
	case EXPECTS_PARTS:
		return on_parts(u, u->waiting.data, err);
	default:
		return on_extent(u, u->waiting.data, err);
	}
}

static int feed(struct folder_unpacker *u, const uint8_t *bytes, size_t length, struct error *err)
{
	while (length) {
		if (u->expects == EXPECTS_BYTES) {
			size_t part = u->left < length ? (size_t)u->left : length;
			if (write_bytes(u, bytes, part, err) < 0)
				return -1;
			bytes += part;
			length -= part;
			continue;
		}
		size_t more = needed(u) - u->waiting.length, part = more < length ? more : length;
		if (buf_append(&u->waiting, bytes, part, err) < 0)
			return -1;
		bytes += part;
		length -= part;
		if (part < more)
			return 0;
		if (take_part(u, err) < 0)
			return -1;
		u->waiting.length = 0;
	}
	return 0;
}

int folder_unpacker_feed(struct folder_unpacker *u, const void *bytes, size_t length,
			 struct error *err)
{
	if (u->failed)
		return malformed(err, "it goes on after its end");
	u->failed = feed(u, bytes, length, err) < 0;
	return u->failed ? -1 : 0;
}

bool folder_unpacker_idle(const struct folder_unpacker *u)
{
	return !u->failed && u->expects == EXPECTS_ENTRY && !u->waiting.length &&
	       le16toh(u->entry.kind) == FOLDER_END && u->entry.magic;
}

struct folder_unpacker *folder_unpacker_new(int dirfd, bool whole, struct error *err)
{
	struct folder_unpacker *u = calloc(1, sizeof(*u));
	if (!u) {
		error_set(err, ERR_NOMEM, "no memory to unpack");
		return NULL;
	}
	u->dirfd = dirfd;
	u->whole = whole;
	u->file = -1;
	u->waiting = BUF_INIT(FOLDER_ATTRIBUTES_MAX + 4 * FOLDER_PATH_LIMIT);
	return u;
}

void folder_unpacker_free(struct folder_unpacker *u)
{
	if (!u)
		return;
	if (u->file >= 0)
		close(u->file);
	tdestroy(u->touched, free);
	buf_free(&u->waiting);
	free(u);
}

int folder_unpack(int dirfd, const void *bytes, size_t length, struct error *err)
{
	struct folder_unpacker *u = folder_unpacker_new(dirfd, false, err);
	if (!u)
		return -1;
	int done = folder_unpacker_feed(u, bytes, length, err);
	if (done == 0 && !folder_unpacker_idle(u))
		done = malformed(err, "it ends early");
	folder_unpacker_free(u);
	return done;
}
