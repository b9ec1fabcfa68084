// SPDX-License-Identifier: Apache-2.0
// Making, finding, filling and removing groups; limits and freezing are in cgroup_control.c.
#include "lib/partition/cgroup.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/partition/cgroup_group.h"
#include "lib/partition/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TOP "wpar"

int group_read(int folder, const char *file, char *text, size_t size, struct error *err)
{
	_cleanup_close_ int fd = openat(folder, file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (n < 0)
		return error_sys(err, ERR_CGROUP, errno, "cannot read %s", file);
	text[n] = 0;
	return 0;
}

// ---- making ------------------------------------------------------------------------------------

// A new group of the v1 cpuset controller takes no process until it has processors and memory.
static void inherit_cpuset(int parent, int folder)
{
	static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
	char own[4096], above[4096];
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (group_read(folder, files[i], own, sizeof(own), NULL) == 0 && own[0] <= '\n' &&
		    group_read(parent, files[i], above, sizeof(above), NULL) == 0)
			fdio_write_control(folder, files[i], above, NULL);
}

// v2: lets groups below have limits. What is missing shows when a limit is set.
static void enable_controllers(int folder)
{
	static const char *const wanted[] = {"+cpu", "+memory", "+pids"};
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		fdio_write_control(folder, "cgroup.subtree_control", wanted[i], NULL);
}

// Makes (or finds) folder `name` in `parent` and returns it opened.
static int make_folder(const struct hierarchy *h, int parent, const char *name, struct error *err)
{
	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return error_sys(err, ERR_CGROUP, errno, "cannot make the cgroup %s in %s", name,
				 h->mount);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_sys(err, ERR_CGROUP, errno, "cannot open the cgroup %s in %s", name,
				 h->mount);
	if (!h->v2 && hierarchy_has(h, "cpuset"))
		inherit_cpuset(parent, fd);
	return fd;
}

static int make_group(struct group *group, const char *name, struct error *err)
{
	const struct hierarchy *h = &group->hierarchy;
	_cleanup_close_ int root = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_sys(err, ERR_CGROUP, errno, "cannot open %s", h->mount);
	// The top folder may vanish under our hands when the last other partition goes.
	for (int attempt = 0; group->outer < 0; attempt++) {
		_cleanup_close_ int top = make_folder(h, root, TOP, err);
		if (top < 0)
			return -1;
		if (h->v2) {
			enable_controllers(root);
			enable_controllers(top);
		}
		group->outer = make_folder(h, top, name, err);
		if (group->outer < 0 && (errno != ENOENT || attempt > 100))
			return -1;
	}
	// A payload that was left behind and is busy was told when it was made.
	if (hierarchy_has(h, "devices") &&
	    (unlinkat(group->outer, "payload", AT_REMOVEDIR) == 0 || errno == ENOENT) &&
	    devices_confine_v1(group->outer, err) < 0)
		return -1;
	group->payload = make_folder(h, group->outer, "payload", err);
	return group->payload < 0 ? -1 : 0;
}

static int find_group(struct group *group, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/" TOP "/%s", group->hierarchy.mount, name);
	group->outer = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (group->outer >= 0)
		group->payload =
			openat(group->outer, "payload", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return group->payload < 0 ? -1 : 0;
}

void cgroup_close(struct cgroup *cg)
{
	if (!cg)
		return;
	for (size_t i = 0; i < cg->count; i++) {
		int fds[] = {cg->groups[i].outer, cg->groups[i].payload, cg->procs[i]};
		for (size_t k = 0; k < ARRAY_SIZE(fds); k++)
			if (fds[k] >= 0)
				close(fds[k]);
	}
	free(cg);
}

// By the v1 controller, which make_group has told, or else by v2.
static void confine_devices(struct cgroup *cg)
{
	struct error why = {0};
	int v1 = -1, v2 = -1;
	for (size_t i = 0; i < cg->count; i++) {
		const struct group *group = &cg->groups[i];
		v1 = hierarchy_has(&group->hierarchy, "devices") ? group->payload : v1;
		v2 = group->hierarchy.v2 ? group->outer : v2;
	}
	int done = v1 >= 0 ? devices_check_v1(v1, &why) : devices_confine_v2(v2, &why);
	cg->devices_confined = done == 0;
	if (done < 0)
		log_warn("%s: no device policy, only mounts without devices: %s", cg->name,
			 why.message);
}

bool cgroup_confines_devices(const struct cgroup *cg)
{
	return cg->devices_confined;
}

// Opens or makes the groups in all hierarchies.
static int fill(struct cgroup *cg, const struct hierarchy *list, size_t count, bool make,
		struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		struct group *group = &cg->groups[cg->count];
		int *procs = &cg->procs[cg->count];
		*group = (struct group){.hierarchy = list[i], .outer = -1, .payload = -1};
		*procs = -1;
		cg->count++;
		if (make ? make_group(group, cg->name, err) : find_group(group, cg->name)) {
			if (make)
				return -1;
			close(group->outer);
			cg->count--;
			continue;
		}
		*procs = openat(group->payload, "cgroup.procs", O_WRONLY | O_CLOEXEC);
		if (*procs < 0 && errno == ENOENT && !make) { // is being removed
			close(group->payload);
			close(group->outer);
			cg->count--;
			continue;
		}
		if (*procs < 0)
			return error_sys(err, ERR_CGROUP, errno, "cannot open cgroup.procs in %s",
					 list[i].mount);
		if (!cg->freezer && (list[i].v2 || hierarchy_has(&list[i], "freezer")))
			cg->freezer = group;
	}
	return 0;
}

static struct cgroup *open_all(const char *name, bool make, struct error *err)
{
	struct hierarchy list[HIERARCHY_MAX];
	size_t count;
	if (name_check(name, err) < 0 || hierarchy_find(list, &count, err) < 0)
		return NULL;
	_cleanup_cgroup_ struct cgroup *cg = calloc(1, sizeof(*cg));
	if (!cg) {
		error_set(err, ERR_NOMEM, "no memory for a cgroup");
		return NULL;
	}
	snprintf(cg->name, sizeof(cg->name), "%s", name);
	if (fill(cg, list, count, make, err) < 0)
		return NULL;
	if (!cg->freezer) {
		error_set(err, ERR_CGROUP,
			  make ? "neither cgroup v2 nor the v1 freezer is mounted"
			       : "partition %s has no cgroup",
			  name);
		return NULL;
	}
	snprintf(cg->freezer_path, sizeof(cg->freezer_path), "%s/" TOP "/%s",
		 cg->freezer->hierarchy.mount, name);
	return take_ptr(cg);
}

struct cgroup *cgroup_open(const char *name, struct error *err)
{
	return open_all(name, false, err);
}

struct cgroup *cgroup_create(const char *name, struct error *err)
{
	_cleanup_cgroup_ struct cgroup *cg = open_all(name, true, err);
	_cleanup_free_ pid_t *pids = NULL;
	size_t count;
	if (!cg || cgroup_pids(cg, &pids, &count, err) < 0)
		return NULL;
	if (count) {
		error_set(err, ERR_CGROUP, "the cgroup of %s holds process %d already", name,
			  (int)pids[0]);
		return NULL;
	}
	confine_devices(cg);
	// A freeze left behind by a crash would stop whatever starts here.
	if (cgroup_thaw(cg, err) < 0)
		return NULL;
	return take_ptr(cg);
}

bool cgroup_exists(const char *name)
{
	_cleanup_cgroup_ struct cgroup *cg = cgroup_open(name, NULL);
	return cg != NULL;
}

// ---- processes ---------------------------------------------------------------------------------

struct pid_list {
	pid_t *pids;
	size_t count, room;
};

static int add_pid(struct pid_list *list, pid_t pid, struct error *err)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		pid_t *more = reallocarray(list->pids, room, sizeof(*more));
		if (!more)
			return error_set(err, ERR_NOMEM, "no memory for a list of processes");
		list->pids = more;
		list->room = room;
	}
	list->pids[list->count++] = pid;
	return 0;
}

static int read_procs(int folder, struct pid_list *list, struct error *err)
{
	_cleanup_free_ char *text = fdio_read_file(folder, "cgroup.procs", 16 << 20, err);
	// Removed meanwhile (ENOENT before its file was opened, ENODEV after), as who ends a
	// partition and who clears up after it do not wait for each other. EOPNOTSUPP: a threaded
	// group; its processes are listed above it.
	if (!text)
		return err->sys == ENOENT || err->sys == ENODEV || err->sys == EOPNOTSUPP ? 0 : -1;
	for (char *at = text, *end; *at; at = end + (*end == '\n')) {
		long pid = strtol(at, &end, 10);
		if (end == at)
			break;
		if (pid > 0 && add_pid(list, (pid_t)pid, err) < 0)
			return -1;
	}
	return 0;
}

// Calls `each` for the groups below and then for `folder` itself.
static int walk(int folder, int (*each)(int folder, void *arg, struct error *err), void *arg,
		struct error *err)
{
	_cleanup_closedir_ DIR *dir = fdopendir(openat(folder, ".", O_RDONLY | O_CLOEXEC));
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		_cleanup_close_ int below =
			openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (below >= 0 && walk(below, each, arg, err) < 0)
			return -1;
	}
	return each(folder, arg, err);
}

static int collect(int folder, void *arg, struct error *err)
{
	struct error local = {0};
	if (read_procs(folder, arg, &local) == 0)
		return 0;
	if (err)
		*err = local;
	return -1;
}

int cgroup_pids(struct cgroup *cg, pid_t **pids, size_t *count, struct error *err)
{
	struct pid_list list = {0};
	*pids = NULL;
	*count = 0;
	if (walk(cg->freezer->payload, collect, &list, err) < 0) {
		free(list.pids);
		return -1;
	}
	*pids = list.pids;
	*count = list.count;
	return 0;
}

const int *cgroup_enter_fds(struct cgroup *cg, size_t *count)
{
	*count = cg->count;
	return cg->procs;
}

static char *groups_of(pid_t pid, struct error *err)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	return fdio_read_file(AT_FDCWD, path, 65536, err);
}

int cgroup_move_pid(struct cgroup *cg, pid_t pid, struct error *err)
{
	char wanted[128], path[1024], number[16];
	_cleanup_free_ char *now = groups_of(pid, err);
	if (!now)
		return -1;
	snprintf(wanted, sizeof(wanted), "/" TOP "/%s/payload", cg->name);
	int length = snprintf(number, sizeof(number), "%d", (int)pid);
	for (size_t i = 0; i < cg->count; i++) {
		// Each of these writes may wait for an RCU grace period: not for nothing.
		if (hierarchy_path_of(&cg->groups[i].hierarchy, now, path, sizeof(path)) &&
		    !strcmp(path, wanted))
			continue;
		if (write(cg->procs[i], number, (size_t)length) < 0)
			return error_sys(err, ERR_CGROUP, errno,
					 "cannot move process %d to %s in %s", (int)pid, wanted,
					 cg->groups[i].hierarchy.mount);
	}
	return 0;
}

// ---- removing ----------------------------------------------------------------------------------

// rmdir of the groups below one; what is busy stays for the next attempt.
static int remove_below(int folder, void *arg, struct error *err)
{
	(void)arg, (void)err;
	_cleanup_closedir_ DIR *dir = fdopendir(openat(folder, ".", O_RDONLY | O_CLOEXEC));
	struct dirent *entry;
	while (dir && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			unlinkat(folder, entry->d_name, AT_REMOVEDIR);
	return 0;
}

// 0 gone, 1 still busy.
static int try_remove(const struct hierarchy *h, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/" TOP "/%s", h->mount, name);
	_cleanup_close_ int outer = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (outer >= 0)
		walk(outer, remove_below, NULL, NULL);
	int busy = rmdir(path) < 0 && errno != ENOENT;
	snprintf(path, sizeof(path), "%s/" TOP, h->mount);
	rmdir(path); // when it was the last partition
	return busy;
}

int cgroup_remove(const char *name, deadline_t deadline, struct error *err)
{
	struct hierarchy list[HIERARCHY_MAX];
	size_t count;
	if (name_check(name, err) < 0 || hierarchy_find(list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		while (try_remove(&list[i], name)) {
			if (deadline_passed(deadline))
				return error_set(err, ERR_CGROUP,
						 "the cgroup %s/" TOP "/%s is still in use",
						 list[i].mount, name);
			clock_sleep_ms(2);
		}
	}
	return 0;
}

// ---- the way out -------------------------------------------------------------------------------

struct cgroup_place {
	size_t count;
	int procs[HIERARCHY_MAX];
};

void cgroup_place_free(struct cgroup_place *place)
{
	for (size_t i = 0; place && i < place->count; i++)
		close(place->procs[i]);
	free(place);
}

struct cgroup_place *cgroup_place_self(struct error *err)
{
	struct hierarchy list[HIERARCHY_MAX];
	size_t count;
	_cleanup_free_ char *now = groups_of(getpid(), err);
	if (!now || hierarchy_find(list, &count, err) < 0)
		return NULL;
	struct cgroup_place *place = calloc(1, sizeof(*place));
	if (!place) {
		error_set(err, ERR_NOMEM, "no memory for a cgroup");
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		char inside[1024], path[1400];
		if (!hierarchy_path_of(&list[i], now, inside, sizeof(inside)))
			continue;
		snprintf(path, sizeof(path), "%s%s/cgroup.procs", list[i].mount, inside);
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0) {
			error_sys(err, ERR_CGROUP, errno, "cannot open %s", path);
			cgroup_place_free(place);
			return NULL;
		}
		place->procs[place->count++] = fd;
	}
	return place;
}

int cgroup_place_put(struct cgroup_place *place, pid_t pid, struct error *err)
{
	char number[16];
	int length = snprintf(number, sizeof(number), "%d", (int)pid);
	for (size_t i = 0; i < place->count; i++)
		if (write(place->procs[i], number, (size_t)length) < 0)
			return error_sys(err, ERR_CGROUP, errno, "cannot move process %d",
					 (int)pid);
	return 0;
}

void cgroup_place_warm(struct cgroup_place *place)
{
	if (place->count && write(place->procs[0], "0", 1) < 0)
		return; // then the next move waits itself
}
