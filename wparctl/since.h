// SPDX-License-Identifier: Apache-2.0
// The option --since.
#ifndef WPARCTL_SINCE_H
#define WPARCTL_SINCE_H

#include "lib/base/error.h"

#define SINCE_MAX 40

// An age as "10m" or an RFC 3339 time as a time in UTC, "2026-01-31T08:00:00Z"; NULL becomes "".
int since_text(const char *text, char when[SINCE_MAX], struct error *err);

#endif
