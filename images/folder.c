// SPDX-License-Identifier: Apache-2.0
#include "images/folder.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FOLDER_MAGIC 0x314c4f46u // "FOL1"
#define DEPTH_MAX    64
#define PATH_LIMIT   4096u
#define MODE_KEPT    01777u // no setuid, no setgid

enum kind {
	KIND_END = 0,
	KIND_FOLDER = 1,
	KIND_FILE = 2,
	KIND_LINK = 3,
	KIND_FIFO = 4,
	KIND_HARD_LINK = 5
};

// All numbers little-endian. The path (relative to the folder) and the data follow.
struct __attribute__((packed)) entry {
	uint32_t magic;
	uint16_t kind;
	uint16_t path_length;
	uint32_t mode, uid, gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint64_t data_length; // file: its bytes; link: the target; hard link: the path linked to
};

struct seen {
	ino_t inode;
	char *path;
};

struct packer {
	struct buf *out;
	struct seen *seen;
	size_t count;
	dev_t device;
};

static int put(struct packer *p, enum kind kind, const char *path, const struct stat *st,
	       uint64_t data_length, struct error *err)
{
	struct entry e = {.magic = htole32(FOLDER_MAGIC),
			  .kind = htole16(kind),
			  .path_length = htole16((uint16_t)strlen(path)),
			  .mode = htole32(st->st_mode & MODE_KEPT),
			  .uid = htole32(st->st_uid),
			  .gid = htole32(st->st_gid),
			  .mtime_s = (int64_t)htole64((uint64_t)st->st_mtim.tv_sec),
			  .mtime_ns = htole32((uint32_t)st->st_mtim.tv_nsec),
			  .data_length = htole64(data_length)};
	if (buf_append(p->out, &e, sizeof(e), err) < 0)
		return -1;
	return buf_append(p->out, path, strlen(path), err);
}

static const char *seen_before(struct packer *p, const struct stat *st, const char *path,
			       struct error *err)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->seen[i].inode == st->st_ino)
			return p->seen[i].path;
	struct seen *more = reallocarray(p->seen, p->count + 1, sizeof(*more));
	char *copy = strdup(path);
	if (!more || !copy) {
		free(copy);
		error_set(err, ERR_NOMEM, "no memory to pack %s", path);
		return NULL;
	}
	p->seen = more;
	p->seen[p->count++] = (struct seen){.inode = st->st_ino, .path = copy};
	return "";
}

static int pack_data(struct packer *p, int dirfd, const char *name, const char *path,
		     const struct stat *st, struct error *err)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
	size_t length = (size_t)st->st_size;
	if (put(p, KIND_FILE, path, st, length, err) < 0)
		return -1;
	uint8_t *to = buf_reserve(p->out, length, err);
	if (!to || fdio_pread_all(fd, to, length, 0, err) < 0)
		return error_wrap(err, "%s", path);
	p->out->length += length;
	return 0;
}

static int pack_file(struct packer *p, int dirfd, const char *name, const char *path,
		     const struct stat *st, struct error *err)
{
	if (st->st_nlink > 1) {
		const char *other = seen_before(p, st, path, err);
		if (!other)
			return -1;
		if (*other) {
			if (put(p, KIND_HARD_LINK, path, st, strlen(other), err) < 0)
				return -1;
			return buf_append(p->out, other, strlen(other), err);
		}
	}
	return pack_data(p, dirfd, name, path, st, err);
}

static int pack_link(struct packer *p, int dirfd, const char *name, const char *path,
		     const struct stat *st, struct error *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target));
	if (n < 0 || (size_t)n == sizeof(target))
		return error_sys(err, ERR_STORAGE, n < 0 ? errno : ENAMETOOLONG,
				 "cannot read link %s", path);
	if (put(p, KIND_LINK, path, st, (uint64_t)n, err) < 0)
		return -1;
	return buf_append(p->out, target, (size_t)n, err);
}

static int pack_folder(struct packer *p, int dirfd, const char *path, unsigned depth,
		       struct error *err);

static int pack_entry(struct packer *p, int dirfd, const char *name, const char *path,
		      unsigned depth, struct error *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot look at %s", path);
	if (st.st_dev != p->device)
		return 0; // a mount: it travels on its own
	if (S_ISREG(st.st_mode))
		return pack_file(p, dirfd, name, path, &st, err);
	if (S_ISLNK(st.st_mode))
		return pack_link(p, dirfd, name, path, &st, err);
	if (S_ISFIFO(st.st_mode))
		return put(p, KIND_FIFO, path, &st, 0, err);
	if (!S_ISDIR(st.st_mode))
		return 0; // sockets are CRIU's, devices do not travel
	if (put(p, KIND_FOLDER, path, &st, 0, err) < 0)
		return -1;
	_cleanup_close_ int fd =
		openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open folder %s", path);
	return pack_folder(p, fd, path, depth + 1, err);
}

static int pack_folder(struct packer *p, int dirfd, const char *path, unsigned depth,
		       struct error *err)
{
	if (depth > DEPTH_MAX)
		return error_set(err, ERR_STORAGE, "folders are nested too deeply at %s", path);
	_cleanup_closedir_ DIR *dir = fdio_opendir(dirfd, err);
	if (!dir)
		return error_wrap(err, "folder %s", path);
	struct dirent *entry;
	while ((entry = fdio_readdir(dir))) {
		char child[PATH_LIMIT];
		int n = snprintf(child, sizeof(child), "%s%s%s", path, *path ? "/" : "",
				 entry->d_name);
		if (n < 0 || (size_t)n >= sizeof(child))
			return error_set(err, ERR_STORAGE, "a path is too long below %s", path);
		if (pack_entry(p, dirfd, entry->d_name, child, depth, err) < 0)
			return -1;
	}
	return 0;
}

int folder_pack(int dirfd, struct buf *out, struct error *err)
{
	struct stat st;
	if (fstat(dirfd, &st) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot look at a folder");
	struct packer p = {.out = out, .device = st.st_dev};
	int done = put(&p, KIND_FOLDER, ".", &st, 0, err);
	if (done == 0)
		done = pack_folder(&p, dirfd, "", 0, err);
	if (done == 0)
		done = put(&p, KIND_END, "", &st, 0, err);
	for (size_t i = 0; i < p.count; i++)
		free(p.seen[i].path);
	free(p.seen);
	return done;
}

// ---- unpacking ---------------------------------------------------------------------------------

struct reader {
	const uint8_t *bytes;
	size_t left;
};

static const void *take(struct reader *r, size_t length)
{
	if (length > r->left)
		return NULL;
	const void *here = r->bytes;
	r->bytes += length;
	r->left -= length;
	return here;
}

// Opens the folder that holds `path`, beneath dirfd, following nothing; *name is the last part.
static int open_parent(int dirfd, char *path, const char **name, struct error *err)
{
	char *slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	if (!**name || !strcmp(*name, ".") || !strcmp(*name, ".."))
		return error_set(err, ERR_PROTOCOL, "a packed path ends in \"%s\"", *name);
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
	if (slash)
		*slash = 0;
	int fd = (int)syscall(SYS_openat2, dirfd, slash ? path : ".", &how, sizeof(how));
	if (fd < 0)
		return error_sys(err, ERR_PROTOCOL, errno, "cannot open packed folder %s", path);
	return fd;
}

static int unpack_file(int parent, const char *name, const void *data, size_t length,
		       struct error *err)
{
	_cleanup_close_ int fd =
		openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot create %s", name);
	return fdio_write_all(fd, data, length, err);
}

static int unpack_hard_link(int dirfd, int parent, const char *name, const void *data,
			    size_t length, struct error *err)
{
	char target[PATH_LIMIT];
	if (length >= sizeof(target) || memchr(data, 0, length))
		return error_set(err, ERR_PROTOCOL, "a packed hard link is malformed");
	memcpy(target, data, length);
	target[length] = 0;
	const char *last;
	_cleanup_close_ int from = open_parent(dirfd, target, &last, err);
	if (from < 0)
		return -1;
	if (linkat(from, last, parent, name, 0) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot link %s", name);
	return 0;
}

static int create(int dirfd, int parent, const char *name, enum kind kind, const void *data,
		  size_t length, struct error *err)
{
	char target[PATH_LIMIT];
	switch (kind) {
	case KIND_FOLDER:
		if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
			return error_sys(err, ERR_STORAGE, errno, "cannot create folder %s", name);
		return 0;
	case KIND_FILE:
		return unpack_file(parent, name, data, length, err);
	case KIND_HARD_LINK:
		return unpack_hard_link(dirfd, parent, name, data, length, err);
	case KIND_LINK:
		if (length >= sizeof(target) || memchr(data, 0, length))
			return error_set(err, ERR_PROTOCOL, "a packed link is malformed");
		memcpy(target, data, length);
		target[length] = 0;
		if (symlinkat(target, parent, name) < 0)
			return error_sys(err, ERR_STORAGE, errno, "cannot create link %s", name);
		return 0;
	case KIND_FIFO:
		if (mkfifoat(parent, name, 0600) < 0)
			return error_sys(err, ERR_STORAGE, errno, "cannot create FIFO %s", name);
		return 0;
	default:
		return error_set(err, ERR_PROTOCOL, "a packed entry is of unknown kind %d", kind);
	}
}

static int set_attributes(int parent, const char *name, enum kind kind, const struct entry *e,
			  struct error *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
				    {.tv_sec = (time_t)(int64_t)le64toh((uint64_t)e->mtime_s),
				     .tv_nsec = (long)(le32toh(e->mtime_ns) % 1000000000u)}};
	if (fchownat(parent, name, le32toh(e->uid), le32toh(e->gid), AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot set the owner of %s", name);
	if (kind != KIND_LINK && fchmodat(parent, name, le32toh(e->mode) & MODE_KEPT, 0) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot set the mode of %s", name);
	if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot set the time of %s", name);
	return 0;
}

static int unpack_entry(int dirfd, const struct entry *e, char *path, const void *data,
			struct error *err)
{
	enum kind kind = le16toh(e->kind);
	if (!strcmp(path, "."))
		return set_attributes(dirfd, ".", KIND_FOLDER, e, err);
	const char *name;
	_cleanup_close_ int parent = open_parent(dirfd, path, &name, err);
	if (parent < 0 || create(dirfd, parent, name, kind, data, le64toh(e->data_length), err) < 0)
		return -1;
	return kind == KIND_HARD_LINK ? 0 : set_attributes(parent, name, kind, e, err);
}

int folder_unpack(int dirfd, const void *bytes, size_t length, struct error *err)
{
	struct reader r = {.bytes = bytes, .left = length};
	for (;;) {
		struct entry e;
		const void *head = take(&r, sizeof(e));
		if (!head)
			return error_set(err, ERR_PROTOCOL, "a packed folder ends early");
		memcpy(&e, head, sizeof(e));
		size_t path_length = le16toh(e.path_length);
		const char *path = take(&r, path_length);
		const void *data = path ? take(&r, le64toh(e.data_length)) : NULL;
		if (le32toh(e.magic) != FOLDER_MAGIC || !data || path_length >= PATH_LIMIT ||
		    memchr(path, 0, path_length))
			return error_set(err, ERR_PROTOCOL, "a packed folder is malformed");
		if (le16toh(e.kind) == KIND_END)
			return r.left ? error_set(err, ERR_PROTOCOL, "bytes follow a packed folder")
				      : 0;
		char copy[PATH_LIMIT];
		memcpy(copy, path, path_length);
		copy[path_length] = 0;
		if (unpack_entry(dirfd, &e, copy, data, err) < 0)
			return -1;
	}
}
