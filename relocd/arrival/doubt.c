// SPDX-License-Identifier: Apache-2.0
// In doubt: the vote is cast and the link is gone. Only the source's records can tell; until they
// do, the restored partition stays held. No deadline decides here.
#include "relocd/arrival/arrival.h"

#include "lib/base/log.h"
#include "relocd/move/query.h"

#define ASK_EVERY_MS 1000

bool arrival_ask_peer(struct arrival *a)
{
	const char *peer = link_peer(a->link);
	for (;;) {
		struct error err = {0};
		enum decision_type last = DECISION_UNKNOWN;
		if (a->peer_address)
			last = query_peer(a->peer_address, peer, a->host, &a->tls, a->offer->move,
					  a->offer->epoch, &err);
		if (last == DECISION_COMMIT)
			return true;
		if (last == DECISION_ABORT)
			return false;
		log_warn("in doubt: %s says of %s: %s %s", peer, a->offer->move,
			 decision_name(last), err.message);
		clock_sleep_ms(ASK_EVERY_MS);
	}
}
