// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/undumpable.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/filelocks.h"
#include "lib/partition/sessions.h"
#include "lib/partition/shmids.h"
#include "lib/partition/task.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAPS_MAX         (64u << 20)
#define LIMITS_MAX       4096
#define FREE_DESCRIPTORS 2 // that CRIU's code in the process takes for itself

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
} namespaces[] = {{"pid", "pid"},   {"ipc", "ipc"},     {"uts", "uts"},
		  {"user", "user"}, {"net", "network"}, {"time", "time"}};

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

// Restored on the other host it would wait for the frozen original, which holds it still.
static int check_lock(const struct task *t, const struct locality *l, const char *fd,
		      struct error *err)
{
	char path[48], link[PATH_MAX];
	struct filelock lock;
	if (!filelock_shared(t->folder, fd, l, &lock))
		return 0;
	snprintf(path, sizeof(path), "fd/%s", fd);
	ssize_t n = readlinkat(t->folder, path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	return error_set(err, ERR_LOCK_SHARED,
			 "fd %s of pid %d (%s) holds a lock (%s) on %.200s, which the other host "
			 "sees as well",
			 fd, (int)t->inner, t->name, lock.kind, link);
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

// What is looked at in each task.
struct look {
	int init_folder; // /proc/INIT
	struct locality locality;
	struct shmids shmids;
	bool locks_only;
};

static void look_end(struct look *look)
{
	shmids_free(&look->shmids);
}

// The soft limit of its descriptors' numbers; prlimit(2) would take CAP_SYS_RESOURCE.
static unsigned long descriptor_limit(const struct task *t)
{
	static const char name[] = "Max open files";
	_cleanup_free_ char *limits = fdio_read_file(t->folder, "limits", LIMITS_MAX, NULL);
	const char *line = limits ? strstr(limits, name) : NULL;
	return line ? strtoul(line + strlen(name), NULL, 10) : ULONG_MAX;
}

static int check_free_descriptors(const struct task *t, unsigned long used, unsigned long limit,
				  struct error *err)
{
	if (used + FREE_DESCRIPTORS <= limit)
		return 0;
	return error_set(err, ERR_UNDUMPABLE,
			 "pid %d (%s) uses %lu of the %lu descriptors that its limit allows, and "
			 "CRIU needs %d",
			 (int)t->inner, t->name, used, limit, FREE_DESCRIPTORS);
}

static int check_descriptors(const struct task *t, const struct look *look, struct error *err)
{
	int folder = openat(t->folder, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = folder < 0 ? NULL : fdopendir(folder);
	unsigned long used = 0, limit = look->locks_only ? ULONG_MAX : descriptor_limit(t);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		const char *fd = entry->d_name;
		if (fd[0] == '.')
			continue;
		used += strtoul(fd, NULL, 10) < limit;
		if (!look->locks_only && check_descriptor(t, folder, fd, err) < 0)
			return -1;
		if (check_lock(t, &look->locality, fd, err) < 0)
			return -1;
	}
	return check_free_descriptors(t, used, limit, err);
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

static bool same_namespace(const struct task *t, const char *mine, int init_folder,
			   const char *inits)
{
	struct stat a, b;
	// Ended, or a kernel without it.
	if (fstatat(t->folder, mine, &a, 0) < 0 || fstatat(init_folder, inits, &b, 0) < 0)
		return true;
	return a.st_ino == b.st_ino;
}

static int check_namespaces(const struct task *t, int init_folder, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		char path[32];
		snprintf(path, sizeof(path), "ns/%s", namespaces[i].link);
		if (!same_namespace(t, path, init_folder, path))
			return error_set(err, ERR_UNDUMPABLE,
					 "pid %d (%s) is in a %s namespace of its own",
					 (int)t->inner, t->name, namespaces[i].what);
	}
	if (!same_namespace(t, "ns/time_for_children", init_folder, "ns/time"))
		return error_set(err, ERR_UNDUMPABLE,
				 "pid %d (%s) has made a time namespace for its children",
				 (int)t->inner, t->name);
	return 0;
}

static int check_task(const struct task *t, const struct look *look, struct error *err)
{
	if (look->locks_only)
		return check_descriptors(t, look, err);
	if (t->tracer)
		return error_set(err, ERR_UNDUMPABLE, "pid %d (%s) is traced by process %d",
				 (int)t->inner, t->name, (int)t->tracer);
	if (check_descriptors(t, look, err) < 0 || check_maps(t, err) < 0 ||
	    shmids_check(&look->shmids, t, err) < 0)
		return -1;
	return check_namespaces(t, look->init_folder, err);
}

static int check_all(const pid_t *pids, size_t count, pid_t init, bool locks_only,
		     struct error *err)
{
	char path[32];
	__attribute__((cleanup(look_end))) struct look look = {.locks_only = locks_only};
	snprintf(path, sizeof(path), "/proc/%d", (int)init);
	_cleanup_close_ int init_folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (init_folder < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot look at init (%s)", path);
	look.init_folder = init_folder;
	if (locality_of(init, &look.locality, err) < 0 ||
	    (!locks_only && shmids_read(init_folder, &look.shmids, err) < 0))
		return -1;
	for (size_t i = 0; i < count; i++) {
		_cleanup_task_ struct task t;
		if (task_open(pids[i], &t) && check_task(&t, &look, err) < 0)
			return -1;
	}
	return 0;
}

int undumpable_check_pids(pid_t *pids, size_t count, pid_t init, bool sessions, struct error *err)
{
	size_t inside = sessions_part(pids, count, init);
	for (size_t i = inside; i < count && !sessions; i++)
		if (sessions_refuse(pids[i], err) < 0)
			return -1;
	return check_all(pids, inside, init, false, err);
}

int undumpable_check(struct cgroup *cg, pid_t init, bool sessions, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count;
	if (cgroup_pids(cg, &pids, &count, err) < 0)
		return -1;
	return undumpable_check_pids(pids, count, init, sessions, err);
}

int undumpable_check_locks(struct cgroup *cg, pid_t init, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count;
	if (cgroup_pids(cg, &pids, &count, err) < 0)
		return -1;
	return check_all(pids, count, init, true, err);
}

// Until then both have the same memory.
int undumpable_check_vfork_pids(const pid_t *pids, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_task_ struct task child, parent;
		if (!task_open(pids[i], &child) || child.parent <= 0 ||
		    syscall(SYS_kcmp, child.pid, child.parent, KCMP_VM, 0, 0) != 0)
			continue;
		task_open(child.parent, &parent);
		return error_set(err, ERR_PENDING, "pid %d (%s) starts another program",
				 (int)parent.inner, parent.name);
	}
	return 0;
}

int undumpable_check_vfork(struct cgroup *cg, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count;
	if (cgroup_pids(cg, &pids, &count, err) < 0)
		return -1;
	return undumpable_check_vfork_pids(pids, count, err);
}
