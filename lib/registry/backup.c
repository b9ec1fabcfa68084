// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/backup.h"

#include "lib/base/cleanup.h"
#include "lib/registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#define BUSY_MS 5000

static int fail(sqlite3 *db, const char *path, struct error *err)
{
	return error_set(err, ERR_REGISTRY, "%s: %s", path,
			 db ? sqlite3_errmsg(db) : "cannot be opened");
}

static int open_db(const char *path, int flags, sqlite3 **db, struct error *err)
{
	if (sqlite3_open_v2(path, db, flags, NULL) != SQLITE_OK)
		return fail(*db, path, err);
	sqlite3_busy_timeout(*db, BUSY_MS);
	return 0;
}

// All pages in one step: nobody can change them meanwhile.
static int copy_pages(sqlite3 *from, sqlite3 *to, const char *path, struct error *err)
{
	sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
	if (!backup)
		return fail(to, path, err);
	int rc = sqlite3_backup_step(backup, -1);
	sqlite3_backup_finish(backup);
	if (rc != SQLITE_DONE)
		return fail(to, path, err);
	// One file, without a log beside it.
	return sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : fail(to, path, err);
}

static int copy(const char *path, const char *file, struct error *err)
{
	sqlite3 *from = NULL, *to = NULL;
	mode_t mask = umask(0077);
	int failed = open_db(path, SQLITE_OPEN_READWRITE, &from, err) < 0 ||
		     open_db(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &to, err) < 0 ||
		     copy_pages(from, to, file, err) < 0;
	umask(mask);
	sqlite3_close(to);
	sqlite3_close(from);
	return failed ? -1 : 0;
}

static int sync_file(const char *path, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0600) < 0 || fsync(fd) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot sync %s", path);
	return 0;
}

static int sync_folder_of(const char *path, struct error *err)
{
	char folder[PATH_MAX];
	snprintf(folder, sizeof(folder), "%s", path);
	char *slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = 0;
	_cleanup_close_ int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot sync the folder of %s", path);
	return 0;
}

static int put_in_place(const char *from, const char *to, struct error *err)
{
	if (sync_file(from, err) < 0)
		return -1;
	if (rename(from, to) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot rename %s to %s", from, to);
	return sync_folder_of(to, err);
}

int backup_write(const char *path, const char *file, struct error *err)
{
	char part[PATH_MAX];
	snprintf(part, sizeof(part), "%s.part", file);
	unlink(part);
	if (copy(path, part, err) == 0 && put_in_place(part, file, err) == 0)
		return 0;
	unlink(part);
	return -1;
}

// Registry and log belong together: the log of one must never meet the other.
static int set_aside(const char *path, struct error *err)
{
	static const char *const ends[] = {"-wal", "-shm", ""};
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		char from[PATH_MAX], to[PATH_MAX];
		snprintf(from, sizeof(from), "%s%s", path, ends[i]);
		snprintf(to, sizeof(to), "%s.old%s", path, ends[i]);
		unlink(to);
		if (rename(from, to) < 0 && errno != ENOENT)
			return error_sys(err, ERR_STORAGE, errno, "cannot rename %s", from);
	}
	return 0;
}

// An older one is migrated, a newer or damaged one refused.
static int mark_restored(const char *path, struct error *err)
{
	struct registry *r = registry_open(path, err);
	if (!r)
		return -1;
	int failed = registry_meta_put(r, "restored", "yes", err);
	registry_close(r);
	return failed;
}

int backup_restore(const char *path, const char *file, struct error *err)
{
	char part[PATH_MAX], other[PATH_MAX];
	struct stat st;
	snprintf(part, sizeof(part), "%s.new", path);
	unlink(part);
	if (stat(file, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size)
		return error_set(err, ERR_REGISTRY, "%s is no copy of a registry", file);
	int failed = copy(file, part, err) < 0 || mark_restored(part, err) < 0 ||
		     set_aside(path, err) < 0 || put_in_place(part, path, err) < 0;
	unlink(part);
	for (const char *const *end = (const char *const[]){"-wal", "-shm", NULL}; *end; end++) {
		snprintf(other, sizeof(other), "%s%s", part, *end);
		unlink(other);
	}
	return failed ? -1 : 0;
}
