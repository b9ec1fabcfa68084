// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/shmids.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/memory/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define TABLE_MAX (16u << 20)

void shmids_free(struct shmids *ids)
{
	free(ids->list);
	*ids = (struct shmids){0};
}

// The file shows the namespace that its opener is in.
static char *read_table(struct error *err)
{
	_cleanup_close_ int folder = open("/proc/sysvipc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 && errno == ENOENT)
		return strdup(""); // a kernel without SysV
	if (folder < 0) {
		error_sys(err, ERR_SYSTEM, errno, "cannot list SysV segments");
		return NULL;
	}
	return fdio_read_file(folder, "shm", TABLE_MAX, err);
}

static char *read_table_of(int init_folder, struct error *err)
{
	struct stat mine, theirs;
	_cleanup_close_ int here = open("/proc/thread-self/ns/ipc", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int there = openat(init_folder, "ns/ipc", O_RDONLY | O_CLOEXEC);
	if (here < 0 || there < 0 || fstat(here, &mine) < 0 || fstat(there, &theirs) < 0) {
		error_sys(err, ERR_SYSTEM, errno, "cannot open the namespace of SysV segments");
		return NULL;
	}
	if (mine.st_ino == theirs.st_ino)
		return read_table(err);
	if (setns(there, CLONE_NEWIPC) < 0) {
		error_sys(err, ERR_SYSTEM, errno, "cannot enter the namespace of SysV segments");
		return NULL;
	}
	char *table = read_table(err);
	// Going back only fails if somebody took our privileges meanwhile.
	if (setns(here, CLONE_NEWIPC) < 0)
		abort();
	return table;
}

static size_t lines_of(const char *text)
{
	size_t n = 0;
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

int shmids_read(int init_folder, struct shmids *ids, struct error *err)
{
	struct stat st;
	*ids = (struct shmids){0};
	_cleanup_close_ int sample = memfd_create("sample", MFD_CLOEXEC);
	if (sample < 0 || fstat(sample, &st) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot look at shared memory");
	ids->dev = st.st_dev;
	_cleanup_free_ char *table = read_table_of(init_folder, err);
	if (!table)
		return -1;
	ids->list = calloc(lines_of(table) + 1, sizeof(*ids->list));
	if (!ids->list)
		return error_set(err, ERR_NOMEM, "no memory for a list of segments");
	// A line of headings, then key, id ...
	for (const char *at = table; (at = strchr(at, '\n')) && *++at;) {
		long long key, id;
		if (sscanf(at, "%lld %lld", &key, &id) == 2)
			ids->list[ids->count++] = (uint64_t)id;
	}
	return 0;
}

static bool has(const struct shmids *ids, uint64_t number)
{
	for (size_t i = 0; i < ids->count; i++)
		if (ids->list[i] == number)
			return true;
	return false;
}

static int refuse(const struct task *t, const char *what, struct error *err)
{
	error_set(err, ERR_UNDUMPABLE, "pid %d (%s) has %s with the number of a SysV segment",
		  (int)t->inner, t->name, what);
	return error_hint(err, "CRIU would mix them up; started anew the program gets another one");
}

static int check_mapped(const struct shmids *ids, const struct task *t, struct error *err)
{
	_cleanup_maps_ struct maps maps;
	if (maps_read(t->folder, &maps, NULL) < 0)
		return 0; // it has ended
	for (size_t i = 0; i < maps.count; i++) {
		const struct vma *v = &maps.list[i];
		if (v->kind == VMA_SEGMENT && !v->sysv && v->dev == ids->dev && has(ids, v->inode))
			return refuse(t, "shared memory", err);
	}
	return 0;
}

static int check_open(const struct shmids *ids, const struct task *t, struct error *err)
{
	struct stat st;
	int folder = openat(t->folder, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir)))
		if (fstatat(folder, entry->d_name, &st, 0) == 0 && st.st_dev == ids->dev &&
		    has(ids, st.st_ino))
			return refuse(t, "a memfd", err);
	return 0;
}

int shmids_check(const struct shmids *ids, const struct task *t, struct error *err)
{
	if (ids->count == 0)
		return 0;
	return check_mapped(ids, t, err) < 0 ? -1 : check_open(ids, t, err);
}
