// SPDX-License-Identifier: Apache-2.0
// Inside bundle*.c only: what the readers of the parts of a config.json share. A field with an
// empty value (null, false, "", [], {}) asks for nothing and counts as absent: Go programs write
// these.
#ifndef WPAR_PARTITION_BUNDLE_PARTS_H
#define WPAR_PARTITION_BUNDLE_PARTS_H

#include "lib/partition/jsonread.h"

struct bundle {
	const char *dir;       // of config.json, absolute
	json_t *def;           // what is made
	json_t *notes;         // sentences
	uint64_t capabilities; // from process.capabilities, a seccomp profile may look at them
};

// Refuses by its path every key that is not in the NULL-terminated list and not empty.
int bundle_only(const struct jsonread *r, const char *const *keys, struct error *err);
// As jsonread_string, but the empty string is absent.
int bundle_string(const struct jsonread *r, const char *key, char **out, struct error *err);
// Sets into[key]; takes the reference to value. ERR_NOMEM where either is NULL.
int bundle_put(json_t *into, const char *key, json_t *value, struct error *err);
// Copies a list of strings into into[as]. 1, 0 (absent, nothing set) or -1.
int bundle_strings(const struct jsonread *r, const char *key, json_t *into, const char *as,
		   struct error *err);
// The path of the host under key, relative ones from the bundle's folder. The caller frees it.
char *bundle_host_path(const struct bundle *b, const struct jsonread *r, const char *key,
		       const char *path, struct error *err);
// Calls `read` for each item of the list under key; an absent list is an empty one.
int bundle_each(const struct jsonread *r, const char *key,
		int (*read)(const struct jsonread *item, struct error *err), struct error *err);
void bundle_note(struct bundle *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

int bundle_process(struct bundle *b, const struct jsonread *top, struct error *err);
int bundle_mounts(struct bundle *b, const struct jsonread *top, struct error *err);
int bundle_linux(struct bundle *b, const struct jsonread *top, struct error *err);
int bundle_resources(struct bundle *b, const struct jsonread *linux_section, struct error *err);

#endif
