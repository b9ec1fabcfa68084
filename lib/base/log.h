// SPDX-License-Identifier: Apache-2.0
// Log lines on standard error, with journald's <N> priority prefix when it listens (sd-daemon(3)).
// Text from outside is escaped: a line is always one line.
#ifndef WPAR_BASE_LOG_H
#define WPAR_BASE_LOG_H

#include "lib/base/error.h"

// Sets the words in front of each line ("relocd", "departure m-1f3"); kept by copy.
void log_open(const char *who);
void log_debug_enable(bool on);

void log_at(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
// "context: message (CODE)"
void log_error_of(const struct error *err, const char *context);

#define log_debug(...) log_at(7, __VA_ARGS__)
#define log_info(...)  log_at(6, __VA_ARGS__)
#define log_warn(...)  log_at(4, __VA_ARGS__)
#define log_error(...) log_at(3, __VA_ARGS__)

#endif
