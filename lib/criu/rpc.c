// SPDX-License-Identifier: Apache-2.0
//
// Client of CRIU's RPC protocol: see rpc.h. Message layouts: images/criu_rpc.proto.
#include "lib/criu/rpc.h"

#include "images/criu_rpc.pb-c.h"
#include "lib/base/cleanup.h"
#include "lib/base/fault.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// CRIU's answers are a few hundred bytes: an error line, a version string.
enum { PACKET_MAX = 16384 };

struct criu_rpc {
	int fd;
	bool must_answer; // a notification is waiting for criu_rpc_answer(),
	char script[40];  // this one
	uint8_t packet[PACKET_MAX];
};

static inline void resp_freep(Criu__Resp **r)
{
	if (*r)
		criu__resp__free_unpacked(*r, NULL);
}
#define _cleanup_resp_ __attribute__((cleanup(resp_freep)))

int criu_rpc_socketpair(int *ours, int *theirs, struct error *err)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return error_sys(err, ERR_CRIU, errno, "cannot make a socket pair for CRIU");
	*ours = sv[0];
	*theirs = sv[1];
	return 0;
}

struct criu_rpc *criu_rpc_new(int fd, struct error *err)
{
	struct criu_rpc *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		error_set(err, ERR_NOMEM, "no memory: CRIU connection");
		return NULL;
	}
	c->fd = fd;
	return c;
}

void criu_rpc_free(struct criu_rpc *c)
{
	if (!c)
		return;
	close(c->fd);
	free(c);
}

int criu_rpc_fd(const struct criu_rpc *c)
{
	return c->fd;
}

static int gone(struct error *err)
{
	return error_set(err, ERR_CRIU, "CRIU ended without an answer (see its log)");
}

static int send_request(struct criu_rpc *c, const Criu__Req *req, struct error *err)
{
	size_t size = criu__req__get_packed_size(req);
	_cleanup_free_ uint8_t *buf = malloc(size);
	ssize_t n;

	if (!buf)
		return error_set(err, ERR_NOMEM, "no memory: request to CRIU");
	criu__req__pack(req, buf);
	do {
		n = send(c->fd, buf, size, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
		return gone(err);
	if (n < 0)
		return error_sys(err, ERR_CRIU, errno, "request to CRIU");
	return 0;
}

// Waits for a packet. 1: in c->packet, *size set; 0: deadline passed.
static int receive(struct criu_rpc *c, deadline_t deadline, size_t *size, struct error *err)
{
	for (;;) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		ssize_t n = recv(c->fd, c->packet, sizeof(c->packet), MSG_DONTWAIT | MSG_TRUNC);

		if (n > (ssize_t)sizeof(c->packet))
			return error_set(err, ERR_CRIU, "message of %zd bytes from CRIU", n);
		if (n > 0) {
			*size = (size_t)n;
			return 1;
		}
		if (n == 0 || errno == ECONNRESET)
			return gone(err);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return error_sys(err, ERR_CRIU, errno, "answer of CRIU");
		n = poll(&p, 1, deadline_poll_ms(deadline));
		if (n < 0 && errno != EINTR)
			return error_sys(err, ERR_CRIU, errno, "waiting for CRIU");
		if (n == 0 && deadline_passed(deadline))
			return 0;
	}
}

// *resp is NULL when the deadline passed.
static int receive_response(struct criu_rpc *c, deadline_t deadline, Criu__Resp **resp,
			    struct error *err)
{
	size_t size = 0;
	int r = receive(c, deadline, &size, err);

	*resp = NULL;
	if (r <= 0)
		return r;
	*resp = criu__resp__unpack(NULL, size, c->packet);
	if (!*resp)
		return error_set(err, ERR_CRIU, "message from CRIU that is no response");
	return 0;
}

static void copy_text(char *dst, size_t size, const char *src)
{
	snprintf(dst, size, "%s", src ? src : "");
}

static int notify_event(struct criu_rpc *c, const Criu__Resp *resp, struct criu_event *ev,
			struct error *err)
{
	if (!resp->notify || !resp->notify->script)
		return error_set(err, ERR_CRIU, "notification without a name from CRIU");
	ev->type = CRIU_EVENT_NOTIFY;
	copy_text(ev->script, sizeof(ev->script), resp->notify->script);
	copy_text(c->script, sizeof(c->script), ev->script);
	ev->pid = resp->notify->pid;
	c->must_answer = true;
	return 0;
}

static void done_event(const Criu__Resp *resp, struct criu_event *ev)
{
	ev->type = CRIU_EVENT_DONE;
	ev->success = resp->success;
	ev->cr_errno = resp->cr_errno;
	ev->pid = resp->restore ? resp->restore->pid : 0;
	copy_text(ev->message, sizeof(ev->message), resp->cr_errmsg);
}

int criu_rpc_next(struct criu_rpc *c, deadline_t deadline, struct criu_event *ev, struct error *err)
{
	_cleanup_resp_ Criu__Resp *resp = NULL;

	*ev = (struct criu_event){.type = CRIU_EVENT_NONE};
	if (receive_response(c, deadline, &resp, err) < 0)
		return -1;
	if (!resp)
		return 0;
	if (resp->type == CRIU__REQ_TYPE__NOTIFY)
		return notify_event(c, resp, ev, err);
	done_event(resp, ev);
	return 0;
}

bool criu_rpc_waits(const struct criu_rpc *c)
{
	return c->must_answer;
}

int criu_rpc_answer(struct criu_rpc *c, bool ok, struct error *err)
{
	Criu__Req req = CRIU__REQ__INIT;

	if (!c->must_answer)
		return error_set(err, ERR_CRIU, "no notification of CRIU to answer");
	if (fault_at(FAULT_CRIU, c->script, FAULT_BEFORE, err) == FAULT_ERROR)
		return -1;
	req.type = CRIU__REQ_TYPE__NOTIFY;
	req.has_notify_success = true;
	req.notify_success = ok;
	c->must_answer = false;
	int sent = send_request(c, &req, err);
	if (sent == 0 && fault_at(FAULT_CRIU, c->script, FAULT_AFTER, err) == FAULT_ERROR)
		return -1;
	return sent;
}

// ---- requests -----------------------------------------------------------------------------------

#define SET(opts, field, value)             \
	do {                                \
		(opts)->has_##field = true; \
		(opts)->field = (value);    \
	} while (0)

static void fill_flags(Criu__Opts *q, const struct criu_options *o)
{
	SET(q, tcp_established, o->tcp_established);
	SET(q, tcp_skip_in_flight, o->tcp_skip_in_flight);
	SET(q, link_remap, o->link_remap);
	SET(q, file_locks, o->file_locks);
	SET(q, ext_unix_sk, o->ext_unix_sk);
	SET(q, rst_sibling, o->rst_sibling);
	if (o->lazy_pages)
		SET(q, lazy_pages, true);
	SET(q, notify_scripts, o->notify_scripts);
	SET(q, shell_job, false);
	SET(q, log_level, o->log_level);
	SET(q, network_lock,
	    o->skip_network_lock ? CRIU__NETWORK_LOCK__SKIP : CRIU__NETWORK_LOCK__NFTABLES);
	if (o->ignore_cgroups)
		SET(q, manage_cgroups_mode, CRIU__MANAGE_CGROUPS__IGNORE_CGROUPS);
	if (o->timeout_s)
		SET(q, timeout, o->timeout_s);
	if (o->ghost_limit)
		SET(q, ghost_limit, o->ghost_limit);
	SET(q, force_irmap, o->nr_irmap > 0);
	q->irmap_scan_paths = (char **)o->irmap;
	q->n_irmap_scan_paths = o->nr_irmap;
}

static void fill_places(Criu__Opts *q, const struct criu_options *o)
{
	q->images_dir_fd = o->images_fd;
	if (o->work_fd >= 0)
		SET(q, work_dir_fd, o->work_fd);
	if (o->pid > 0)
		SET(q, pid, o->pid);
	q->log_file = (char *)o->log_file;
	q->root = (char *)o->root;
	q->freeze_cgroup = (char *)o->freeze_cgroup;
	q->external = (char **)o->external;
	q->n_external = o->nr_external;
}

// The inherited descriptors as protobuf-c wants them: an array of pointers, and what they point to.
struct inherit_list {
	Criu__InheritFd *item;
	Criu__InheritFd **list;
};

static void inherit_list_free(struct inherit_list *l)
{
	free(l->item);
	free(l->list);
}

static int inherit_list_fill(struct inherit_list *l, const struct criu_options *o,
			     struct error *err)
{
	if (o->nr_inherit == 0)
		return 0;
	l->item = calloc(o->nr_inherit, sizeof(*l->item));
	l->list = calloc(o->nr_inherit, sizeof(*l->list));
	if (!l->item || !l->list)
		return error_set(err, ERR_NOMEM, "no memory: request to CRIU");
	for (size_t i = 0; i < o->nr_inherit; i++) {
		l->item[i] = (Criu__InheritFd)CRIU__INHERIT_FD__INIT;
		l->item[i].key = (char *)o->inherit[i].key;
		l->item[i].fd = o->inherit[i].fd;
		l->list[i] = &l->item[i];
	}
	return 0;
}

static int send_options(struct criu_rpc *c, Criu__ReqType type, const struct criu_options *o,
			struct error *err)
{
	__attribute__((cleanup(inherit_list_free))) struct inherit_list inherit = {0};
	Criu__PageServer ps = CRIU__PAGE_SERVER__INIT;
	Criu__Opts q = CRIU__OPTS__INIT;
	Criu__Req req = CRIU__REQ__INIT;

	fill_places(&q, o);
	fill_flags(&q, o);
	if (inherit_list_fill(&inherit, o, err) < 0)
		return -1;
	q.inherit_fd = inherit.list;
	q.n_inherit_fd = o->nr_inherit;
	if (o->page_server_fd >= 0) {
		SET(&ps, fd, o->page_server_fd);
		q.ps = &ps;
	}
	req.type = type;
	req.opts = &q;
	return send_request(c, &req, err);
}

int criu_rpc_dump(struct criu_rpc *c, const struct criu_options *o, struct error *err)
{
	return send_options(c, CRIU__REQ_TYPE__DUMP, o, err);
}

int criu_rpc_restore(struct criu_rpc *c, const struct criu_options *o, struct error *err)
{
	return send_options(c, CRIU__REQ_TYPE__RESTORE, o, err);
}

// Sends a request that has one answer, of the same type, and waits for it.
static int question(struct criu_rpc *c, const Criu__Req *req, deadline_t deadline,
		    Criu__Resp **resp, struct error *err)
{
	if (send_request(c, req, err) < 0 || receive_response(c, deadline, resp, err) < 0)
		return -1;
	if (!*resp)
		return error_set(err, ERR_DEADLINE, "CRIU gave no answer in time");
	if ((*resp)->type != req->type || !(*resp)->success)
		return error_set(err, ERR_CRIU, "CRIU refused the request: %s",
				 (*resp)->cr_errmsg ? (*resp)->cr_errmsg : "no reason given");
	return 0;
}

int criu_rpc_version(struct criu_rpc *c, deadline_t deadline, struct criu_version *v,
		     struct error *err)
{
	_cleanup_resp_ Criu__Resp *resp = NULL;
	Criu__Req req = CRIU__REQ__INIT;

	req.type = CRIU__REQ_TYPE__VERSION;
	if (question(c, &req, deadline, &resp, err) < 0)
		return -1;
	if (!resp->version)
		return error_set(err, ERR_CRIU, "CRIU did not tell its version");
	*v = (struct criu_version){
		.major = resp->version->major,
		.minor = resp->version->minor,
		.sublevel = resp->version->sublevel,
	};
	return 0;
}

int criu_rpc_features(struct criu_rpc *c, deadline_t deadline, struct criu_features *f,
		      struct error *err)
{
	_cleanup_resp_ Criu__Resp *resp = NULL;
	Criu__Features wanted = CRIU__FEATURES__INIT;
	Criu__Req req = CRIU__REQ__INIT;

	SET(&wanted, mem_track, true);
	SET(&wanted, lazy_pages, true);
	SET(&wanted, pidfd_store, true);
	req.type = CRIU__REQ_TYPE__FEATURE_CHECK;
	req.features = &wanted;
	if (question(c, &req, deadline, &resp, err) < 0)
		return -1;
	if (!resp->features)
		return error_set(err, ERR_CRIU, "CRIU did not tell its features");
	*f = (struct criu_features){
		.mem_track = resp->features->mem_track,
		.lazy_pages = resp->features->lazy_pages,
		.pidfd_store = resp->features->pidfd_store,
	};
	return 0;
}
