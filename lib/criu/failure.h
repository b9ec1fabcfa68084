// SPDX-License-Identifier: Apache-2.0
// Why CRIU failed, in one sentence, out of its log.
#ifndef WPAR_CRIU_FAILURE_H
#define WPAR_CRIU_FAILURE_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct criu_failure {
	enum error_id id; // ERR_IO_URING, ERR_UNDUMPABLE ..., ERR_NONE: only the text is known
	char text[400];   // a sentence; "" when the log tells nothing
};

// Reads what CRIU wrote. The first "Error" line is the cause as a rule; some failures that people
// meet are put into plain words.
void criu_failure_of_text(const char *log, struct criu_failure *out);
// The same for a log file in a folder, its last 64 KiB. A missing file tells nothing.
void criu_failure_of_log(int dirfd, const char *name, struct criu_failure *out);

// Fills *err (returns -1) with "what: the reason", under `id` unless the log says something more
// specific. `message`: the log line in CRIU's RPC answer, used when there is no log; may be "".
int criu_failure_error(struct error *err, enum error_id id, const char *what, int dirfd,
		       const char *log, const char *message);

#endif
