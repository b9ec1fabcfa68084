// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/scan.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

// linux/fs.h of Debian 12 is older than this call.
struct pm_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN_CALL _IOWR('f', 16, struct pm_scan_arg)
#define WP_MATCHING       1u // PM_SCAN_WP_MATCHING
#define CHECK_WPASYNC     2u // PM_SCAN_CHECK_WPASYNC

// Kernels before 6.15 refuse the category of guard pages; there they look like swapped ones.
static atomic_bool without_guard;

static int call(int pagemap, struct pm_scan_arg *arg)
{
	int n;
	arg->size = sizeof(*arg);
	do {
		if (without_guard) {
			arg->category_mask &= ~(uint64_t)SCAN_GUARD;
			arg->category_inverted &= ~(uint64_t)SCAN_GUARD;
		}
		n = ioctl(pagemap, PAGEMAP_SCAN_CALL, arg);
		if (n < 0 && errno == EINVAL && arg->category_mask & SCAN_GUARD) {
			without_guard = true;
			errno = EINTR;
		}
	} while (n < 0 && errno == EINTR);
	return n;
}

bool scan_usable(void)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct scan_range range;
	struct pm_scan_arg arg = {.vec = (uintptr_t)&range,
				  .vec_len = 1,
				  .category_anyof_mask = SCAN_PRESENT,
				  .return_mask = SCAN_PRESENT};
	return fd >= 0 && call(fd, &arg) >= 0;
}

static int walk(int pagemap, struct pm_scan_arg *arg, uint64_t *at, size_t *count,
		struct error *err)
{
	const struct scan_range *found = (const struct scan_range *)(uintptr_t)arg->vec;
	int n = call(pagemap, arg);
	if (n < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot scan a page table at %llx",
				 (unsigned long long)*at);
	// The kernel walks in steps, and when all fits after a step that did not, it leaves the end
	// of that step in walk_end, although it went on.
	if (n && found[n - 1].end > arg->walk_end)
		arg->walk_end = found[n - 1].end;
	if (arg->walk_end <= *at)
		return error_sys(err, ERR_SYSTEM, EIO,
				 "a scan of a page table stands still at %llx",
				 (unsigned long long)*at);
	*count = (size_t)n;
	*at = arg->walk_end;
	return 0;
}

int scan_next(int pagemap, enum scan_what what, bool files, uint64_t *at, uint64_t end,
	      uint64_t pages, struct scan_range *ranges, size_t *count, struct error *err)
{
	const uint64_t without = SCAN_ZERO | SCAN_GUARD | (files ? SCAN_FILE : 0);
	struct pm_scan_arg arg = {
		.flags = what == SCAN_PROTECT ? WP_MATCHING : 0,
		.start = *at,
		.end = end,
		.vec = (uintptr_t)ranges,
		.vec_len = *count,
		.max_pages = pages,
		.category_inverted = without,
		.category_mask = without | (what == SCAN_LIST ? 0 : SCAN_WRITTEN),
		// WRITTEN alone would match, and protect, holes as well: page tables would grow.
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.return_mask = SCAN_WRITTEN | SCAN_ARMED,
	};
	return walk(pagemap, &arg, at, count, err);
}

int scan_unprotected(int pagemap, bool protect, uint64_t *at, uint64_t end,
		     struct scan_range *ranges, size_t *count, struct error *err)
{
	// WRITTEN and nothing else: so it matches holes as well.
	struct pm_scan_arg arg = {
		.flags = CHECK_WPASYNC | (protect ? WP_MATCHING : 0),
		.start = *at,
		.end = end,
		.vec = (uintptr_t)ranges,
		.vec_len = *count,
		.category_mask = SCAN_WRITTEN,
		.return_mask = SCAN_WRITTEN,
	};
	return walk(pagemap, &arg, at, count, err);
}

int scan_guards(int pagemap, uint64_t *at, uint64_t end, struct scan_range *ranges, size_t *count,
		struct error *err)
{
	struct pm_scan_arg arg = {
		.start = *at,
		.end = end,
		.vec = (uintptr_t)ranges,
		.vec_len = *count,
		.category_mask = SCAN_SWAPPED | SCAN_GUARD,
		.return_mask = SCAN_SWAPPED,
	};
	return walk(pagemap, &arg, at, count, err);
}

bool scan_is_armed(int pagemap, uint64_t start)
{
	struct scan_range range;
	struct pm_scan_arg arg = {
		.flags = WP_MATCHING | CHECK_WPASYNC,
		.start = start,
		.end = start + 4096,
		.vec = (uintptr_t)&range,
		.vec_len = 1,
		// Matches nothing, since all pages of such a mapping are: it is checked, and its
		// pages and holes are left alone.
		.category_inverted = SCAN_ARMED,
		.category_mask = SCAN_ARMED,
		.return_mask = SCAN_ARMED,
	};
	return call(pagemap, &arg) >= 0;
}
