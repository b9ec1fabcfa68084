// SPDX-License-Identifier: Apache-2.0
#include "lib/storage/store.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define HEX_LENGTH   64
#define HEAD         "sha256:"
#define NEW          ".new-"
#define LOCK_TICK_MS 100

static int images_folder(char path[PATH_MAX], struct error *err)
{
	snprintf(path, PATH_MAX, "%s/images", paths_state());
	return fdio_mkdir_p(path, 0700, err);
}

char *store_path(const char *digest, const char *below, char path[PATH_MAX])
{
	const char *hex = strncmp(digest, HEAD, strlen(HEAD)) ? digest : digest + strlen(HEAD);
	snprintf(path, PATH_MAX, "%s/images/%.64s%s%s", paths_state(), hex, below ? "/" : "",
		 below ?: "");
	return path;
}

static bool same_folder(int fd, const char *path)
{
	struct stat a, b;
	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

int store_open(const char *digest, struct error *err)
{
	char path[PATH_MAX];
	store_path(digest, NULL, path);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return error_set(err, ERR_IMAGE, "the image %s is not on this host", digest);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
	// A collector holds it for a moment only, and then it has another name.
	if (flock(fd, LOCK_SH) < 0 || !same_folder(fd, path))
		return error_set(err, ERR_IMAGE, "the image %s is not on this host", digest);
	return take_fd(&fd);
}

int store_lock(deadline_t deadline, struct error *err)
{
	char path[PATH_MAX], lock[PATH_MAX + 8];
	if (images_folder(path, err) < 0)
		return -1;
	snprintf(lock, sizeof(lock), "%s/.lock", path);
	_cleanup_close_ int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", lock);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return error_sys(err, ERR_STORAGE, errno, "cannot lock %s", lock);
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE,
					 "another image is being unpacked on this host");
		clock_sleep_ms(LOCK_TICK_MS);
	}
	return take_fd(&fd);
}

int store_begin(char path[PATH_MAX], struct error *err)
{
	char folder[PATH_MAX];
	if (images_folder(folder, err) < 0)
		return -1;
	snprintf(path, PATH_MAX, "%.4000s/" NEW "XXXXXX", folder);
	if (!mkdtemp(path))
		return error_sys(err, ERR_STORAGE, errno, "cannot make %s", path);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_SH) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
	return take_fd(&fd);
}

static int sync_path(const char *path, bool whole, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || (whole ? syncfs(fd) : fsync(fd)) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot sync %s", path);
	return 0;
}

int store_finish(const char *path, const char *digest, struct error *err)
{
	char to[PATH_MAX], folder[PATH_MAX];
	store_path(digest, NULL, to);
	if (images_folder(folder, err) < 0 || sync_path(path, true, err) < 0)
		return -1;
	if (rename(path, to) < 0) {
		if (errno != EEXIST && errno != ENOTEMPTY)
			return error_sys(err, ERR_STORAGE, errno, "cannot rename %s", path);
		store_abandon(path);
	}
	return sync_path(folder, false, err) < 0 ? -1 : store_open(digest, err);
}

void store_abandon(const char *path)
{
	struct error err;
	if (store_discard(path, &err) < 0)
		log_error_of(&err, "image");
}

// ---- collecting ---------------------------------------------------------------------------------

static int trash_folder(char path[PATH_MAX], struct error *err)
{
	snprintf(path, PATH_MAX, "%s/trash", paths_state());
	return fdio_mkdir_p(path, 0700, err);
}

int store_discard(const char *path, struct error *err)
{
	static unsigned counter;
	char trash[PATH_MAX], to[PATH_MAX + 64];
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	if (trash_folder(trash, err) < 0)
		return -1;
	snprintf(to, sizeof(to), "%s/%d-%lld-%u", trash, (int)getpid(), (long long)clock_now_ns(),
		 __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED));
	if (rename(path, to) < 0)
		return errno == ENOENT
			       ? 0
			       : error_sys(err, ERR_STORAGE, errno, "cannot move %s away", path);
	return fdio_remove_tree(AT_FDCWD, to, err);
}

static bool is_image(const char *name)
{
	return strlen(name) == HEX_LENGTH && strspn(name, "0123456789abcdef") == HEX_LENGTH;
}

// Gone, unless somebody holds it.
static bool collect(const char *path)
{
	struct error err;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	if (store_discard(path, &err) == 0)
		return true;
	log_error_of(&err, "unused image");
	return false;
}

static void empty_trash(void)
{
	char path[PATH_MAX];
	struct error err;
	if (trash_folder(path, &err) < 0)
		return;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdio_opendir(fd, NULL);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir)))
		if (fdio_remove_tree(fd, entry->d_name, &err) < 0)
			log_error_of(&err, "trash");
}

int store_collect(bool (*used)(void *arg, const char *digest), void *arg)
{
	char folder[PATH_MAX], path[PATH_MAX + 256], digest[STORE_DIGEST_MAX];
	int count = 0;
	snprintf(folder, sizeof(folder), "%s/images", paths_state());
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdio_opendir(fd, NULL);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		snprintf(digest, sizeof(digest), HEAD "%.64s", entry->d_name);
		bool half_made = !strncmp(entry->d_name, NEW, strlen(NEW));
		if (!half_made && (!is_image(entry->d_name) || used(arg, digest)))
			continue;
		if (!collect(path))
			continue;
		log_info("%s is not used any more: removed", half_made ? path : digest);
		count++;
	}
	empty_trash();
	return count;
}
