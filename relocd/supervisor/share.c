// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/share.h"

#include "relocd/daemon/worker.h"
#include "relocd/move/share.h"
#include "relocd/supervisor/moves.h"

static bool is_leaving(const struct move *m)
{
	return !m->incoming && !m->dry_run && !m->finished && m->worker;
}

static unsigned streams_of(const struct move *m)
{
	return share_streams(
		(unsigned)json_integer_value(json_object_get(m->row.options, "streams")));
}

void share_out(struct daemon *d)
{
	unsigned count = 0, fewest = SHARE_STREAMS_MAX;
	for (const struct move *m = d->moves; m; m = m->next) {
		if (!is_leaving(m))
			continue;
		count++;
		if (streams_of(m) < fewest)
			fewest = streams_of(m);
	}
	for (const struct move *m = d->moves; m; m = m->next)
		if (is_leaving(m)) // one that has just ended is not told
			worker_send(m->worker,
				    json_pack("{s:s, s:I, s:i}", "op", "share", "bandwidth_bytes",
					      (json_int_t)(d->config.host_bandwidth / count),
					      "streams", (int)fewest),
				    NULL);
}
