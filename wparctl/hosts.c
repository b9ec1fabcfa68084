// SPDX-License-Identifier: Apache-2.0
// hosts, cordon, uncordon.
#include "lib/base/cleanup.h"
#include "wparctl/ctl.h"

#include <string.h>

static bool is_cordoned(const json_t *host)
{
	const json_t *cordoned = json_object_get(host, "cordoned");
	return json_is_true(cordoned) || json_is_string(cordoned);
}

static void host_row(struct table *table, const json_t *host)
{
	bool self = json_is_true(json_object_get(host, "self"));
	bool reachable = self || json_is_true(json_object_get(host, "reachable"));
	bool cordoned = is_cordoned(host);
	char state[64], partitions[32] = "";
	const char *reason = json_sentence(host, "reason"), *error = json_sentence(host, "error");
	snprintf(state, sizeof(state), "%s%s",
		 self        ? "this host"
		 : reachable ? "reachable"
			     : "unreachable",
		 cordoned ? ", cordoned" : "");
	if (json_is_integer(json_object_get(host, "partitions")))
		snprintf(partitions, sizeof(partitions), "%.0f", json_amount(host, "partitions"));
	table_row(table,
		  (const char *[]){json_text(host, "name"), json_text(host, "address"), state,
				   partitions, json_text(host, "version"),
				   reachable ? reason : error},
		  (int[]){0, 0,
			  !reachable ? COLOUR_RED
			  : cordoned ? COLOUR_YELLOW
				     : 0,
			  0, 0, 0});
}

int hosts_run(struct ctl *ctl, const struct args *args)
{
	static const struct table_column columns[] = {
		{.title = "HOST"},    {.title = "ADDRESS", .flexible = true},
		{.title = "STATE"},   {.title = "PARTITIONS", .right = true},
		{.title = "VERSION"}, {.title = "REASON", .flexible = true},
	};
	struct error err;
	_cleanup_json_ json_t *list = NULL;
	(void)args;
	if (wpar_hosts(ctl->wpar, &list, &err) < 0)
		return out_error(ctl, NULL, &err);
	if (ctl->json)
		out_data(json_incref(list));
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *host;
	json_array_foreach (list, i, host) {
		if (ctl->quiet && !ctl->json)
			out_name(json_text(host, "name"));
		host_row(table, host);
	}
	out_table(ctl, table);
	return 0;
}

static int say_done(struct ctl *ctl, const char *host, int failed, const char *said,
		    const struct error *err)
{
	struct results results;
	results_begin(&results, ctl);
	if (failed < 0)
		results_bad(&results, host, err);
	else
		results_good(&results, host, said, NULL);
	return results_end(&results);
}

int cordon_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	const char *host = args->names[0];
	int failed = wpar_cordon(ctl->wpar, host, args_value(args, "reason"), &err);
	return say_done(ctl, host, failed, "cordoned", &err);
}

int uncordon_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	const char *host = args->names[0];
	int failed = wpar_uncordon(ctl->wpar, host, &err);
	return say_done(ctl, host, failed, "takes partitions again", &err);
}
