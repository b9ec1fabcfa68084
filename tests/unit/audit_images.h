// SPDX-License-Identifier: Apache-2.0
// A small set of CRIU's images as an arrival gets them from a partition without privileges, made by
// hand from the messages; tests change a thing and look whether the audit notices.
#ifndef WPAR_TESTS_AUDIT_IMAGES_H
#define WPAR_TESTS_AUDIT_IMAGES_H

#include "images/criu_audit.pb-c.h"
#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/criu/audit.h"

#include <linux/capability.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define AUDIT_COMMON    0x54564319u
#define AUDIT_INVENTORY 0x58313116u

static inline void image_word(struct buf *b, uint32_t word)
{
	buf_append(b, &word, sizeof(word), NULL);
}

static inline struct buf image_begin(uint32_t magic)
{
	struct buf b = BUF_INIT(1 << 20);
	if (magic != AUDIT_INVENTORY)
		image_word(&b, AUDIT_COMMON);
	image_word(&b, magic);
	return b;
}

static inline void image_add(struct buf *b, const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	image_word(b, (uint32_t)size);
	b->length += protobuf_c_message_pack(message, buf_reserve(b, size, NULL));
}

// Everything that a test may change before the images are made of it.
struct image_set {
	Criu__AuditIds root, ids, other_ids;
	Criu__AuditInventory inventory;
	Criu__AuditCreds creds;
	Criu__AuditThread thread;
	Criu__AuditTask task;
	Criu__AuditCore core;
	Criu__AuditProcess process;
	Criu__AuditFilter filter, *filters[1];
	Criu__AuditSeccomp seccomp;
	Criu__AuditMount mounts[8];
	size_t mount_count;
	Criu__AuditPath path;
	Criu__AuditSocket socket;
	Criu__AuditFile file;
	Criu__AuditGhost ghost;
	Criu__AuditMemfd memfd;
	Criu__AuditLimit limit[3], *limit_list[3];
	Criu__AuditLimits limits;
	uint32_t words[2];
	uint32_t sets[5][2];
	bool with_ghost;
};

static char *const image_binds[] = {"dev", "null", "empty", "run", NULL};
static const uint32_t image_bind_flags[] = {MS_NOSUID | MS_NOEXEC, MS_NOSUID | MS_NOEXEC,
					    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
					    MS_NOSUID | MS_NODEV};
static const uint64_t image_limits[] = {UINT64_MAX, 1 << 20, UINT64_MAX};
static char *const image_masked[] = {"/proc/keys", NULL};
static char *const image_read_only[] = {"/proc/sys", NULL};

static const struct audit_grant image_grant = {
	.capabilities = 1ull << CAP_CHOWN | 1ull << CAP_KILL | 1ull << 40,
	.uid = 1000,
	.gid = 1000,
	.no_new_privileges = true,
	.seccomp = true,
	.binds = image_binds,
	.bind_flags = image_bind_flags,
	.limits = image_limits,
	.limit_count = 3,
	.masked = image_masked,
	.read_only = image_read_only,
};

static inline void image_ids(Criu__AuditIds *ids, uint32_t first)
{
	criu__audit_ids__init(ids);
	ids->has_pid = ids->has_net = ids->has_ipc = ids->has_uts = ids->has_mnt = ids->has_user =
		true;
	ids->pid = first;
	ids->net = 2;
	ids->ipc = first + 1;
	ids->uts = first + 2;
	ids->mnt = first + 3;
	ids->user = 7;
}

static inline void image_mount(struct image_set *s, uint32_t fstype, uint32_t id, uint32_t flags,
			       const char *root, const char *point, const char *key)
{
	Criu__AuditMount *m = &s->mounts[s->mount_count++];
	criu__audit_mount__init(m);
	m->fstype = fstype;
	m->id = id;
	m->device = 9;
	m->flags = flags;
	m->root = (char *)root;
	m->point = (char *)point;
	m->key = (char *)key;
	m->source = (char *)(fstype ? "none" : "/dev/vda1");
	m->options = (char *)"rw";
}

static inline void image_capability_set(struct image_set *s, unsigned i, size_t *count,
					uint32_t **words)
{
	s->sets[i][0] = 1u << CAP_CHOWN;
	s->sets[i][1] = 1u << (40 - 32);
	*count = 2;
	*words = s->sets[i];
}

static inline void image_creds(struct image_set *s)
{
	Criu__AuditCreds *c = &s->creds;
	criu__audit_creds__init(c);
	c->uid = c->euid = c->suid = c->fsuid = 1000;
	c->gid = c->egid = c->sgid = c->fsgid = 1000;
	c->has_no_new_privs = true;
	c->no_new_privs = 1;
	image_capability_set(s, 0, &c->n_inheritable, &c->inheritable);
	image_capability_set(s, 1, &c->n_permitted, &c->permitted);
	image_capability_set(s, 2, &c->n_effective, &c->effective);
	image_capability_set(s, 3, &c->n_bounding, &c->bounding);
	image_capability_set(s, 4, &c->n_ambient, &c->ambient);
}

static inline void image_task(struct image_set *s)
{
	image_creds(s);
	criu__audit_thread__init(&s->thread);
	s->thread.creds = &s->creds;
	s->thread.has_seccomp_mode = s->thread.has_seccomp_filter = true;
	s->thread.seccomp_mode = 2;
	criu__audit_task__init(&s->task);
	s->task.state = 1;
	criu__audit_limits__init(&s->limits);
	for (int i = 0; i < 3; i++) {
		criu__audit_limit__init(&s->limit[i]);
		s->limit[i].soft = s->limit[i].hard = 1 << 20;
		s->limit_list[i] = &s->limit[i];
	}
	s->limits.n_list = 3;
	s->limits.list = s->limit_list;
	s->task.limits = &s->limits;
	criu__audit_core__init(&s->core);
	s->core.task = &s->task;
	s->core.thread = &s->thread;
	criu__audit_process__init(&s->process);
	s->process.pid = 1;
	criu__audit_filter__init(&s->filter);
	s->filter.program = (ProtobufCBinaryData){8, (uint8_t *)"filter.."};
	s->filters[0] = &s->filter;
	criu__audit_seccomp__init(&s->seccomp);
	s->seccomp.n_filters = 1;
	s->seccomp.filters = s->filters;
}

static inline void image_files(struct image_set *s)
{
	const uint32_t strict = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	s->mount_count = 0;
	image_mount(s, 1, 15, strict | MS_RDONLY, "/sys", "/proc/sys", NULL);
	image_mount(s, 5, 14, strict, "/null", "/proc/keys", "null");
	image_mount(s, 2, 13, strict | MS_RDONLY, "/", "/sys", NULL);
	image_mount(s, 1, 12, strict, "/", "/proc", NULL);
	image_mount(s, 5, 11, MS_NOSUID | MS_NOEXEC, "/dev", "/dev", "dev");
	image_mount(s, 0, 10, MS_NODEV, "/srv/root", "/", NULL);
	criu__audit_path__init(&s->path);
	s->path.name = (char *)"/bin/program";
	s->path.has_mount = true;
	s->path.mount = 10;
	criu__audit_socket__init(&s->socket);
	s->socket.type = 1;
	criu__audit_file__init(&s->file);
	s->file.type = 1;
	s->file.id = 5;
	s->file.path = &s->path;
	criu__audit_ghost__init(&s->ghost);
	s->ghost.mode = S_IFREG | 0644;
	criu__audit_memfd__init(&s->memfd);
	s->memfd.has_mode = true;
	s->memfd.mode = S_IFREG | 0777;
}

static inline void image_set_init(struct image_set *s)
{
	memset(s, 0, sizeof(*s));
	image_ids(&s->root, 1);
	image_ids(&s->ids, 20);
	image_ids(&s->other_ids, 20);
	criu__audit_inventory__init(&s->inventory);
	s->inventory.version = 2;
	s->inventory.root = &s->root;
	image_task(s);
	image_files(s);
}

static inline int image_take(struct audit *a, const char *name, uint32_t magic,
			     const ProtobufCMessage *message, struct error *err)
{
	_cleanup_buf_ struct buf b = image_begin(magic);
	image_add(&b, message);
	return audit_image(a, name, b.data, b.length, err);
}

static inline int image_take_mounts(struct audit *a, const struct image_set *s, struct error *err)
{
	_cleanup_buf_ struct buf b = image_begin(0x55563928);
	for (size_t i = 0; i < s->mount_count; i++)
		image_add(&b, &s->mounts[i].base);
	return audit_image(a, "mountpoints-13.img", b.data, b.length, err);
}

// The whole set through an audit, as it would come: its verdict.
static inline int image_set_audit(const struct image_set *s, const struct audit_grant *grant,
				  struct error *err)
{
	struct audit *a = audit_open(grant, err);
	int done = -1;
	if (image_take(a, "core-1.img", 0x55053847, &s->core.base, err) == 0 &&
	    image_take(a, "ids-1.img", 0x54432030, &s->ids.base, err) == 0 &&
	    image_take(a, "ids-2.img", 0x54432030, &s->other_ids.base, err) == 0 &&
	    image_take(a, "files.img", 0x56303138, &s->file.base, err) == 0 &&
	    (!s->with_ghost ||
	     image_take(a, "ghost-file-a1.img", 0x52583605, &s->ghost.base, err) == 0) &&
	    image_take(a, "memfd.img", 0x48453499, &s->memfd.base, err) == 0 &&
	    image_take(a, "inventory.img", AUDIT_INVENTORY, &s->inventory.base, err) == 0 &&
	    image_take_mounts(a, s, err) == 0 &&
	    image_take(a, "pstree.img", 0x50273030, &s->process.base, err) == 0 &&
	    image_take(a, "seccomp.img", 0x64413049, &s->seccomp.base, err) == 0)
		done = audit_end(a, err);
	audit_free(a);
	return done;
}

#endif
