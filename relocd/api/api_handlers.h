// SPDX-License-Identifier: Apache-2.0
// The handlers of the route table, one for each operation of the control API. Each is called in its
// connection's thread, without the lock, with the body read; it fills the request's answer.
#ifndef RELOCD_API_HANDLERS_H
#define RELOCD_API_HANDLERS_H

#include "relocd/api/api.h"

// api_partitions.c
int api_partition_list(struct request *q, struct error *err);
int api_partition_get(struct request *q, struct error *err);
int api_partition_create(struct request *q, struct error *err);
int api_partition_start(struct request *q, struct error *err);
int api_partition_stop(struct request *q, struct error *err);
int api_partition_restart(struct request *q, struct error *err);
int api_partition_change(struct request *q, struct error *err);
int api_partition_remove(struct request *q, struct error *err);
int api_partition_validate(struct request *q, struct error *err);

// api_logs.c, api_exec.c
int api_partition_logs(struct request *q, struct error *err);
int api_partition_exec(struct request *q, struct error *err);

// api_moves.c
int api_move_start(struct request *q, struct error *err);
int api_move_list(struct request *q, struct error *err);
int api_move_get(struct request *q, struct error *err);
int api_move_events(struct request *q, struct error *err);
int api_move_cancel(struct request *q, struct error *err);
int api_move_recover(struct request *q, struct error *err); // recover.c

// api_events.c
int api_events(struct request *q, struct error *err);

// api_history.c
int api_history(struct request *q, struct error *err);

// api_health.c
int api_health(struct request *q, struct error *err);
int api_ready(struct request *q, struct error *err);

// openapi.c
int api_openapi(struct request *q, struct error *err);

// api_cluster.c
int api_version(struct request *q, struct error *err);
int api_hosts(struct request *q, struct error *err);
int api_host_get(struct request *q, struct error *err);
int api_host_cordon(struct request *q, struct error *err);
int api_host_uncordon(struct request *q, struct error *err);
int api_host_check(struct request *q, struct error *err);
int api_cluster_status(struct request *q, struct error *err);
int api_cluster_renew(struct request *q, struct error *err);
int api_cluster_sign(struct request *q, struct error *err);
int api_cluster_trust(struct request *q, struct error *err);
int api_cluster_revoke(struct request *q, struct error *err);
int api_cluster_remove_host(struct request *q, struct error *err);
int api_cluster_init(struct request *q, struct error *err);
int api_cluster_add_host(struct request *q, struct error *err);
int api_cluster_trust_local(struct request *q, struct error *err); // ownership.c
int api_cluster_join(struct request *q, struct error *err);
int api_cluster_changed(struct request *q, struct error *err);  // peers/learn.c
int api_adopt_partitions(struct request *q, struct error *err); // adopt.c

#endif
