// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/openapi.h"

#include "lib/base/cleanup.h"
#include "relocd/api/api_handlers.h"

#include <ctype.h>
#include <pthread.h>
#include <string.h>

// The file itself, compiled in.
__asm__(".pushsection .rodata\n"
	".global openapi_text\n"
	"openapi_text:\n"
	".incbin \"relocd/api/openapi.json\"\n"
	".byte 0\n"
	".popsection\n");
extern const char openapi_text[];

static json_t *document;

static void load(void)
{
	document = json_loads(openapi_text, JSON_REJECT_DUPLICATES, NULL);
	json_object_set_new(json_object_get(document, "info"), "version",
			    json_string(WPAR_VERSION));
}

const json_t *openapi_document(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, load);
	return document;
}

// "/v1/partitions/{name}/start" is the route "/v1/partitions/{}/start".
static bool is_route(const char *path, const char *route)
{
	while (*path && *path == *route) {
		if (*path == '{')
			path += strcspn(path, "}") - 1;
		path++;
		route++;
	}
	return !*path && !*route;
}

static const json_t *find_path(const char *route)
{
	const char *path;
	json_t *item;
	json_object_foreach (json_object_get(openapi_document(), "paths"), path, item)
		if (is_route(path, route))
			return item;
	return NULL;
}

const json_t *openapi_operation(const char *method, const char *route)
{
	char lower[16] = "";
	for (size_t i = 0; i < sizeof(lower) - 1 && method[i]; i++)
		lower[i] = (char)tolower((unsigned char)method[i]);
	return json_object_get(find_path(route), lower);
}

// A parameter itself, or what a reference to components/parameters means.
static const json_t *parameter_of(const json_t *parameter)
{
	const char *reference = json_string_value(json_object_get(parameter, "$ref"));
	if (!reference)
		return parameter;
	const json_t *components = json_object_get(openapi_document(), "components");
	return json_object_get(json_object_get(components, "parameters"),
			       strrchr(reference, '/') + 1);
}

struct query {
	const json_t *parameters;
	char unknown[64];
};

static bool is_known(const json_t *parameters, const char *name)
{
	size_t i;
	json_t *each;
	json_array_foreach (parameters, i, each) {
		const json_t *p = parameter_of(each);
		const char *in = json_string_value(json_object_get(p, "in"));
		const char *known = json_string_value(json_object_get(p, "name"));
		if (in && known && !strcmp(in, "query") && !strcmp(known, name))
			return true;
	}
	return false;
}

static enum MHD_Result check_argument(void *arg, enum MHD_ValueKind kind, const char *name,
				      const char *value)
{
	struct query *query = arg;
	(void)kind;
	(void)value;
	if (is_known(query->parameters, name))
		return MHD_YES;
	snprintf(query->unknown, sizeof(query->unknown), "%s", name);
	return MHD_NO;
}

int openapi_check_query(struct request *q, const struct route *route, struct error *err)
{
	const json_t *operation = openapi_operation(route->method, route->path);
	struct query query = {.parameters = json_object_get(operation, "parameters")};
	MHD_get_connection_values(q->connection, MHD_GET_ARGUMENT_KIND, check_argument, &query);
	if (query.unknown[0])
		return error_set(err, ERR_USAGE, "%s %s has no argument \"%s\"", route->method,
				 route->path, query.unknown);
	return 0;
}

int api_openapi(struct request *q, struct error *err)
{
	char *text = json_dumps(openapi_document(), JSON_INDENT(2));
	q->response =
		text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE)
		     : NULL;
	if (!q->response) {
		free(text);
		return error_set(err, ERR_NOMEM, "no memory for the document");
	}
	MHD_add_response_header(q->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return 0;
}
