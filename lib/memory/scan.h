// SPDX-License-Identifier: Apache-2.0
// PAGEMAP_SCAN (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst): which pages of an address
// space exist or were written, and protecting them again in the same step.
#ifndef WPAR_MEMORY_SCAN_H
#define WPAR_MEMORY_SCAN_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Categories of the kernel that we use.
enum scan_page {
	SCAN_ARMED = 1 << 0,   // PAGE_IS_WPALLOWED: in a mapping registered for write-protection
	SCAN_WRITTEN = 1 << 1, // since it was protected last; always when it is not armed
	SCAN_FILE = 1 << 2,
	SCAN_PRESENT = 1 << 3,
	SCAN_SWAPPED = 1 << 4,
	SCAN_ZERO = 1 << 5,  // the kernel's page of zeroes
	SCAN_GUARD = 1 << 8, // a guard region (madvise(2) MADV_GUARD_INSTALL); Linux 6.15
};

struct scan_range {
	uint64_t start, end; // addresses
	uint64_t categories; // WRITTEN and ARMED
};

enum scan_what {
	SCAN_LIST,    // every page of the process itself
	SCAN_DIRTY,   // those that were written
	SCAN_PROTECT, // those, and protect them in the same step
};

// Whether the kernel knows it; asked of our own page table.
bool scan_usable(void);

// Looks at [*at, end) of the address space behind an open /proc/PID/pagemap and moves *at to where
// it stopped: call it until that is `end`. At most `pages` pages in at most *count ranges; *count
// becomes the number found. Pages of the kernel, of files, guard pages and pages of zeroes that
// nothing was ever written to are left out: CRIU's choice for its images. `files`: the mappings are
// of files; to tell their pages from the task's own takes a look at each page's descriptor, ten
// times as long as the rest. PROTECT fails with
// ESRCH in err->sys when the process has no address space any more.
int scan_next(int pagemap, enum scan_what what, bool files, uint64_t *at, uint64_t end,
	      uint64_t pages, struct scan_range *ranges, size_t *count, struct error *err);

// As scan_next(), for mappings of shared memory: finds what is not protected explicitly, be there a
// page or not, and with `protect` protects it in the same step. Where a page table has lost what it
// knew (pages that were swapped out, or dropped) it is not protected. Fails with EPERM in err->sys
// where a mapping is not registered for that.
int scan_unprotected(int pagemap, bool protect, uint64_t *at, uint64_t end,
		     struct scan_range *ranges, size_t *count, struct error *err);

// As scan_next(): guard regions. Kernels before 6.15 do not tell them from pages that are swapped
// out.
int scan_guards(int pagemap, uint64_t *at, uint64_t end, struct scan_range *ranges, size_t *count,
		struct error *err);

// Whether the mapping that begins at start is registered with write-protection in *this* address
// space: another program (execve) has another one.
bool scan_is_armed(int pagemap, uint64_t start);

#endif
