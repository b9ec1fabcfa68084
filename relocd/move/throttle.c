// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/throttle.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORD_MAX 64

static char *record_path(const char *move, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/moves/%s.throttle", paths_run(), move);
	return path;
}

static int record(const char *move, uint64_t before, struct error *err)
{
	char path[PATH_MAX], folder[PATH_MAX], text[RECORD_MAX];
	snprintf(folder, sizeof(folder), "%s/moves", paths_run());
	if (fdio_mkdir_p(folder, 0700, err) < 0)
		return -1;
	snprintf(text, sizeof(text), "%" PRIu64 "\n", before);
	return fdio_replace_file(record_path(move, path), text, strlen(text), 0600, err);
}

int throttle_set(struct cgroup *cg, const char *move, uint64_t before, uint64_t cpu_millis,
		 struct error *err)
{
	if (record(move, before, err) < 0)
		return -1;
	return cgroup_limit_cpu(cg, cpu_millis, err);
}

// 1: *before; 0: there is no record.
static int read_record(const char *path, uint64_t *before, struct error *err)
{
	struct error why;
	char *end = NULL;
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, RECORD_MAX, &why);
	if (!text && access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	errno = 0;
	*before = text ? strtoull(text, &end, 10) : 0;
	if (!text || errno || end == text || strcmp(end, "\n"))
		return error_set(err, ERR_STORAGE, "%s cannot be understood", path);
	return 1;
}

int throttle_end(struct cgroup *cg, const char *move, struct error *err)
{
	char path[PATH_MAX];
	uint64_t before;
	int found = read_record(record_path(move, path), &before, err);
	if (found <= 0)
		return found;
	if (cgroup_limit_cpu(cg, before, err) < 0)
		return -1;
	unlink(path);
	return 1;
}

int throttle_end_of(const char *partition, const char *move, struct error *err)
{
	char path[PATH_MAX];
	if (access(record_path(move, path), F_OK) < 0)
		return 0;
	if (!cgroup_exists(partition)) {
		unlink(path);
		return 1;
	}
	_cleanup_cgroup_ struct cgroup *cg = cgroup_open(partition, err);
	return cg ? throttle_end(cg, move, err) : -1;
}
