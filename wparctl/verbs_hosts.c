// SPDX-License-Identifier: Apache-2.0
// Verbs about hosts and the cluster.
#include "wparctl/ctl.h"

static const struct verb_option reason_options[] = {
	{"reason", 0, "TEXT", "why, for the record"},
	{0},
};

static const struct verb_option needed_reason_options[] = {
	{"reason", 0, "TEXT", "why, for the record; needed"},
	{0},
};

static const struct verb_option add_host_options[] = {
	{"address", 0, "ADDRESS", "where the host's relocd listens: IP or IP:PORT (default 7470)"},
	{0},
};

static const struct verb_option renew_options[] = {
	{"ca", 0, NULL, "renew the certificate authority of the cluster as well"},
	{0},
};

static const struct verb_option remove_host_options[] = {
	{"lost", 0, NULL, "the host is lost and will not return; its partitions are given up"},
	{"reason", 0, "TEXT", "why, for the record; needed with --lost"},
	{0},
};

static const struct verb_option no_options[] = {{0}};

const struct verb host_verbs[] = {
	{
		.name = "hosts",
		.summary = "list the hosts of the cluster",
		.form = "",
		.text = "Lists the hosts of the cluster: their addresses, whether they can be "
			"reached and take partitions, and how many they have.",
		.options = no_options,
		.example = "wparctl hosts",
		.calls = "GET /v1/hosts",
		.run = hosts_run,
	},
	{
		.name = "cordon",
		.summary = "let a host take no more partitions",
		.form = "HOST [--reason TEXT]",
		.text = "What runs there stays; nothing moves there until uncordon.",
		.options = reason_options,
		.args = "HOST",
		.min = 1,
		.max = 1,
		.example = "wparctl cordon hostB --reason 'new memory on Friday'",
		.calls = "POST /v1/hosts/{}/cordon",
		.run = cordon_run,
	},
	{
		.name = "uncordon",
		.summary = "let a host take partitions again",
		.form = "HOST",
		.text = "Takes back what cordon did.",
		.options = no_options,
		.args = "HOST",
		.min = 1,
		.max = 1,
		.example = "wparctl uncordon hostB",
		.calls = "POST /v1/hosts/{}/uncordon",
		.run = uncordon_run,
	},
	{
		.name = "check-host",
		.summary = "check whether a host can run and move partitions",
		.form = "[HOST]",
		.text = "Checks kernel, control groups, CRIU, bridge, clock and port of a host "
			"(default: this one) and says what to do. The exit code is 4 when a check "
			"fails.",
		.options = no_options,
		.args = "HOST",
		.min = 0,
		.max = 1,
		.example = "wparctl check-host hostB",
		.calls = "GET /v1/hosts/{}/check\nGET /v1/version",
		.run = check_host_run,
	},
	{
		.name = "cluster init",
		.summary = "make a cluster with this host as its first",
		.form = "",
		.text = "Makes the cluster's certificate authority and a certificate for this "
			"host.",
		.options = no_options,
		.example = "wparctl cluster init",
		.calls = "POST /v1/cluster/init",
		.run = cluster_init_run,
	},
	{
		.name = "cluster add-host",
		.summary = "allow a host to join",
		.form = "HOST --address ADDRESS",
		.text = "Prints a token on the last line; it lets HOST join once. Run it where the "
			"cluster was made.",
		.options = add_host_options,
		.args = "-",
		.min = 1,
		.max = 1,
		.example = "wparctl cluster add-host hostB --address 10.77.0.2",
		.calls = "POST /v1/cluster/add-host",
		.run = cluster_add_host_run,
	},
	{
		.name = "cluster join",
		.summary = "join a cluster",
		.form = "TOKEN",
		.text = "Run on the host that joins. Its key is made here and never travels.",
		.options = no_options,
		.args = "-",
		.min = 1,
		.max = 1,
		.example = "wparctl cluster join wpar1.eyJuYW1lIjoi...",
		.calls = "POST /v1/cluster/join",
		.run = cluster_join_run,
	},
	{
		.name = "cluster status",
		.summary = "compare the hosts of the cluster",
		.form = "",
		.text = "Shows for each host the versions of relocd, of the protocol between "
			"hosts, "
			"of CRIU and of the kernel, when its certificate ends, and how far its "
			"clock is off.",
		.options = no_options,
		.example = "wparctl cluster status",
		.calls = "GET /v1/cluster",
		.run = cluster_status_run,
	},
	{
		.name = "cluster renew",
		.summary = "renew certificates",
		.form = "[HOST] [--ca]",
		.text = "Renews the certificate of HOST (default: this one). What runs and moves "
			"goes "
			"on.",
		.options = renew_options,
		.args = "HOST",
		.min = 0,
		.max = 1,
		.example = "wparctl cluster renew hostB",
		.calls = "POST /v1/cluster/renew",
		.run = cluster_renew_run,
	},
	{
		.name = "cluster revoke",
		.summary = "no longer trust the certificate of a host",
		.form = "HOST [--reason TEXT]",
		.text = "No host speaks with HOST any more until it joins again.",
		.options = reason_options,
		.args = "HOST",
		.min = 1,
		.max = 1,
		.example = "wparctl cluster revoke hostB --reason 'its key was copied'",
		.calls = "POST /v1/cluster/revoke",
		.run = cluster_revoke_run,
	},
	{
		.name = "cluster remove-host",
		.summary = "remove a host from the cluster",
		.form = "HOST [--lost --reason TEXT]",
		.text = "Removes a host that has no partitions, and revokes its certificate. One "
			"that is lost is removed with --lost and a reason.",
		.options = remove_host_options,
		.args = "HOST",
		.min = 1,
		.max = 1,
		.example = "wparctl cluster remove-host hostB --lost --reason 'burnt'",
		.calls = "POST /v1/cluster/remove-host",
		.run = cluster_remove_host_run,
	},
	{
		.name = "cluster trust-local",
		.summary = "end the quarantine of this host",
		.form = "--reason TEXT",
		.text = "A relocd with an empty or restored registry starts nothing until other "
			"hosts have confirmed what belongs to it. Use this when they cannot, and "
			"you know that none of its partitions runs elsewhere.",
		.options = needed_reason_options,
		.example = "wparctl cluster trust-local --reason 'the only host left'",
		.calls = "POST /v1/cluster/trust-local",
		.run = cluster_trust_local_run,
	},
	{
		.name = "version",
		.summary = "show the versions of wparctl and relocd",
		.form = "",
		.text = "Shows the versions of wparctl and of the relocd that it talks to.",
		.options = no_options,
		.example = "wparctl version",
		.calls = "GET /v1/version",
		.run = version_run,
	},
	{0},
};
