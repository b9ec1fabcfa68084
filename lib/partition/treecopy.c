// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/treecopy.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define DEPTH_MAX 16

static int copy_bytes(int from, int to, struct error *err)
{
	for (;;) {
		ssize_t n = sendfile(to, from, NULL, 1 << 20);
		if (n < 0 && errno != EINTR)
			return error_sys(err, ERR_STORAGE, errno, "cannot copy a file");
		if (n == 0)
			return 0;
	}
}

int treecopy_file(const char *from, const char *to, mode_t mode, struct error *err)
{
	_cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", from);
	_cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot create %s", to);
	if (copy_bytes(in, out, err) < 0 || fchmod(out, mode) < 0)
		return error_wrap(err, "%s", to);
	return 0;
}

static int copy_folder(int from, int to, int depth, struct error *err);

static int copy_file(int from, int to, const char *name, const struct stat *st, struct error *err)
{
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int out =
		openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (in < 0 || out < 0 || fchown(out, st->st_uid, st->st_gid) < 0 ||
	    fchmod(out, st->st_mode & 07777) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot copy %s", name);
	return copy_bytes(in, out, err);
}

static int copy_link(int from, int to, const char *name, const struct stat *st, struct error *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
	if (n < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot read link %s", name);
	target[n] = 0;
	if (symlinkat(target, to, name) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot make link %s", name);
	return 0;
}

static int copy_subfolder(int from, int to, const char *name, const struct stat *st, int depth,
			  struct error *err)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	_cleanup_close_ int in = openat(from, name, flags);
	if (mkdirat(to, name, 0700) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot make folder %s", name);
	_cleanup_close_ int out = openat(to, name, flags);
	if (in < 0 || out < 0 || fchown(out, st->st_uid, st->st_gid) < 0 ||
	    fchmod(out, st->st_mode & 07777) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot copy folder %s", name);
	return copy_folder(in, out, depth + 1, err);
}

static int copy_entry(int from, int to, const char *name, int depth, struct error *err)
{
	struct stat st;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot look at %s", name);
	if (S_ISDIR(st.st_mode))
		return copy_subfolder(from, to, name, &st, depth, err);
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name, &st, err);
	return S_ISLNK(st.st_mode) ? copy_link(from, to, name, &st, err) : 0;
}

static int copy_folder(int from, int to, int depth, struct error *err)
{
	if (depth > DEPTH_MAX)
		return error_set(err, ERR_STORAGE, "folders are nested too deeply");
	_cleanup_closedir_ DIR *dir = fdio_opendir(from, err);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir)))
		if (copy_entry(from, to, entry->d_name, depth, err) < 0)
			return -1;
	return dir ? 0 : -1;
}

int treecopy_from_root(const char *root, const char *folder, const char *to, struct error *err)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	_cleanup_close_ int top = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int out = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0 || out < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", top < 0 ? root : to);
	_cleanup_close_ int in = (int)syscall(SYS_openat2, top, folder, &how, sizeof(how));
	if (in < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : error_sys(err, ERR_STORAGE, errno, "cannot open %s/%s", root,
					   folder);
	return copy_folder(in, out, 0, err) < 0 ? error_wrap(err, "%s/%s", root, folder) : 0;
}
