// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/thaw.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/keeper_client.h"
#include "relocd/move/cable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define CRIU_MS  30000
#define KILL_MS  20000
#define LOOK_MS  20
#define TEXT_MAX 16384

static struct cgroup *open_group(const char *name)
{
	return cgroup_exists(name) ? cgroup_open(name, NULL) : NULL;
}

bool thaw_alive(const char *name)
{
	_cleanup_cgroup_ struct cgroup *cg = open_group(name);
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	return cg && cgroup_pids(cg, &pids, &count, NULL) == 0 && count;
}

bool thaw_is_frozen(const char *name)
{
	_cleanup_cgroup_ struct cgroup *cg = open_group(name);
	return cg && cgroup_is_frozen(cg, NULL) == 1;
}

// The number behind `key` in /proc/PID/status; 0: none.
static int status_number(pid_t pid, const char *key)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, TEXT_MAX, NULL);
	const char *at = text ? strstr(text, key) : NULL;
	return at ? atoi(at + strlen(key)) : 0;
}

// CRIU, when its client dies, undoes what it did to the tasks before it lets go of them; only then
// may they run.
static int await_untraced(const pid_t *pids, size_t count, struct error *err)
{
	deadline_t deadline = deadline_in_ms(CRIU_MS);
	for (size_t i = 0; i < count;) {
		int tracer = status_number(pids[i], "\nTracerPid:");
		if (!tracer) {
			i++;
			continue;
		}
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE, "process %d still holds task %d",
					 tracer, (int)pids[i]);
		clock_sleep_ms(LOOK_MS);
	}
	return 0;
}

// ---- sockets ------------------------------------------------------------------------------------

// A CRIU that was killed at post-dump leaves them in repair mode, in which nothing is sent:
// tcp(7) does not tell, linux/tcp.h has TCP_REPAIR.
static bool end_repair(int pidfd, int number)
{
	int on = 0;
	socklen_t length = sizeof(on);
	_cleanup_close_ int sock = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (sock < 0 || getsockopt(sock, IPPROTO_TCP, TCP_REPAIR, &on, &length) < 0 || !on)
		return false;
	on = TCP_REPAIR_OFF;
	if (setsockopt(sock, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) == 0)
		return true;
	log_warn("cannot end the repair mode of a socket: %s", strerror(errno));
	return false;
}

static unsigned end_repair_of(pid_t pid)
{
	char path[64], target[64];
	unsigned ended = 0;
	struct dirent *entry;
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = pidfd < 0 ? NULL : opendir(path);
	while (dir && (entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		if (n > 7 && !strncmp(target, "socket:", 7))
			ended += end_repair(pidfd, atoi(entry->d_name));
	}
	if (dir)
		closedir(dir);
	return ended;
}

static int let_go(struct cgroup *cg, const char *name, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count;
	unsigned ended = 0;
	if (cgroup_pids(cg, &pids, &count, err) < 0 || await_untraced(pids, count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		ended += end_repair_of(pids[i]);
	if (ended)
		log_warn("partition %s: %u connections were left in repair mode", name, ended);
	return 0;
}

// ---- network ------------------------------------------------------------------------------------

static void enable_ports(const struct keeper_status *status)
{
	struct error err;
	for (size_t i = 0; i < status->port_count; i++) {
		_cleanup_port_ struct port *port = port_open(status->ports[i], &err);
		if (!port || port_enable(port, &err) < 0)
			log_error_of(&err, "network");
	}
}

// The peer may have announced the addresses: ours undoes it.
static int announce(const struct keeper_status *status, const json_t *definition, struct error *err)
{
	struct cable cable = {0};
	_cleanup_definition_ struct partition_def *def = definition_from_json(definition, err);
	if (!def)
		return -1;
	int failed = cable_open(&cable, def, status, err) < 0 ||
		     cable_pull(&cable, true, err) < 0 || cable_announce(&cable, err) < 0;
	if (cable.pulled)
		cable_plug_in(&cable);
	cable_close(&cable);
	return failed ? -1 : 0;
}

static void plug_in(const char *name, const json_t *definition)
{
	struct keeper_status status;
	struct error err;
	_cleanup_close_ int conn = keeper_connect(name, &err);
	if (conn < 0 || keeper_status(conn, &status, &err) < 0) {
		log_error_of(&err, name);
		return;
	}
	_cleanup_close_ int pidfd = status.pidfd;
	(void)pidfd;
	if (definition && announce(&status, definition, &err) < 0)
		log_error_of(&err, name);
	enable_ports(&status);
}

// ---- the acts -----------------------------------------------------------------------------------

int thaw_partition(const char *name, const json_t *definition, struct error *err)
{
	_cleanup_cgroup_ struct cgroup *cg = open_group(name);
	if (!cg)
		return 0;
	if (let_go(cg, name, err) < 0)
		return -1;
	plug_in(name, definition);
	return cgroup_thaw(cg, err);
}

int thaw_kill(const char *name, struct error *err)
{
	_cleanup_cgroup_ struct cgroup *cg = open_group(name);
	_cleanup_close_ int conn = keeper_connect(name, NULL);
	if (conn >= 0 && keeper_release(conn, err) < 0)
		log_error_of(err, name); // then it notes an end by a signal
	return cg ? cgroup_kill(cg, deadline_in_ms(KILL_MS), err) : 0;
}

// The first process of the tree: the first of its pid namespace.
static pid_t find_init(struct cgroup *cg)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	if (cgroup_pids(cg, &pids, &count, NULL) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/%d/status", (int)pids[i]);
		_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, TEXT_MAX, NULL);
		char *line = text ? strstr(text, "\nNSpid:") : NULL;
		if (!line)
			continue;
		line[1 + strcspn(line + 1, "\n")] = 0;
		const char *last = strrchr(line, '\t');
		if (last && atoi(last + 1) == 1)
			return pids[i];
	}
	return 0;
}

int thaw_adopt(const char *name, struct error *err)
{
	struct keeper_status status;
	_cleanup_close_ int conn = keeper_connect(name, err);
	if (conn < 0 || keeper_status(conn, &status, err) < 0)
		return -1;
	_cleanup_close_ int pidfd = status.pidfd;
	(void)pidfd;
	if (status.state == KEEPER_RUNNING)
		return 0;
	_cleanup_cgroup_ struct cgroup *cg = cgroup_open(name, err);
	pid_t init = cg ? find_init(cg) : 0;
	if (!init)
		return error_set(err, ERR_BROKEN, "nothing of %s runs here", name);
	if (let_go(cg, name, err) < 0)
		return -1;
	plug_in(name, NULL);
	return keeper_adopt(conn, init, err);
}
