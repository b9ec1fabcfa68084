// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/disown.h"

#include "lib/base/log.h"
#include "relocd/daemon/events.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/partitions/revive.h"
#include "relocd/supervisor/recover.h"
#include "relocd/supervisor/thaw.h"

#include <string.h>

#define IDLE_MS 20000

static struct partition *find(struct daemon *d, const char *uuid)
{
	struct partition *p = d->partitions;
	while (p && strcmp(p->row.uuid, uuid) != 0)
		p = p->next;
	return p;
}

// What ran here is Departed before its end, which is none by itself.
static void mark(struct partition *p, uint64_t epoch, const char *host, const char *reason)
{
	log_warn("partition %s: %s has adopted it, as this host was taken for dead: %s",
		 p->row.name, host, reason);
	events_add(p->daemon, "partition", "disowned", p->row.name, NULL,
		   json_pack("{s:s, s:s, s:s}", "host", host, "state", state_name(p->row.state),
			     "reason", reason));
	revive_cancel(p);
	p->unconfirmed = false;
	p->row.move[0] = 0;
	p->row.started[0] = 0;
	if (epoch > p->row.epoch)
		p->row.epoch = epoch;
	snprintf(p->row.departed_to, sizeof(p->row.departed_to), "%s", host);
	partition_set(p, STATE_DEPARTED, NULL);
}

static int end_it(struct daemon *d, const char *name, struct error *err)
{
	if (thaw_alive(name) && thaw_kill(name, err) < 0)
		return -1;
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (p)
		lifecycle_clear(p);
	int failed = partition_wait_idle(d, name, deadline_in_ms(IDLE_MS), err);
	daemon_unlock(d);
	return failed;
}

// False: it came back since, or is about to. `move` gets the one by which it was about to leave.
static bool take(struct partition *p, uint64_t epoch, const char *host, const char *reason,
		 char move[40])
{
	bool ours = p->row.state != STATE_ARRIVING && p->row.arrived <= epoch;
	snprintf(move, 40, "%s", ours ? p->row.move : "");
	if (ours && !move[0] && p->row.state != STATE_DEPARTED)
		mark(p, epoch, host, reason);
	return ours;
}

int disown(struct daemon *d, const char *uuid, uint64_t epoch, const char *host, const char *reason,
	   uint64_t *own, struct error *err)
{
	char name[REGISTRY_NAME_MAX], move[40];
	daemon_lock(d);
	struct partition *p = find(d, uuid);
	snprintf(name, sizeof(name), "%s", p ? p->row.name : "");
	*own = p ? p->row.epoch : 0;
	int failed = p ? partition_wait_idle(d, name, deadline_in_ms(IDLE_MS), err) : 0;
	p = failed ? NULL : find(d, uuid);
	bool ours = p && take(p, epoch, host, reason, move);
	daemon_unlock(d);
	if (failed || !ours)
		return failed;
	if (!move[0])
		return end_it(d, name, err);
	// One that was about to leave: its departure ends first.
	return recover_give_up(d, move, *own > epoch ? *own : epoch, host, reason, err);
}
