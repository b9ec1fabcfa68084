// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/facts.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/paths.h"
#include "lib/criu/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define PROC_MAX    (4u << 20)
#define SELFTEST_MS 30000

void facts_kernel(char release[FACTS_KERNEL_MAX])
{
	struct utsname names;
	uname(&names);
	snprintf(release, FACTS_KERNEL_MAX, "%s", names.release);
}

json_t *facts_cpu_features(struct error *err)
{
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, "/proc/cpuinfo", PROC_MAX, err);
	if (!text)
		return NULL;
	char *line = strstr(text, "\nflags");
	char *flags = line ? strchr(line, ':') : NULL;
	json_t *features = json_array();
	if (!flags)
		return features;
	char *end = strchr(flags, '\n'), *rest = NULL;
	if (end)
		*end = 0;
	for (char *f = strtok_r(flags + 1, " ", &rest); f; f = strtok_r(NULL, " ", &rest))
		json_array_append_new(features, json_string(f));
	return features;
}

static bool contains(const json_t *array, const char *text)
{
	for (size_t i = 0; i < json_array_size(array); i++)
		if (!strcmp(json_string_value(json_array_get(array, i)), text))
			return true;
	return false;
}

int facts_cpu_compare(const json_t *wanted, const json_t *have, struct error *err)
{
	char missing[400] = "";
	for (size_t i = 0; i < json_array_size(wanted); i++) {
		const char *feature = json_string_value(json_array_get(wanted, i));
		size_t n = strlen(missing);
		if (feature && !contains(have, feature))
			snprintf(missing + n, sizeof(missing) - n, "%s%s", n ? " " : "", feature);
	}
	if (missing[0])
		return error_set(err, ERR_CPU,
				 "the processor lacks what the partition started with: %s",
				 missing);
	return 0;
}

int facts_criu(const json_t *start, struct criu_program *program, struct criu_version *version,
	       struct error *err)
{
	const char *path = json_string_value(json_object_get(start, "criu"));
	const char *preload = json_string_value(json_object_get(start, "criu_preload"));
	if (criu_program_find(path, preload, program, err) < 0)
		return -1;
	return criu_selftest_cached(program, paths_state(), deadline_in_ms(SELFTEST_MS), version,
				    err);
}

// The number behind "Name:" in a file of /proc, in KiB.
static uint64_t kib_after(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

int facts_memory(uint64_t *available, uint64_t *total, struct error *err)
{
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, "/proc/meminfo", PROC_MAX, err);
	if (!text)
		return -1;
	*available = kib_after(text, "MemAvailable:") * 1024;
	*total = kib_after(text, "MemTotal:") * 1024;
	return 0;
}

uint64_t facts_spare(uint64_t available)
{
	return available / 4 < FACTS_SPARE_MAX ? available / 4 : FACTS_SPARE_MAX;
}

int facts_folder(const char *path, struct facts_folder *folder, struct error *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return error_sys(err, ERR_ROOTFS_MISSING, errno, "root filesystem %s is not there",
				 path);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ERR_ROOTFS_MISSING, "root filesystem %s is not a folder",
				 path);
	folder->inode = st.st_ino;
	folder->ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
	return 0;
}

int facts_task(pid_t pid, struct facts_task *task, struct error *err)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, PROC_MAX, err);
	if (!text)
		return -1;
	char *inner = strstr(text, "\nNSpid:");
	char *end = inner ? strchr(inner + 1, '\n') : NULL;
	if (!end)
		return error_set(err, ERR_SYSTEM, "%s has no NSpid line", path);
	*end = 0;
	task->inner = (pid_t)strtol(strrchr(inner, '\t') + 1, NULL, 10);
	*end = '\n';
	task->resident_bytes = kib_after(text, "RssAnon:") * 1024;
	task->private_bytes = task->resident_bytes + kib_after(text, "VmSwap:") * 1024;
	return 0;
}
