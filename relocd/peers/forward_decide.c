// SPDX-License-Identifier: Apache-2.0
// Which host answers a request, by what is known here. Nothing else is looked at, and nobody asked.
#include "relocd/peers/forward.h"

#include <string.h>

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

enum forward_subject forward_subject(const char *method, const char *route)
{
	if (begins(route, "/v1/partitions/{}"))
		return FORWARD_PARTITION;
	if (begins(route, "/v1/moves/{}"))
		return FORWARD_MOVE;
	if (begins(route, "/v1/hosts/{}/"))
		return FORWARD_HOSTS;
	if (!strcmp(route, "/v1/moves") && !strcmp(method, "POST"))
		return FORWARD_BEGIN;
	return FORWARD_NOTHING;
}

// Never passed on again: two hosts that each believe the other has it would send it in circles.
static enum forward_way of_peer(const struct forward_facts *f)
{
	if (f->host && strcmp(f->host, f->self) != 0)
		return FORWARD_LOOP;
	bool owned = f->subject == FORWARD_PARTITION || f->subject == FORWARD_BEGIN;
	return owned && !f->local && f->row != ROW_HERE ? FORWARD_MISDIRECTED : FORWARD_HERE;
}

enum forward_way forward_decide(const struct forward_facts *f, const char **to)
{
	*to = NULL;
	if (f->from_peer)
		return of_peer(f);
	if (f->host) {
		*to = f->host;
		return strcmp(f->host, f->self) != 0 ? FORWARD_TO : FORWARD_HERE;
	}
	if (f->local || !f->member || f->subject == FORWARD_NOTHING || f->row == ROW_HERE)
		return FORWARD_HERE;
	if (f->subject == FORWARD_HOSTS) {
		*to = f->param;
		return strcmp(f->param, f->self) != 0 ? FORWARD_TO : FORWARD_HERE;
	}
	*to = f->elsewhere;
	return f->row == ROW_ELSEWHERE && f->elsewhere ? FORWARD_GUESS : FORWARD_SEARCH;
}
