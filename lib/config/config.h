// SPDX-License-Identifier: Apache-2.0
// relocd.yaml (relocd.yaml(5)): read by libcyaml, checked value by value. What this version does
// not act on is refused with a sentence, never accepted silently.
#ifndef WPAR_CONFIG_CONFIG_H
#define WPAR_CONFIG_CONFIG_H

#include "lib/base/error.h"

#include <stddef.h>
#include <stdint.h>

// Users: "root", "1000" (an uid) or "group:NAME".
struct config_names {
	char **list;
	size_t count;
};

struct config {
	char *host;       // name of this host in the cluster
	char *listen;     // "[::]:7470", for peers
	char *api_socket; // path
	char *api_group;  // may look (role viewer); the group need not exist
	char *tls_ca;     // absolute paths
	char *tls_cert;
	char *tls_key;
	char *bridge;       // where partitions are plugged in unless they say otherwise
	char *storage_root; // our state: registry, decision files, images
	char **shared;      // folders that all hosts share
	size_t shared_count;
	char *criu;    // "auto" or an absolute path
	char *preload; // "auto", "none" or an absolute path
	int64_t max_downtime_ms;
	char *on_diverge;        // lib/memory/converge.h
	char *compress;          // lib/memory/squeeze.h
	char *restore;           // lib/memory/restore.h
	uint64_t bandwidth;      // of a move, bytes a second; 0: no limit
	unsigned moves;          // departures at once
	unsigned moves_per_link; // of these, to one host
	unsigned arrivals;       // at once
	int64_t hook_timeout_ms; // of one program in hooks.d
	uint64_t host_bandwidth; // of all of them together, bytes a second; 0: no limit
	unsigned memory_for_arrivals_percent; // of this host's memory
	struct config_names admins, operators, viewers;
	char *peers_role; // what other hosts may do here at most: admin, operator, viewer or none
	char *metrics;    // "127.0.0.1:7471", for /metrics and /healthz; "": nowhere
	int64_t events_keep_ms; // how long the journal keeps an event
};

// Reads the file. `required`: an absent file is an error, otherwise it means the defaults
// (host = the system's host name). ERR_CONFIG: "FILE: line N: KEY: what is wrong".
int config_load(const char *path, bool required, struct config *config, struct error *err);
// The same from memory; `name` stands for the file in messages.
int config_parse(const char *name, const char *text, size_t length, struct config *config,
		 struct error *err);
void config_free(struct config *config);

// Splits "10.0.0.1:7470", "[::1]:7470" or "name:7470". ERR_CONFIG. host at least 256 bytes, port 8.
int config_split_address(const char *address, char *host, char *port, struct error *err);

#endif
