// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/track_ranges.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE       4096u
#define PROBES     48u // more than a processor keeps for itself
#define STATUS_MAX (64u << 10)

int ranges_add(struct ranges *r, const struct scan_range *more, size_t count, struct error *err)
{
	if (r->room - r->count < count) {
		size_t room = r->room * 2 > r->count + count ? r->room * 2 : r->count + count;
		struct scan_range *list = reallocarray(r->list, room, sizeof(*list));
		if (!list)
			return error_set(err, ERR_NOMEM, "no memory for a list of pages");
		r->list = list;
		r->room = room;
	}
	if (count)
		memcpy(r->list + r->count, more, count * sizeof(*more));
	r->count += count;
	return 0;
}

int ranges_merge(struct ranges *r, const struct ranges *more, struct error *err)
{
	struct ranges all = {0};
	for (size_t i = 0, j = 0; i < r->count || j < more->count;) {
		bool first = j == more->count ||
			     (i < r->count && r->list[i].start < more->list[j].start);
		struct scan_range next = first ? r->list[i++] : more->list[j++];
		struct scan_range *last = all.count ? &all.list[all.count - 1] : NULL;
		next.categories = 0;
		if (last && next.start <= last->end) {
			last->end = next.end > last->end ? next.end : last->end;
		} else if (ranges_add(&all, &next, 1, err) < 0) {
			ranges_free(&all);
			return -1;
		}
	}
	ranges_free(r);
	*r = all;
	return 0;
}

void ranges_free(struct ranges *r)
{
	free(r->list);
	*r = (struct ranges){0};
}

static uint64_t own_anonymous(void)
{
	_cleanup_free_ char *status =
		fdio_read_file(AT_FDCWD, "/proc/self/status", STATUS_MAX, NULL);
	const char *line = status ? strstr(status, "\nRssAnon:") : NULL;
	return line ? strtoull(line + strlen("\nRssAnon:"), NULL, 10) : 0;
}

// Each page that is touched must count at once. Memory that other threads take meanwhile makes it
// fail, which only costs time.
static bool try_out(void)
{
	char *pages = mmap(NULL, PROBES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	bool exact = pages != MAP_FAILED && own_anonymous() > 0;
	if (pages == MAP_FAILED)
		return false;
	madvise(pages, PROBES * PAGE, MADV_NOHUGEPAGE);
	uint64_t before = own_anonymous();
	for (size_t i = 0; i < PROBES && exact; i++) {
		pages[i * PAGE] = 1;
		uint64_t now = own_anonymous();
		exact = now == before + PAGE / 1024;
		before = now;
	}
	munmap(pages, PROBES * PAGE);
	return exact;
}

bool resident_is_exact(void)
{
	static int known; // 1 exact, -1 not
	if (!known)
		known = try_out() ? 1 : -1;
	return known > 0;
}
