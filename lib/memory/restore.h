// SPDX-License-Identifier: Apache-2.0
// When a partition runs on its destination: after all of its memory was restored, or before, what
// it touches being brought on demand (pager.h).
#ifndef WPAR_MEMORY_RESTORE_H
#define WPAR_MEMORY_RESTORE_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stdint.h>

// The numbers travel in OFFER.
enum restore_wish {
	RESTORE_AUTO,  // on demand where that is the shorter downtime
	RESTORE_EAGER, // never on demand
	RESTORE_LAZY,  // on demand wherever it is possible
};

// "auto", "eager", "lazy"; ERR_USAGE for all else.
int restore_parse(const char *text, enum restore_wish *wish, struct error *err);

// Is it of use for so many bytes? What is possible is another question.
bool restore_on_demand_pays(enum restore_wish wish, uint64_t bytes);

#endif
