// SPDX-License-Identifier: Apache-2.0
// The list of what VALIDATE looked at: each check with its outcome, sentence and what to do.
#ifndef RELOCD_MOVE_CHECKS_H
#define RELOCD_MOVE_CHECKS_H

#include "lib/base/error.h"

#include <stdbool.h>

// Appends to the array: {"check","outcome":"pass|warn|fail","host","code","message","hint"}.
void checks_pass(json_t *checks, const char *host, const char *check, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void checks_warn(json_t *checks, const char *host, const char *check, const char *message,
		 const char *hint);
void checks_fail(json_t *checks, const char *host, const char *check, const struct error *why);

// checks_pass or checks_fail by `result` (0 or -1, as functions return).
void checks_add(json_t *checks, const char *host, const char *check, int result,
		const struct error *why, const char *passed);

bool checks_ok(const json_t *checks); // no failure among them
// The first failure as an error. Returns -1, or 0 when there is none.
int checks_error(const json_t *checks, struct error *err);

#endif
