// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/maps.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <string.h>
#include <sys/sysmacros.h>

#define PAGE_MASK 4095ull
#define TEXT_MAX  ((size_t)MAPS_LIMIT * 256)

static const char *const special[] = {"[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "/[aio]"};
// The kernel's internal tmpfs has these names only; a file of another file system that is called
// alike has a device of its own, which the user of the list compares.
static const char plain_name[] = "/dev/zero (deleted)";
static const char restored_name[] = "/memfd:/dev/zero (deleted)";
static const char *const nameless[] = {plain_name, "/memfd:", "/SYSV"};
static const char huge_name[] = "/anon_hugepage (deleted)";

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static bool begins_with_one(const char *text, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (begins(text, list[i]))
			return true;
	return false;
}

static enum vma_kind kind_of(const struct vma *v, bool shared, const char *name)
{
	if (begins_with_one(name, special, ARRAY_SIZE(special)))
		return VMA_SPECIAL;
	if (!shared)
		return v->inode && !v->huge ? VMA_FILE : VMA_ANONYMOUS;
	// SysV segments may have the inode 0.
	if (major(v->dev) == 0 && begins_with_one(name, nameless, ARRAY_SIZE(nameless)))
		return VMA_SEGMENT;
	return VMA_SHARED;
}

// A number of base 16 or 10 that `end` must follow; *at is moved behind that.
static bool number(const char **at, int base, char end, uint64_t *value)
{
	char *stop;
	// strtoull would take a sign and spaces.
	if (!(**at >= '0' && **at <= '9') && !(base == 16 && **at >= 'a' && **at <= 'f'))
		return false;
	*value = strtoull(*at, &stop, base);
	if (*stop != end)
		return false;
	*at = stop + 1;
	return true;
}

static bool permissions(const char **at, struct vma *v, bool *shared)
{
	const char *p = *at;
	for (int i = 0; i < 4; i++)
		if (!p[i] || !strchr(i == 3 ? "ps" : "rwx-", p[i]))
			return false;
	if (p[4] != ' ')
		return false;
	v->read = p[0] == 'r';
	v->write = p[1] == 'w';
	v->execute = p[2] == 'x';
	*shared = p[3] == 's';
	*at = p + 5;
	return true;
}

// "START-END rwxp OFFSET MAJOR:MINOR INODE" and, after spaces, a name (proc(5)). The line is cut
// out of its text.
static bool parse_line(const char *line, struct vma *v)
{
	uint64_t high, low;
	bool shared;
	*v = (struct vma){0};
	if (!number(&line, 16, '-', &v->start) || !number(&line, 16, ' ', &v->end) ||
	    !permissions(&line, v, &shared) || !number(&line, 16, ' ', &v->offset) ||
	    !number(&line, 16, ':', &high) || !number(&line, 16, ' ', &low) || high > UINT32_MAX ||
	    low > UINT32_MAX)
		return false;
	// A line without a name ends with the inode and, by the width of the column, a space.
	char *stop;
	if (*line < '0' || *line > '9')
		return false;
	v->inode = strtoull(line, &stop, 10);
	if (*stop && *stop != ' ')
		return false;
	v->dev = makedev((unsigned)high, (unsigned)low);
	const char *name = stop + strspn(stop, " ");
	v->huge = begins(name, huge_name);
	v->kind = kind_of(v, shared, name);
	v->sysv = v->kind == VMA_SEGMENT && begins(name, "/SYSV");
	v->plain = v->kind == VMA_SEGMENT &&
		   (!strcmp(name, plain_name) || !strcmp(name, restored_name));
	return true;
}

static bool acceptable(const struct vma *v, uint64_t after)
{
	return v->start < v->end && v->start >= after && !((v->start | v->end) & PAGE_MASK);
}

static int add(struct maps *maps, size_t *room, const struct vma *v, struct error *err)
{
	if (maps->count == MAPS_LIMIT)
		return error_set(err, ERR_PROTOCOL, "more than %u mappings", MAPS_LIMIT);
	if (maps->count == *room) {
		*room = *room ? *room * 2 : 64;
		struct vma *more = reallocarray(maps->list, *room, sizeof(*more));
		if (!more)
			return error_set(err, ERR_NOMEM, "no memory for a list of mappings");
		maps->list = more;
	}
	maps->list[maps->count++] = *v;
	return 0;
}

// The longest line has a path of PATH_MAX, each of its bytes written as an octal escape.
#define LINE_MAX_BYTES 17000

static int next_line(const char **at, char *line, struct error *err)
{
	const char *end = strchrnul(*at, '\n');
	size_t length = (size_t)(end - *at);
	if (length >= LINE_MAX_BYTES)
		return error_set(err, ERR_PROTOCOL, "a line of %zu bytes in a maps file", length);
	memcpy(line, *at, length);
	line[length] = 0;
	*at = *end ? end + 1 : end;
	return 0;
}

int maps_parse(const char *text, struct maps *maps, struct error *err)
{
	char line[LINE_MAX_BYTES];
	size_t room = 0;
	uint64_t after = 0;
	*maps = (struct maps){0};
	while (*text) {
		struct vma v;
		if (next_line(&text, line, err) < 0)
			goto failed;
		if (!parse_line(line, &v) || !acceptable(&v, after)) {
			error_set(err, ERR_PROTOCOL, "not a line of a maps file: \"%.120s\"", line);
			goto failed;
		}
		after = v.end;
		if (add(maps, &room, &v, err) < 0)
			goto failed;
	}
	return 0;
failed:
	maps_free(maps);
	return -1;
}

int maps_add_flags(struct maps *maps, const char *smaps, struct error *err)
{
	char line[LINE_MAX_BYTES];
	struct vma v = {0};
	size_t at = 0;
	while (*smaps) {
		if (next_line(&smaps, line, err) < 0)
			return -1;
		if (!begins(line, "VmFlags:")) {
			struct vma head;
			if (parse_line(line, &head))
				v = head;
			continue;
		}
		while (at < maps->count && maps->list[at].start < v.start)
			at++;
		if (at < maps->count && maps->list[at].start == v.start &&
		    maps->list[at].end == v.end) {
			maps->list[at].locked = strstr(line, " lo") != NULL;
			maps->list[at].huge |= strstr(line, " ht") != NULL;
		}
	}
	return 0;
}

int maps_read(int proc_folder, struct maps *maps, struct error *err)
{
	*maps = (struct maps){0};
	_cleanup_free_ char *text = fdio_read_file(proc_folder, "maps", TEXT_MAX, err);
	if (!text || maps_parse(text, maps, err) < 0)
		return -1;
	maps->text = take_ptr(text);
	return 0;
}

void maps_free(struct maps *maps)
{
	free(maps->list);
	free(maps->text);
	*maps = (struct maps){0};
}
