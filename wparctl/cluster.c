// SPDX-License-Identifier: Apache-2.0
// hosts, cluster init, add-host and join, version.
#include "lib/base/cleanup.h"
#include "wparctl/ctl.h"

#include <string.h>

static const char *host_state(const json_t *host)
{
	if (json_is_true(json_object_get(host, "self")))
		return "this host";
	return json_is_true(json_object_get(host, "reachable")) ? "reachable" : "unreachable";
}

int hosts_run(struct ctl *ctl, const struct args *args)
{
	static const struct table_column columns[] = {
		{.title = "HOST"}, {.title = "ADDRESS", .flexible = true}, {.title = "STATE"}};
	struct error err;
	_cleanup_json_ json_t *list = NULL;
	(void)args;
	if (wpar_hosts(ctl->wpar, &list, &err) < 0)
		return out_error(ctl, NULL, &err);
	if (ctl->json) {
		out_data(json_incref(list));
		return 0;
	}
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *host;
	json_array_foreach (list, i, host) {
		const char *name = json_text(host, "name");
		if (ctl->quiet)
			puts(name);
		const char *state = host_state(host);
		table_row(table, (const char *[]){name, json_text(host, "address"), state},
			  (int[]){0, 0, strcmp(state, "unreachable") ? 0 : COLOUR_RED});
	}
	if (ctl->quiet)
		table_free(table);
	else
		out_table(ctl, table);
	return 0;
}

int cluster_init_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *answer = NULL;
	(void)args;
	if (wpar_cluster_init(ctl->wpar, &answer, &err) < 0)
		return out_error(ctl, NULL, &err);
	if (ctl->json)
		out_data(json_incref(answer));
	out_say(ctl, "the cluster is made; add hosts with: wparctl cluster add-host HOST --address "
		     "ADDRESS");
	return 0;
}

int cluster_add_host_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *answer = NULL;
	const char *host = args->names[0], *address = args_value(args, "address");
	if (!address) {
		error_set(&err, ERR_USAGE, "cluster add-host: --address is missing");
		return out_error(ctl, NULL, &err);
	}
	if (wpar_cluster_add_host(ctl->wpar, host, address, &answer, &err) < 0)
		return out_error(ctl, host, &err);
	if (ctl->json) {
		out_data(json_incref(answer));
		return 0;
	}
	out_say(ctl, "run this on %s, it works once: wparctl cluster join TOKEN", host);
	puts(json_text(answer, "token")); // also with --quiet: it is what was asked for
	return 0;
}

int cluster_join_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *answer = NULL;
	if (wpar_cluster_join(ctl->wpar, args->names[0], &answer, &err) < 0)
		return out_error(ctl, NULL, &err);
	if (ctl->json)
		out_data(json_incref(answer));
	out_notes(ctl, answer);
	out_say(ctl, "this host has joined the cluster; see: wparctl hosts");
	return 0;
}

int version_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	_cleanup_json_ json_t *relocd = NULL;
	(void)args;
	int failed = wpar_version(ctl->wpar, &relocd, &err);
	if (ctl->json && !failed) {
		json_object_set_new(relocd, "client", json_string(WPAR_VERSION));
		out_data(json_incref(relocd));
		return 0;
	}
	if (!ctl->json)
		puts("wparctl " WPAR_VERSION);
	if (failed)
		return out_error(ctl, NULL, &err);
	printf("relocd %s\n", json_text(relocd, "version"));
	return 0;
}
