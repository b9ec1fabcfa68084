// SPDX-License-Identifier: Apache-2.0
// CRIU died by itself (the OOM killer, an administrator) while it held the partition: what it would
// have undone in the end is undone here, as far as anybody can.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define KILL_MS     5000
#define MAPS_MAX    (64u << 20)
#define LISTENS_MAX 256
#define REPAIR_OFF  (-1) // TCP_REPAIR_OFF_NO_WP of linux/tcp.h: sends nothing

// A port on which the partition listens, and whether with SO_REUSEADDR, as what it accepts there
// inherits.
struct listens {
	struct {
		in_port_t port;
		int reuse;
	} all[LISTENS_MAX];
	size_t count;
	size_t repaired;
};

static int option(int sock, int level, int name)
{
	int value = 0;
	socklen_t length = sizeof(value);
	return getsockopt(sock, level, name, &value, &length) < 0 ? -1 : value;
}

static in_port_t port_of(int sock)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = {0};
	socklen_t length = sizeof(a);
	getsockname(sock, &a.any, &length);
	return a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port;
}

static void note_listener(struct listens *l, int sock)
{
	if (option(sock, SOL_SOCKET, SO_ACCEPTCONN) != 1 || l->count == LISTENS_MAX)
		return;
	l->all[l->count].port = port_of(sock);
	l->all[l->count++].reuse = option(sock, SOL_SOCKET, SO_REUSEADDR);
}

// The end of the repair mode clears SO_REUSEADDR.
static void end_repair(struct listens *l, int sock)
{
	int off = REPAIR_OFF, one = 1;
	if (option(sock, IPPROTO_TCP, TCP_REPAIR) != 1)
		return;
	if (setsockopt(sock, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) < 0) {
		log_warn("a TCP socket stays in repair mode: %s", strerror(errno));
		return;
	}
	l->repaired++;
	in_port_t port = port_of(sock);
	for (size_t i = 0; i < l->count; i++)
		if (l->all[i].port == port && l->all[i].reuse)
			setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
}

static void each_tcp_socket(pid_t pid, void (*act)(struct listens *l, int sock), struct listens *l)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	_cleanup_closedir_ DIR *dir = pidfd < 0 ? NULL : opendir(path);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir))) {
		struct stat st;
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) < 0 || !S_ISSOCK(st.st_mode))
			continue;
		_cleanup_close_ int sock =
			(int)syscall(SYS_pidfd_getfd, pidfd, atoi(entry->d_name), 0);
		if (sock >= 0 && option(sock, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP)
			act(l, sock);
	}
}

// CRIU's own code in a task, in a memory file of that name: the task's registers are CRIU's.
static bool is_infected(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	_cleanup_free_ char *maps = fdio_read_file(AT_FDCWD, path, MAPS_MAX, NULL);
	return maps && strstr(maps, "/memfd:CRIUMFD");
}

// Second names that CRIU gave to files which are open but have lost their own: link_remap.N beside
// it.
static void remove_remap(int folder, const struct stat *wanted)
{
	_cleanup_closedir_ DIR *dir = fdio_opendir(folder, NULL);
	struct dirent *entry;
	struct stat st;
	while (dir && (entry = fdio_readdir(dir)))
		if (!strncmp(entry->d_name, "link_remap.", 11) &&
		    fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_ino == wanted->st_ino && st.st_dev == wanted->st_dev)
			unlinkat(folder, entry->d_name, 0);
}

static void remove_remaps_of(pid_t pid)
{
	char path[64], link[PATH_MAX], root[64];
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
	_cleanup_close_ int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = top < 0 ? NULL : opendir(path);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir))) {
		struct stat st;
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		link[n < 0 ? 0 : n] = 0;
		if (link[0] != '/' || !strstr(link, " (deleted)") ||
		    fstatat(dirfd(dir), entry->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode))
			continue;
		*strrchr(link, '/') = 0;
		_cleanup_close_ int folder =
			openat(top, link[0] ? link + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (folder >= 0)
			remove_remap(folder, &st);
	}
}

// One that the kernel holds is left to init: nobody waits for it while the partition stands still.
void departure_kill_criu(struct departure *d)
{
	if (d->criu_pid <= 0)
		return;
	log_warn("criu %d is killed", (int)d->criu_pid);
	kill(d->criu_pid, SIGKILL);
	if (!spawn_wait_until(d->criu_pid, deadline_in_ms(KILL_MS)))
		log_error("criu %d does not end: the kernel holds it", (int)d->criu_pid);
	d->criu_pid = 0;
}

int departure_cure(struct departure *d, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	struct listens listens = {.count = 0};
	size_t count;
	departure_kill_criu(d); // it is traced by nobody only when CRIU is gone
	if (cgroup_pids(d->cgroup, &pids, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (is_infected(pids[i]))
			return error_set(err, ERR_BROKEN,
					 "CRIU died while its code was in the partition's "
					 "processes: they cannot go on");
	for (size_t i = 0; i < count; i++)
		each_tcp_socket(pids[i], note_listener, &listens);
	for (size_t i = 0; i < count; i++)
		each_tcp_socket(pids[i], end_repair, &listens);
	for (size_t i = 0; i < count; i++)
		remove_remaps_of(pids[i]);
	log_info("CRIU died: %zu TCP sockets were taken out of repair mode", listens.repaired);
	return 0;
}
