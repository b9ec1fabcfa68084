// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"

const struct route api_routes[] = {
	{"GET", "/healthz", ROLE_VIEWER, api_health},
	{"GET", "/readyz", ROLE_VIEWER, api_ready},
	{"GET", "/v1/version", ROLE_VIEWER, api_version},
	{"GET", "/v1/openapi.json", ROLE_VIEWER, api_openapi},

	{"GET", "/v1/partitions", ROLE_VIEWER, api_partition_list},
	{"POST", "/v1/partitions", ROLE_ADMIN, api_partition_create},
	{"GET", "/v1/partitions/{}", ROLE_VIEWER, api_partition_get},
	{"DELETE", "/v1/partitions/{}", ROLE_ADMIN, api_partition_remove},
	{"POST", "/v1/partitions/{}/start", ROLE_OPERATOR, api_partition_start},
	{"PATCH", "/v1/partitions/{}", ROLE_ADMIN, api_partition_change},
	{"POST", "/v1/partitions/{}/stop", ROLE_OPERATOR, api_partition_stop},
	{"POST", "/v1/partitions/{}/restart", ROLE_OPERATOR, api_partition_restart},
	{"POST", "/v1/partitions/{}/validate", ROLE_OPERATOR, api_partition_validate},
	{"GET", "/v1/partitions/{}/logs", ROLE_ADMIN, api_partition_logs},
	{"POST", "/v1/partitions/{}/exec", ROLE_ADMIN, api_partition_exec},

	{"GET", "/v1/moves", ROLE_VIEWER, api_move_list},
	{"POST", "/v1/moves", ROLE_OPERATOR, api_move_start},
	{"GET", "/v1/moves/{}", ROLE_VIEWER, api_move_get},
	{"GET", "/v1/moves/{}/events", ROLE_VIEWER, api_move_events},
	{"POST", "/v1/moves/{}/recover", ROLE_OPERATOR, api_move_recover},
	{"POST", "/v1/moves/{}/cancel", ROLE_OPERATOR, api_move_cancel},

	{"POST", "/v1/adopt", ROLE_ADMIN, api_adopt_partitions},

	{"GET", "/v1/events", ROLE_VIEWER, api_events},
	{"GET", "/v1/history", ROLE_VIEWER, api_history},
	{"GET", "/v1/hosts", ROLE_VIEWER, api_hosts},
	{"GET", "/v1/hosts/{}", ROLE_VIEWER, api_host_get},
	{"GET", "/v1/hosts/{}/check", ROLE_VIEWER, api_host_check},
	{"POST", "/v1/hosts/{}/cordon", ROLE_OPERATOR, api_host_cordon},
	{"POST", "/v1/hosts/{}/uncordon", ROLE_OPERATOR, api_host_uncordon},
	{"GET", "/v1/cluster", ROLE_VIEWER, api_cluster_status},
	{"POST", "/v1/cluster/init", ROLE_ADMIN, api_cluster_init},
	{"POST", "/v1/cluster/add-host", ROLE_ADMIN, api_cluster_add_host},
	{"POST", "/v1/cluster/trust-local", ROLE_ADMIN, api_cluster_trust_local},
	{"POST", "/v1/cluster/join", ROLE_ADMIN, api_cluster_join},
	{"POST", "/v1/cluster/renew", ROLE_ADMIN, api_cluster_renew},
	{"POST", "/v1/cluster/revoke", ROLE_ADMIN, api_cluster_revoke},
	{"POST", "/v1/cluster/remove-host", ROLE_ADMIN, api_cluster_remove_host},
	{"POST", "/v1/cluster/sign", ROLE_OPERATOR, api_cluster_sign},
	{"POST", "/v1/cluster/trust", ROLE_ADMIN, api_cluster_trust},
	{"POST", "/v1/cluster/changed", ROLE_OPERATOR, api_cluster_changed},
};

const size_t api_route_count = ARRAY_SIZE(api_routes);
