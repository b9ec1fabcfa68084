// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/stage.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/partition/submount.h"
#include "lib/partition/treecopy.h"
#include "lib/storage/store.h"
#include "lib/storage/upper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

bool stage_wants_init(const struct partition_def *def)
{
	return def->type == PARTITION_SYSTEM && def->process.args[0];
}

// ---- the list of binds -------------------------------------------------------------------------

// Mounts origin below volatile/mnt with its flags and returns the path; the caller frees it.
static char *mount_source(const struct stage *stage, const char *key, const char *origin,
			  unsigned long flags, struct error *err)
{
	char path[STAGE_PATH_MAX];
	struct stat st;
	snprintf(path, sizeof(path), "%.600s/mnt/%s", stage->volatile_dir, key);
	int made = stat(origin, &st);
	if (!made)
		made = S_ISDIR(st.st_mode) ? mkdir(path, 0700) : mknod(path, S_IFREG | 0600, 0);
	if (made < 0 || mount(origin, path, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | flags, NULL) < 0) {
		error_sys(err, ERR_LAUNCH, errno, "cannot bind %s", origin);
		return NULL;
	}
	return strdup(path);
}

unsigned long stage_flags(const struct partition_def *def, const char *key)
{
	static const struct {
		const char *key;
		unsigned long flags;
	} own[] = {
		{"dev", MS_NOSUID | MS_NOEXEC},
		{"shm", MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"run", MS_NOSUID | MS_NODEV},
		{"tmp", MS_NOSUID | MS_NODEV},
		// Read-only: every host makes the same file from the definition.
		{"resolv", MS_RDONLY | MS_NOSUID | MS_NODEV},
		{"hosts", MS_RDONLY | MS_NOSUID | MS_NODEV},
		{"null", MS_NOSUID | MS_NOEXEC},
		{"empty", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY},
	};
	char *end;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (!strcmp(own[i].key, key))
			return own[i].flags;
	if (strncmp(key, "vol", 3) != 0 && strncmp(key, "tmp", 3) != 0)
		return 0;
	unsigned long i = strtoul(key + 3, &end, 10);
	return key[3] && !*end && i < def->mount_count ? def->mounts[i].flags | MS_NODEV : 0;
}

static int add_bind(struct stage *stage, const struct partition_def *def, const char *key,
		    const char *origin, const char *destination, struct error *err)
{
	struct stage_bind *more = reallocarray(stage->binds, stage->bind_count + 1, sizeof(*more));
	if (!more)
		return error_set(err, ERR_NOMEM, "no memory for mounts");
	stage->binds = more;
	struct stage_bind *bind = &more[stage->bind_count++];
	*bind = (struct stage_bind){.origin = strdup(origin),
				    .destination = destination ? strdup(destination) : NULL};
	snprintf(bind->key, sizeof(bind->key), "%s", key);
	if (!bind->origin || (destination && !bind->destination))
		return error_set(err, ERR_NOMEM, "no memory for mounts");
	bind->source = mount_source(stage, key, origin, stage_flags(def, key), err);
	return bind->source ? 0 : -1;
}

// A folder of the volatile filesystem that travels, and its bind.
static int add_tree(struct stage *stage, const struct partition_def *def, const char *name,
		    const char *destination, mode_t mode, struct error *err)
{
	if (stage->tree_count == ARRAY_SIZE(stage->trees))
		return error_set(err, ERR_DEFINITION, "too many tmpfs mounts");
	struct stage_tree *tree = &stage->trees[stage->tree_count++];
	snprintf(tree->name, sizeof(tree->name), "%s", name);
	snprintf(tree->path, sizeof(tree->path), "%.500s/trees/%s", stage->volatile_dir, name);
	if (mkdir(tree->path, 0700) < 0 || chmod(tree->path, mode) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make %s", tree->path);
	return add_bind(stage, def, name, tree->path, destination, err);
}

static int add_definition_mounts(struct stage *stage, const struct partition_def *def,
				 struct error *err)
{
	for (size_t i = 0; i < def->mount_count; i++) {
		const struct partition_mount *mount = &def->mounts[i];
		char key[STAGE_KEY_MAX];
		snprintf(key, sizeof(key), "%s%zu", mount->type == MOUNT_BIND ? "vol" : "tmp", i);
		int failed =
			mount->type == MOUNT_BIND
				? add_bind(stage, def, key, mount->source, mount->destination, err)
				: add_tree(stage, def, key, mount->destination, mount->mode, err);
		if (failed)
			return -1;
	}
	return 0;
}

// ---- the volatile filesystem -------------------------------------------------------------------

static int make_nodes(int dev, struct error *err)
{
	static const struct {
		const char *name;
		unsigned major, minor;
	} nodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
		     {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (mknodat(dev, nodes[i].name, S_IFCHR | 0666,
			    makedev(nodes[i].major, nodes[i].minor)) < 0 ||
		    fchmodat(dev, nodes[i].name, 0666, 0) < 0)
			return error_sys(err, ERR_LAUNCH, errno, "cannot make device %s",
					 nodes[i].name);
	return 0;
}

static int make_dev(struct stage *stage, const struct partition_def *def, struct error *err)
{
	static const char *const links[][2] = {{"/proc/self/fd", "fd"},
					       {"/proc/self/fd/0", "stdin"},
					       {"/proc/self/fd/1", "stdout"},
					       {"/proc/self/fd/2", "stderr"},
					       {"pts/ptmx", "ptmx"}};
	static const char *const folders[] = {"pts", "shm", "mqueue"};
	char path[STAGE_PATH_MAX];
	snprintf(path, sizeof(path), "%.600s/dev", stage->volatile_dir);
	if (mkdir(path, 0755) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make %s", path);
	_cleanup_close_ int dev = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dev < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot open %s", path);
	if (make_nodes(dev, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlinkat(links[i][0], dev, links[i][1]) < 0)
			return error_sys(err, ERR_LAUNCH, errno, "cannot make /dev/%s",
					 links[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (mkdirat(dev, folders[i], 0755) < 0)
			return error_sys(err, ERR_LAUNCH, errno, "cannot make /dev/%s", folders[i]);
	return add_bind(stage, def, "dev", path, "/dev", err);
}

static int make_text(struct stage *stage, const struct partition_def *def, const char *name,
		     const char *destination, const char *text, struct error *err)
{
	char path[STAGE_PATH_MAX];
	snprintf(path, sizeof(path), "%.600s/etc/%s", stage->volatile_dir, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_EXCL, 0644);
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make %s", path);
	if (fdio_write_all(fd, text, strlen(text), err) < 0)
		return -1;
	return add_bind(stage, def, name, path, destination, err);
}

// The definition mounts something there or above it.
static bool is_given(const struct partition_def *def, const char *path)
{
	for (size_t i = 0; i < def->mount_count; i++) {
		const char *at = def->mounts[i].destination;
		size_t length = strlen(at);
		if (!strncmp(at, path, length) && (path[length] == '/' || !path[length]))
			return true;
	}
	return false;
}

static int make_resolver(struct stage *stage, const struct partition_def *def, struct error *err)
{
	char text[DEFINITION_DNS_MAX * 80] = "";
	if (!def->dns[0] || is_given(def, "/etc/resolv.conf"))
		return 0;
	for (size_t i = 0, at = 0; def->dns[i] && at < sizeof(text) - 80; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "nameserver %.60s\n",
				       def->dns[i]);
	return make_text(stage, def, "resolv", "/etc/resolv.conf", text, err);
}

// The partition's own name and addresses. A system partition keeps the file of its root filesystem,
// which is its administrator's to change, unless it was given name servers.
static int make_hosts(struct stage *stage, const struct partition_def *def, struct error *err)
{
	char hosts[4096] = "127.0.0.1 localhost\n::1 localhost\n";
	size_t used = strlen(hosts);
	if ((def->type == PARTITION_SYSTEM && !def->dns[0]) || is_given(def, "/etc/hosts"))
		return 0;
	if (!def->network_count)
		used += (size_t)snprintf(hosts + used, sizeof(hosts) - used, "127.0.1.1 %s\n",
					 def->hostname);
	for (size_t i = 0; i < def->network_count; i++)
		for (char **address = def->networks[i].addresses;
		     *address && used < sizeof(hosts) - 200; address++)
			used += (size_t)snprintf(hosts + used, sizeof(hosts) - used, "%.*s %s\n",
						 (int)strcspn(*address, "/"), *address,
						 def->hostname);
	if (make_text(stage, def, "hosts", "/etc/hosts", hosts, err) < 0)
		return -1;
	stage->binds[stage->bind_count - 1].optional = true;
	return 0;
}

static int make_folder(const char *parent, const char *name, char *path, size_t size,
		       struct error *err)
{
	snprintf(path, size, "%.600s/%s", parent, name);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make %s", path);
	return 0;
}

// What hides files and folders of /proc and /sys.
static int make_masks(struct stage *stage, const struct partition_def *def, struct error *err)
{
	char path[STAGE_PATH_MAX];
	snprintf(path, sizeof(path), "%.600s/null", stage->volatile_dir);
	if (mknod(path, S_IFCHR | 0666, makedev(1, 3)) < 0 || chmod(path, 0666) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make %s", path);
	stage->null_mask = stage->bind_count;
	if (add_bind(stage, def, "null", path, NULL, err) < 0 ||
	    make_folder(stage->volatile_dir, "empty", path, sizeof(path), err) < 0)
		return -1;
	stage->empty_mask = stage->bind_count;
	return add_bind(stage, def, "empty", path, NULL, err);
}

static int fill_volatile(struct stage *stage, const struct partition_def *def, struct error *err)
{
	static const char *const folders[] = {"mnt", "trees", "etc"};
	char path[STAGE_PATH_MAX];
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (make_folder(stage->volatile_dir, folders[i], path, sizeof(path), err) < 0)
			return -1;
	if (make_dev(stage, def, err) < 0 ||
	    add_tree(stage, def, "shm", "/dev/shm", 01777, err) < 0 ||
	    add_tree(stage, def, "run", "/run", 0755, err) < 0 ||
	    add_tree(stage, def, "tmp", "/tmp", 01777, err) < 0)
		return -1;
	if (add_definition_mounts(stage, def, err) < 0 || make_resolver(stage, def, err) < 0 ||
	    make_hosts(stage, def, err) < 0)
		return -1;
	return make_masks(stage, def, err);
}

// ---- a fresh start -----------------------------------------------------------------------------

static const char *tree_path(const struct stage *stage, const char *name)
{
	for (size_t i = 0; i < stage->tree_count; i++)
		if (!strcmp(stage->trees[i].name, name))
			return stage->trees[i].path;
	return NULL;
}

// What travels must be the partition's own file, so init is copied, not bound from this host.
static int copy_init(const char *run, struct error *err)
{
	char path[STAGE_PATH_MAX];
	snprintf(path, sizeof(path), "%.600s/.wpar", run);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make %s", path);
	snprintf(path, sizeof(path), "%.600s/.wpar/init", run);
	return treecopy_file(paths_program("init"), path, 0755, err);
}

static int fill_trees(struct stage *stage, const struct partition_def *def, struct error *err)
{
	const char *run = tree_path(stage, "run");
	if (treecopy_from_root(stage->root, "run", run, err) < 0)
		return -1;
	return stage_wants_init(def) ? copy_init(run, err) : 0;
}

// ---- the whole ---------------------------------------------------------------------------------

// One mount is one external mount of CRIU and has to be there on every host, so a recursive bind
// gets what it asks for only where nothing is mounted below its source.
static int refuse_mounts_below(const struct partition_mount *volume, struct error *err)
{
	char below[STAGE_PATH_MAX];
	if (!volume->recursive)
		return 0;
	_cleanup_free_ char *source = realpath(volume->source, NULL);
	_cleanup_free_ char *mountinfo =
		fdio_read_file(AT_FDCWD, "/proc/self/mountinfo", 4 << 20, err);
	if (!mountinfo)
		return -1;
	if (!source || !submount_find(mountinfo, source, below, sizeof(below)))
		return 0;
	error_set(err, ERR_STORAGE,
		  "%s is mounted below the volume %s, and what is mounted below a volume does not "
		  "come along",
		  below, volume->source);
	return error_hint(err, "give it a volume of its own, or bind instead of rbind");
}

static int check_sources(const struct partition_def *def, struct error *err)
{
	struct stat st;
	if (!def->image && (stat(def->rootfs, &st) < 0 || !S_ISDIR(st.st_mode)))
		return error_set(err, ERR_ROOTFS_MISSING, "the root filesystem %s %s", def->rootfs,
				 errno == ENOENT ? "does not exist" : "is not a usable folder");
	for (size_t i = 0; i < def->mount_count; i++) {
		const struct partition_mount *mount = &def->mounts[i];
		if (mount->source && stat(mount->source, &st) < 0)
			return error_sys(err, ERR_ROOTFS_MISSING, errno, "the volume %s",
					 mount->source);
		if (mount->source && refuse_mounts_below(mount, err) < 0)
			return -1;
	}
	return 0;
}

static int mount_folder(struct stage *stage, const struct partition_def *def, struct error *err)
{
	// Device nodes are in /dev and nowhere else. What the host forbids there stays forbidden.
	struct mount_attr nodev = {.attr_set = MOUNT_ATTR_NODEV};
	if (mount(def->rootfs, stage->root, NULL, MS_BIND, NULL) < 0 ||
	    mount_setattr(AT_FDCWD, stage->root, 0, &nodev, sizeof(nodev)) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot bind %s", def->rootfs);
	return 0;
}

int stage_mount_image(struct stage *stage, const struct partition_def *def, struct error *err)
{
	if (stage->upper >= 0)
		return error_set(err, ERR_WRONG_STATE, "the root of %s is mounted", def->name);
	if ((stage->image = store_open(def->image_digest, err)) < 0 ||
	    upper_make(def->name, def->image_digest, err) < 0 ||
	    (stage->upper = upper_hold(def->name, err)) < 0)
		return -1;
	return upper_mount(def->name, def->image_digest, stage->root, err);
}

static int mount_root(struct stage *stage, const struct partition_def *def, bool fresh,
		      struct error *err)
{
	if (!def->image)
		return mount_folder(stage, def, err);
	return fresh ? stage_mount_image(stage, def, err) : 0;
}

static int mount_both(struct stage *stage, const struct partition_def *def, bool fresh,
		      struct error *err)
{
	// Slave: what the host unmounts goes away here too and is not kept busy.
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot separate the mounts");
	if (mount_root(stage, def, fresh, err) < 0)
		return -1;
	if (mount("wpar", stage->volatile_dir, "tmpfs", 0, "mode=711") < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot mount a tmpfs on %s",
				 stage->volatile_dir);
	return 0;
}

int stage_prepare(struct stage *stage, const struct partition_def *def, const char *run_dir,
		  bool fresh, struct error *err)
{
	*stage = (struct stage)STAGE_NONE;
	if (check_sources(def, err) < 0 ||
	    make_folder(run_dir, "rootfs", stage->root, sizeof(stage->root), err) < 0 ||
	    make_folder(run_dir, "volatile", stage->volatile_dir, sizeof(stage->volatile_dir),
			err) < 0)
		return -1;
	if (unshare(CLONE_NEWNS) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make a mount namespace");
	if (mount_both(stage, def, fresh, err) < 0 || fill_volatile(stage, def, err) < 0)
		return -1;
	return fresh ? fill_trees(stage, def, err) : 0;
}

static void remove_mount_point(const char *path)
{
	if (!*path)
		return;
	umount2(path, MNT_DETACH);
	if (rmdir(path) < 0 && errno != ENOENT)
		log_warn("cannot remove %s: %s", path, strerror(errno));
}

void stage_remove(struct stage *stage)
{
	remove_mount_point(stage->root);
	remove_mount_point(stage->volatile_dir);
	for (size_t i = 0; i < stage->bind_count; i++) {
		free(stage->binds[i].origin);
		free(stage->binds[i].source);
		free(stage->binds[i].destination);
	}
	free(stage->binds);
	if (stage->image >= 0)
		close(stage->image);
	if (stage->upper >= 0)
		close(stage->upper);
	*stage = (struct stage)STAGE_NONE;
}
