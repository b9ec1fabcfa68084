// SPDX-License-Identifier: Apache-2.0
// Mounts are those that we make; open files lie on them or are of harmless kinds.
#include "lib/criu/audit_inner.h"

#include "lib/base/cleanup.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

// As CRIU numbers them.
enum {
	FS_OTHER = 0,
	FS_PROC = 1,
	FS_SYSFS = 2,
	FS_TMPFS = 5,
	FS_DEVPTS = 6,
	FS_CGROUP = 12,
	FS_MQUEUE = 14,
	FS_CGROUP2 = 23,
};

enum {
	FILE_REG = 1,
	FILE_PIPE,
	FILE_FIFO,
	FILE_INET,
	FILE_UNIX,
	FILE_EVENTFD,
	FILE_EVENTPOLL,
	FILE_INOTIFY,
	FILE_SIGNALFD,
	FILE_PACKET,
	FILE_TTY,
	FILE_FANOTIFY,
	FILE_NETLINK,
	FILE_NAMESPACE,
	FILE_TUN,
	FILE_EXTERNAL,
	FILE_TIMERFD,
	FILE_MEMFD,
	FILE_BPF_MAP,
	FILE_PIDFD,
	FILE_KINDS,
};

#define STRICT (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static int refuse_mount(const char *point, const char *why, struct error *err)
{
	return error_set(err, ERR_IMAGES, "the mount at %.200s %s", point, why);
}

static bool is_below(const char *path, const char *top)
{
	size_t length = strlen(top);
	if (length == 1) // "/"
		return true;
	return !strncmp(path, top, length) && (!path[length] || path[length] == '/');
}

static bool climbs(const char *path)
{
	for (const char *at = path; (at = strstr(at, "..")); at += 2)
		if ((at == path || at[-1] == '/') && (!at[2] || at[2] == '/'))
			return true;
	return false;
}

// ---- mounts -------------------------------------------------------------------------------------

// CRIU binds a mount where one with the same of these is mounted already, and makes a new one of
// whatever type and source where not.
static char *super_of(const Criu__AuditMount *m)
{
	char *super;
	if (asprintf(&super, "%u\n%s\n%s\n%s", m->fstype, m->type ? m->type : "", m->source,
		     m->options) < 0)
		return NULL;
	return super;
}

static int check_root(struct audit *a, const Criu__AuditMount *m, struct error *err)
{
	const uint32_t wanted = MS_NODEV | (a->grant->read_only_root ? MS_RDONLY : 0);
	if (!audit_grants(a, CAP_SYS_ADMIN) && (m->flags & wanted) != wanted)
		return refuse_mount(m->point, "lacks nodev, or ro where that is demanded", err);
	if (a->have_root_mount || strlen(m->root) >= sizeof(a->root_path))
		return refuse_mount(m->point, "is there twice", err);
	a->have_root_mount = true;
	a->root_device = m->device;
	strcpy(a->root_path, m->root);
	a->root_super = super_of(m);
	return a->root_super ? 0 : error_set(err, ERR_NOMEM, "no memory for an audit");
}

static int check_kernel_mount(struct audit *a, const Criu__AuditMount *m, struct error *err)
{
	bool admin = audit_grants(a, CAP_SYS_ADMIN), whole = !strcmp(m->root, "/");
	bool proc = m->fstype == FS_PROC, sysfs = m->fstype == FS_SYSFS;
	if (admin)
		return 0;
	if ((m->flags & STRICT) != STRICT && m->fstype != FS_DEVPTS)
		return refuse_mount(m->point, "lacks nosuid, nodev or noexec", err);
	if (sysfs && !(m->flags & MS_RDONLY))
		return refuse_mount(m->point, "makes /sys writable", err);
	// A second one would show what is masked in the first.
	if ((proc && whole && (a->procs++ || strcmp(m->point, "/proc") != 0)) ||
	    (sysfs && whole && (a->sysfses++ || strcmp(m->point, "/sys") != 0)) ||
	    (!whole && strcmp(m->point + (proc ? strlen("/proc") : strlen("/sys")), m->root) != 0))
		return refuse_mount(m->point, "shows more of the kernel than is granted", err);
	return 0;
}

static int check_kind(struct audit *a, const Criu__AuditMount *m, struct error *err)
{
	switch (m->fstype) {
	case FS_PROC:
	case FS_SYSFS:
		if (strncmp(m->point, m->fstype == FS_PROC ? "/proc" : "/sys",
			    m->fstype == FS_PROC ? 5 : 4) != 0 &&
		    !audit_grants(a, CAP_SYS_ADMIN))
			return refuse_mount(m->point, "shows more of the kernel than is granted",
					    err);
		return check_kernel_mount(a, m, err);
	case FS_DEVPTS:
	case FS_MQUEUE:
		return strcmp(m->root, "/") == 0
			       ? check_kernel_mount(a, m, err)
			       : refuse_mount(m->point, "is a part of a filesystem", err);
	case FS_TMPFS:
	case FS_CGROUP:
	case FS_CGROUP2:
		return audit_grants(a, CAP_SYS_ADMIN)
			       ? 0
			       : refuse_mount(m->point, "is not one of those granted", err);
	default:
		return climbs(m->root) ? refuse_mount(m->point, "has no proper root", err) : 0;
	}
}

// A read-only part of the root, bound on itself: looked at in the end, for the root comes last.
static bool is_part(const Criu__AuditMount *m)
{
	static const uint32_t others[] = {FS_PROC,  FS_SYSFS,  FS_DEVPTS, FS_MQUEUE,
					  FS_TMPFS, FS_CGROUP, FS_CGROUP2};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (m->fstype == others[i])
			return false;
	return strcmp(m->point, "/") != 0;
}

static int keep_mount(struct audit *a, const Criu__AuditMount *m, bool external, struct error *err)
{
	if (a->mount_count == AUDIT_MOUNTS_MAX)
		return error_set(err, ERR_PROTOCOL, "more than %d mounts", AUDIT_MOUNTS_MAX);
	struct audit_mounted *more =
		reallocarray(a->mounts, a->mount_count + 1, sizeof(*a->mounts));
	if (more)
		a->mounts = more;
	struct audit_mounted kept = {.id = m->id, .flags = m->flags, .device = m->device};
	bool part = !external && is_part(m);
	kept.point = strdup(m->point);
	kept.part = part ? strdup(m->root) : NULL;
	kept.super = part ? super_of(m) : NULL;
	kept.mask = external && (!strcmp(m->key, "null") || !strcmp(m->key, "empty"));
	if (!more || !kept.point || (part && (!kept.part || !kept.super))) {
		free(kept.point);
		free(kept.part);
		free(kept.super);
		return error_set(err, ERR_NOMEM, "no memory for an audit");
	}
	a->mounts[a->mount_count++] = kept;
	return 0;
}

// Its source is ours, but its flags are put on as the images have them.
static int check_external(const struct audit *a, const Criu__AuditMount *m, struct error *err)
{
	size_t i = 0;
	while (m->key && a->grant->binds[i] && strcmp(a->grant->binds[i], m->key) != 0)
		i++;
	if (!m->key || !a->grant->binds[i])
		return refuse_mount(m->point, "names a source that is not granted", err);
	if (a->grant->bind_flags[i] & ~m->flags && !audit_grants(a, CAP_SYS_ADMIN))
		return refuse_mount(m->point, "lacks ro, nosuid, nodev or noexec", err);
	return 0;
}

static int take_mount(struct audit *a, const Criu__AuditMount *m, struct error *err)
{
	bool external = m->external || (m->key && m->key[0]);
	int done;
	if (m->point[0] != '/' || climbs(m->point))
		return refuse_mount(m->point, "has no proper path", err);
	if (m->plugin)
		return refuse_mount(m->point, "is that of a plugin", err);
	if (external) {
		done = check_external(a, m, err);
	} else if (!strcmp(m->point, "/")) {
		done = check_root(a, m, err);
	} else {
		done = check_kind(a, m, err);
	}
	return done < 0 ? -1 : keep_mount(a, m, external, err);
}

int audit_mount(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
		struct error *err)
{
	Criu__AuditMount *m = criu__audit_mount__unpack(NULL, length, bytes);
	if (!m)
		return audit_damaged(name, err);
	int done = take_mount(a, m, err);
	criu__audit_mount__free_unpacked(m, NULL);
	return done;
}

// ---- files --------------------------------------------------------------------------------------

static int refuse_file(const Criu__AuditFile *f, const char *why, struct error *err)
{
	return error_set(err, ERR_IMAGES, "open file %u (%.200s) %s", f->id,
			 f->path ? f->path->name : "no path", why);
}

static int check_path(struct audit *a, const Criu__AuditFile *f, struct error *err)
{
	if (!f->path)
		return audit_damaged("files.img", err);
	if (f->path->external)
		return refuse_file(f, "lies outside of the partition", err);
	if (climbs(f->path->name))
		return refuse_file(f, "has no proper path", err);
	if (f->path->has_mount && f->path->mount >= 0)
		return audit_add(&a->mounts_used, (uint32_t)f->path->mount, err);
	return 0;
}

static int check_file(struct audit *a, const Criu__AuditFile *f, struct error *err)
{
	switch (f->type) {
	case FILE_REG:
		return check_path(a, f, err);
	case FILE_INET:
		if (f->socket && f->socket->type == SOCK_RAW && !audit_grants(a, CAP_NET_RAW))
			return refuse_file(f, "is a raw socket, which is not granted", err);
		return 0;
	case FILE_PACKET:
		return audit_grants(a, CAP_NET_RAW)
			       ? 0
			       : refuse_file(f, "is a packet socket, which is not granted", err);
	case FILE_FANOTIFY:
		return audit_grants(a, CAP_SYS_ADMIN)
			       ? 0
			       : refuse_file(f, "watches a whole filesystem", err);
	case FILE_TUN:
	case FILE_EXTERNAL:
	case FILE_BPF_MAP:
		return refuse_file(f, "is of a kind that is never granted", err);
	default:
		return f->type && f->type < FILE_KINDS
			       ? 0
			       : refuse_file(f, "is of a kind that is not known", err);
	}
}

int audit_file(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
	       struct error *err)
{
	Criu__AuditFile *f = criu__audit_file__unpack(NULL, length, bytes);
	if (!f)
		return audit_damaged(name, err);
	int done = check_file(a, f, err);
	criu__audit_file__free_unpacked(f, NULL);
	return done;
}

static int check_mode(const char *name, uint32_t mode, struct error *err)
{
	if (S_ISCHR(mode) || S_ISBLK(mode))
		return error_set(err, ERR_IMAGES, "%s would make a device node", name);
	if (S_ISREG(mode) && mode & (S_ISUID | S_ISGID))
		return error_set(err, ERR_IMAGES, "%s would make a set-uid file", name);
	return 0;
}

// A file that was deleted while open is made anew, by root.
int audit_ghost(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
		struct error *err)
{
	Criu__AuditGhost *g = criu__audit_ghost__unpack(NULL, length, bytes);
	(void)a;
	if (!g)
		return audit_damaged(name, err);
	uint32_t mode = g->mode;
	criu__audit_ghost__free_unpacked(g, NULL);
	return check_mode(name, mode, err);
}

// So is one that never had a name.
int audit_memfd(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
		struct error *err)
{
	Criu__AuditMemfd *m = criu__audit_memfd__unpack(NULL, length, bytes);
	(void)a;
	if (!m)
		return audit_damaged(name, err);
	uint32_t mode = m->mode & 07777;
	criu__audit_memfd__free_unpacked(m, NULL);
	return check_mode(name, S_IFREG | mode, err);
}

// ---- the end ------------------------------------------------------------------------------------

static const struct audit_mounted *mount_at(const struct audit *a, const char *point)
{
	// The topmost of several comes first: CRIU lists them from the last to the first.
	for (size_t i = 0; i < a->mount_count; i++)
		if (!strcmp(a->mounts[i].point, point))
			return &a->mounts[i];
	return NULL;
}

static int check_protection(const struct audit *a, struct error *err)
{
	if (audit_grants(a, CAP_SYS_ADMIN)) // which could have taken it off
		return 0;
	for (char *const *path = a->grant->masked; *path; path++) {
		const struct audit_mounted *m = mount_at(a, *path);
		if (!m || !m->mask)
			return error_set(err, ERR_IMAGES, "%s is not masked", *path);
	}
	for (char *const *path = a->grant->read_only; *path; path++) {
		const struct audit_mounted *m = mount_at(a, *path);
		if (!m || !(m->flags & MS_RDONLY))
			return error_set(err, ERR_IMAGES, "%s is not read-only", *path);
	}
	return 0;
}

// A symbolic link in its path would lead CRIU out of the root, unless it is mounted where it is
// from.
static bool is_on_itself(const struct audit *a, const struct audit_mounted *m)
{
	size_t top = strlen(a->root_path) > 1 ? strlen(a->root_path) : 0;
	return strcmp(m->part + top, m->point) == 0;
}

static int check_parts(const struct audit *a, struct error *err)
{
	for (size_t i = 0; i < a->mount_count; i++) {
		const struct audit_mounted *m = &a->mounts[i];
		if (!m->part)
			continue;
		if (m->device != a->root_device || !is_below(m->part, a->root_path) ||
		    strcmp(m->super, a->root_super) != 0)
			return refuse_mount(m->point, "is of another filesystem than the root",
					    err);
		if (audit_grants(a, CAP_SYS_ADMIN))
			continue;
		if (!is_on_itself(a, m))
			return refuse_mount(m->point, "shows another place of the root", err);
		if (!(m->flags & MS_NODEV))
			return refuse_mount(m->point, "lacks nodev", err);
	}
	return 0;
}

int audit_end_mounts(struct audit *a, struct error *err)
{
	struct audit_set known = {0};
	int done = check_parts(a, err);
	for (size_t i = 0; i < a->mount_count && done == 0; i++)
		done = audit_add(&known, a->mounts[i].id, err);
	for (size_t i = 0; i < a->mounts_used.count && done == 0; i++)
		if (!audit_has(&known, a->mounts_used.numbers[i]))
			done = error_set(err, ERR_IMAGES,
					 "an open file lies on mount %u, which is not granted",
					 a->mounts_used.numbers[i]);
	free(known.numbers);
	return done < 0 ? -1 : check_protection(a, err);
}
