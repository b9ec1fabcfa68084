// SPDX-License-Identifier: Apache-2.0
#include "lib/base/fdio.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

int fdio_read_all(int fd, void *bytes, size_t length, struct error *err)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = read(fd, (char *)bytes + done, length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_SYSTEM, errno, "read failed");
		if (n == 0)
			return error_set(err, ERR_PROTOCOL, "stream ended %zu bytes early",
					 length - done);
		done += (size_t)n;
	}
	return 0;
}

int fdio_write_all(int fd, const void *bytes, size_t length, struct error *err)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = write(fd, (const char *)bytes + done, length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_SYSTEM, errno, "write failed");
		done += (size_t)n;
	}
	return 0;
}

int fdio_pread_all(int fd, void *bytes, size_t length, off_t at, struct error *err)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = pread(fd, (char *)bytes + done, length - done, at + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_SYSTEM, errno, "read failed");
		if (n == 0)
			return error_set(err, ERR_SYSTEM, "file ended %zu bytes early",
					 length - done);
		done += (size_t)n;
	}
	return 0;
}

char *fdio_read_text(int fd, const char *path, size_t max, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t length = 0, room = 0;
	for (;;) {
		if (length + 1 >= room) {
			room = room ? room * 2 : 4096;
			char *bigger = realloc(text, room);
			if (!bigger) {
				error_set(err, ERR_NOMEM, "no memory to read %s", path);
				return NULL;
			}
			text = bigger;
		}
		ssize_t n = read(fd, text + length, room - length - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_sys(err, ERR_SYSTEM, errno, "cannot read %s", path);
			return NULL;
		}
		length += (size_t)n;
		if (length > max) {
			error_set(err, ERR_SYSTEM, "%s is larger than %zu bytes", path, max);
			return NULL;
		}
		if (n == 0)
			break;
	}
	text[length] = 0;
	return take_ptr(text);
}

char *fdio_read_file(int dirfd, const char *path, size_t max, struct error *err)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		error_sys(err, ERR_SYSTEM, errno, "cannot open %s", path);
		return NULL;
	}
	return fdio_read_text(fd, path, max, err);
}

int fdio_write_control(int dirfd, const char *path, const char *text, struct error *err)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot open %s", path);
	if (write(fd, text, strlen(text)) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot write \"%s\" to %s", text, path);
	return 0;
}

static int sync_parent(const char *path, struct error *err)
{
	_cleanup_free_ char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	if (slash)
		*slash = 0;
	_cleanup_close_ int fd = open(slash ? (slash == folder ? "/" : folder) : ".",
				      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot sync the folder of %s", path);
	return 0;
}

int fdio_replace_file(const char *path, const void *bytes, size_t length, mode_t mode,
		      struct error *err)
{
	char temporary[4096];
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot create %s", temporary);
	if (fchmod(fd, mode) < 0 || fdio_write_all(fd, bytes, length, NULL) < 0 || fsync(fd) < 0 ||
	    rename(temporary, path) < 0) {
		error_sys(err, ERR_STORAGE, errno, "cannot write %s", path);
		unlink(temporary);
		return -1;
	}
	return sync_parent(path, err);
}

int fdio_mkdir_p(const char *path, mode_t mode, struct error *err)
{
	_cleanup_free_ char *copy = strdup(path);
	if (!copy)
		return error_set(err, ERR_NOMEM, "no memory for a path");
	for (char *c = copy + 1;; c++) {
		if (*c != '/' && *c)
			continue;
		char end = *c;
		*c = 0;
		if (mkdir(copy, end ? 0755 : mode) < 0 && errno != EEXIST)
			return error_sys(err, ERR_STORAGE, errno, "cannot create folder %s", copy);
		*c = end;
		if (!end)
			return 0;
	}
}

DIR *fdio_opendir(int folder, struct error *err)
{
	_cleanup_close_ int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	if (dir)
		take_fd(&again);
	else
		error_sys(err, ERR_STORAGE, errno, "cannot list a folder");
	return dir;
}

struct dirent *fdio_readdir(DIR *dir)
{
	struct dirent *entry;
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			break;
	return entry;
}

// A tree may be deeper than there are descriptors and stack (whoever wrote it chose): what lies too
// deep is moved up to the top of the tree, and goes with the next pass over it.
#define REMOVE_DEPTH 64

struct removal {
	dev_t device;
	int top; // the topmost folder; -1: not yet in it
	unsigned long moved;
};

static int remove_contents(struct removal *r, int fd, unsigned depth, struct error *err);

static int move_up(struct removal *r, int dirfd, const char *name, struct error *err)
{
	char to[40];
	do
		snprintf(to, sizeof(to), ".deep-%lu", r->moved++);
	while (renameat2(dirfd, name, r->top, to, RENAME_NOREPLACE) < 0 && errno == EEXIST);
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return error_set(err, ERR_STORAGE, "cannot move %s out of the way", name);
	return 0;
}

// The topmost folder is emptied as often as something was moved into it.
static int empty_top(struct removal *r, int fd, struct error *err)
{
	r->top = fd;
	do {
		r->moved = 0;
		if (remove_contents(r, fd, 1, err) < 0)
			return -1;
	} while (r->moved);
	return 0;
}

static int remove_entry(struct removal *r, int dirfd, const char *name, unsigned depth,
			struct error *err)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return error_sys(err, ERR_STORAGE, errno, "cannot remove %s", name);
	_cleanup_close_ int fd =
		openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", name);
	if (st.st_dev != r->device)
		return error_set(err, ERR_STORAGE, "%s is a mount point: not removed", name);
	if (depth == REMOVE_DEPTH)
		return move_up(r, dirfd, name, err);
	if ((depth ? remove_contents(r, fd, depth + 1, err) : empty_top(r, fd, err)) < 0)
		return error_wrap(err, "%s", name);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot remove %s", name);
	return 0;
}

static int remove_contents(struct removal *r, int fd, unsigned depth, struct error *err)
{
	_cleanup_closedir_ DIR *dir = fdio_opendir(fd, err);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir)))
		if (remove_entry(r, fd, entry->d_name, depth, err) < 0)
			return -1;
	return dir ? 0 : -1;
}

int fdio_remove_tree(int dirfd, const char *path, struct error *err)
{
	struct stat st;
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT
			       ? 0
			       : error_sys(err, ERR_STORAGE, errno, "cannot look at %s", path);
	struct removal r = {.device = st.st_dev, .top = -1};
	return remove_entry(&r, dirfd, path, 0, err);
}

int fdio_wait(int fd, short events, deadline_t deadline, struct error *err)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		int n = poll(&p, 1, deadline_poll_ms(deadline));
		if (n > 0)
			return 1;
		if (n < 0 && errno != EINTR)
			return error_sys(err, ERR_SYSTEM, errno, "poll failed");
		if (deadline_passed(deadline))
			return 0;
	}
}

int fdio_set_nonblock(int fd, bool on, struct error *err)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "fcntl failed");
	return 0;
}

ssize_t fdio_send_fds(int sock, const void *bytes, size_t length, const int *fds, size_t count,
		      struct error *err)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * FDIO_FDS_MAX)];
	} control = {0};
	struct iovec part = {.iov_base = (void *)bytes, .iov_len = length};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (count > FDIO_FDS_MAX)
		return error_set(err, ERR_INTERNAL, "too many descriptors in one message");
	if (count) {
		message.msg_control = control.room;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
	}
	ssize_t n;
	do
		n = sendmsg(sock, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_sys(err, ERR_SYSTEM, errno, "send failed");
	return n;
}

static void take_fds(struct msghdr *message, int *fds, size_t room, size_t *count)
{
	*count = 0;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h; h = CMSG_NXTHDR(message, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
			if (*count < room)
				fds[(*count)++] = fd;
			else
				close(fd);
		}
	}
}

ssize_t fdio_recv_fds(int sock, void *bytes, size_t length, int *fds, size_t *count,
		      struct error *err)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * FDIO_FDS_MAX)];
	} control;
	struct iovec part = {.iov_base = bytes, .iov_len = length};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = sizeof(control.room)};
	size_t room = *count;
	*count = 0;
	ssize_t n;
	// The other side may have gone without hearing all of ours: that is reported once, ahead of
	// what it said before.
	do
		n = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return error_sys(err, ERR_SYSTEM, errno, "receive failed");
	take_fds(&message, fds, room, count);
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (*count)
			close(fds[--*count]);
		return error_set(err, ERR_PROTOCOL, "a message was longer than %zu bytes", length);
	}
	return n;
}
