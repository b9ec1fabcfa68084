// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: a request of the control API. The first line is "METHOD PATH", the rest the
// body: route matching, the body, what a body becomes (a definition, a bundle), the audit text.
#include "lib/base/cleanup.h"
#include "lib/partition/bundle.h"
#include "lib/partition/definition.h"
#include "relocd/api/audit.h"
#include "relocd/api/openapi.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void match(char *line)
{
	char param[ROUTE_PARAM_MAX], plain[64];
	const struct route *route;
	char *path = strchr(line, ' ');
	if (!path)
		return;
	*path++ = 0;
	audit_text(plain, sizeof(plain), path);
	for (const char *c = plain; *c; c++)
		if (*c <= ' ' || *c >= 127)
			abort();
	if (route_find(api_routes, api_route_count, line, path, param, &route) != ROUTE_OK)
		return;
	if (strlen(param) >= ROUTE_PARAM_MAX || !openapi_operation(route->method, route->path))
		abort();
}

// A definition that can be read can be written and read again.
static void define(const json_t *json)
{
	_cleanup_definition_ struct partition_def *def = definition_from_json(json, NULL);
	if (!def)
		return;
	_cleanup_json_ json_t *written = definition_to_json(def);
	_cleanup_definition_ struct partition_def *again = definition_from_json(written, NULL);
	if (!again)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	size_t length = end ? (size_t)(end - data) : size;
	char *line = strndup((const char *)data, length);
	match(line);
	free(line);
	if (!end)
		return 0;
	_cleanup_json_ json_t *body = route_body(end + 1, size - length - 1, NULL);
	if (!body)
		return 0;
	define(json_object_get(body, "definition"));
	_cleanup_json_ json_t *notes = NULL;
	json_decref(bundle_convert(body, "/bundle", &notes, NULL));
	return 0;
}
