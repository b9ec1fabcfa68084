// SPDX-License-Identifier: Apache-2.0
// /v1/partitions/{}/logs: the console log as plain text, once or followed.
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/partition/console.h"
#include "lib/partition/keeper_client.h"
#include "relocd/partitions/partitions.h"

#include <string.h>

#define LOOK_MS 200 // how often a followed log is looked at

struct tail {
	struct daemon *d;
	struct MHD_Connection *connection;
	struct console_reader *reader;
	char name[REGISTRY_NAME_MAX];
	bool follow;
	struct console_line line; // what is left of it, in the reader's buffer
};

// A followed log ends when the partition is gone or no longer runs here.
static bool may_grow(struct tail *t)
{
	daemon_lock(t->d);
	const struct partition *p = partition_find(t->d, t->name);
	bool grows = p && !t->d->stopping &&
		     (p->row.state == STATE_ACTIVE || p->row.state == STATE_FROZEN ||
		      p->row.state == STATE_MOVING || p->row.state == STATE_ARRIVING ||
		      p->row.state == STATE_IN_DOUBT);
	daemon_unlock(t->d);
	return grows && !api_client_gone(t->connection);
}

// 1: a line is there; 0: the end; -1: error.
static int next_line(struct tail *t)
{
	struct error err;
	for (;;) {
		bool grows = t->follow && may_grow(t); // asked first: its last lines are read below
		int got = console_reader_next(t->reader, &t->line, &err);
		if (got < 0)
			log_error_of(&err, t->name);
		if (got || !grows)
			return got;
		clock_sleep_ms(LOOK_MS);
	}
}

static ssize_t read_log(void *arg, uint64_t at, char *to, size_t room)
{
	struct tail *t = arg;
	size_t done = 0;
	(void)at;
	// One line at a time while following, so that none waits for the next.
	while (done < room && !(done && t->follow)) {
		int got = t->line.length ? 1 : next_line(t);
		if (got < 0)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		if (!got)
			break;
		size_t n = t->line.length < room - done ? t->line.length : room - done;
		memcpy(to + done, t->line.text, n);
		t->line.text += n;
		t->line.length -= n;
		done += n;
	}
	return done ? (ssize_t)done : MHD_CONTENT_READER_END_OF_STREAM;
}

static void free_tail(void *arg)
{
	struct tail *t = arg;
	console_reader_close(t->reader);
	free(t);
}

static int check(struct request *q, struct error *err)
{
	daemon_lock(q->d);
	bool known = partition_get(q->d, q->param, err);
	daemon_unlock(q->d);
	return known ? 0 : -1;
}

int api_partition_logs(struct request *q, struct error *err)
{
	char since[64], folder[KEEPER_PATH_MAX];
	if (check(q, err) < 0)
		return -1;
	struct tail *t = calloc(1, sizeof(*t));
	if (!t)
		return error_set(err, ERR_NOMEM, "no memory for a stream");
	*t = (struct tail){.d = q->d, .connection = q->connection, .follow = api_flag(q, "follow")};
	snprintf(t->name, sizeof(t->name), "%s", q->param);
	t->reader = console_reader_open(keeper_state_dir(t->name, folder),
					api_argument(q, "since", since, sizeof(since)), err);
	if (!t->reader) {
		free(t);
		return -1;
	}
	q->response =
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32768, read_log, t, free_tail);
	if (!q->response) {
		free_tail(t);
		return error_set(err, ERR_NOMEM, "no memory for a stream");
	}
	MHD_add_response_header(q->response, MHD_HTTP_HEADER_CONTENT_TYPE,
				"text/plain; charset=utf-8");
	return 0;
}
