// SPDX-License-Identifier: Apache-2.0
// Tasks: who they are, what they may do, and in which namespaces.
#include "lib/criu/audit_inner.h"

#include "lib/base/cleanup.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_DEAD = 2, STATE_ZOMBIE = 6 }; // they only end once more
enum { SECCOMP_FILTERED = 2 };

#define UNPACK(type, length, bytes) criu__audit_##type##__unpack(NULL, length, bytes)

// ---- namespaces ---------------------------------------------------------------------------------

static void copy_ids(struct audit_namespaces *to, const Criu__AuditIds *from)
{
	*to = (struct audit_namespaces){from->pid, from->net,  from->ipc,    from->uts,
					from->mnt, from->user, from->cgroup, from->time};
}

// It also names the security module of the kernel they come from. Debian's has one, and its tasks
// no labels: see check_creds.
int audit_inventory(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
		    struct error *err)
{
	Criu__AuditInventory *i = UNPACK(inventory, length, bytes);
	int done = 0;
	if (!i || !i->root || a->root)
		done = audit_damaged(name, err);
	else if (!(a->root = calloc(1, sizeof(*a->root))))
		done = error_set(err, ERR_NOMEM, "no memory for an audit");
	else
		copy_ids(a->root, i->root);
	if (i)
		criu__audit_inventory__free_unpacked(i, NULL);
	return done;
}

static int take_ids(struct audit *a, const char *name, const Criu__AuditIds *ids, struct error *err)
{
	struct audit_namespaces these;
	copy_ids(&these, ids);
	if (a->have_ids && memcmp(&these, &a->own, sizeof(these)) != 0)
		return error_set(err, ERR_IMAGES,
				 "%s: a task is in namespaces of its own within the partition",
				 name);
	a->own = these;
	a->have_ids = true;
	return 0;
}

int audit_ids(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
	      struct error *err)
{
	Criu__AuditIds *ids = UNPACK(ids, length, bytes);
	if (!ids)
		return audit_damaged(name, err);
	int done = take_ids(a, name, ids, err);
	criu__audit_ids__free_unpacked(ids, NULL);
	return done;
}

// CRIU ran in the partition's network namespace and in the host's user namespace.
static int check_namespaces(const struct audit *a, struct error *err)
{
	if (a->own.user != a->root->user)
		return error_set(err, ERR_IMAGES,
				 "the images make a user namespace, which was not granted");
	if (a->own.net != a->root->net)
		return error_set(
			err, ERR_IMAGES,
			"the images make a network namespace; the partition's is made here");
	if (a->own.pid == a->root->pid || a->own.mnt == a->root->mnt ||
	    a->own.ipc == a->root->ipc || a->own.uts == a->root->uts)
		return error_set(err, ERR_IMAGES, "the images share a namespace with the host");
	return 0;
}

// ---- what a task may do -------------------------------------------------------------------------

static int check_set(const struct audit *a, const char *name, const char *set,
		     const uint32_t *words, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t granted = i < 2 ? (uint32_t)(a->grant->capabilities >> 32 * i) : 0;
		uint32_t extra = words[i] & ~granted;
		if (extra)
			return error_set(err, ERR_IMAGES,
					 "%s: the %s set has capability %zu, which is not granted",
					 name, set, i * 32 + (size_t)__builtin_ctz(extra));
	}
	return 0;
}

static int check_capabilities(const struct audit *a, const char *name, const Criu__AuditCreds *c,
			      struct error *err)
{
	if (check_set(a, name, "inheritable", c->inheritable, c->n_inheritable, err) < 0 ||
	    check_set(a, name, "permitted", c->permitted, c->n_permitted, err) < 0 ||
	    check_set(a, name, "effective", c->effective, c->n_effective, err) < 0 ||
	    check_set(a, name, "bounding", c->bounding, c->n_bounding, err) < 0)
		return -1;
	return check_set(a, name, "ambient", c->ambient, c->n_ambient, err);
}

// Without no_new_privs a set-uid program can make any user, with the capability anybody can.
static int check_users(const struct audit *a, const char *name, const Criu__AuditCreds *c,
		       struct error *err)
{
	const struct audit_grant *g = a->grant;
	const uint32_t uids[] = {c->uid, c->euid, c->suid, c->fsuid};
	const uint32_t gids[] = {c->gid, c->egid, c->sgid, c->fsgid};
	if (!g->no_new_privileges)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(uids); i++) {
		if (!audit_grants(a, CAP_SETUID) && uids[i] != g->uid)
			return error_set(err, ERR_IMAGES, "%s: runs as user %u, granted is %u",
					 name, uids[i], (unsigned)g->uid);
		if (!audit_grants(a, CAP_SETGID) && gids[i] != g->gid)
			return error_set(err, ERR_IMAGES, "%s: runs as group %u, granted is %u",
					 name, gids[i], (unsigned)g->gid);
	}
	for (size_t i = 0; i < c->n_groups && !audit_grants(a, CAP_SETGID); i++) {
		bool known = c->groups[i] == g->gid;
		for (size_t j = 0; j < g->group_count; j++)
			known |= g->groups[j] == c->groups[i];
		if (!known)
			return error_set(err, ERR_IMAGES, "%s: has group %u, which is not granted",
					 name, c->groups[i]);
	}
	return 0;
}

static int check_creds(const struct audit *a, const char *name, const Criu__AuditCreds *c,
		       struct error *err)
{
	if (check_capabilities(a, name, c, err) < 0 || check_users(a, name, c, err) < 0)
		return -1;
	if (a->grant->no_new_privileges && !c->no_new_privs)
		return error_set(err, ERR_IMAGES, "%s: lacks no_new_privs, which is demanded",
				 name);
	if ((c->label && c->label[0] && strcmp(c->label, "unconfined") != 0) ||
	    (c->socket_label && c->socket_label[0]))
		return error_set(err, ERR_IMAGES, "%s: has a label of a security module", name);
	return 0;
}

static int check_priority(const struct audit *a, const char *name, const Criu__AuditThread *t,
			  struct error *err)
{
	bool usual = !t->has_policy || t->policy == SCHED_OTHER || t->policy == SCHED_BATCH ||
		     t->policy == SCHED_IDLE;
	if ((usual && t->nice >= 0) || audit_grants(a, CAP_SYS_NICE))
		return 0;
	return error_set(err, ERR_IMAGES, "%s: has a priority that is not granted", name);
}

// What only CAP_SYS_RESOURCE may raise; CRIU has it.
static int check_resources(const struct audit *a, const char *name, const Criu__AuditTask *t,
			   struct error *err)
{
	if (!t || audit_grants(a, CAP_SYS_RESOURCE))
		return 0;
	for (size_t i = 0; t->limits && i < t->limits->n_list && i < a->grant->limit_count; i++)
		if (t->limits->list[i]->hard > a->grant->limits[i])
			return error_set(err, ERR_IMAGES,
					 "%s: its hard limit %zu is above the one granted", name,
					 i);
	if (t->oom_score < 0)
		return error_set(err, ERR_IMAGES,
				 "%s: is spared when memory runs out, which is not granted", name);
	return 0;
}

// Threads that have the filter of their process say nothing of it.
static int check_seccomp(struct audit *a, const char *name, uint32_t id, const Criu__AuditThread *t,
			 struct error *err)
{
	if (!a->grant->seccomp || !t->has_seccomp_mode)
		return 0;
	if (t->seccomp_mode != SECCOMP_FILTERED)
		return error_set(err, ERR_IMAGES, "%s: lacks the seccomp filter that is demanded",
				 name);
	if (audit_add(&a->filtered, id, err) < 0)
		return -1;
	return audit_add(&a->filters_used, t->seccomp_filter, err);
}

static int take_core(struct audit *a, const char *name, uint32_t id, const Criu__AuditCore *core,
		     struct error *err)
{
	bool ended = core->task &&
		     (core->task->state == STATE_DEAD || core->task->state == STATE_ZOMBIE);
	if (core->ids && take_ids(a, name, core->ids, err) < 0)
		return -1;
	if (ended)
		return audit_add(&a->ended, id, err);
	if (!core->thread || !core->thread->creds)
		return audit_damaged(name, err);
	if (check_creds(a, name, core->thread->creds, err) < 0 ||
	    check_priority(a, name, core->thread, err) < 0 ||
	    check_resources(a, name, core->task, err) < 0)
		return -1;
	return check_seccomp(a, name, id, core->thread, err);
}

int audit_core(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
	       struct error *err)
{
	char *end;
	unsigned long id = strtoul(name + strlen("core-"), &end, 10);
	Criu__AuditCore *core = UNPACK(core, length, bytes);
	int done = -1;
	if (!core || !id || id > UINT32_MAX || strcmp(end, ".img") != 0 ||
	    audit_has(&a->cores, (uint32_t)id))
		audit_damaged(name, err);
	else if (audit_add(&a->cores, (uint32_t)id, err) == 0)
		done = take_core(a, name, (uint32_t)id, core, err);
	if (core)
		criu__audit_core__free_unpacked(core, NULL);
	return done;
}

// ---- all of them --------------------------------------------------------------------------------

static int add_thread(struct audit *a, uint32_t process, uint32_t id, struct error *err)
{
	if (a->thread_count == AUDIT_SET_MAX)
		return error_set(err, ERR_PROTOCOL, "the images hold more than %d threads",
				 AUDIT_SET_MAX);
	if (a->thread_count == a->thread_room) {
		size_t room = a->thread_room ? a->thread_room * 2 : 64;
		struct audit_thread *more = reallocarray(a->threads, room, sizeof(*more));
		if (!more)
			return error_set(err, ERR_NOMEM, "no memory for an audit");
		a->threads = more;
		a->thread_room = room;
	}
	a->threads[a->thread_count++] = (struct audit_thread){process, id};
	return 0;
}

int audit_process(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
		  struct error *err)
{
	Criu__AuditProcess *p = UNPACK(process, length, bytes);
	int done = p ? audit_add(&a->leaders, p->pid, err) : audit_damaged(name, err);
	if (done == 0)
		done = add_thread(a, p->pid, p->pid, err);
	for (size_t i = 0; p && done == 0 && i < p->n_threads; i++)
		done = add_thread(a, p->pid, p->threads[i], err);
	if (p)
		criu__audit_process__free_unpacked(p, NULL);
	return done;
}

int audit_seccomp(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
		  struct error *err)
{
	Criu__AuditSeccomp *s = UNPACK(seccomp, length, bytes);
	if (!s)
		return audit_damaged(name, err);
	a->filters = (uint32_t)s->n_filters;
	int done = 0;
	for (size_t i = 0; i < s->n_filters && done == 0; i++)
		if (!s->filters[i]->program.len)
			done = error_set(err, ERR_IMAGES, "%s: a filter is empty", name);
	criu__audit_seccomp__free_unpacked(s, NULL);
	return done;
}

int audit_end_tasks(struct audit *a, struct error *err)
{
	for (size_t i = 0; a->grant->seccomp && i < a->leaders.count; i++)
		if (!audit_has(&a->filtered, a->leaders.numbers[i]) &&
		    !audit_has(&a->ended, a->leaders.numbers[i]))
			return error_set(err, ERR_IMAGES,
					 "process %u lacks the seccomp filter that is demanded",
					 a->leaders.numbers[i]);
	for (size_t i = 0; i < a->filters_used.count; i++)
		if (a->filters_used.numbers[i] >= a->filters)
			return error_set(err, ERR_IMAGES, "seccomp filter %u is not there",
					 a->filters_used.numbers[i]);
	return check_namespaces(a, err);
}
