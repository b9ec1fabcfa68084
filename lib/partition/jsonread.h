// SPDX-License-Identifier: Apache-2.0
// Strict reading of JSON objects: typed access to keys, errors that name the path of the key, and
// refusal of keys nobody asked for. A null value counts as absent.
#ifndef WPAR_PARTITION_JSONREAD_H
#define WPAR_PARTITION_JSONREAD_H

#include "lib/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct jsonread {
	const json_t *object;
	enum error_id wrong;   // for wrong types and values
	enum error_id unknown; // for keys that are not known
	char path[160];        // "process.rlimits[2]"; "" at the top
};

// `value` must be an object.
int jsonread_open(struct jsonread *r, const json_t *value, enum error_id wrong,
		  enum error_id unknown, struct error *err);

// Errors as "process.cwd: <format>". Return -1.
int jsonread_wrong(const struct jsonread *r, const char *key, struct error *err, const char *format,
		   ...) __attribute__((format(printf, 4, 5)));
int jsonread_unknown(const struct jsonread *r, const char *key, struct error *err,
		     const char *format, ...) __attribute__((format(printf, 4, 5)));

// The getters return 1 (there), 0 (absent, *out untouched) or -1 (wrong type).
// Strings are copies that replace (and free) what *out held.
int jsonread_string(const struct jsonread *r, const char *key, char **out, struct error *err);
int jsonread_strings(const struct jsonread *r, const char *key, char ***out, struct error *err);
int jsonread_bool(const struct jsonread *r, const char *key, bool *out, struct error *err);
int jsonread_u64(const struct jsonread *r, const char *key, uint64_t max, uint64_t *out,
		 struct error *err);
int jsonread_i64(const struct jsonread *r, const char *key, int64_t *out, struct error *err);
int jsonread_array(const struct jsonread *r, const char *key, const json_t **out,
		   struct error *err);
int jsonread_object(const struct jsonread *r, const char *key, struct jsonread *out,
		    struct error *err);
// Opens the n-th item of the array under key.
int jsonread_item(const struct jsonread *r, const char *key, const json_t *array, size_t n,
		  struct jsonread *out, struct error *err);

// Refuses every key that is not in the NULL-terminated list.
int jsonread_only(const struct jsonread *r, const char *const *keys, struct error *err);

#endif
