// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/checks.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void append(json_t *checks, const char *host, const char *check, const char *outcome,
		   const char *code, const char *message, const char *hint)
{
	json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:s?, s:s, s:s?}", "check", check,
						"outcome", outcome, "host", host, "code", code,
						"message", message, "hint", hint));
}

void checks_pass(json_t *checks, const char *host, const char *check, const char *format, ...)
{
	char message[512];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	append(checks, host, check, "pass", NULL, message, NULL);
}

void checks_warn(json_t *checks, const char *host, const char *check, const char *message,
		 const char *hint)
{
	append(checks, host, check, "warn", NULL, message, hint);
}

void checks_fail(json_t *checks, const char *host, const char *check, const struct error *why)
{
	append(checks, host, check, "fail", error_code(why), why->message, error_hint_of(why));
}

void checks_add(json_t *checks, const char *host, const char *check, int result,
		const struct error *why, const char *passed)
{
	if (result < 0)
		checks_fail(checks, host, check, why);
	else
		checks_pass(checks, host, check, "%s", passed);
}

static bool has_failed(const json_t *check)
{
	const char *outcome = json_string_value(json_object_get(check, "outcome"));
	return !outcome || !strcmp(outcome, "fail");
}

bool checks_ok(const json_t *checks)
{
	return checks_error(checks, NULL) == 0;
}

int checks_error(const json_t *checks, struct error *err)
{
	for (size_t i = 0; i < json_array_size(checks); i++) {
		const json_t *check = json_array_get(checks, i);
		if (!has_failed(check))
			continue;
		return error_from_json(err, check);
	}
	return 0;
}
