// SPDX-License-Identifier: Apache-2.0
// The keys of relocd.yaml for libcyaml. All values are texts here; config.c gives them a meaning.
#ifndef WPAR_CONFIG_SCHEMA_H
#define WPAR_CONFIG_SCHEMA_H

#include "lib/base/error.h"
#include "lib/config/outline.h"

struct config_api {
	char *socket, *group;
};
struct config_tls {
	char *ca, *cert, *key;
};
struct config_network {
	char *bridge;
};
struct config_storage {
	char *root;
	char **shared;
	unsigned shared_count;
};
struct config_criu {
	char *path, *preload;
};
struct config_move {
	char *max_downtime, *on_diverge, *compress, *restore, *bandwidth;
};
struct config_limits {
	char *moves, *moves_per_link, *arrivals, *bandwidth, *memory_for_arrivals;
};
struct config_roles {
	char **admin, **operator, ** viewer;
	unsigned admin_count, operator_count, viewer_count;
	char *peers;
};
struct config_metrics {
	char *listen;
};
struct config_retention {
	char *events;
};
struct config_hooks {
	char *timeout;
};

// Absent is NULL.
struct config_values {
	char *host, *listen;
	struct config_api api;
	struct config_tls tls;
	struct config_network network;
	struct config_storage storage;
	struct config_criu criu;
	struct config_move move;
	struct config_limits limits;
	struct config_retention retention;
	struct config_hooks hooks;
	struct config_roles roles;
	struct config_metrics metrics;
};

// Unknown keys (with the nearest known one as suggestion), keys of a later version, and values of
// the wrong kind: ERR_CONFIG with the line.
int config_schema_check(const struct outline *outline, struct error *err);
// *values is NULL for an empty text. Free with config_schema_free.
int config_schema_load(const char *text, size_t length, struct config_values **values,
		       struct error *err);
void config_schema_free(struct config_values *values);

#endif
