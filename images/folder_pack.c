// SPDX-License-Identifier: Apache-2.0
#include "images/folder.h"

#include "images/folder_blocks.h"
#include "images/folder_format.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <string.h>
#include <sys/xattr.h>

#define DEPTH_MAX 200
#define PIECE     (256u << 10)

// The first name of a file that has several.
struct seen {
	ino_t inode;
	char path[];
};

struct packer {
	const struct folder_how *how;
	const struct folder_sink *sink;
	void *seen; // tsearch(3)
	dev_t device;
	uint8_t *piece; // PIECE bytes
	struct buf attributes;
};

struct place {
	int dirfd;
	const char *name; // in dirfd
	const char *path; // in the tree
	const struct stat *st;
};

static int send(struct packer *p, const void *bytes, size_t length, struct error *err)
{
	return length ? p->sink->put(p->sink->arg, bytes, length, err) : 0;
}

// ---- extended attributes ------------------------------------------------------------------------

static int add_attribute(struct packer *p, const char *path, const char *name, struct error *err)
{
	ssize_t n = lgetxattr(path, name, p->piece, PIECE);
	if (n < 0)
		return errno == ENODATA ? 0
					: error_sys(err, ERR_STORAGE, errno, "attribute %s", name);
	struct folder_attribute head = {.name_length = htole16((uint16_t)strlen(name)),
					.value_length = htole32((uint32_t)n)};
	if (buf_append(&p->attributes, &head, sizeof(head), err) < 0 ||
	    buf_append(&p->attributes, name, strlen(name), err) < 0)
		return -1;
	return buf_append(&p->attributes, p->piece, (size_t)n, err);
}

static int read_attributes(struct packer *p, const struct place *at, struct error *err)
{
	char path[64 + FOLDER_PATH_LIMIT];
	p->attributes.length = 0;
	if (!p->how->whole)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", at->dirfd, at->name);
	ssize_t length = llistxattr(path, NULL, 0);
	if (length <= 0)
		return length == 0 || errno == EOPNOTSUPP || errno == ENOENT
			       ? 0
			       : error_sys(err, ERR_STORAGE, errno, "attributes of %s", at->path);
	_cleanup_free_ char *names = malloc((size_t)length);
	if (!names)
		return error_set(err, ERR_NOMEM, "no memory to pack %s", at->path);
	length = llistxattr(path, names, (size_t)length);
	for (ssize_t i = 0; i < length; i += (ssize_t)strlen(names + i) + 1)
		if (folder_attribute_travels(names + i) &&
		    add_attribute(p, path, names + i, err) < 0)
			return error_wrap(err, "%s", at->path);
	return 0;
}

// ---- entries ------------------------------------------------------------------------------------

static int put(struct packer *p, enum folder_kind kind, const struct place *at,
	       uint64_t data_length, struct error *err)
{
	const struct stat *st = at->st;
	if (kind != FOLDER_HARD_LINK && read_attributes(p, at, err) < 0)
		return -1;
	size_t attributes = kind == FOLDER_HARD_LINK ? 0 : p->attributes.length;
	struct folder_entry e = {
		.magic = htole32(FOLDER_MAGIC),
		.kind = htole16(kind),
		.path_length = htole16((uint16_t)strlen(at->path)),
		.mode = htole32((st->st_mode & folder_mode_kept(p->how->whole)) |
				(kind == FOLDER_DEVICE ? st->st_mode & S_IFMT : 0)),
		.uid = htole32(st->st_uid),
		.gid = htole32(st->st_gid),
		.mtime_s = (int64_t)htole64((uint64_t)st->st_mtim.tv_sec),
		.mtime_ns = htole32((uint32_t)st->st_mtim.tv_nsec),
		.attribute_length = htole32((uint32_t)attributes),
		.device = htole64(kind == FOLDER_DEVICE ? st->st_rdev : 0),
		.data_length = htole64(data_length)};
	if (send(p, &e, sizeof(e), err) < 0 || send(p, at->path, strlen(at->path), err) < 0)
		return -1;
	return send(p, p->attributes.data, attributes, err);
}

static int by_inode(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

// NULL: no memory. Its path is another than `path` if the file came before.
static const struct seen *see(struct packer *p, ino_t inode, const char *path, struct error *err)
{
	struct seen *mine = malloc(sizeof(*mine) + strlen(path) + 1);
	struct seen **found = NULL;
	if (mine) {
		mine->inode = inode;
		strcpy(mine->path, path);
		found = tsearch(mine, &p->seen, by_inode);
	}
	if (!found) {
		free(mine);
		error_set(err, ERR_NOMEM, "no memory to pack %s", path);
		return NULL;
	}
	if (*found != mine)
		free(mine);
	return *found;
}

// It was gone before it was sent: other names of the file must not refer to this one.
static int forget(struct packer *p, ino_t inode, const char *path)
{
	struct seen key = {.inode = inode}, **found = tfind(&key, &p->seen, by_inode);
	struct seen *mine = found ? *found : NULL;
	if (mine && !strcmp(mine->path, path)) {
		tdelete(mine, &p->seen, by_inode);
		free(mine);
	}
	return 0;
}

static int put_extent(struct packer *p, uint64_t offset, uint64_t length, struct error *err)
{
	struct folder_extent extent = {htole64(offset), htole64(length)};
	return send(p, &extent, sizeof(extent), err);
}

// What is missing at the end of a file that was cut off meanwhile is sent as zeroes.
static int put_bytes(struct packer *p, int fd, off_t at, off_t length, struct error *err)
{
	while (length > 0) {
		size_t part = length < PIECE ? (size_t)length : PIECE;
		ssize_t n = pread(fd, p->piece, part, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_STORAGE, errno, "cannot read");
		memset(p->piece + n, 0, part - (size_t)n);
		if (send(p, p->piece, part, err) < 0)
			return -1;
		at += (off_t)part;
		length -= (off_t)part;
	}
	return 0;
}

static int put_extents(struct packer *p, int fd, off_t size, struct error *err)
{
	for (off_t at = 0; at < size;) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;
		if (data < 0 && errno != ENXIO)
			return error_sys(err, ERR_STORAGE, errno, "cannot find its data");
		if (data < 0 || data >= size)
			break; // a hole up to its end
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < data || hole > size)
			hole = size;
		if (put_extent(p, (uint64_t)data, (uint64_t)(hole - data), err) < 0 ||
		    put_bytes(p, fd, data, hole - data, err) < 0)
			return -1;
		at = hole;
	}
	return put_extent(p, (uint64_t)size, 0, err);
}

static int pack_whole(struct packer *p, const struct place *at, struct folder_blocks **place,
		      int fd, off_t size, struct error *err)
{
	if (place) {
		folder_blocks_free(*place);
		*place = NULL;
	}
	return put(p, FOLDER_FILE, at, 0, err) < 0 ? -1 : put_extents(p, fd, size, err);
}

static int pack_blocks(struct packer *p, const struct place *at, struct folder_blocks **place,
		       int fd, off_t size, struct error *err)
{
	enum folder_kind kind = *place ? FOLDER_PATCH : FOLDER_FILE;
	if (!*place && !(*place = folder_blocks_new(err)))
		return -1;
	if (put(p, kind, at, 0, err) < 0)
		return -1;
	return folder_blocks_send(*place, fd, size, p->piece, p->sink, err);
}

static int pack_file(struct packer *p, const struct place *at, struct error *err)
{
	if (at->st->st_nlink > 1) {
		const struct seen *first = see(p, at->st->st_ino, at->path, err);
		if (!first)
			return -1;
		if (strcmp(first->path, at->path) != 0) {
			if (put(p, FOLDER_HARD_LINK, at, strlen(first->path), err) < 0)
				return -1;
			return send(p, first->path, strlen(first->path), err);
		}
	}
	_cleanup_close_ int fd = openat(at->dirfd, at->name,
					O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", at->path);
	struct folder_blocks **place =
		p->how->place && at->st->st_nlink == 1 ? p->how->place(p->how->arg) : NULL;
	int done = place && st.st_size >= FOLDER_BLOCKS_FROM
			   ? pack_blocks(p, at, place, fd, st.st_size, err)
			   : pack_whole(p, at, place, fd, st.st_size, err);
	return done < 0 ? error_wrap(err, "%s", at->path) : 0;
}

static int pack_link(struct packer *p, const struct place *at, struct error *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(at->dirfd, at->name, target, sizeof(target));
	if (n < 0 || (size_t)n == sizeof(target))
		return error_sys(err, ERR_STORAGE, n < 0 ? errno : ENAMETOOLONG,
				 "cannot read link %s", at->path);
	if (put(p, FOLDER_LINK, at, (uint64_t)n, err) < 0)
		return -1;
	return send(p, target, (size_t)n, err);
}

static int pack_special(struct packer *p, const struct place *at, struct error *err)
{
	if (S_ISFIFO(at->st->st_mode))
		return put(p, FOLDER_FIFO, at, 0, err);
	if (!p->how->whole)
		return 0; // sockets are CRIU's, devices do not travel
	return put(p, S_ISSOCK(at->st->st_mode) ? FOLDER_SOCKET : FOLDER_DEVICE, at, 0, err);
}

static int pack_one(struct packer *p, const struct place *at, struct error *err)
{
	int wanted = p->how->wants ? p->how->wants(p->how->arg, at->path, at->st, err) : 1;
	if (wanted <= 0)
		return wanted;
	if (S_ISREG(at->st->st_mode))
		return pack_file(p, at, err);
	if (S_ISLNK(at->st->st_mode))
		return pack_link(p, at, err);
	if (S_ISDIR(at->st->st_mode))
		return put(p, FOLDER_FOLDER, at, 0, err);
	return pack_special(p, at, err);
}

static int pack_folder(struct packer *p, int dirfd, const char *path, unsigned depth,
		       struct error *err);

static int pack_entry(struct packer *p, int dirfd, const char *name, const char *path,
		      unsigned depth, struct error *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT
			       ? 0 // it went while we looked; it does so again when it matters
			       : error_sys(err, ERR_STORAGE, errno, "cannot look at %s", path);
	if (st.st_dev != p->device)
		return 0; // a mount: it travels on its own
	const struct place at = {dirfd, name, path, &st};
	struct error why = {0};
	if (pack_one(p, &at, &why) < 0) {
		if (why.sys == ENOENT)
			return forget(p, st.st_ino, path);
		if (err)
			*err = why;
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		return 0;
	_cleanup_close_ int fd =
		openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT
			       ? 0
			       : error_sys(err, ERR_STORAGE, errno, "cannot open folder %s", path);
	return pack_folder(p, fd, path, depth + 1, err);
}

static int pack_folder(struct packer *p, int dirfd, const char *path, unsigned depth,
		       struct error *err)
{
	if (depth > DEPTH_MAX)
		return error_set(err, ERR_STORAGE, "folders are nested too deeply at %.200s", path);
	_cleanup_closedir_ DIR *dir = fdio_opendir(dirfd, err);
	if (!dir)
		return error_wrap(err, "folder %s", path);
	struct dirent *entry;
	while ((entry = fdio_readdir(dir))) {
		char child[FOLDER_PATH_LIMIT];
		int n = snprintf(child, sizeof(child), "%s%s%s", path, *path ? "/" : "",
				 entry->d_name);
		if (n < 0 || (size_t)n >= sizeof(child))
			return error_set(err, ERR_STORAGE, "a path is too long below %.200s", path);
		if (pack_entry(p, dirfd, entry->d_name, child, depth, err) < 0)
			return -1;
	}
	return 0;
}

int folder_stream(int dirfd, const struct folder_how *how, const struct folder_sink *sink,
		  struct error *err)
{
	struct stat st;
	if (fstat(dirfd, &st) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot look at a folder");
	struct packer p = {.how = how,
			   .sink = sink,
			   .device = st.st_dev,
			   .piece = malloc(PIECE),
			   .attributes = BUF_INIT(FOLDER_ATTRIBUTES_MAX)};
	const struct place top = {dirfd, ".", ".", &st};
	int done = p.piece ? pack_one(&p, &top, err) : error_set(err, ERR_NOMEM, "no memory");
	if (done == 0)
		done = pack_folder(&p, dirfd, "", 0, err);
	tdestroy(p.seen, free);
	buf_free(&p.attributes);
	free(p.piece);
	return done;
}

static int put_plain(const struct folder_sink *sink, enum folder_kind kind, const char *path,
		     struct error *err)
{
	struct folder_entry e = {.magic = htole32(FOLDER_MAGIC),
				 .kind = htole16(kind),
				 .path_length = htole16((uint16_t)strlen(path))};
	if (sink->put(sink->arg, &e, sizeof(e), err) < 0)
		return -1;
	return *path ? sink->put(sink->arg, path, strlen(path), err) : 0;
}

int folder_stream_removed(const struct folder_sink *sink, const char *path, struct error *err)
{
	return put_plain(sink, FOLDER_REMOVED, path, err);
}

int folder_stream_end(const struct folder_sink *sink, struct error *err)
{
	return put_plain(sink, FOLDER_END, "", err);
}

static int put_into_buf(void *arg, const void *bytes, size_t length, struct error *err)
{
	return buf_append(arg, bytes, length, err);
}

int folder_pack(int dirfd, struct buf *out, struct error *err)
{
	const struct folder_how how = {.whole = false};
	const struct folder_sink sink = {put_into_buf, out};
	return folder_stream(dirfd, &how, &sink, err) < 0 ? -1 : folder_stream_end(&sink, err);
}
