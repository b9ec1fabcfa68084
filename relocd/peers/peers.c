// SPDX-License-Identifier: Apache-2.0
#include "relocd/peers/peers.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "relocd/cluster/cluster.h"
#include "relocd/cluster/trust.h"
#include "relocd/daemon/worker.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>

const struct peer_caller peer_relocd = {.user = "relocd", .role = ROLE_ADMIN};

void peer_caller_of(const struct request *q, struct peer_caller *caller)
{
	struct passwd entry, *found = NULL;
	char room[4096];
	caller->role = q->role;
	if (q->peer[0])
		snprintf(caller->user, sizeof(caller->user), "%s", q->user);
	else if (getpwuid_r(q->uid, &entry, room, sizeof(room), &found) == 0 && found)
		snprintf(caller->user, sizeof(caller->user), "%s", entry.pw_name);
	else
		snprintf(caller->user, sizeof(caller->user), "uid %u", (unsigned)q->uid);
}

// ---- calls that we make -------------------------------------------------------------------------

struct outgoing {
	struct outgoing *next;
	struct worker *worker;
	char host[REGISTRY_NAME_MAX];
};

static struct outgoing *outgoing_list; // under the daemon's lock

static void on_message(struct worker *w, const json_t *message)
{
	const struct outgoing *o = w->arg;
	const char *event = json_string_value(json_object_get(message, "event"));
	const char *key = json_string_value(json_object_get(message, "key"));
	if (event && !strcmp(event, "up") && key && strlen(key) < REGISTRY_KEY_MAX)
		registry_host_set_key(w->d->registry, o->host, key, NULL);
	if (event && !strcmp(event, "revoked"))
		trust_learn(w->d, json_object_get(message, "revoked"), o->host);
}

static void on_end(struct worker *w, int status)
{
	(void)status; // what went wrong has been answered
	struct outgoing **at = &outgoing_list;
	while (*at && *at != w->arg)
		at = &(*at)->next;
	if (*at)
		*at = (*at)->next;
	free(w->arg);
	w->d->calls--;
	daemon_changed(w->d);
}

static const struct worker_handler handler = {.message = on_message, .end = on_end};

static int find_host(struct daemon *d, const char *host, struct registry_host *peer,
		     struct error *err)
{
	if (!cluster_member(d))
		return error_set(err, ERR_CLUSTER_NONE, "%s is not in a cluster", d->config.host);
	return cluster_peer(d, host, peer, err);
}

static json_t *start_message(struct daemon *d, const struct registry_host *peer,
			     const struct peer_caller *caller, int connect_ms, int answer_ms)
{
	char address[REGISTRY_ADDRESS_MAX];
	daemon_address(d, address);
	return json_pack("{s:s, s:i, s:s, s:s*, s:{s:s, s:s}, s:o, s:s, s:s, s:i, s:i, s:o}", "op",
			 "start", "v", 1, "host", d->config.host, "address",
			 address[0] ? address : NULL, "peer", "name", peer->name, "address",
			 peer->address, "tls", daemon_tls(d), "user", caller->user, "role",
			 role_name(caller->role), "connect_ms", connect_ms, "deadline_ms",
			 answer_ms, "revoked", trust_list(d));
}

// One end of `ends` goes to a caller process.
static int start_call(struct daemon *d, const char *host, const struct peer_caller *caller,
		      int connect_ms, int answer_ms, int theirs, struct error *err)
{
	struct registry_host peer;
	if (find_host(d, host, &peer, err) < 0)
		return -1;
	if (d->calls >= PEERS_CALLS_MAX)
		return error_set(err, ERR_MOVE_BUSY, "%u calls to other hosts are under way",
				 d->calls);
	struct outgoing *o = calloc(1, sizeof(*o));
	if (!o)
		return error_set(err, ERR_NOMEM, "no memory for a call");
	strcpy(o->host, peer.name);
	struct worker *w = worker_start(d, "caller", theirs, &handler, o, err);
	if (!w) {
		free(o);
		return -1;
	}
	o->worker = w;
	o->next = outgoing_list;
	outgoing_list = o;
	d->calls++;
	if (worker_send(w, start_message(d, &peer, caller, connect_ms, answer_ms), err) == 0)
		return 0;
	worker_kill(w);
	return -1;
}

int peer_open(struct daemon *d, const char *host, const struct peer_caller *caller, int connect_ms,
	      int answer_ms, struct error *err)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pair of sockets");
	_cleanup_close_ int ours = ends[0];
	_cleanup_close_ int theirs = ends[1];
	daemon_lock(d);
	int failed = start_call(d, host, caller, connect_ms, answer_ms, theirs, err);
	daemon_unlock(d);
	if (failed) {
		error_at(err, host, NULL, NULL);
		return -1;
	}
	return take_fd(&ours);
}

// ---- calls that we serve ------------------------------------------------------------------------

// MHD tells of a connection only by its descriptor. The list has a lock of its own, since MHD calls
// back at times of its own choosing.
struct served {
	struct served *next;
	int sock;
	char peer[REGISTRY_NAME_MAX];
	char user[64];
	enum role role;
};

static pthread_mutex_t served_lock = PTHREAD_MUTEX_INITIALIZER;
static struct served *served_list;
static unsigned served_count;

static struct served **find_served(int sock)
{
	struct served **at = &served_list;
	while (*at && (*at)->sock != sock)
		at = &(*at)->next;
	return at;
}

static int add_served(struct served *s, struct error *err)
{
	pthread_mutex_lock(&served_lock);
	bool room = served_count < PEERS_SERVED_MAX;
	if (room) {
		s->next = served_list;
		served_list = s;
		served_count++;
	}
	pthread_mutex_unlock(&served_lock);
	return room ? 0
		    : error_set(err, ERR_MOVE_BUSY, "%d calls of other hosts are served already",
				PEERS_SERVED_MAX);
}

void peers_closed(int sock)
{
	pthread_mutex_lock(&served_lock);
	struct served **at = find_served(sock), *gone = *at;
	if (gone) {
		*at = gone->next;
		served_count--;
	}
	pthread_mutex_unlock(&served_lock);
	free(gone);
}

bool peers_identify(int sock, struct request *q)
{
	pthread_mutex_lock(&served_lock);
	const struct served *s = *find_served(sock);
	if (s) {
		strcpy(q->peer, s->peer);
		strcpy(q->user, s->user);
		q->role = s->role;
	}
	pthread_mutex_unlock(&served_lock);
	return s;
}

int peers_serve(struct daemon *d, int sock, const char *host, const char *user, enum role role,
		struct error *err)
{
	_cleanup_close_ int owned = sock;
	if (fdio_set_nonblock(owned, true, err) < 0)
		return -1;
	struct served *s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(err, ERR_NOMEM, "no memory for a call");
	s->sock = owned;
	s->role = role;
	snprintf(s->peer, sizeof(s->peer), "%s", host);
	snprintf(s->user, sizeof(s->user), "%s", user);
	if (add_served(s, err) < 0) {
		free(s);
		return -1;
	}
	return api_adopt(d, take_fd(&owned), err);
}

void peers_cut(struct daemon *d, const char *host)
{
	(void)d;
	for (const struct outgoing *o = outgoing_list; o; o = o->next)
		if (!strcmp(o->host, host))
			worker_kill(o->worker);
	pthread_mutex_lock(&served_lock);
	for (const struct served *s = served_list; s; s = s->next)
		if (!strcmp(s->peer, host))
			shutdown(s->sock, SHUT_RDWR); // its thread closes it
	pthread_mutex_unlock(&served_lock);
}

enum role peers_max_role(const struct daemon *d)
{
	enum role role = ROLE_NONE;
	role_of_name(d->config.peers_role, &role);
	return role;
}
