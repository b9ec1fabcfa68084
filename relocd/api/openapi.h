// SPDX-License-Identifier: Apache-2.0
// openapi.json, the description of the control API: served as it is, and what requests are held to
// where it says so in full (their query arguments).
#ifndef RELOCD_OPENAPI_H
#define RELOCD_OPENAPI_H

#include "relocd/api/api.h"

// The document, with our version in it. It stays as long as the program; look only.
const json_t *openapi_document(void);
// The description of an operation of the route table; NULL: there is none.
const json_t *openapi_operation(const char *method, const char *route);
// All query arguments of the request are among those that its operation describes: ERR_USAGE.
int openapi_check_query(struct request *q, const struct route *route, struct error *err);

#endif
