// SPDX-License-Identifier: Apache-2.0
#include "relocd/peers/forward.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/partition/name.h"
#include "relocd/cluster/cluster.h"
#include "relocd/peers/locate.h"
#include "relocd/peers/relay.h"
#include "relocd/supervisor/moves.h"

#include <string.h>

#define MISDIRECTED MHD_HTTP_MISDIRECTED_REQUEST // 421: "not here", and nothing was done
#define UNREACHED   MHD_HTTP_BAD_GATEWAY         // 502: by our own end of the call

// A request and what is known of where it belongs.
struct passage {
	struct request *q;
	const struct route *route;
	struct forward_facts facts;
	char host[REGISTRY_NAME_MAX];
	char name[ROUTE_PARAM_MAX]; // of the partition; of the move, or of its partition
	char elsewhere[REGISTRY_NAME_MAX];
	bool recorded;  // a move that came here: what is known of it here may do
	bool unreached; // so it does, as the host that it came from cannot be asked
	struct peer_caller caller;
};

// ---- facts --------------------------------------------------------------------------------------

static void row_of_partition(struct passage *p)
{
	const struct partition *row = partition_find(p->q->d, p->name);
	if (!row || row->row.state != STATE_DEPARTED) {
		p->facts.row = row ? ROW_HERE : ROW_NONE;
		return;
	}
	p->facts.row = ROW_ELSEWHERE;
	strcpy(p->elsewhere, row->row.departed_to);
}

static void row_of_move(struct passage *p, const struct registry_move *row)
{
	bool incoming = strcmp(row->source, p->q->d->config.host) != 0;
	p->facts.row = incoming ? ROW_ELSEWHERE : ROW_HERE;
	p->recorded = incoming;
	strcpy(p->elsewhere, row->source);
}

// The move that brings a partition here is its source's, as long as it runs.
static void row_of_arriving(struct passage *p)
{
	const struct partition *row = partition_find(p->q->d, p->name);
	const struct move *m = row && row->row.move[0] ? move_find(p->q->d, row->row.move) : NULL;
	if (m && m->incoming && !m->finished)
		row_of_move(p, &m->row);
}

static int look_up_move(struct passage *p, struct error *err)
{
	struct registry_move row;
	const struct move *queued = move_find(p->q->d, p->name);
	if (queued && queued->queued) { // without a record until it is set off
		row_of_move(p, &queued->row);
		return 0;
	}
	int found = registry_move_get(p->q->d->registry, p->name, &row, err);
	if (found < 0)
		return -1;
	if (found) {
		row_of_move(p, &row);
		registry_move_clear(&row);
		return 0;
	}
	row_of_partition(p);
	row_of_arriving(p);
	return 0;
}

static int look_up(struct passage *p, struct error *err)
{
	struct daemon *d = p->q->d;
	int failed = 0;
	daemon_lock(d);
	p->facts.member = cluster_member(d);
	if (p->facts.subject == FORWARD_PARTITION || p->facts.subject == FORWARD_BEGIN)
		row_of_partition(p);
	else if (p->facts.subject == FORWARD_MOVE)
		failed = look_up_move(p, err);
	daemon_unlock(d);
	if (p->elsewhere[0])
		p->facts.elsewhere = p->elsewhere;
	else if (p->facts.row == ROW_NONE && locate_remembered(p->name, p->elsewhere)) {
		p->facts.row = ROW_ELSEWHERE;
		p->facts.elsewhere = p->elsewhere;
	}
	return failed;
}

static void name_of(struct passage *p)
{
	const char *name = p->q->param;
	if (p->facts.subject == FORWARD_BEGIN) {
		name = json_string_value(json_object_get(p->q->body, "partition"));
		if (!name)
			name = "";
	}
	snprintf(p->name, sizeof(p->name), "%s", name);
}

static int gather_facts(struct passage *p, struct error *err)
{
	struct request *q = p->q;
	p->facts = (struct forward_facts){
		.self = q->d->config.host,
		.from_peer = q->peer[0],
		.host = api_argument(q, "host", p->host, sizeof(p->host)),
		.local = api_flag(q, "local"),
		.subject = forward_subject(p->route->method, p->route->path),
		.param = q->param,
	};
	// One that was asked before goes where it went then, wherever the partition is by now.
	if (!p->facts.host && q->done_by[0])
		p->facts.host = q->done_by;
	if (!p->facts.host &&
	    MHD_lookup_connection_value(q->connection, MHD_GET_ARGUMENT_KIND, "host"))
		return error_set(err, ERR_HOST_UNKNOWN, "no such host in the cluster");
	if (p->facts.host && !p->facts.host[0])
		return error_set(err, ERR_USAGE, "host= names no host");
	peer_caller_of(q, &p->caller);
	name_of(p);
	// What cannot be a name is the handler's to refuse.
	bool named = p->facts.subject != FORWARD_NOTHING && p->facts.subject != FORWARD_HOSTS;
	if (named && name_check(p->name, NULL) < 0)
		p->facts.subject = FORWARD_NOTHING;
	return look_up(p, err);
}

// ---- passing on ---------------------------------------------------------------------------------

// Open files cannot be sent to another host.
static int refuse_descriptors(const struct passage *p, const char *host, struct error *err)
{
	int fd = api_descriptor(p->q, "fd:0", NULL);
	if (fd < 0)
		return 0;
	close(fd);
	return error_set(err, ERR_USAGE,
			 "the request comes with open files of %s, and %s has to do it: ask on %s",
			 p->facts.self, host, host);
}

// What happened here is shown, and a move that comes here can be cancelled, also when the other
// side of it cannot be asked.
static bool can_do_here(const struct passage *p)
{
	return p->recorded &&
	       (!strcmp(p->route->method, "GET") || !strcmp(p->route->path, "/v1/moves/{}/cancel"));
}

// 1: answered; 0: it is not there, or `unreached`; -1.
static int pass_on(struct passage *p, const char *host, bool guess, struct error *err)
{
	unsigned status;
	if (refuse_descriptors(p, host, err) < 0)
		return -1;
	struct relay *r = relay_open(p->q, p->route, host, &status, err);
	if (!r)
		return -1;
	p->unreached = guess && status == UNREACHED && can_do_here(p);
	if (p->unreached || (guess && status == MISDIRECTED)) {
		relay_drop(r);
		return 0;
	}
	if (relay_answer(p->q, r, err) < 0)
		return -1;
	snprintf(p->q->done_by, sizeof(p->q->done_by), "%s", status < 400 ? host : "");
	return 1;
}

static int nowhere(const struct passage *p, const struct located *found, struct error *err)
{
	const char *what = p->facts.subject == FORWARD_MOVE ? "move" : "partition";
	if (found->unreachable.host[0]) {
		*err = found->unreachable.error;
		return error_wrap(err, "no %s %s on the hosts that answer, and %s cannot be asked",
				  what, p->name, found->unreachable.host);
	}
	return p->facts.subject == FORWARD_MOVE
		       ? error_set(err, ERR_MOVE_UNKNOWN, "no move %s is known on any host",
				   p->name)
		       : error_set(err, ERR_NAME_UNKNOWN, "no partition %s on any host", p->name);
}

static int locate(struct passage *p, struct located *found, struct error *err)
{
	struct daemon *d = p->q->d;
	bool is_id = p->facts.subject == FORWARD_MOVE && !strncmp(p->name, "m-", 2);
	if (is_id && locate_move(d, &p->caller, p->name, found, err) < 0)
		return -1;
	return is_id && found->host[0] ? 0 : locate_partition(d, &p->caller, p->name, found, err);
}

// 1: answered; 0: what is here of it is all that there is; -1.
static int search(struct passage *p, struct error *err)
{
	struct located found;
	if (locate(p, &found, err) < 0)
		return -1;
	if (found.host[0]) {
		int done = pass_on(p, found.host, true, err);
		if (done)
			return done;
		locate_forget(p->name); // it has just gone on
		return error_set(err, ERR_WRONG_STATE, "%s is moving: try again", p->name);
	}
	// A trace of something that has gone since.
	if (p->facts.row == ROW_ELSEWHERE && !found.unreachable.host[0])
		return 0;
	return nowhere(p, &found, err);
}

// The host that is known to have it; when that is wrong, all are asked.
static int try_guess(struct passage *p, const char *host, struct error *err)
{
	struct error why = {0};
	int done = pass_on(p, host, true, &why);
	if (done > 0)
		return done;
	if (p->unreached || (done < 0 && can_do_here(p)))
		return 0;
	if (done < 0) {
		locate_forget(p->name);
		*err = why;
		return error_wrap(err, "%s is on %s", p->name, host);
	}
	return search(p, err);
}

static int refuse_loop(const struct passage *p, struct error *err)
{
	p->q->status = MHD_HTTP_LOOP_DETECTED;
	return error_set(err, ERR_USAGE, "a request of %s for %s came to %s: it is not passed on",
			 p->q->peer, p->facts.host, p->facts.self);
}

static int misdirected(const struct passage *p, struct error *err)
{
	p->q->status = MISDIRECTED;
	error_set(err, ERR_NAME_UNKNOWN, "no partition %s on %s", p->name, p->facts.self);
	error_at(err, p->facts.self, p->name, NULL);
	return -1;
}

static int act(struct passage *p, struct error *err)
{
	const char *to;
	switch (forward_decide(&p->facts, &to)) {
	case FORWARD_TO:
		return pass_on(p, to, false, err);
	case FORWARD_GUESS:
		return try_guess(p, to, err);
	case FORWARD_SEARCH:
		return search(p, err);
	case FORWARD_MISDIRECTED:
		return misdirected(p, err);
	case FORWARD_LOOP:
		return refuse_loop(p, err);
	default:
		return 0;
	}
}

int forward_request(struct request *q, const struct route *route, bool *forwarded,
		    struct error *err)
{
	struct passage p = {.q = q, .route = route};
	*forwarded = false;
	int done = gather_facts(&p, err) < 0 ? -1 : act(&p, err);
	*forwarded = done > 0;
	return done < 0 ? -1 : 0;
}
