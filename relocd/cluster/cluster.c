// SPDX-License-Identifier: Apache-2.0
#include "relocd/cluster/cluster.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/partition/name.h"
#include "lib/transport/pki.h"
#include "lib/transport/token.h"
#include "relocd/daemon/events.h"
#include "relocd/move/talk.h"
#include "relocd/peers/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define TOKEN_SECONDS 3600
#define JOIN_MS       20000
#define GREET_MS      5000

bool cluster_member(const struct daemon *d)
{
	const struct config *c = &d->config;
	return access(c->tls_cert, R_OK) == 0 && access(c->tls_key, R_OK) == 0 &&
	       access(c->tls_ca, R_OK) == 0;
}

int cluster_peer(struct daemon *d, const char *host, struct registry_host *peer, struct error *err)
{
	int found = registry_host_get(d->registry, host, peer, err);
	if (found < 0)
		return -1;
	if (!found)
		return error_set(err, ERR_HOST_UNKNOWN, "no host %s in the cluster", host);
	if (peer->revoked)
		return error_set(err, ERR_PEER_UNTRUSTED, "host %s has been revoked", host);
	if (!peer->address[0])
		return error_set(err, ERR_PEER_UNREACHABLE, "the address of %s is not known", host);
	return 0;
}

// The certificates are made in one folder under fixed names; with others in relocd.yaml they are
// somebody else's business.
int cluster_folder(const struct config *c, char folder[512], struct error *err)
{
	char expected[3][600];
	const char *slash = strrchr(c->tls_ca, '/');
	snprintf(folder, 512, "%.*s", (int)(slash - c->tls_ca), c->tls_ca);
	snprintf(expected[0], 600, "%s/ca.pem", folder);
	snprintf(expected[1], 600, "%s/host.pem", folder);
	snprintf(expected[2], 600, "%s/host.key", folder);
	if (!strcmp(expected[0], c->tls_ca) && !strcmp(expected[1], c->tls_cert) &&
	    !strcmp(expected[2], c->tls_key))
		return 0;
	return error_set(err, ERR_CERTIFICATE,
			 "tls: in relocd.yaml names files other than ca.pem, host.pem and host.key "
			 "of one folder: put your own certificates there");
}

// The same, and there: nobody else makes /etc/relocd before there is something to put into it.
static int made_folder(const struct config *c, char folder[512], struct error *err)
{
	return cluster_folder(c, folder, err) < 0 ? -1 : fdio_mkdir_p(folder, 0755, err);
}

// Into the journal; without the lock.
static void note(struct daemon *d, const char *kind, const char *event, const char *host,
		 const char *address)
{
	daemon_lock(d);
	events_add(d, kind, event, NULL, NULL,
		   json_pack("{s:s, s:s?}", "host", host, "address", address));
	daemon_unlock(d);
}

// ---- addresses ----------------------------------------------------------------------------------

static struct addrinfo *resolve(const char *address, struct error *err)
{
	char host[256], port[8];
	struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found;
	if (config_split_address(address, host, port, err) < 0)
		return NULL;
	int rc = getaddrinfo(host, port, &wanted, &found);
	if (rc == 0)
		return found;
	error_set(err, ERR_PEER_UNREACHABLE, "%s: %s", address, gai_strerror(rc));
	return NULL;
}

static void join_address(const char *host, const char *port, char address[REGISTRY_ADDRESS_MAX])
{
	snprintf(address, REGISTRY_ADDRESS_MAX, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
		 port);
}

static void listen_port(const struct config *c, char port[8])
{
	char host[256];
	strcpy(port, "7470");
	config_split_address(c->listen, host, port, NULL);
}

// "10.77.0.2" -> "10.77.0.2:7470"; an address with a port stays.
static int complete_address(const char *given, char address[REGISTRY_ADDRESS_MAX],
			    struct error *err)
{
	char host[256], port[8];
	struct in6_addr v6;
	if (inet_pton(AF_INET6, given, &v6) == 1 || !strchr(given, ':'))
		join_address(given, "7470", address);
	else
		snprintf(address, REGISTRY_ADDRESS_MAX, "%s", given);
	if (strlen(given) >= REGISTRY_ADDRESS_MAX - 16 || !given[0] ||
	    config_split_address(address, host, port, NULL) < 0)
		return error_set(err, ERR_USAGE, "\"%.64s\" is not an address", given);
	return 0;
}

// The address of ours from which `peer` is reached: a UDP socket asks the routing table without
// sending anything.
static int own_address(const struct config *c, const char *peer, char address[REGISTRY_ADDRESS_MAX],
		       struct error *err)
{
	struct sockaddr_storage self = {0};
	socklen_t length = sizeof(self);
	char host[NI_MAXHOST], port[8];
	struct addrinfo *to = resolve(peer, err);
	if (!to)
		return -1;
	_cleanup_close_ int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int failed = fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen) < 0 ||
		     getsockname(fd, (struct sockaddr *)&self, &length) < 0;
	int why = errno;
	freeaddrinfo(to);
	if (failed)
		return error_sys(err, ERR_PEER_UNREACHABLE, why, "no way to %s", peer);
	if (getnameinfo((struct sockaddr *)&self, length, host, sizeof(host), NULL, 0,
			NI_NUMERICHOST))
		return error_set(err, ERR_SYSTEM, "cannot read our own address");
	listen_port(c, port);
	join_address(host, port, address);
	return 0;
}

// ---- init ---------------------------------------------------------------------------------------

static int make_certificates(const struct daemon *d, struct error *err)
{
	char folder[512];
	const char *host = d->config.host;
	if (made_folder(&d->config, folder, err) < 0 || pki_ca_create(folder, err) < 0)
		return -1;
	_cleanup_free_ char *csr = pki_request(folder, host, err);
	_cleanup_free_ char *cert = csr ? pki_sign(folder, csr, host, err) : NULL;
	_cleanup_free_ char *ca = cert ? pki_ca_read(folder, err) : NULL;
	return ca ? pki_install(folder, cert, ca, host, NULL, err) : -1;
}

// Only one init or join at a time, and only when we are no member.
static int begin_joining(struct daemon *d, struct error *err)
{
	daemon_lock(d);
	int failed = 0;
	if (cluster_member(d))
		failed = error_set(err, ERR_CLUSTER_EXISTS, "%s is in a cluster already",
				   d->config.host);
	else if (d->joining)
		failed = error_set(err, ERR_CLUSTER_EXISTS, "%s is joining a cluster right now",
				   d->config.host);
	else
		d->joining = true;
	daemon_unlock(d);
	return failed;
}

static void end_joining(struct daemon *d)
{
	daemon_lock(d);
	d->joining = false;
	daemon_unlock(d);
}

static int become_member(struct daemon *d, struct error *err)
{
	daemon_lock(d);
	int failed = d->listener ? 0 : listener_start(d, err);
	daemon_unlock(d);
	return failed;
}

int cluster_init(struct daemon *d, struct error *err)
{
	if (begin_joining(d, err) < 0)
		return -1;
	int failed = make_certificates(d, err);
	if (!failed) {
		daemon_lock(d);
		failed = registry_host_put(d->registry, d->config.host, "", err);
		daemon_unlock(d);
	}
	if (!failed)
		failed = become_member(d, err);
	end_joining(d);
	if (failed)
		return -1;
	log_info("cluster: made by %s", d->config.host);
	note(d, "cluster", "made", d->config.host, NULL);
	return 0;
}

// ---- invite and admit ---------------------------------------------------------------------------

// Our own address is learnt with the first host that is invited.
static int note_own_address(struct daemon *d, const char *address, struct error *err)
{
	char known[REGISTRY_ADDRESS_MAX];
	daemon_address(d, known);
	return known[0] ? 0 : registry_host_put(d->registry, d->config.host, address, err);
}

static int check_invited(struct daemon *d, const char *folder, const char *name, struct error *err)
{
	struct registry_host known;
	char key[600];
	if (pki_name_check(name, err) < 0)
		return -1;
	if (!cluster_member(d))
		return error_set(err, ERR_CLUSTER_NONE, "%s is not in a cluster", d->config.host);
	snprintf(key, sizeof(key), "%s/ca.key", folder);
	if (access(key, F_OK) < 0) {
		error_set(err, ERR_CLUSTER_NONE, "%s does not have the key of the cluster's CA",
			  d->config.host);
		return error_hint(err, "run it on the host where `cluster init` was run");
	}
	int found = registry_host_get(d->registry, name, &known, err);
	if (found > 0)
		return error_set(err, ERR_HOST_EXISTS, "host %s is in the cluster already", name);
	return found;
}

// What is to be known before a token is made: where the new host and we are.
static int check_invite(struct daemon *d, const char *folder, const char *name, struct error *err)
{
	daemon_lock(d);
	int failed = check_invited(d, folder, name, err);
	daemon_unlock(d);
	return failed;
}

static int record_invite(struct daemon *d, const struct token *t, const char *address,
			 struct error *err)
{
	char digest[TOKEN_DIGEST_MAX];
	token_digest(t, digest);
	daemon_lock(d);
	int failed = note_own_address(d, t->address, err) < 0 ||
		     registry_token_add(d->registry, digest, t->name, address,
					time(NULL) + TOKEN_SECONDS, err) < 0;
	daemon_unlock(d);
	return failed ? -1 : 0;
}

int cluster_invite(struct daemon *d, const char *name, const char *address, char **token,
		   struct error *err)
{
	char folder[512], whole[REGISTRY_ADDRESS_MAX], own[REGISTRY_ADDRESS_MAX];
	char fingerprint[PKI_FINGERPRINT_MAX], text[TOKEN_TEXT_MAX];
	struct token t;
	if (cluster_folder(&d->config, folder, err) < 0 || check_invite(d, folder, name, err) < 0 ||
	    complete_address(address, whole, err) < 0 ||
	    own_address(&d->config, whole, own, err) < 0 ||
	    pki_fingerprint(folder, fingerprint, err) < 0)
		return -1;
	if (token_make(&t, name, d->config.host, own, fingerprint, err) < 0 ||
	    token_encode(&t, text, err) < 0 || record_invite(d, &t, whole, err) < 0)
		return -1;
	*token = strdup(text);
	log_info("cluster: %s at %s is invited", name, whole);
	note(d, "cluster", "invited", name, whole);
	return *token ? 0 : error_set(err, ERR_NOMEM, "no memory for a token");
}

static json_t *hosts_json(struct daemon *d, struct error *err)
{
	struct registry_host *hosts;
	size_t count;
	if (registry_hosts(d->registry, &hosts, &count, err) < 0)
		return NULL;
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		if (!hosts[i].revoked)
			json_array_append_new(list, json_pack("{s:s, s:s}", "name", hosts[i].name,
							      "address", hosts[i].address));
	free(hosts);
	return list;
}

static int use_token(struct daemon *d, const char *text, const char *name, const char *from,
		     char address[REGISTRY_ADDRESS_MAX], struct error *err)
{
	struct token t;
	char digest[TOKEN_DIGEST_MAX];
	if (token_decode(text, &t, err) < 0)
		return -1;
	token_digest(&t, digest);
	int found = registry_token_take(d->registry, digest, name, time(NULL), address, err);
	if (found < 0)
		return -1;
	if (found)
		return 0;
	log_warn("cluster: %s at %s came with a token that is not valid", name, from);
	return error_set(err, ERR_TOKEN,
			 "the token is not valid for %s: it has been used, has expired, or is for "
			 "another host",
			 name);
}

// A host that comes back needs a key that nobody else may have.
static int refuse_old_key(struct daemon *d, const char *name, const char *key, struct error *err)
{
	int revoked = registry_revoked(d->registry, key, err);
	if (revoked <= 0)
		return revoked;
	error_set(err, ERR_TOKEN, "the key of %s has been revoked", name);
	return error_hint(err,
			  "remove /etc/relocd/host.key on %s; `wparctl cluster join` makes a "
			  "new one, with a new token",
			  name);
}

int cluster_admit(struct daemon *d, const json_t *request, const char *from, json_t *answer,
		  struct error *err)
{
	const char *text, *csr, *name;
	char folder[512], address[REGISTRY_ADDRESS_MAX];
	if (json_unpack((json_t *)request, "{s:s, s:s, s:s}", "token", &text, "csr", &csr, "name",
			&name) < 0)
		return error_set(err, ERR_PROTOCOL, "JOIN is malformed");
	if (cluster_folder(&d->config, folder, err) < 0 || pki_name_check(name, err) < 0 ||
	    use_token(d, text, name, from, address, err) < 0)
		return -1;
	char key[PKI_FINGERPRINT_MAX];
	_cleanup_free_ char *cert = pki_sign(folder, csr, name, err);
	_cleanup_free_ char *ca = cert ? pki_ca_read(folder, err) : NULL;
	if (!ca || pki_key_of(cert, key, err) < 0 || refuse_old_key(d, name, key, err) < 0 ||
	    registry_host_put(d->registry, name, address, err) < 0 ||
	    registry_host_set_key(d->registry, name, key, err) < 0)
		return -1;
	json_t *hosts = hosts_json(d, err);
	if (!hosts)
		return -1;
	json_object_set_new(answer, "cert", json_string(cert));
	json_object_set_new(answer, "ca", json_string(ca));
	json_object_set_new(answer, "hosts", hosts);
	log_info("cluster: %s at %s has joined", name, address);
	events_add(d, "host", "joined", NULL, NULL,
		   json_pack("{s:s, s:s}", "host", name, "address", address));
	return 0;
}

static int note_address(struct daemon *d, const struct registry_host *known, bool found,
			const char *name, const char *address, const char *from, struct error *err)
{
	char learnt[REGISTRY_ADDRESS_MAX];
	if (address && address[0] && complete_address(address, learnt, NULL) == 0)
		return found && !strcmp(known->address, learnt)
			       ? 0
			       : registry_host_put(d->registry, name, learnt, err);
	if (found && known->address[0])
		return 0;
	join_address(from, "7470", learnt);
	return registry_host_put(d->registry, name, learnt, err);
}

int cluster_note_peer(struct daemon *d, const char *name, const char *key, const char *address,
		      const char *from, struct error *err)
{
	struct registry_host known = {0};
	int found = registry_host_get(d->registry, name, &known, err);
	int refused = found < 0 ? -1 : registry_revoked(d->registry, key, err);
	if (refused < 0)
		return -1;
	if (refused || known.revoked)
		return error_set(err, ERR_PEER_UNTRUSTED,
				 "host %s has been revoked in this cluster", name);
	if (note_address(d, &known, found, name, address, from, err) < 0)
		return -1;
	return key[0] ? registry_host_set_key(d->registry, name, key, err) : 0;
}

// ---- join ---------------------------------------------------------------------------------------

static struct link *open_join(const struct token *t, struct error *err)
{
	struct link_tls tls = {.fingerprint = t->ca};
	return link_connect(t->address, t->host, &tls, true, deadline_in_ms(JOIN_MS), err);
}

static int send_join(struct daemon *d, struct link *link, const char *text, const struct token *t,
		     const char *folder, struct error *err)
{
	Wpar__Join join = WPAR__JOIN__INIT;
	char address[REGISTRY_ADDRESS_MAX];
	_cleanup_free_ char *csr = pki_request(folder, d->config.host, err);
	if (!csr || own_address(&d->config, t->address, address, err) < 0)
		return -1;
	join.token = (char *)text;
	join.csr = csr;
	join.name = d->config.host;
	join.address = address;
	return talk_send(link, WIRE_JOIN, &join.base, err);
}

static Wpar__Joined *receive_joined(struct link *link, struct error *err)
{
	struct link_message message;
	int got = link_recv(link, deadline_in_ms(JOIN_MS), &message, err);
	if (got == 0)
		error_set(err, ERR_DEADLINE, "no answer to JOIN in time");
	if (got <= 0)
		return NULL;
	Wpar__Joined *joined = message.type == WIRE_JOINED
				       ? wpar__joined__unpack(NULL, message.length, message.payload)
				       : NULL;
	link_done(link, &message);
	if (!joined)
		error_set(err, ERR_PROTOCOL, "the answer to JOIN is malformed");
	return joined;
}

static int refused(const Wpar__Joined *joined, struct error *err)
{
	_cleanup_json_ json_t *why = json_loads(joined->error, JSON_REJECT_DUPLICATES, NULL);
	if (why)
		return error_from_json(err, why);
	return error_set(err, ERR_PEER_REFUSED, "the join was refused without a reason");
}

static int install(struct daemon *d, const Wpar__Joined *joined, const char *folder,
		   const struct token *t, struct error *err)
{
	if (joined->error)
		return refused(joined, err);
	if (!joined->cert || !joined->ca)
		return error_set(err, ERR_PROTOCOL, "the answer to JOIN holds no certificate");
	if (pki_install(folder, joined->cert, joined->ca, d->config.host, t->ca, err) < 0)
		return -1;
	daemon_lock(d);
	// Who signs our certificate, now and later.
	int failed = registry_meta_put(d->registry, CLUSTER_CA_HOST, t->host, err);
	for (size_t i = 0; i < joined->n_hosts && !failed; i++)
		if (pki_name_check(joined->hosts[i]->name, NULL) == 0)
			failed = registry_host_put(d->registry, joined->hosts[i]->name,
						   joined->hosts[i]->address, err);
	daemon_unlock(d);
	return failed;
}

static int exchange(struct daemon *d, const char *text, const struct token *t, struct error *err)
{
	char folder[512];
	if (made_folder(&d->config, folder, err) < 0)
		return -1;
	_cleanup_link_ struct link *link = open_join(t, err);
	if (!link || send_join(d, link, text, t, folder, err) < 0)
		return -1;
	Wpar__Joined *joined = receive_joined(link, err);
	if (!joined)
		return -1;
	int failed = install(d, joined, folder, t, err);
	wpar__joined__free_unpacked(joined, NULL);
	return failed;
}

// HELLO, so that the other host knows us.
static int greet(struct daemon *d, const struct registry_host *host, const char *address,
		 struct error *err)
{
	const struct config *c = &d->config;
	struct link_tls tls = {.ca = c->tls_ca, .cert = c->tls_cert, .key = c->tls_key};
	Wpar__Hello *hello;
	_cleanup_link_ struct link *link =
		link_connect(host->address, host->name, &tls, false, deadline_in_ms(GREET_MS), err);
	if (!link)
		return -1;
	if (talk_hello(link, c->host, address, deadline_in_ms(GREET_MS), &hello, err) < 0)
		return -1;
	wpar__hello__free_unpacked(hello, NULL);
	return 0;
}

static void greet_all(struct daemon *d, json_t *notes)
{
	struct registry_host *hosts = NULL;
	char address[REGISTRY_ADDRESS_MAX];
	size_t count = 0;
	struct error err = {0};
	daemon_lock(d);
	daemon_address(d, address);
	if (registry_hosts(d->registry, &hosts, &count, &err) < 0)
		log_error_of(&err, "cluster");
	daemon_unlock(d);
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(hosts[i].name, d->config.host) || !hosts[i].address[0])
			continue;
		if (greet(d, &hosts[i], address, &err) < 0) {
			log_error_of(&err, hosts[i].name);
			json_array_append_new(notes, json_sprintf("%s does not know this host yet: "
								  "%s",
								  hosts[i].name, err.message));
		}
	}
	free(hosts);
}

int cluster_join(struct daemon *d, const char *token, json_t **notes, struct error *err)
{
	struct token t;
	if (token_decode(token, &t, err) < 0)
		return -1;
	if (strcmp(t.name, d->config.host) != 0)
		return error_set(err, ERR_TOKEN, "the token invites %s, this host is %s", t.name,
				 d->config.host);
	if (begin_joining(d, err) < 0)
		return -1;
	int failed = exchange(d, token, &t, err);
	if (!failed)
		failed = become_member(d, err);
	end_joining(d);
	if (failed)
		return -1;
	log_info("cluster: joined through %s", t.address);
	note(d, "cluster", "joined", d->config.host, NULL);
	*notes = json_array();
	greet_all(d, *notes);
	return 0;
}
