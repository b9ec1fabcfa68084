// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/sockets.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/net/unixdiag.h"
#include "lib/partition/locality.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define JOURNAL_MAX (4u << 20)

static int open_beneath(int folder, const char *path, uint64_t resolve)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = resolve};
	while (*path == '/')
		path++;
	return (int)syscall(SYS_openat2, folder, *path ? path : ".", &how, sizeof(how));
}

// ---- the journal: [{"base","folder","name","second"}]
// --------------------------------------------

static char *journal_path(const char *move, char path[512])
{
	snprintf(path, 512, "%s/%s.sockets", paths_moves(), move);
	return path;
}

static json_t *read_journal(const char *move)
{
	char path[512];
	_cleanup_free_ char *text =
		fdio_read_file(AT_FDCWD, journal_path(move, path), JOURNAL_MAX, NULL);
	return text ? json_loads(text, 0, NULL) : NULL;
}

static int write_journal(const char *move, const json_t *places, struct error *err)
{
	char path[512];
	_cleanup_free_ char *text = json_dumps(places, JSON_COMPACT);
	if (!text)
		return error_set(err, ERR_NOMEM, "no memory for a journal");
	return fdio_replace_file(journal_path(move, path), text, strlen(text), 0600, err);
}

// Where a socket is, from the host: a folder below one that the definition names. Links in between
// are not followed: they may have changed.
struct place {
	const char *base, *folder, *name, *second;
};

static int open_place(const json_t *entry, struct place *p)
{
	if (json_unpack((json_t *)entry, "{s:s, s:s, s:s, s:s}", "base", &p->base, "folder",
			&p->folder, "name", &p->name, "second", &p->second) < 0)
		return -1;
	_cleanup_close_ int base = open(p->base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return base < 0 ? -1 : open_beneath(base, p->folder, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

// ---- keeping -----------------------------------------------------------------------------------

struct keeping {
	const struct partition_def *def;
	const char *move;
	struct locality locality; // once it is needed
	struct cgroup *cg;
	pid_t init;
	json_t *places;
};

// The folder of a socket's path, if the socket is there under `root` (or `start`, for a relative
// path).
static int folder_of(int start, const struct unixdiag_socket *s, const char **name)
{
	char folder[sizeof(s->path)];
	struct stat st;
	snprintf(folder, sizeof(folder), "%s", s->path);
	char *slash = strrchr(folder, '/');
	*name = slash ? s->path + (slash - folder) + 1 : s->path;
	if (slash)
		slash[slash == folder] = 0;
	_cleanup_close_ int fd =
		open_beneath(start, slash ? folder : ".", s->path[0] == '/' ? RESOLVE_IN_ROOT : 0);
	if (fd < 0 || fstatat(fd, *name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(st.st_mode) ||
	    st.st_ino != s->file)
		return -1;
	return take_fd(&fd);
}

static int open_of(pid_t pid, const char *what)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

// A relative path is as seen from the folder of whoever bound it: one of the processes, most likely
// still there. -1: nowhere, so it has lost its name already.
static int find_folder(const struct keeping *k, const struct unixdiag_socket *s, const char **name)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	int folder = -1;
	if (s->path[0] == '/') {
		_cleanup_close_ int root = open_of(k->init, "root");
		return root < 0 ? -1 : folder_of(root, s, name);
	}
	if (cgroup_pids(k->cg, &pids, &count, NULL) < 0)
		return -1;
	for (size_t i = 0; i < count && folder < 0; i++) {
		_cleanup_close_ int cwd = open_of(pids[i], "cwd");
		folder = cwd < 0 ? -1 : folder_of(cwd, s, name);
	}
	return folder;
}

// Is the folder `rest` below `base` that one?
static bool is_there(const char *base, const char *rest, const struct stat *wanted)
{
	struct stat st;
	_cleanup_close_ int start = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd =
		start < 0 ? -1 : open_beneath(start, rest, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == wanted->st_dev &&
	       st.st_ino == wanted->st_ino;
}

// A path inside the partition as base and rest on the host.
static const char *find_base(const struct partition_def *def, const char *inner,
			     const struct stat *wanted, const char **rest)
{
	for (size_t i = 0; i < def->mount_count; i++) {
		const struct partition_mount *m = &def->mounts[i];
		size_t length = strlen(m->destination);
		if (m->type != MOUNT_BIND || strncmp(inner, m->destination, length) != 0)
			continue;
		*rest = inner + length;
		if (is_there(m->source, *rest, wanted))
			return m->source;
	}
	*rest = inner;
	return def->rootfs && def->rootfs[0] && is_there(def->rootfs, inner, wanted) ? def->rootfs
										     : NULL;
}

static int add_place(struct keeping *k, int folder, const char *name, const char *path,
		     struct error *err)
{
	char link[32], inner[PATH_MAX], second[96];
	const char *rest, *base = NULL;
	struct stat st;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", folder);
	ssize_t n = readlink(link, inner, sizeof(inner) - 1);
	if (n > 0 && fstat(folder, &st) == 0) {
		inner[n] = 0;
		base = find_base(k->def, inner, &st, &rest);
	}
	if (!base)
		return error_set(err, ERR_SOCKET_PATH,
				 "the UNIX socket %s lies neither in the root filesystem nor in a "
				 "volume of the partition, and its name would be lost in a move",
				 path);
	snprintf(second, sizeof(second), ".wpar-%s-%zu", k->move, json_array_size(k->places));
	json_array_append_new(k->places, json_pack("{s:s, s:s, s:s, s:s}", "base", base, "folder",
						   rest, "name", name, "second", second));
	return 0;
}

static int keep_one(const struct unixdiag_socket *s, void *arg, struct error *err)
{
	struct keeping *k = arg;
	const char *name;
	if (!s->path[0] || !s->file)
		return 0;
	if (!k->locality.volatile_fs && locality_of(k->init, &k->locality, err) < 0)
		return -1;
	if (locality_private(&k->locality, s->filesystem))
		return 0;
	_cleanup_close_ int folder = find_folder(k, s, &name);
	return folder < 0 ? 0 : add_place(k, folder, name, s->path, err);
}

// Is the first name the link that stands in for the socket meanwhile?
static bool is_stand_in(const struct place *p, int folder)
{
	char target[96];
	ssize_t n = readlinkat(folder, p->name, target, sizeof(target));
	return n >= 0 && (size_t)n == strlen(p->second) && !memcmp(target, p->second, (size_t)n);
}

// The socket's own entry moves to the second name, and a symbolic link to it stands at the first.
// For the kernel, and for CRIU, a socket whose own entry was removed has no name any more, whatever
// is put in its place: what the destination removes must not be it.
static int put_aside(const json_t *entry, struct error *err)
{
	struct place p = {0};
	_cleanup_close_ int folder = open_place(entry, &p);
	int done = folder < 0 ? -1 : symlinkat(p.second, folder, p.second);
	if (done == 0 && renameat2(folder, p.name, folder, p.second, RENAME_EXCHANGE) < 0) {
		// A filesystem that cannot exchange two entries, as NFS: the tasks are frozen.
		done = renameat(folder, p.name, folder, p.second);
		if (done == 0)
			done = symlinkat(p.second, folder, p.name);
	}
	if (done < 0)
		return error_sys(err, ERR_SOCKET_PATH, errno,
				 "the name of the UNIX socket %s in %s%s cannot be kept", p.name,
				 p.base, p.folder);
	return 0;
}

int sockets_aside(const char *move, struct error *err)
{
	_cleanup_json_ json_t *places = read_journal(move);
	for (size_t i = 0; i < json_array_size(places); i++)
		if (put_aside(json_array_get(places, i), err) < 0)
			return -1;
	return 0;
}

int sockets_keep(int diag, struct cgroup *cg, pid_t init, const struct partition_def *def,
		 const char *move, size_t *count, struct error *err)
{
	_cleanup_json_ json_t *places = json_array();
	struct keeping k = {.def = def, .move = move, .cg = cg, .init = init, .places = places};
	*count = 0;
	if (unixdiag_each(diag, keep_one, &k, err) < 0)
		return -1;
	if (json_array_size(places) == 0)
		return 0;
	if (write_journal(move, places, err) < 0)
		return -1;
	*count = json_array_size(places);
	return 0;
}

// ---- giving back -------------------------------------------------------------------------------

static int is_file(const struct unixdiag_socket *s, void *arg, struct error *err)
{
	const struct stat *st = arg;
	(void)err;
	return s->file == st->st_ino ? -1 : 0; // not found again by devices: btrfs has many
}

// The entry at the second name is a socket as soon as it was put aside.
static bool is_aside(const struct place *p, int folder)
{
	struct stat st;
	return folder >= 0 && fstatat(folder, p->second, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISSOCK(st.st_mode);
}

// By a third name, so that there is one at any moment.
static int restore_one(const json_t *entry, int diag, struct error *err)
{
	struct place p = {0};
	struct stat now;
	char third[128];
	_cleanup_close_ int folder = open_place(entry, &p);
	if (!is_aside(&p, folder) || is_stand_in(&p, folder))
		return 0;
	bool there = fstatat(folder, p.name, &now, AT_SYMLINK_NOFOLLOW) == 0;
	// The partition runs: it may have made another one, or removed it.
	if (diag >= 0 && (!there || unixdiag_each(diag, is_file, &now, NULL) < 0))
		return 0;
	snprintf(third, sizeof(third), "%s.", p.second);
	unlinkat(folder, third, 0);
	if (symlinkat(p.second, folder, third) < 0 || renameat(folder, third, folder, p.name) < 0)
		return error_sys(err, ERR_STORAGE, errno,
				 "the UNIX socket %s in %s%s cannot get its name back: it is %s",
				 p.name, p.base, p.folder, p.second);
	return 0;
}

int sockets_restore(const char *move, int diag, struct error *err)
{
	_cleanup_json_ json_t *places = read_journal(move);
	int result = 0;
	for (size_t i = 0; i < json_array_size(places); i++)
		if (restore_one(json_array_get(places, i), diag, result ? NULL : err) < 0)
			result = -1;
	return result;
}

// Where the link still stands in for it, the socket itself goes back to its first name; else that
// is the destination's, or the partition's, by now.
static void drop_second(const struct place *p, int folder)
{
	int done;
	if (is_aside(p, folder) && is_stand_in(p, folder))
		done = renameat(folder, p->second, folder, p->name);
	else
		done = unlinkat(folder, p->second, 0);
	if (done < 0 && errno != ENOENT)
		log_warn("cannot remove %s%s/%s: %s", p->base, p->folder, p->second,
			 strerror(errno));
}

void sockets_forget(const char *move)
{
	_cleanup_json_ json_t *places = read_journal(move);
	char path[512];
	if (!places)
		return;
	for (size_t i = 0; i < json_array_size(places); i++) {
		struct place p = {0};
		_cleanup_close_ int folder = open_place(json_array_get(places, i), &p);
		if (folder >= 0)
			drop_second(&p, folder);
	}
	if (unlink(journal_path(move, path)) < 0)
		log_warn("cannot remove %s: %s", path, strerror(errno));
}

void sockets_undo(const char *move)
{
	struct error err;
	if (sockets_restore(move, -1, &err) < 0)
		log_error_of(&err, move);
	else
		sockets_forget(move);
}
