// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/roles.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"

#include <grp.h>
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

struct roles {
	struct entry *entries;
	size_t count;
	gid_t group; // of the socket
	bool has_group;
	bool others;
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

static void add(struct roles *r, enum role role, const char *name)
{
	bool is_group = !strncmp(name, "group:", 6);
	id_t id;
	if (!(is_group ? find_group(name + 6, &id) : find_user(name, &id))) {
		log_warn("roles: %s: there is no %s", name, is_group ? "such group" : "such user");
		return;
	}
	r->entries[r->count++] = (struct entry){.role = role, .is_group = is_group, .id = id};
	if (!(is_group && r->has_group && id == r->group) && (is_group || id))
		r->others = true;
}

static void add_all(struct roles *r, enum role role, const struct config_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		add(r, role, names->list[i]);
}

struct roles *roles_new(const struct config *config, struct error *err)
{
	struct roles *r = calloc(1, sizeof(*r));
	size_t max = config->admins.count + config->operators.count + config->viewers.count + 1;
	if (!r || !(r->entries = calloc(max, sizeof(*r->entries)))) {
		free(r);
		error_set(err, ERR_NOMEM, "no memory for the roles");
		return NULL;
	}
	r->has_group = find_group(config->api_group, &r->group);
	if (r->has_group)
		r->entries[r->count++] =
			(struct entry){.role = ROLE_VIEWER, .is_group = true, .id = r->group};
	add_all(r, ROLE_ADMIN, &config->admins);
	add_all(r, ROLE_OPERATOR, &config->operators);
	add_all(r, ROLE_VIEWER, &config->viewers);
	return r;
}

void roles_free(struct roles *r)
{
	if (r)
		free(r->entries);
	free(r);
}

bool roles_group(const struct roles *r, gid_t *group)
{
	*group = r->group;
	return r->has_group;
}

bool roles_name_others(const struct roles *r)
{
	return r->others;
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

enum role roles_of(const struct roles *r, uid_t uid, const gid_t *groups, size_t count)
{
	enum role role = uid ? ROLE_NONE : ROLE_ADMIN;
	for (size_t i = 0; i < r->count; i++)
		if (r->entries[i].role > role && matches(&r->entries[i], uid, groups, count))
			role = r->entries[i].role;
	return role;
}

enum role roles_of_socket(const struct roles *r, int sock, uid_t *uid, pid_t *pid)
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
