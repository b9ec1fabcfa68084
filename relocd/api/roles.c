// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/roles.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"

#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>

#define GROUPS_MAX 1024
#define ROOM       16384 // for an entry of passwd or group

struct entry {
	enum role role;
	bool is_group;
	id_t id;
};

struct table {
	struct entry *entries;
	size_t count;
	gid_t group; // of the socket
	bool has_group;
	bool others;
};

struct roles {
	pthread_rwlock_t lock; // of the table, which is exchanged as a whole
	struct table table;
};

static bool find_group(const char *name, id_t *id)
{
	struct group entry, *found = NULL;
	char room[ROOM];
	if (getgrnam_r(name, &entry, room, sizeof(room), &found) == 0 && found)
		*id = found->gr_gid;
	return found;
}

static bool find_user(const char *name, id_t *id)
{
	struct passwd entry, *found = NULL;
	char room[ROOM], *end;
	unsigned long number = strtoul(name, &end, 10);
	if (name[0] >= '0' && name[0] <= '9' && !*end && number < UINT32_MAX) {
		*id = (id_t)number;
		return true;
	}
	if (getpwnam_r(name, &entry, room, sizeof(room), &found) == 0 && found)
		*id = found->pw_uid;
	return found;
}

static void add(struct table *t, enum role role, const char *name)
{
	bool is_group = !strncmp(name, "group:", 6);
	id_t id;
	if (!(is_group ? find_group(name + 6, &id) : find_user(name, &id))) {
		log_warn("roles: %s: there is no %s", name, is_group ? "such group" : "such user");
		return;
	}
	t->entries[t->count++] = (struct entry){.role = role, .is_group = is_group, .id = id};
	if (!(is_group && t->has_group && id == t->group) && (is_group || id))
		t->others = true;
}

static void add_all(struct table *t, enum role role, const struct config_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		add(t, role, names->list[i]);
}

static int fill(struct table *t, const struct config *config, struct error *err)
{
	size_t max = config->admins.count + config->operators.count + config->viewers.count + 1;
	*t = (struct table){.entries = calloc(max, sizeof(*t->entries))};
	if (!t->entries)
		return error_set(err, ERR_NOMEM, "no memory for the roles");
	t->has_group = find_group(config->api_group, &t->group);
	if (t->has_group)
		t->entries[t->count++] =
			(struct entry){.role = ROLE_VIEWER, .is_group = true, .id = t->group};
	add_all(t, ROLE_ADMIN, &config->admins);
	add_all(t, ROLE_OPERATOR, &config->operators);
	add_all(t, ROLE_VIEWER, &config->viewers);
	return 0;
}

struct roles *roles_new(const struct config *config, struct error *err)
{
	struct roles *r = calloc(1, sizeof(*r));
	if (!r) {
		error_set(err, ERR_NOMEM, "no memory for the roles");
		return NULL;
	}
	if (fill(&r->table, config, err) < 0) {
		free(r);
		return NULL;
	}
	pthread_rwlock_init(&r->lock, NULL);
	return r;
}

int roles_renew(struct roles *r, const struct config *config, struct error *err)
{
	struct table fresh, old;
	if (fill(&fresh, config, err) < 0)
		return -1;
	pthread_rwlock_wrlock(&r->lock);
	old = r->table;
	r->table = fresh;
	pthread_rwlock_unlock(&r->lock);
	free(old.entries);
	return 0;
}

void roles_free(struct roles *r)
{
	if (!r)
		return;
	pthread_rwlock_destroy(&r->lock);
	free(r->table.entries);
	free(r);
}

bool roles_group(struct roles *r, gid_t *group)
{
	pthread_rwlock_rdlock(&r->lock);
	bool has = r->table.has_group;
	*group = r->table.group;
	pthread_rwlock_unlock(&r->lock);
	return has;
}

bool roles_name_others(struct roles *r)
{
	pthread_rwlock_rdlock(&r->lock);
	bool others = r->table.others;
	pthread_rwlock_unlock(&r->lock);
	return others;
}

static bool matches(const struct entry *e, uid_t uid, const gid_t *groups, size_t count)
{
	if (!e->is_group)
		return e->id == uid;
	for (size_t i = 0; i < count; i++)
		if (groups[i] == e->id)
			return true;
	return false;
}

enum role roles_of(struct roles *r, uid_t uid, const gid_t *groups, size_t count)
{
	enum role role = uid ? ROLE_NONE : ROLE_ADMIN;
	pthread_rwlock_rdlock(&r->lock);
	for (size_t i = 0; i < r->table.count; i++) {
		const struct entry *e = &r->table.entries[i];
		if (e->role > role && matches(e, uid, groups, count))
			role = e->role;
	}
	pthread_rwlock_unlock(&r->lock);
	return role;
}

enum role roles_of_socket(struct roles *r, int sock, uid_t *uid, pid_t *pid)
{
	struct ucred who;
	gid_t groups[GROUPS_MAX + 1];
	socklen_t length = sizeof(who), room = GROUPS_MAX * sizeof(gid_t);
	if (sock < 0 || getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &length) < 0)
		return ROLE_NONE;
	*uid = who.uid;
	*pid = who.pid;
	groups[0] = who.gid;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, groups + 1, &room) < 0)
		room = 0;
	return roles_of(r, who.uid, groups, 1 + room / sizeof(gid_t));
}
