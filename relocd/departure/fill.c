// SPDX-License-Identifier: Apache-2.0
// A partition that came here lately may not have all of its memory yet (lib/memory/pager.h): until
// then it cannot go on to another host.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"

#define LOOK_MS 50

static unsigned percent(const struct keeper_status *status)
{
	uint64_t total = status->fill_total, left = status->fill_left;
	return total > left ? (unsigned)((total - left) * 100 / total) : 0;
}

bool departure_is_filling(const struct keeper_status *status, char text[80])
{
	if (!status->fill_total)
		return false;
	snprintf(text, 80, "its memory is still being filled after its last move (%u %%)",
		 percent(status));
	return true;
}

static bool look(struct departure *d, struct keeper_status *status)
{
	_cleanup_close_ int conn = keeper_connect(d->def->name, NULL);
	if (conn < 0 || keeper_status(conn, status, NULL) < 0)
		return false; // VALIDATE says why
	if (status->pidfd >= 0)
		close(status->pidfd);
	return status->fill_total > 0;
}

int departure_wait_filled(struct departure *d, struct error *err)
{
	struct keeper_status status;
	int told = -1;
	while (look(d, &status)) {
		int now = (int)percent(&status);
		if (now != told)
			report_event(&d->report, json_pack("{s:s, s:s, s:i}", "event", "phase",
							   "phase", "filling", "percent", now));
		told = now;
		report_pause(&d->report, deadline_in_ms(LOOK_MS));
		if (report_may_go_on(&d->report, err) < 0)
			return -1;
	}
	return 0;
}
