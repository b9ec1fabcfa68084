// SPDX-License-Identifier: Apache-2.0
// The verbs. Each prints what it has to say and returns the exit code.
#ifndef WPARCTL_CTL_H
#define WPARCTL_CTL_H

#include "wparctl/args.h"
#include "wparctl/output.h"

typedef int verb_run(struct ctl *ctl, const struct args *args);

// definitions.c
verb_run create_run, show_run, set_run, rename_run;
// partitions.c
verb_run start_run, stop_run, restart_run, remove_run;
// list.c
verb_run list_run, status_run;
// run.c
verb_run exec_run, logs_run;

// validate.c
verb_run validate_run, check_host_run;
// relocate.c
verb_run relocate_run, wait_run, explain_run;
// moves.c
verb_run moves_run, cancel_run, recover_run, adopt_run;
// events.c
verb_run events_run;
// history.c
verb_run history_run;

// hosts.c
verb_run hosts_run, cordon_run, uncordon_run;
// cluster.c
verb_run cluster_init_run, cluster_add_host_run, cluster_join_run, cluster_status_run,
	cluster_renew_run, cluster_revoke_run, cluster_remove_host_run, cluster_trust_local_run;
verb_run version_run;

// validate.c: validates the move of one partition; `hosts` (a JSON list) is taken over.
int validate_one(struct ctl *ctl, const char *name, json_t *hosts, json_t *options);

#endif
