// SPDX-License-Identifier: Apache-2.0
#include "lib/criu/audit.h"

#include "lib/base/cleanup.h"
#include "lib/criu/audit_inner.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGE_MAGIC = 0x54564319, INVENTORY_MAGIC = 0x58313116 };

// All images that a partition of ours can have. What is not in the list is refused: namespaces that
// are ours to make (users, network), programs for the kernel, old forms that were replaced.
static const struct {
	const char *stem; // the name, or its start when it ends with '-'
	uint32_t magic;   // 0: not looked into
	int (*take)(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
		    struct error *err);
	bool once; // only its first record is a message; the rest is data
} kinds[] = {
	{"inventory", INVENTORY_MAGIC, audit_inventory, false},
	{"pstree", 0x50273030, audit_process, false},
	{"core-", 0x55053847, audit_core, false},
	{"ids-", 0x54432030, audit_ids, false},
	{"seccomp", 0x64413049, audit_seccomp, false},
	{"mountpoints-", 0x55563928, audit_mount, false},
	{"files", 0x56303138, audit_file, false},
	{"ghost-file-", 0x52583605, audit_ghost, true},
	{"memfd", 0x48453499, audit_memfd, false},
	{"cgroup", 0, NULL, false},
	{"fdinfo-", 0, NULL, false},
	{"fs-", 0, NULL, false},
	{"mm-", 0, NULL, false},
	{"utsns-", 0, NULL, false},
	{"timens-", 0, NULL, false},
	{"pidns-", 0, NULL, false},
	{"ipcns-var-", 0, NULL, false},
	{"ipcns-shm-", 0, NULL, false},
	{"ipcns-msg-", 0, NULL, false},
	{"ipcns-sem-", 0, NULL, false},
	{"pipes-data", 0, NULL, false},
	{"fifo-data", 0, NULL, false},
	{"sk-queues", 0, NULL, false},
	{"tcp-stream-", 0, NULL, false},
	{"udp-queue-", 0, NULL, false},
	{"remap-fpath", 0, NULL, false},
	{"tty-info", 0, NULL, false},
	{"tty-data", 0, NULL, false},
	{"filelocks", 0, NULL, false},
	{"sigacts-", 0, NULL, false},
	{"signal-p-", 0, NULL, false},
	{"signal-s-", 0, NULL, false},
	{"timers-", 0, NULL, false},
	{"posix-timers-", 0, NULL, false},
	{"stats-dump", 0, NULL, false},
};

static int kind_of(const char *name)
{
	size_t length = strlen(name);
	if (length < 4 || strcmp(name + length - 4, ".img") != 0)
		return -1;
	length -= 4;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t stem = strlen(kinds[i].stem);
		bool open = kinds[i].stem[stem - 1] == '-';
		if (!strncmp(name, kinds[i].stem, stem) && (open ? length > stem : length == stem))
			return (int)i;
	}
	return -1;
}

bool audit_reads(const char *name)
{
	int kind = kind_of(name);
	return kind < 0 || kinds[kind].take;
}

struct audit *audit_open(const struct audit_grant *grant, struct error *err)
{
	struct audit *a = calloc(1, sizeof(*a));
	if (!a) {
		error_set(err, ERR_NOMEM, "no memory for an audit");
		return NULL;
	}
	a->grant = grant;
	return a;
}

void audit_free(struct audit *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->mount_count; i++) {
		free(a->mounts[i].point);
		free(a->mounts[i].part);
		free(a->mounts[i].super);
	}
	free(a->mounts);
	free(a->cores.numbers);
	free(a->threads);
	free(a->leaders.numbers);
	free(a->ended.numbers);
	free(a->filtered.numbers);
	free(a->filters_used.numbers);
	free(a->mounts_used.numbers);
	free(a->root_super);
	free(a->root);
	free(a);
}

int audit_damaged(const char *name, struct error *err)
{
	return error_set(err, ERR_PROTOCOL, "image %s is damaged", name);
}

static bool take_word(const uint8_t **at, size_t *left, uint32_t *word)
{
	if (*left < sizeof(*word))
		return false;
	memcpy(word, *at, sizeof(*word));
	*word = le32toh(*word);
	*at += sizeof(*word);
	*left -= sizeof(*word);
	return true;
}

static bool check_magic(int kind, const uint8_t **at, size_t *left)
{
	uint32_t first, second;
	if (!take_word(at, left, &first))
		return false;
	if (kinds[kind].magic == INVENTORY_MAGIC)
		return first == INVENTORY_MAGIC;
	return first == IMAGE_MAGIC && take_word(at, left, &second) && second == kinds[kind].magic;
}

int audit_image(struct audit *a, const char *name, const void *bytes, size_t length,
		struct error *err)
{
	const uint8_t *at = bytes;
	uint32_t size;
	int kind = kind_of(name);
	if (kind < 0)
		return error_set(err, ERR_IMAGES, "an image %s is not part of a partition", name);
	if (!kinds[kind].take)
		return 0;
	if (!check_magic(kind, &at, &length))
		return audit_damaged(name, err);
	while (length) {
		if (!take_word(&at, &length, &size) || size > length)
			return audit_damaged(name, err);
		if (kinds[kind].take(a, name, at, size, err) < 0)
			return -1;
		if (kinds[kind].once)
			break;
		at += size;
		length -= size;
	}
	return 0;
}

// ---- small sets of numbers ----------------------------------------------------------------------

int audit_add(struct audit_set *set, uint32_t number, struct error *err)
{
	if (audit_has(set, number))
		return 0;
	if (set->count == AUDIT_SET_MAX)
		return error_set(err, ERR_PROTOCOL, "the images hold more than %d of a kind",
				 AUDIT_SET_MAX);
	if (set->count == set->room) {
		size_t room = set->room ? set->room * 2 : 64;
		uint32_t *more = reallocarray(set->numbers, room, sizeof(*more));
		if (!more)
			return error_set(err, ERR_NOMEM, "no memory for an audit");
		set->numbers = more;
		set->room = room;
	}
	size_t at = audit_place(set, number);
	memmove(set->numbers + at + 1, set->numbers + at, (set->count - at) * sizeof(number));
	set->numbers[at] = number;
	set->count++;
	return 0;
}

size_t audit_place(const struct audit_set *set, uint32_t number)
{
	size_t low = 0, high = set->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (set->numbers[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool audit_has(const struct audit_set *set, uint32_t number)
{
	size_t at = audit_place(set, number);
	return at < set->count && set->numbers[at] == number;
}

// ---- the end ------------------------------------------------------------------------------------

static int check_whole(const struct audit *a, struct error *err)
{
	if (!a->root || !a->thread_count || !a->have_ids || !a->have_root_mount)
		return error_set(err, ERR_PROTOCOL, "the images are not those of a partition");
	for (size_t i = 0; i < a->leaders.count; i++)
		if (!audit_has(&a->cores, a->leaders.numbers[i]))
			return error_set(err, ERR_PROTOCOL, "image core-%u.img is missing",
					 a->leaders.numbers[i]);
	for (size_t i = 0; i < a->thread_count; i++) {
		const struct audit_thread *t = &a->threads[i];
		// What CRIU writes as threads of a zombie means nothing.
		if (!audit_has(&a->ended, t->process) && !audit_has(&a->cores, t->id))
			return error_set(err, ERR_PROTOCOL, "image core-%u.img is missing", t->id);
	}
	return 0;
}

int audit_end(struct audit *a, struct error *err)
{
	if (check_whole(a, err) < 0 || audit_end_tasks(a, err) < 0)
		return -1;
	return audit_end_mounts(a, err);
}
