// SPDX-License-Identifier: Apache-2.0
// Whole reads and writes, small files, and descriptors passed between processes.
#ifndef WPAR_BASE_FDIO_H
#define WPAR_BASE_FDIO_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <dirent.h>
#include <stddef.h>
#include <sys/types.h>

// Reads exactly `length` bytes (goes on after EINTR and short reads); 0, or -1 (end of file:
// ERR_PROTOCOL).
int fdio_read_all(int fd, void *bytes, size_t length, struct error *err);
int fdio_write_all(int fd, const void *bytes, size_t length, struct error *err);
int fdio_pread_all(int fd, void *bytes, size_t length, off_t at, struct error *err);

// A whole small file as text (NUL added), at most `max` bytes; the caller frees it. dirfd may be
// AT_FDCWD.
char *fdio_read_file(int dirfd, const char *path, size_t max, struct error *err);
// The same of an open file; `path` is what errors call it.
char *fdio_read_text(int fd, const char *path, size_t max, struct error *err);
// Writes into an existing file (a control file of /proc, /sys): one write(2), no creation.
int fdio_write_control(int dirfd, const char *path, const char *text, struct error *err);
// Replaces a file durably: temporary name, fsync, rename, fsync of the folder.
int fdio_replace_file(const char *path, const void *bytes, size_t length, mode_t mode,
		      struct error *err);

int fdio_mkdir_p(const char *path, mode_t mode, struct error *err);
// Lists an open folder from its beginning, whatever was listed before; closedir() it.
DIR *fdio_opendir(int folder, struct error *err);
// The next entry but "." and ".."; NULL at the end.
struct dirent *fdio_readdir(DIR *dir);
// Removes a tree beneath dirfd without following links or crossing mounts. Absent: 0.
int fdio_remove_tree(int dirfd, const char *path, struct error *err);

// Waits for `events` (poll(2)) on fd: 1 ready, 0 deadline passed, -1 error.
int fdio_wait(int fd, short events, deadline_t deadline, struct error *err);
int fdio_set_nonblock(int fd, bool on, struct error *err);

// One message with descriptors (SCM_RIGHTS) over a UNIX socket. Received ones are O_CLOEXEC.
#define FDIO_FDS_MAX 16
ssize_t fdio_send_fds(int sock, const void *bytes, size_t length, const int *fds, size_t count,
		      struct error *err);
// *count: room in, received out. Returns the length, 0 at the end of the stream, -1 on error (also
// MSG_CTRUNC, MSG_TRUNC).
ssize_t fdio_recv_fds(int sock, void *bytes, size_t length, int *fds, size_t *count,
		      struct error *err);

#endif
