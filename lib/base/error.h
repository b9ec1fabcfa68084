// SPDX-License-Identifier: Apache-2.0
// The one error type: a stable code, a class (the exit code), a sentence, and what to do next.
//
// Errors are filled in by value, as the last argument of a function, and need no release:
//     if (open(...) < 0)
//             return error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
// Any function here accepts err == NULL where the caller does not care.
#ifndef WPAR_BASE_ERROR_H
#define WPAR_BASE_ERROR_H

#include <jansson.h>
#include <stdbool.h>

// Classes are wparctl's exit codes (wpar(7)).
enum error_class {
	ERROR_CLASS_FAILED = 1,
	ERROR_CLASS_USAGE = 2,
	ERROR_CLASS_NOT_FOUND = 3,
	ERROR_CLASS_REFUSED = 4,
	ERROR_CLASS_BUSY = 5,
	ERROR_CLASS_UNREACHABLE = 6,
	ERROR_CLASS_DEADLINE = 7,
	ERROR_CLASS_CANCELLED = 8,
	ERROR_CLASS_IN_DOUBT = 9,
	ERROR_CLASS_PARTLY = 11,
	ERROR_CLASS_DENIED = 13,
	ERROR_CLASS_LOST = 14,
};

enum error_id {
	ERR_NONE,
#define ERROR_CODE(id, code, class, hint) id,
#include "lib/base/error_codes.def"
#undef ERROR_CODE
	ERR_COUNT,
};

struct error {
	enum error_id id;   // ERR_NONE: no error
	int sys;            // errno behind it, or 0
	char message[1024]; // a sentence without code and newline
	char hint[256];     // what to do next; empty: the code's own
	char partition[64]; // empty: none
	char host[64];
	char phase[16];
};

// Sets *err and returns -1, so that it can stand in a return statement.
int error_set(struct error *err, enum error_id id, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

// As error_set; appends ": " and the text of errno value `sys`.
int error_sys(struct error *err, enum error_id id, int sys, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

// Puts "context: " in front of the message; keeps the rest. Returns -1.
int error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Replaces the hint of the code by a better one. Returns -1.
int error_hint(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Notes where it happened; empty fields only are filled, the innermost place wins. NULL: leave.
void error_at(struct error *err, const char *host, const char *partition, const char *phase);

void error_clear(struct error *err);
bool error_is_set(const struct error *err);

// The stable code ("WPAR-P001"), the class, and the hint (never NULL).
const char *error_code(const struct error *err);
enum error_class error_class_of(const struct error *err);
const char *error_hint_of(const struct error *err);

// The identifier of a stable code; ERR_INTERNAL for one that is not known (of a newer version).
enum error_id error_id_of(const char *code);

// Lists all codes: fills code, class and default hint of the n-th; false past the end.
bool error_nth(unsigned n, const char **code, enum error_class *class, const char **hint);

// {code,class,phase,move,partition,host,message,hint,retryable,details}; caller owns the result.
json_t *error_to_json(const struct error *err);
// Reads what error_to_json wrote; an unknown code becomes ERR_INTERNAL with the text kept. Returns
// -1.
int error_from_json(struct error *err, const json_t *json);

#endif
