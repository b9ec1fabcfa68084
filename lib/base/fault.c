// SPDX-License-Identifier: Apache-2.0
#include "lib/base/fault.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX     (64u << 10)
#define DELAY_MAX_MS 600000

static const char *of_process;

static const struct {
	const char *name;
	bool has_when;
} kinds[] = {[FAULT_PHASE] = {"phase", false},
	     [FAULT_RECORD] = {"record", true},
	     [FAULT_SEND] = {"send", true},
	     [FAULT_RECEIVE] = {"receive", false},
	     [FAULT_CRIU] = {"criu", true}};

enum action { ACTION_ERROR, ACTION_KILL, ACTION_STOP, ACTION_DELAY, ACTION_LEFT };

static const struct {
	const char *name;
	enum action action;
	enum fault left; // to the caller
} actions[] = {{"error", ACTION_ERROR, FAULT_ERROR},
	       {"kill", ACTION_KILL, FAULT_NONE},
	       {"stop", ACTION_STOP, FAULT_NONE},
	       {"delay", ACTION_DELAY, FAULT_NONE},
	       {"drop-link", ACTION_LEFT, FAULT_DROP_LINK},
	       {"short-write", ACTION_LEFT, FAULT_SHORT_WRITE},
	       {"torn", ACTION_LEFT, FAULT_TORN},
	       {"no-space", ACTION_LEFT, FAULT_NO_SPACE}};

struct order {
	size_t action; // of actions
	int64_t ms;
};

void fault_begin(const char *process)
{
	of_process = process;
}

void fault_point(char point[FAULT_POINT_MAX], const char *process, enum fault_kind kind,
		 const char *name, enum fault_when when)
{
	const char *time = when == FAULT_BEFORE ? ":before" : ":after";
	snprintf(point, FAULT_POINT_MAX, "%s:%s:%s%s", process, kinds[kind].name, name,
		 kinds[kind].has_when ? time : "");
	for (char *c = point; *c; c++)
		*c = (char)tolower((unsigned char)*c);
}

// ---- the orders ---------------------------------------------------------------------------------

// NULL: there are none. What others than root may write is not obeyed.
static char *read_orders(void)
{
	char path[PATH_MAX];
	struct stat st;
	snprintf(path, sizeof(path), "%s/faults", paths_etc());
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_mode & (S_IWGRP | S_IWOTH)) {
		log_warn("%s is not obeyed: others than its owner may write it", path);
		return NULL;
	}
	return fdio_read_text(fd, path, FILE_MAX, NULL);
}

// The order of a line, if it is for this point.
static bool parse(const char *line, const char *point, struct order *o)
{
	char where[FAULT_POINT_MAX], action[16];
	long ms = 0;
	if (sscanf(line, " %79s %15s %ld", where, action, &ms) < 2 || strcmp(where, point) != 0)
		return false;
	o->ms = ms < 0 ? 0 : ms > DELAY_MAX_MS ? DELAY_MAX_MS : ms;
	for (o->action = 0; o->action < ARRAY_SIZE(actions); o->action++)
		if (!strcmp(actions[o->action].name, action))
			return true;
	log_warn("at %s no \"%s\" can be ordered", point, action);
	return false;
}

static bool find(char *orders, const char *point, struct order *o)
{
	char *rest = NULL;
	for (char *line = strtok_r(orders, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (parse(line, point, o))
			return true;
	return false;
}

// ---- what has struck ----------------------------------------------------------------------------

// False: it has before, or that cannot be noted.
static bool note(const char *point, const struct order *o)
{
	char path[PATH_MAX], line[FAULT_POINT_MAX + 40];
	snprintf(path, sizeof(path), "%s/faults", paths_run());
	int length = snprintf(line, sizeof(line), "%s %s ", point, actions[o->action].name);
	_cleanup_close_ int fd =
		open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	_cleanup_free_ char *before = fd < 0 ? NULL : fdio_read_text(fd, path, FILE_MAX, NULL);
	if (!before || strstr(before, line))
		return false;
	length += snprintf(line + length, sizeof(line) - (size_t)length, "%d\n", (int)getpid());
	return write(fd, line, (size_t)length) == length;
}

// ---- to strike ----------------------------------------------------------------------------------

static enum fault strike(const char *point, const struct order *o, struct error *err)
{
	log_warn("fault at %s: %s", point, actions[o->action].name);
	switch (actions[o->action].action) {
	case ACTION_KILL:
		kill(getpid(), SIGKILL);
		break;
	case ACTION_STOP:
		kill(getpid(), SIGSTOP);
		break;
	case ACTION_DELAY:
		clock_sleep_ms(o->ms);
		break;
	case ACTION_ERROR:
		error_set(err, ERR_FAULT, "a fault was ordered at %s", point);
		break;
	case ACTION_LEFT:
		break;
	}
	return actions[o->action].left;
}

enum fault fault_at(enum fault_kind kind, const char *name, enum fault_when when, struct error *err)
{
	char point[FAULT_POINT_MAX];
	struct order o;
	_cleanup_free_ char *orders = of_process ? read_orders() : NULL;
	if (!orders)
		return FAULT_NONE;
	fault_point(point, of_process, kind, name, when);
	return find(orders, point, &o) && note(point, &o) ? strike(point, &o, err) : FAULT_NONE;
}
