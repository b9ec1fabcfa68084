// SPDX-License-Identifier: Apache-2.0
// The verbs. Each prints what it has to say and returns the exit code.
#ifndef WPARCTL_CTL_H
#define WPARCTL_CTL_H

#include "wparctl/args.h"
#include "wparctl/output.h"

// partitions.c
int create_run(struct ctl *ctl, const struct args *args);
int start_run(struct ctl *ctl, const struct args *args);
int stop_run(struct ctl *ctl, const struct args *args);
int remove_run(struct ctl *ctl, const struct args *args);
int list_run(struct ctl *ctl, const struct args *args);
int status_run(struct ctl *ctl, const struct args *args);

// run.c
int exec_run(struct ctl *ctl, const struct args *args);
int logs_run(struct ctl *ctl, const struct args *args);

// moves.c
int validate_run(struct ctl *ctl, const struct args *args);
int relocate_run(struct ctl *ctl, const struct args *args);
int moves_run(struct ctl *ctl, const struct args *args);
int wait_run(struct ctl *ctl, const struct args *args);
int cancel_run(struct ctl *ctl, const struct args *args);

// cluster.c
int hosts_run(struct ctl *ctl, const struct args *args);
int cluster_init_run(struct ctl *ctl, const struct args *args);
int cluster_add_host_run(struct ctl *ctl, const struct args *args);
int cluster_join_run(struct ctl *ctl, const struct args *args);
int version_run(struct ctl *ctl, const struct args *args);

#endif
