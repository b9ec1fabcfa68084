// SPDX-License-Identifier: Apache-2.0
// Requests that must be done once although they may be asked twice: what was answered to a key of a
// caller, kept for a day.
#ifndef WPAR_REGISTRY_ONCE_H
#define WPAR_REGISTRY_ONCE_H

#include "lib/registry/registry.h"

#define REGISTRY_ONCE_SECONDS 86400

struct registry_once {
	char digest[65]; // of the request
	int status;      // of the answer; 0: it was begun, and nothing is known of its end
	json_t *answer;  // the caller's; NULL: none
};

// 1 found, 0 not, -1 error.
int registry_once_get(struct registry *r, const char *caller, const char *key,
		      struct registry_once *once, struct error *err);
// Notes that it is begun; forgets those that are older than a day.
int registry_once_begin(struct registry *r, const char *caller, const char *key, const char *digest,
			struct error *err);
// The answer; status 0: it was not done, and may be asked for again.
int registry_once_end(struct registry *r, const char *caller, const char *key, int status,
		      const json_t *answer, struct error *err);

#endif
