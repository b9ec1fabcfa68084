// SPDX-License-Identifier: Apache-2.0
// The port of the metrics: GET and HEAD of two paths, small limits, no bodies.
#include "relocd/api/metrics_inner.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 16
#define TIMEOUT_SECONDS 10
#define MEMORY_MAX      8192 // for the head of a request

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
			      const char *text, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)text, mode);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result plain(struct MHD_Connection *connection, unsigned status, const char *text)
{
	return answer(connection, status, "text/plain; charset=utf-8", text,
		      MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *bytes,
				  size_t *length, void **state)
{
	struct daemon *d = arg;
	(void)version;
	(void)bytes;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return plain(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD\n");
	if (!*state) {
		*state = d; // the head is there; a body would come now
		return MHD_YES;
	}
	if (*length)
		return MHD_NO; // a body is wanted by nobody
	if (!strcmp(path, "/healthz"))
		return plain(connection, MHD_HTTP_OK, "ok\n");
	if (strcmp(path, "/metrics") != 0)
		return plain(connection, MHD_HTTP_NOT_FOUND, "/metrics or /healthz\n");
	char *text = metrics_text(d);
	if (!text)
		return MHD_NO;
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text,
		      MHD_RESPMEM_MUST_FREE);
}

static struct addrinfo *resolve(const char *listen, struct error *err)
{
	char host[256], port[8];
	struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
	if (config_split_address(listen, host, port, err) < 0)
		return NULL;
	int rc = getaddrinfo(host, port, &wanted, &found);
	if (rc == 0)
		return found;
	error_set(err, ERR_CONFIG, "metrics.listen: %s: %s", listen, gai_strerror(rc));
	return NULL;
}

static void serve(struct daemon *d)
{
	struct error err;
	struct addrinfo *at = resolve(d->config.metrics, &err);
	if (!at) {
		log_error_of(&err, "metrics");
		return;
	}
	unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
			 MHD_USE_POLL | (at->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0);
	d->metrics->http = MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, d, MHD_OPTION_SOCK_ADDR, at->ai_addr,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
		MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U, MHD_OPTION_END);
	freeaddrinfo(at);
	if (!d->metrics->http) {
		log_warn("metrics: cannot listen at %s", d->config.metrics);
		return;
	}
	d->metrics->port = (unsigned)atoi(strrchr(d->config.metrics, ':') + 1);
}

int metrics_start(struct daemon *d, struct error *err)
{
	d->metrics = calloc(1, sizeof(*d->metrics));
	if (!d->metrics)
		return error_set(err, ERR_NOMEM, "no memory for the metrics");
	pthread_mutex_init(&d->metrics->scrape, NULL);
	if (d->config.metrics[0])
		serve(d);
	return 0;
}

void metrics_stop(struct daemon *d)
{
	if (!d->metrics)
		return;
	if (d->metrics->http)
		MHD_stop_daemon(d->metrics->http);
	json_decref(d->metrics->peers);
	pthread_mutex_destroy(&d->metrics->scrape);
	free(d->metrics);
	d->metrics = NULL;
}

unsigned metrics_port(const struct daemon *d)
{
	return d->metrics ? d->metrics->port : 0;
}
