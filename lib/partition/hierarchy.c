// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/hierarchy.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static bool is_among(const char *list, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = list; *at;) {
		size_t n = strcspn(at, ",");
		if (n == length && !strncmp(at, word, n))
			return true;
		at += n + (at[n] == ',');
	}
	return false;
}

bool hierarchy_has(const struct hierarchy *h, const char *controller)
{
	return !h->v2 && is_among(h->controllers, controller);
}

// Spaces in paths are written as \040 (proc(5)); cgroup mount points with any are left alone.
static bool parse_line(const char *line, struct hierarchy *h)
{
	char root[256], type[32], options[160];
	const char *dash = strstr(line, " - ");
	if (!dash || sscanf(line, "%*d %*d %*s %255s %255s", root, h->mount) != 2 ||
	    sscanf(dash, " - %31s %*s %159s", type, options) != 2)
		return false;
	// A bind mount of a part of the hierarchy is not the place to make groups in.
	if (strcmp(root, "/") || strchr(h->mount, '\\'))
		return false;
	h->v2 = !strcmp(type, "cgroup2");
	snprintf(h->controllers, sizeof(h->controllers), "%s", h->v2 ? "" : options);
	return h->v2 || !strcmp(type, "cgroup");
}

static bool is_known(const struct hierarchy *list, size_t count, const struct hierarchy *h)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].v2 == h->v2 && !strcmp(list[i].controllers, h->controllers))
			return true;
	return false;
}

size_t hierarchy_parse(const char *mountinfo, struct hierarchy list[HIERARCHY_MAX])
{
	size_t count = 0;
	for (const char *line = mountinfo; *line && count < HIERARCHY_MAX;) {
		size_t length = strcspn(line, "\n");
		char copy[1024];
		struct hierarchy found;
		snprintf(copy, sizeof(copy), "%.*s", (int)length, line);
		if (parse_line(copy, &found) && !is_known(list, count, &found)) {
			size_t at = found.v2 ? 0 : count;
			memmove(list + at + 1, list + at, (count - at) * sizeof(*list));
			list[at] = found;
			count++;
		}
		line += length + (line[length] == '\n');
	}
	return count;
}

int hierarchy_find(struct hierarchy list[HIERARCHY_MAX], size_t *count, struct error *err)
{
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, "/proc/self/mountinfo", 4 << 20, err);
	if (!text)
		return -1;
	*count = hierarchy_parse(text, list);
	if (!*count)
		return error_set(err, ERR_CGROUP, "no cgroup filesystem is mounted");
	return 0;
}

bool hierarchy_path_of(const struct hierarchy *h, const char *proc_cgroup, char *path, size_t size)
{
	for (const char *line = proc_cgroup; *line;) {
		size_t length = strcspn(line, "\n");
		char id[16], controllers[160] = "", copy[1200];
		int at = 0;
		snprintf(copy, sizeof(copy), "%.*s", (int)length, line);
		line += length + (line[length] == '\n');
		if (sscanf(copy, "%15[0-9]:%n", id, &at) != 1 || !at)
			continue;
		size_t n = strcspn(copy + at, ":");
		snprintf(controllers, sizeof(controllers), "%.*s", (int)n, copy + at);
		if (!copy[at + (int)n])
			continue;
		char *first = strtok(controllers, ",");
		bool ours = h->v2 ? !strcmp(id, "0") && !first : first && hierarchy_has(h, first);
		if (!ours)
			continue;
		snprintf(path, size, "%s", copy + at + n + 1);
		return true;
	}
	return false;
}
