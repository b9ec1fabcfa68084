// SPDX-License-Identifier: Apache-2.0
// The cluster, and version.
#include "lib/base/cleanup.h"
#include "wparctl/ctl.h"

#include <string.h>

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

// ---- status -------------------------------------------------------------------------------------

static void status_row(struct table *table, const json_t *host)
{
	bool self = json_is_true(json_object_get(host, "self"));
	bool reachable = self || json_is_true(json_object_get(host, "reachable"));
	bool revoked = json_is_true(json_object_get(host, "revoked"));
	const json_t *skew = json_object_get(host, "clock_skew_ms");
	char protocol[32] = "", clock[32] = "";
	if (json_is_integer(json_object_get(host, "protocol")))
		snprintf(protocol, sizeof(protocol), "%.0f", json_amount(host, "protocol"));
	if (json_is_number(skew))
		snprintf(clock, sizeof(clock), "%+.0f ms", json_number_value(skew));
	table_row(table,
		  (const char *[]){json_text(host, "name"), json_text(host, "address"),
				   revoked     ? "revoked"
				   : self      ? "this host"
				   : reachable ? "reachable"
					       : "unreachable",
				   json_text(host, "version"), protocol, json_text(host, "criu"),
				   json_text(host, "kernel"),
				   json_text(host, "certificate_not_after"), clock,
				   json_sentence(host, "error")},
		  (int[]){0, 0, reachable && !revoked ? 0 : COLOUR_RED, 0, 0, 0, 0, 0, 0, 0});
}

int cluster_status_run(struct ctl *ctl, const struct args *args)
{
	static const struct table_column columns[] = {
		{.title = "HOST"},
		{.title = "ADDRESS", .flexible = true},
		{.title = "STATE"},
		{.title = "VERSION"},
		{.title = "PROTOCOL", .right = true},
		{.title = "CRIU"},
		{.title = "KERNEL", .flexible = true},
		{.title = "CERTIFICATE UNTIL"},
		{.title = "CLOCK", .right = true},
		{.title = "ERROR", .flexible = true},
	};
	struct error err;
	_cleanup_json_ json_t *cluster = NULL;
	(void)args;
	if (wpar_cluster_status(ctl->wpar, &cluster, &err) < 0)
		return out_error(ctl, NULL, &err);
	if (ctl->json)
		out_data(json_incref(cluster));
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *host;
	json_array_foreach (json_object_get(cluster, "hosts"), i, host)
		status_row(table, host);
	out_table(ctl, table);
	if (json_text(cluster, "ca_not_after")[0])
		out_say(ctl, "certificate authority until %s", json_text(cluster, "ca_not_after"));
	return 0;
}

// ---- acts ---------------------------------------------------------------------------------------

// `answer` is taken over.
static int say_done(struct ctl *ctl, const char *host, json_t *answer, const char *said)
{
	_cleanup_json_ json_t *owned = answer;
	if (ctl->json)
		out_data(json_incref(answer));
	out_notes(ctl, answer);
	out_say(ctl, "%s%s%s", host ? host : "", host ? ": " : "", said);
	return 0;
}

int cluster_renew_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	json_t *answer = NULL;
	const char *host = args->count ? args->names[0] : NULL;
	if (wpar_cluster_renew(ctl->wpar, host, args_has(args, "ca"), &answer, &err) < 0)
		return out_error(ctl, host, &err);
	return say_done(ctl, host, answer, "renewed");
}

int cluster_revoke_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	json_t *answer = NULL;
	const char *host = args->names[0];
	if (wpar_cluster_revoke(ctl->wpar, host, args_value(args, "reason"), &answer, &err) < 0)
		return out_error(ctl, host, &err);
	return say_done(ctl, host, answer, "revoked");
}

static int without_reason(const struct ctl *ctl, const char *what)
{
	struct error err;
	error_set(&err, ERR_USAGE, "%s needs --reason TEXT", what);
	return out_error(ctl, NULL, &err);
}

int cluster_remove_host_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	json_t *answer = NULL;
	const char *host = args->names[0], *reason = args_value(args, "reason");
	bool lost = args_has(args, "lost");
	if (lost && !(reason && reason[0]))
		return without_reason(ctl, "cluster remove-host --lost");
	if (wpar_cluster_remove_host(ctl->wpar, host, lost, reason, &answer, &err) < 0)
		return out_error(ctl, host, &err);
	return say_done(ctl, host, answer, "removed");
}

int cluster_trust_local_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	json_t *answer = NULL;
	const char *reason = args_value(args, "reason");
	if (!reason || !reason[0])
		return without_reason(ctl, "cluster trust-local");
	if (wpar_cluster_trust_local(ctl->wpar, reason, &answer, &err) < 0)
		return out_error(ctl, NULL, &err);
	return say_done(ctl, NULL, answer, "the registry of this host is trusted");
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
	out_say(&(struct ctl){0}, "relocd %s", json_text(relocd, "version"));
	return 0;
}
