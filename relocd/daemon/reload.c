// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/reload.h"

#include "lib/base/cleanup.h"
#include "relocd/api/api.h"
#include "relocd/supervisor/queue.h"
#include "relocd/supervisor/share.h"

#include <string.h>

#define TEXT(key, member)                            \
	{                                            \
		key, offsetof(struct config, member) \
	}

static const struct {
	const char *key;
	size_t offset;
} fixed[] = {
	TEXT("host", host),
	TEXT("listen", listen),
	TEXT("api: socket", api_socket),
	TEXT("api: group", api_group),
	TEXT("metrics: listen", metrics),
	TEXT("tls: ca", tls_ca),
	TEXT("tls: cert", tls_cert),
	TEXT("tls: key", tls_key),
	TEXT("storage: root", storage_root),
};

static const size_t texts[] = {
	offsetof(struct config, bridge),     offsetof(struct config, criu),
	offsetof(struct config, preload),    offsetof(struct config, on_diverge),
	offsetof(struct config, peers_role), offsetof(struct config, compress),
	offsetof(struct config, restore),
};

static char **text_at(struct config *c, size_t offset)
{
	return (char **)((char *)c + offset);
}

static bool differ(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") != 0;
}

static void name_fixed(struct config *now, struct config *fresh, char *later, size_t size)
{
	size_t length = 0;
	later[0] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(fixed) && length < size; i++)
		if (differ(*text_at(now, fixed[i].offset), *text_at(fresh, fixed[i].offset)))
			length += (size_t)snprintf(later + length, size - length, "%s%s",
						   length ? ", " : "", fixed[i].key);
}

// Exchanged, so that `fresh` keeps what some thread may be looking at. A list is never longer than
// what it points to, also for one who looks without the lock.
static void exchange_list(char ***list, size_t *count, char ***fresh, size_t *fresh_count)
{
	char **old = *list;
	size_t old_count = *count;
	if (*fresh_count < old_count)
		*count = *fresh_count;
	*list = *fresh;
	*count = *fresh_count;
	*fresh = old;
	*fresh_count = old_count;
}

static void exchange_names(struct config_names *names, struct config_names *fresh)
{
	exchange_list(&names->list, &names->count, &fresh->list, &fresh->count);
}

static void exchange_text(char **text, char **fresh)
{
	char *old = *text;
	*text = *fresh;
	*fresh = old;
}

void reload_apply(struct daemon *d, struct config *fresh, char *later, size_t size)
{
	struct config *now = &d->config;
	struct old_config *old = calloc(1, sizeof(*old));
	name_fixed(now, fresh, later, size);
	now->max_downtime_ms = fresh->max_downtime_ms;
	now->bandwidth = fresh->bandwidth;
	now->host_bandwidth = fresh->host_bandwidth;
	now->moves = fresh->moves;
	now->moves_per_link = fresh->moves_per_link;
	now->arrivals = fresh->arrivals;
	now->hook_timeout_ms = fresh->hook_timeout_ms;
	now->memory_for_arrivals_percent = fresh->memory_for_arrivals_percent;
	now->events_keep_ms = fresh->events_keep_ms;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		exchange_text(text_at(now, texts[i]), text_at(fresh, texts[i]));
	exchange_list(&now->shared, &now->shared_count, &fresh->shared, &fresh->shared_count);
	exchange_names(&now->admins, &fresh->admins);
	exchange_names(&now->operators, &fresh->operators);
	exchange_names(&now->viewers, &fresh->viewers);
	api_reload(d);
	share_out(d);
	queue_next(d);
	if (!old)
		return; // better lost than freed under somebody
	old->config = *fresh;
	old->next = d->old_configs;
	d->old_configs = old;
}
