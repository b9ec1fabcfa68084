// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/route.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <string.h>

static bool decode(const char *segment, size_t length, char to[ROUTE_PARAM_MAX])
{
	if (!length || length >= ROUTE_PARAM_MAX)
		return false;
	memcpy(to, segment, length);
	to[length] = 0;
	size_t decoded = MHD_http_unescape(to);
	return decoded && decoded == strlen(to); // no NUL inside
}

static bool match(const char *pattern, const char *path, char param[ROUTE_PARAM_MAX])
{
	param[0] = 0;
	while (*pattern && *path) {
		if (strncmp(pattern, "{}", 2) != 0) {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		size_t length = strcspn(path, "/");
		if (!decode(path, length, param))
			return false;
		path += length;
		pattern += 2;
	}
	return !*pattern && !*path;
}

enum route_found route_find(const struct route *routes, size_t count, const char *method,
			    const char *path, char param[ROUTE_PARAM_MAX],
			    const struct route **found)
{
	enum route_found result = ROUTE_NO_PATH;
	for (size_t i = 0; i < count; i++) {
		if (!match(routes[i].path, path, param))
			continue;
		result = ROUTE_NO_METHOD;
		if (!strcmp(routes[i].method, method)) {
			*found = &routes[i];
			return ROUTE_OK;
		}
	}
	return result;
}

static const char *const role_names[] = {"none", "viewer", "operator", "admin"};
json_t *route_body(const void *bytes, size_t length, struct error *err)
{
	json_error_t why;
	if (!length)
		return json_object();
	json_t *body = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &why);
	if (json_is_object(body))
		return body;
	if (body)
		error_set(err, ERR_USAGE, "the request's body is not a JSON object");
	else
		error_set(err, ERR_USAGE, "the request's body is not JSON: line %d: %s", why.line,
			  why.text);
	json_decref(body);
	return NULL;
}

const char *role_name(enum role role)
{
	return role_names[role];
}

int role_of_name(const char *name, enum role *role)
{
	for (enum role r = ROLE_NONE; r <= ROLE_ADMIN; r++)
		if (!strcmp(role_names[r], name)) {
			*role = r;
			return 0;
		}
	return -1;
}

unsigned route_status(const struct error *err)
{
	switch (error_class_of(err)) {
	case ERROR_CLASS_USAGE:
		return MHD_HTTP_BAD_REQUEST;
	case ERROR_CLASS_DENIED:
		return MHD_HTTP_FORBIDDEN;
	case ERROR_CLASS_NOT_FOUND:
		return MHD_HTTP_NOT_FOUND;
	case ERROR_CLASS_BUSY:
	case ERROR_CLASS_IN_DOUBT: // until its state is known
	case ERROR_CLASS_CANCELLED:
		return MHD_HTTP_CONFLICT;
	case ERROR_CLASS_REFUSED:
		return MHD_HTTP_UNPROCESSABLE_CONTENT;
	case ERROR_CLASS_UNREACHABLE:
		return MHD_HTTP_BAD_GATEWAY;
	case ERROR_CLASS_DEADLINE:
		return MHD_HTTP_GATEWAY_TIMEOUT;
	default:
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}
