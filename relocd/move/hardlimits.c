// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/hardlimits.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/rlimit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_COLUMNS 26 // of the first column, see proc_pid_limits() of the kernel

static const struct {
	const char *name; // in /proc/PID/limits
	int resource;
} lines[] = {
	{"Max cpu time", RLIMIT_CPU},
	{"Max file size", RLIMIT_FSIZE},
	{"Max data size", RLIMIT_DATA},
	{"Max stack size", RLIMIT_STACK},
	{"Max core file size", RLIMIT_CORE},
	{"Max resident set", RLIMIT_RSS},
	{"Max processes", RLIMIT_NPROC},
	{"Max open files", RLIMIT_NOFILE},
	{"Max locked memory", RLIMIT_MEMLOCK},
	{"Max address space", RLIMIT_AS},
	{"Max file locks", RLIMIT_LOCKS},
	{"Max pending signals", RLIMIT_SIGPENDING},
	{"Max msgqueue size", RLIMIT_MSGQUEUE},
	{"Max nice priority", RLIMIT_NICE},
	{"Max realtime priority", RLIMIT_RTPRIO},
	{"Max realtime timeout", RLIMIT_RTTIME},
};

static uint64_t hard_of(const char *line)
{
	char soft[32], hard[32];
	if (strcspn(line, "\n") < NAME_COLUMNS ||
	    sscanf(line + NAME_COLUMNS, "%31s %31s", soft, hard) != 2)
		return 0;
	return strcmp(hard, "unlimited") ? strtoull(hard, NULL, 10) : RLIM_INFINITY;
}

void hardlimits_read(const char *text, uint64_t most[RLIM_NLIMITS])
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		const char *line = strstr(text, lines[i].name);
		uint64_t hard = line ? hard_of(line) : 0;
		if (hard > most[lines[i].resource])
			most[lines[i].resource] = hard;
	}
}

void hardlimits_of(const pid_t *pids, size_t count, uint64_t most[RLIM_NLIMITS])
{
	memset(most, 0, RLIM_NLIMITS * sizeof(*most));
	for (size_t i = 0; i < count; i++) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/%d/limits", (int)pids[i]);
		_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, 1 << 16, NULL);
		if (text)
			hardlimits_read(text, most);
	}
}

static char *limit_text(uint64_t limit, char text[32])
{
	if (limit == RLIM_INFINITY)
		strcpy(text, "unlimited");
	else
		snprintf(text, 32, "%" PRIu64, limit);
	return text;
}

int hardlimits_take(const uint64_t *wanted, size_t count, struct error *err)
{
	for (size_t i = 0; i < count && i < RLIM_NLIMITS; i++) {
		struct rlimit own;
		char theirs[32], ours[32];
		if (getrlimit((int)i, &own) < 0 || own.rlim_max >= wanted[i])
			continue;
		struct rlimit more = {own.rlim_cur, wanted[i]};
		if (setrlimit((int)i, &more) < 0)
			return error_set(err, ERR_RLIMIT,
					 "a process may have %s %s (hard), relocd here only %s",
					 rlimit_name((int)i), limit_text(wanted[i], theirs),
					 limit_text(own.rlim_max, ours));
	}
	return 0;
}
