// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/undumpable.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define STATUS_MAX (64u << 10)
#define MAPS_MAX   (64u << 20)

// A process being looked at.
struct task {
	pid_t pid, inner, parent;
	char name[32];
	int folder; // /proc/PID
};

// What a descriptor's link says, and what that means for CRIU.
static const struct {
	const char *link;
	enum error_id id;
	const char *what;
} descriptors[] = {
	{"anon_inode:[io_uring]", ERR_IO_URING, "an io_uring instance"},
	{"anon_inode:[userfaultfd]", ERR_UNDUMPABLE, "a userfaultfd"},
	{"anon_inode:[perf_event]", ERR_UNDUMPABLE, "a perf event"},
	{"anon_inode:bpf-", ERR_UNDUMPABLE, "a BPF object"},
	{"anon_inode:kvm-", ERR_UNDUMPABLE, "a KVM object"},
	{"anon_inode:[fanotify]", ERR_UNDUMPABLE, "a fanotify group"},
	{"anon_inode:seccomp notify", ERR_UNDUMPABLE, "a seccomp notification"},
	{"anon_inode:[landlock", ERR_UNDUMPABLE, "a Landlock ruleset"},
	{"/dev/kvm", ERR_UNDUMPABLE, "the KVM device"},
	{"/dev/net/tun", ERR_UNDUMPABLE, "a TUN device"},
	{"/dev/fuse", ERR_UNDUMPABLE, "a FUSE connection"},
	{"/dev/dri/", ERR_UNDUMPABLE, "a graphics device"},
	{"/secretmem", ERR_UNDUMPABLE, "secret memory"},
};

// Socket protocols that CRIU does not know, as sockfs names them in its extended attribute.
static const char *const socket_protocols[] = {"SCTP",     "MPTCP", "MPTCPv6",
					       "AF_VSOCK", "SMC",   "XDP"};

static const struct {
	const char *link; // in /proc/PID/ns
	const char *what;
} namespaces[] = {
	{"pid", "pid"}, {"ipc", "ipc"}, {"uts", "uts"}, {"user", "user"}, {"time", "time"}};

static long number_after(const char *status, const char *name)
{
	const char *at = strstr(status, name);
	return at ? strtol(at + strlen(name), NULL, 10) : 0;
}

// The last number of the NSpid line: the pid in the innermost namespace.
static pid_t inner_pid(const char *status)
{
	const char *line = strstr(status, "\nNSpid:");
	const char *end = line ? strchr(line + 1, '\n') : NULL;
	while (end && end > line && end[-1] != '\t')
		end--;
	return end ? (pid_t)strtol(end, NULL, 10) : 0;
}

// 1: read; 0: the process has ended meanwhile.
static int open_task(pid_t pid, struct task *t, char **status)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	*t = (struct task){.pid = pid};
	t->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*status = t->folder < 0 ? NULL : fdio_read_file(t->folder, "status", STATUS_MAX, NULL);
	if (!*status)
		return 0;
	t->inner = inner_pid(*status);
	t->parent = (pid_t)number_after(*status, "\nPPid:");
	sscanf(*status, "Name:\t%31[^\n]", t->name);
	return 1;
}

static int refuse(struct error *err, enum error_id id, const struct task *t, int fd,
		  const char *what)
{
	return error_set(err, id, "fd %d of pid %d (%s) is %s", fd, (int)t->inner, t->name, what);
}

static int check_socket(const struct task *t, const char *fd, struct error *err)
{
	char path[64], protocol[64] = "";
	snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)t->pid, fd);
	ssize_t n = getxattr(path, "system.sockprotoname", protocol, sizeof(protocol) - 1);
	for (size_t i = 0; n > 0 && i < ARRAY_SIZE(socket_protocols); i++) {
		char what[96];
		if (strcmp(protocol, socket_protocols[i]))
			continue;
		snprintf(what, sizeof(what), "a socket of protocol %s", protocol);
		return refuse(err, ERR_UNDUMPABLE, t, atoi(fd), what);
	}
	return 0;
}

static int check_descriptor(const struct task *t, int folder, const char *fd, struct error *err)
{
	char link[PATH_MAX];
	ssize_t n = readlinkat(folder, fd, link, sizeof(link) - 1);
	if (n < 0)
		return 0; // closed meanwhile
	link[n] = 0;
	if (!strncmp(link, "socket:", 7))
		return check_socket(t, fd, err);
	for (size_t i = 0; i < ARRAY_SIZE(descriptors); i++)
		if (!strncmp(link, descriptors[i].link, strlen(descriptors[i].link)))
			return refuse(err, descriptors[i].id, t, atoi(fd), descriptors[i].what);
	return 0;
}

static int check_descriptors(const struct task *t, struct error *err)
{
	int folder = openat(t->folder, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *entry;
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && check_descriptor(t, folder, entry->d_name, err) < 0)
			return -1;
	return 0;
}

// A ring or secret memory that is mapped while its descriptor is closed.
static int check_maps(const struct task *t, struct error *err)
{
	_cleanup_free_ char *maps = fdio_read_file(t->folder, "maps", MAPS_MAX, NULL);
	if (maps && strstr(maps, "anon_inode:[io_uring]"))
		return error_set(err, ERR_IO_URING,
				 "pid %d (%s) has the memory of an io_uring instance mapped",
				 (int)t->inner, t->name);
	if (maps && strstr(maps, "/secretmem"))
		return error_set(err, ERR_UNDUMPABLE, "pid %d (%s) has secret memory mapped",
				 (int)t->inner, t->name);
	return 0;
}

static int check_namespaces(const struct task *t, int init_folder, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		char path[32];
		struct stat mine, inits;
		snprintf(path, sizeof(path), "ns/%s", namespaces[i].link);
		if (fstatat(t->folder, path, &mine, 0) < 0 ||
		    fstatat(init_folder, path, &inits, 0) < 0)
			continue; // ended, or a kernel without it
		if (mine.st_ino != inits.st_ino)
			return error_set(err, ERR_UNDUMPABLE,
					 "pid %d (%s) is in a %s namespace of its own",
					 (int)t->inner, t->name, namespaces[i].what);
	}
	return 0;
}

static bool is_member(const pid_t *pids, size_t count, pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

static int check_task(const struct task *t, const char *status, int init_folder, struct error *err)
{
	long tracer = number_after(status, "\nTracerPid:");
	if (tracer)
		return error_set(err, ERR_UNDUMPABLE, "pid %d (%s) is traced by process %ld",
				 (int)t->inner, t->name, tracer);
	if (check_descriptors(t, err) < 0 || check_maps(t, err) < 0)
		return -1;
	return check_namespaces(t, init_folder, err);
}

static int check_pid(pid_t pid, pid_t init, int init_folder, const pid_t *pids, size_t count,
		     struct error *err)
{
	struct task t;
	_cleanup_free_ char *status = NULL;
	int done = 0;
	// Orphans are adopted by init, so a parent outside of the payload means: entered from
	// outside.
	if (!open_task(pid, &t, &status))
		done = 0;
	else if (pid != init && !is_member(pids, count, t.parent))
		done = error_set(err, ERR_EXEC_SESSION,
				 "pid %d (%s) was started by exec and is no child of init",
				 (int)t.inner, t.name);
	else
		done = check_task(&t, status, init_folder, err);
	if (t.folder >= 0)
		close(t.folder);
	return done;
}

int undumpable_check_pids(const pid_t *pids, size_t count, pid_t init, struct error *err)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d", (int)init);
	_cleanup_close_ int init_folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (init_folder < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot look at init (%s)", path);
	for (size_t i = 0; i < count; i++)
		if (check_pid(pids[i], init, init_folder, pids, count, err) < 0)
			return -1;
	return 0;
}

int undumpable_check(struct cgroup *cg, pid_t init, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count;
	if (cgroup_pids(cg, &pids, &count, err) < 0)
		return -1;
	return undumpable_check_pids(pids, count, init, err);
}
