// SPDX-License-Identifier: Apache-2.0
// Is this host fit for partitions and their moves? Each check says what to do when it is not.
#include "relocd/cluster/hosts.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/net/port.h"
#include "lib/transport/pki.h"
#include "relocd/cluster/cluster.h"
#include "relocd/move/checks.h"
#include "relocd/move/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <pwd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>

// <linux/userfaultfd.h> and <linux/fs.h> of kernels that have them; ours to compile on are older.
#define WP_ASYNC       (1ull << 15)
#define PAGEMAP_SCAN_  _IOWR('f', 16, struct scan_arg)
#define SOFT_DIRTY     (1ull << 55) // Documentation/admin-guide/mm/pagemap.rst
#define MEMORY_LEAST   (256ull << 20)
#define EXPIRES_SOON_S (30 * 86400)

struct scan_arg { // struct pm_scan_arg
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

struct checking {
	struct daemon *d;
	const char *host;
	json_t *list;
};

static void warn(struct checking *c, const char *check, const char *hint, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void warn(struct checking *c, const char *check, const char *hint, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	checks_warn(c->list, c->host, check, text, hint);
}

// ---- kernel -------------------------------------------------------------------------------------

static bool has_wp_async(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = WP_ASYNC};
	_cleanup_close_ int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	return fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && (api.features & WP_ASYNC);
}

static bool has_pagemap_scan(void)
{
	struct scan_arg arg = {.size = sizeof(arg)};
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	return fd >= 0 && (ioctl(fd, PAGEMAP_SCAN_, &arg) >= 0 || errno != ENOTTY);
}

static bool is_soft_dirty(int pagemap, const void *page)
{
	uint64_t entry = 0;
	off_t at = (off_t)((uintptr_t)page / (uintptr_t)getpagesize() * sizeof(entry));
	return pread(pagemap, &entry, sizeof(entry), at) == sizeof(entry) && (entry & SOFT_DIRTY);
}

// Tried on a page of our own: a kernel without it accepts the request and tracks nothing.
static bool has_soft_dirty(void)
{
	_cleanup_close_ int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *page = mmap(NULL, (size_t)getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool has = false;
	if (page == MAP_FAILED)
		return false;
	*(volatile char *)page = 1;
	if (pagemap >= 0 && fdio_write_control(AT_FDCWD, "/proc/self/clear_refs", "4", NULL) == 0) {
		bool clean = !is_soft_dirty(pagemap, page);
		*(volatile char *)page = 2;
		has = clean && is_soft_dirty(pagemap, page);
	}
	munmap(page, (size_t)getpagesize());
	return has;
}

static void check_kernel(struct checking *c)
{
	char release[FACTS_KERNEL_MAX];
	bool track = has_wp_async() && has_pagemap_scan(), soft = has_soft_dirty();
	facts_kernel(release);
	checks_pass(c->list, c->host, "kernel", "Linux %s", release);
	if (track || soft)
		checks_pass(c->list, c->host, "dirty-tracking", "%s%s%s",
			    track ? "userfaultfd write-protection and PAGEMAP_SCAN" : "",
			    track && soft ? ", " : "", soft ? "soft-dirty" : "");
	else
		warn(c, "dirty-tracking",
		     "a kernel from 6.7 on has it; moves work without, and copy all memory while "
		     "the partition stands still",
		     "neither userfaultfd write-protection with PAGEMAP_SCAN nor soft-dirty");
}

static void check_cgroup(struct checking *c)
{
	struct statfs fs;
	const char *folder = "/sys/fs/cgroup";
	if (statfs(folder, &fs) < 0)
		warn(c, "cgroup", "mount the control groups there", "%s: %s", folder,
		     strerror(errno));
	else if (fs.f_type == CGROUP2_SUPER_MAGIC)
		checks_pass(c->list, c->host, "cgroup", "version 2");
	else
		checks_pass(c->list, c->host, "cgroup", "version 1 or hybrid");
}

static void check_overlay(struct checking *c)
{
	_cleanup_free_ char *known = fdio_read_file(AT_FDCWD, "/proc/filesystems", 65536, NULL);
	if (known && strstr(known, "\toverlay\n"))
		checks_pass(c->list, c->host, "overlay", "the kernel has it");
	else
		warn(c, "overlay", "modprobe overlay; partitions of images need it",
		     "the kernel does not know overlay file systems (yet)");
}

static void check_memory(struct checking *c)
{
	uint64_t available, total;
	struct error err;
	if (facts_memory(&available, &total, &err) < 0)
		checks_fail(c->list, c->host, "memory", &err);
	else if (available < MEMORY_LEAST)
		warn(c, "memory", "free memory: what arrives needs room twice for a moment",
		     "%llu of %llu MiB are free", (unsigned long long)(available >> 20),
		     (unsigned long long)(total >> 20));
	else
		checks_pass(c->list, c->host, "memory", "%llu of %llu MiB are free",
			    (unsigned long long)(available >> 20),
			    (unsigned long long)(total >> 20));
}

static void check_clock(struct checking *c)
{
	struct timex t = {0};
	if (adjtimex(&t) >= 0 && !(t.status & STA_UNSYNC))
		checks_pass(c->list, c->host, "clock", "synchronised");
	else
		warn(c, "clock", "run chrony or systemd-timesyncd: certificates have dates",
		     "nobody keeps this host's clock right");
}

// ---- programs and users -------------------------------------------------------------------------

static void check_criu(struct checking *c)
{
	const struct config *config = &c->d->config;
	struct criu_program program;
	struct criu_version version;
	struct error err;
	_cleanup_json_ json_t *start =
		json_pack("{s:s, s:s}", "criu", config->criu, "criu_preload", config->preload);
	if (facts_criu(start, &program, &version, &err) < 0) {
		checks_fail(c->list, c->host, "criu", &err);
		return;
	}
	checks_pass(c->list, c->host, "criu", "%d.%d, %s%s%s: passes its self-test", version.major,
		    version.minor, program.program,
		    strcmp(config->criu, "auto") != 0 ? " (criu: path in relocd.yaml)"
		    : program.loader[0]               ? " (made by scripts/install-deps)"
						      : " (the system's)",
		    program.preload[0] ? " with criu-preload.so" : "");
}

static void check_users(struct checking *c)
{
	struct passwd entry, *found = NULL;
	char room[4096];
	if (getpwnam_r("relocd-mover", &entry, room, sizeof(room), &found) == 0 && found)
		checks_pass(c->list, c->host, "users", "relocd-mover has uid %u",
			    (unsigned)entry.pw_uid);
	else
		warn(c, "users", "systemd-sysusers makes it from relocd.conf",
		     "no user relocd-mover: movers run as nobody");
}

// ---- network ------------------------------------------------------------------------------------

// 3: set by a user, see net/if_name_types of Documentation/ABI/testing/sysfs-class-net.
static bool has_fixed_address(const char *bridge)
{
	char path[256];
	snprintf(path, sizeof(path), "/sys/class/net/%s/addr_assign_type", bridge);
	_cleanup_free_ char *type = fdio_read_file(AT_FDCWD, path, 16, NULL);
	return type && type[0] == '3';
}

static void check_bridge(struct checking *c)
{
	const char *bridge = c->d->config.bridge;
	struct error err;
	if (port_check_bridge(bridge, NETNS_CURRENT, &err) < 0)
		checks_fail(c->list, c->host, "bridge", &err);
	else if (!has_fixed_address(bridge))
		warn(c, "bridge",
		     "give it one (`ip link set BRIDGE address MAC`, MACAddress= of "
		     "systemd.netdev)",
		     "%s has no hardware address of its own: it changes when the partition of the "
		     "lowest one comes or goes, and neighbours lose this host for a moment",
		     bridge);
	else
		checks_pass(c->list, c->host, "bridge", "%s is up, without spanning tree", bridge);
}

static void check_cluster(struct checking *c)
{
	int64_t expires = pki_not_after(c->d->config.tls_cert), now = time(NULL);
	daemon_lock(c->d);
	bool member = cluster_member(c->d), listening = c->d->listener;
	daemon_unlock(c->d);
	if (!member)
		warn(c, "cluster", "`wparctl cluster init`, or `wparctl cluster join TOKEN`",
		     "this host is in no cluster: nothing can move");
	else if (!listening)
		warn(c, "cluster", "restart relocd and look at its log", "relocd does not listen");
	else
		checks_pass(c->list, c->host, "cluster", "listening on %s", c->d->config.listen);
	if (!member)
		return;
	if (expires - now < EXPIRES_SOON_S)
		warn(c, "certificate", "`wparctl cluster renew`", "it ends %s",
		     expires < now ? "in the past: nobody talks to this host" : "within 30 days");
	else
		checks_pass(c->list, c->host, "certificate", "good for %lld days",
			    (long long)(expires - now) / 86400);
}

// ---- storage ------------------------------------------------------------------------------------

static void check_shared(struct checking *c)
{
	const struct config *config = &c->d->config;
	for (size_t i = 0; i < config->shared_count; i++) {
		struct stat st;
		if (stat(config->shared[i], &st) == 0 && S_ISDIR(st.st_mode))
			checks_pass(c->list, c->host, "storage", "%s is there", config->shared[i]);
		else
			warn(c, "storage", "mount it, or take it out of storage: shared",
			     "%s is not there", config->shared[i]);
	}
	if (!config->shared_count)
		warn(c, "storage", "name the folders that all hosts share: storage: shared",
		     "no shared folder: only what brings its storage along can move");
}

static void check_room(struct checking *c)
{
	struct statfs fs;
	const char *root = c->d->config.storage_root;
	if (statfs(root, &fs) < 0) {
		warn(c, "state", "make the folder available", "%s: %s", root, strerror(errno));
		return;
	}
	unsigned long long mib =
		(unsigned long long)fs.f_bavail * (unsigned long long)fs.f_bsize >> 20;
	if (mib < 1024)
		warn(c, "state", "make room there", "%s has %llu MiB left", root, mib);
	else
		checks_pass(c->list, c->host, "state", "%s has %llu MiB left", root, mib);
}

json_t *hosts_check(struct daemon *d)
{
	struct checking c = {.d = d, .host = d->config.host, .list = json_array()};
	check_kernel(&c);
	check_cgroup(&c);
	check_criu(&c);
	check_users(&c);
	check_memory(&c);
	check_clock(&c);
	check_bridge(&c);
	check_cluster(&c);
	check_shared(&c);
	check_overlay(&c);
	check_room(&c);
	return c.list;
}
