// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/passwd.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FILE_MAX (4 << 20)

static char *read_below(const char *root, const char *file)
{
	struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	char path[64];
	struct stat st;
	_cleanup_close_ int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "etc/%s", file);
	_cleanup_close_ int fd = (int)syscall(SYS_openat2, top, path, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL; // a device or a FIFO there is none of ours to read
	return fdio_read_text(fd, path, FILE_MAX, NULL);
}

static bool parse_id(const char *text, unsigned *id)
{
	char *end;
	errno = 0;
	unsigned long value = strtoul(text, &end, 10);
	*id = (unsigned)value;
	return isdigit((unsigned char)*text) && !*end && !errno && value < UINT_MAX;
}

// Splits a line at its colons in place; returns how many fields there are (at most `max`).
static size_t split(char *line, char **fields, size_t max)
{
	size_t n = 0;
	for (char *at = line; n < max; at++) {
		fields[n++] = at;
		at += strcspn(at, ":");
		if (!*at)
			break;
		*at = 0;
	}
	return n;
}

// Fields of passwd(5): name, password, uid, gid, comment, home, shell.
static bool find_user(const char *root, const char *name, const uid_t *uid,
		      struct passwd_user *user)
{
	_cleanup_free_ char *text = read_below(root, "passwd");
	char *rest;
	for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\n", &rest)) {
		char *fields[7];
		unsigned id, gid;
		if (split(line, fields, 7) < 6 || !parse_id(fields[2], &id) ||
		    !parse_id(fields[3], &gid))
			continue;
		if (name ? strcmp(fields[0], name) != 0 : id != *uid)
			continue;
		user->uid = id;
		user->gid = gid;
		snprintf(user->name, sizeof(user->name), "%s", fields[0]);
		snprintf(user->home, sizeof(user->home), "%s", *fields[5] ? fields[5] : "/");
		return true;
	}
	return false;
}

static bool is_listed(char *members, const char *name)
{
	char *rest;
	for (char *one = strtok_r(members, ",", &rest); one; one = strtok_r(NULL, ",", &rest))
		if (!strcmp(one, name))
			return true;
	return false;
}

// Fields of group(5): name, password, gid, members. Finds a group's number, or collects the groups
// that list a member.
static bool read_groups(const char *root, const char *group, const char *member,
			struct passwd_user *user)
{
	_cleanup_free_ char *text = read_below(root, "group");
	char *rest;
	for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\n", &rest)) {
		char *fields[4];
		unsigned gid;
		if (split(line, fields, 4) < 4 || !parse_id(fields[2], &gid))
			continue;
		if (group && !strcmp(fields[0], group)) {
			user->gid = gid;
			return true;
		}
		if (member && user->group_count < PASSWD_GROUPS_MAX && is_listed(fields[3], member))
			user->groups[user->group_count++] = gid;
	}
	return false;
}

void passwd_home(const char *root, uid_t uid, char *home, size_t size)
{
	struct passwd_user user = {.home = "/"};
	find_user(root, NULL, &uid, &user);
	snprintf(home, size, "%s", user.home);
}

int passwd_find(const char *root, const char *spec, struct passwd_user *user, struct error *err)
{
	_cleanup_free_ char *name = strdup(spec);
	unsigned id;
	if (!name)
		return error_set(err, ERR_NOMEM, "no memory for a name");
	char *group = strchr(name, ':');
	if (group)
		*group++ = 0;
	*user = (struct passwd_user){.home = "/"};
	if (parse_id(name, &id)) {
		user->uid = id;
		find_user(root, NULL, &user->uid, user);
	} else if (!*name || !find_user(root, name, NULL, user)) {
		return error_set(err, ERR_EXEC, "the partition has no user \"%s\"", name);
	}
	if (!group) {
		if (*user->name)
			read_groups(root, NULL, user->name, user);
		return 0;
	}
	if (parse_id(group, &id))
		user->gid = id;
	else if (!read_groups(root, group, NULL, user))
		return error_set(err, ERR_EXEC, "the partition has no group \"%s\"", group);
	return 0;
}
