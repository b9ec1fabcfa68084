// SPDX-License-Identifier: Apache-2.0
// Questions of relocd to the control APIs of other hosts: many at the same time, in one thread.
#include "relocd/peers/peers.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define AT_ONCE  16
#define BODY_MAX (16 << 20)

struct question {
	struct peer_answer *to;
	int sock;
	struct answer answer;
	bool has_head;
	struct buf body;
	struct buf out; // what of the request has not been sent
};

static int write_request(struct buf *out, const char *method, const char *path, const json_t *body,
			 struct error *err)
{
	_cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	_cleanup_free_ char *head = NULL;
	size_t length = text ? strlen(text) : 0;
	if (body && !text)
		return error_set(err, ERR_NOMEM, "no memory for a request");
	int n = asprintf(&head,
			 "%s %s HTTP/1.1\r\nHost: wpar\r\nConnection: close\r\n"
			 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
			 method, path, length);
	if (n < 0) {
		head = NULL;
		return error_set(err, ERR_NOMEM, "no memory for a request");
	}
	return buf_append(out, head, (size_t)n, err) < 0 || buf_append(out, text, length, err) < 0
		       ? -1
		       : 0;
}

// ---- the answer ---------------------------------------------------------------------------------

static int take_errors(const json_t *errors, struct error *err)
{
	const json_t *first = json_array_get(errors, 0);
	if (!json_is_object(first))
		return error_set(err, ERR_PROTOCOL, "its answer holds no data");
	return error_from_json(err, first);
}

static int take_json(struct question *q, struct error *err)
{
	_cleanup_json_ json_t *json = json_loadb((const char *)q->body.data, q->body.length,
						 JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(json))
		return error_set(err, ERR_PROTOCOL, "its answer is not JSON");
	json_t *data = json_object_get(json, "data");
	q->to->status = q->answer.status;
	if (!data || q->answer.status >= 300)
		return take_errors(json_object_get(json, "errors"), err);
	q->to->data = json_incref(data);
	return 0;
}

// Takes what has come: 1 complete, 0 more is needed, -1.
static int take_answer(struct question *q, struct error *err)
{
	ssize_t n;
	if (!q->has_head) {
		int got = answer_head(&q->answer, err);
		if (got <= 0)
			return got;
		q->has_head = true;
	}
	do {
		uint8_t *to = buf_reserve(&q->body, 4096, err);
		if (!to)
			return -1;
		n = answer_body(&q->answer, to, 4096, err);
		q->body.length += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	if (n < 0 || !q->answer.ended)
		return n < 0 ? -1 : 0;
	return take_json(q, err) < 0 ? -1 : 1;
}

// ---- one question -------------------------------------------------------------------------------

static int64_t wall_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void end(struct question *q)
{
	q->to->answered_ms = wall_ms();
	if (q->sock >= 0)
		close(q->sock);
	q->sock = -1;
	answer_free(&q->answer);
	buf_free(&q->body);
	buf_free(&q->out);
	if (error_is_set(&q->to->error))
		error_at(&q->to->error, q->to->host, NULL, NULL);
}

static void begin(struct question *q, struct daemon *d, const struct peer_caller *caller,
		  const char *method, const char *path, const json_t *body, deadline_t deadline)
{
	struct error *err = &q->to->error;
	int left = deadline_poll_ms(deadline);
	q->to->asked_ms = wall_ms();
	answer_init(&q->answer);
	q->body = BUF_INIT(BODY_MAX);
	q->out = BUF_INIT(API_BODY_MAX + ANSWER_HEAD_MAX);
	q->sock = -1;
	if (write_request(&q->out, method, path, body, err) == 0)
		q->sock = peer_open(d, q->to->host, caller, left, left, err);
	if (q->sock < 0)
		end(q);
}

static void send_more(struct question *q)
{
	ssize_t n = send(q->sock, q->out.data, q->out.length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		buf_consume(&q->out, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		q->out.length = 0; // the answer says why
}

static void receive_more(struct question *q)
{
	size_t room;
	uint8_t *to = answer_room(&q->answer, &room);
	ssize_t n = to ? recv(q->sock, to, room, MSG_DONTWAIT) : -1;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	answer_fed(&q->answer, n > 0 ? (size_t)n : 0);
	if (take_answer(q, &q->to->error) != 0)
		end(q);
}

static void look(struct question *q, short revents)
{
	if (revents & POLLOUT)
		send_more(q);
	if (revents & (POLLIN | POLLHUP | POLLERR))
		receive_more(q);
}

static size_t poll_for(struct question *questions, size_t count, struct pollfd fds[AT_ONCE])
{
	size_t open = 0;
	for (size_t i = 0; i < count; i++) {
		struct question *q = &questions[i];
		short out = q->out.length ? POLLOUT : 0;
		fds[i] = (struct pollfd){.fd = q->sock, .events = (short)(POLLIN | out)};
		open += q->sock >= 0;
	}
	return open;
}

static void run(struct question *questions, size_t count, deadline_t deadline)
{
	struct pollfd fds[AT_ONCE];
	while (poll_for(questions, count, fds) && !deadline_passed(deadline)) {
		if (poll(fds, count, deadline_poll_ms(deadline)) < 0 && errno != EINTR)
			break;
		for (size_t i = 0; i < count; i++)
			if (questions[i].sock >= 0 && fds[i].revents)
				look(&questions[i], fds[i].revents);
	}
	for (size_t i = 0; i < count; i++) {
		if (questions[i].sock < 0)
			continue;
		error_set(&questions[i].to->error, ERR_PEER_UNREACHABLE,
			  "%s did not answer in time", questions[i].to->host);
		end(&questions[i]);
	}
}

static void ask_some(struct daemon *d, const struct peer_caller *caller, const char *method,
		     const char *path, const json_t *body, deadline_t deadline,
		     struct peer_answer *answers, size_t count)
{
	struct question questions[AT_ONCE];
	memset(questions, 0, sizeof(questions));
	for (size_t i = 0; i < count; i++) {
		questions[i].to = &answers[i];
		begin(&questions[i], d, caller, method, path, body, deadline);
	}
	run(questions, count, deadline);
}

// ---- asking -------------------------------------------------------------------------------------

int peer_ask(struct daemon *d, const char *host, const struct peer_caller *caller,
	     const char *method, const char *path, const json_t *body, deadline_t deadline,
	     json_t **data, struct error *err)
{
	struct peer_answer answer = {0};
	snprintf(answer.host, sizeof(answer.host), "%s", host);
	ask_some(d, caller, method, path, body, deadline, &answer, 1);
	if (!answer.data) {
		*err = answer.error;
		return -1;
	}
	if (data)
		*data = answer.data;
	else
		json_decref(answer.data);
	return 0;
}

static int other_hosts(struct daemon *d, struct peer_answer **answers, size_t *count,
		       struct error *err)
{
	_cleanup_free_ struct registry_host *hosts = NULL;
	size_t n = 0;
	daemon_lock(d);
	int failed = registry_hosts(d->registry, &hosts, &n, err);
	daemon_unlock(d);
	*answers = failed ? NULL : calloc(n + 1, sizeof(**answers));
	if (!*answers)
		return failed ? -1 : error_set(err, ERR_NOMEM, "no memory for the hosts");
	*count = 0;
	for (size_t i = 0; i < n; i++)
		if (!hosts[i].revoked && strcmp(hosts[i].name, d->config.host) != 0)
			strcpy((*answers)[(*count)++].host, hosts[i].name);
	return 0;
}

int peer_ask_all(struct daemon *d, const struct peer_caller *caller, const char *method,
		 const char *path, const json_t *body, deadline_t deadline,
		 struct peer_answer **answers, size_t *count, struct error *err)
{
	if (other_hosts(d, answers, count, err) < 0)
		return -1;
	for (size_t i = 0; i < *count; i += AT_ONCE) {
		size_t n = *count - i < AT_ONCE ? *count - i : AT_ONCE;
		ask_some(d, caller, method, path, body, deadline, *answers + i, n);
	}
	return 0;
}

void peer_answers_free(struct peer_answer *answers, size_t count)
{
	for (size_t i = 0; answers && i < count; i++)
		json_decref(answers[i].data);
	free(answers);
}

json_t *peer_warning(const struct peer_answer *answer)
{
	return error_to_json(&answer->error);
}
