// SPDX-License-Identifier: Apache-2.0
// The operations of the control API: one table {method, path, role, handler}.
#ifndef RELOCD_ROUTE_H
#define RELOCD_ROUTE_H

#include "lib/base/error.h"

#include <jansson.h>
#include <stddef.h>

// Each may do what those before it may.
enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };

#define ROUTE_PARAM_MAX 256

struct request;

struct route {
	const char *method;
	const char *path; // "{}" stands for one segment
	enum role role;
	int (*handle)(struct request *q, struct error *err);
};

enum route_found { ROUTE_OK, ROUTE_NO_PATH, ROUTE_NO_METHOD };

// Finds the route for a path that is still percent-encoded; `param` gets the (decoded) segment that
// "{}" stands for, "" if there is none. Segments that do not decode to plain text match nothing.
enum route_found route_find(const struct route *routes, size_t count, const char *method,
			    const char *path, char param[ROUTE_PARAM_MAX],
			    const struct route **found);

// The object that a request's body is, {} for an empty one; the caller's. ERR_USAGE.
json_t *route_body(const void *bytes, size_t length, struct error *err);

const char *role_name(enum role role);
// -1 for what is no role.
int role_of_name(const char *name, enum role *role);
// The HTTP status of an error, by its class.
unsigned route_status(const struct error *err);

#endif
