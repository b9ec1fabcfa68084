// SPDX-License-Identifier: Apache-2.0
// Our errors as the library's users see them.
#include "lib/client/client_http.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct wpar_error) == 2048, "the size of wpar_error is part of the ABI");

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
}

int client_publish(struct wpar_error *to, const struct error *from)
{
	if (!to)
		return -1;
	*to = (struct wpar_error){.error_class = (int)error_class_of(from), .sys = from->sys};
	copy(to->code, sizeof(to->code), error_code(from));
	copy(to->message, sizeof(to->message), from->message);
	copy(to->hint, sizeof(to->hint), error_hint_of(from));
	copy(to->partition, sizeof(to->partition), from->partition);
	copy(to->host, sizeof(to->host), from->host);
	copy(to->phase, sizeof(to->phase), from->phase);
	return -1;
}

int client_fail(struct wpar_error *to, enum error_id id, const char *message)
{
	struct error why;
	error_set(&why, id, "%s", message);
	return client_publish(to, &why);
}

bool wpar_error_retryable(const struct wpar_error *err)
{
	return err->error_class == WPAR_BUSY || err->error_class == WPAR_UNREACHABLE ||
	       err->error_class == WPAR_DEADLINE;
}
