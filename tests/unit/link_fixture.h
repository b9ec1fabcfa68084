// SPDX-License-Identifier: Apache-2.0
// For tests of links: certificates of a small cluster in a temporary folder, a listener on
// loopback, and a thread that plays the accepting host. Movers come from the build tree.
#ifndef WPAR_TESTS_LINK_FIXTURE_H
#define WPAR_TESTS_LINK_FIXTURE_H

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/transport/cert.h"
#include "lib/transport/link.h"
#include "lib/transport/pki.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURE_MS 20000 // longer than any step here takes, also with sanitizers

struct fixture_host {
	char dir[256], ca[320], cert[320], key[320];
	struct link_tls tls;
};

struct fixture_server {
	pthread_t thread;
	int listener;
	char address[64];
	const struct link_tls *tls;
	bool join;
	void (*play)(struct link *link, void *argument); // with the accepted link
	void *argument;
	struct error err; // why link_accept failed
	char peer[64];
};

static char fixture_top[64];

// The mover beside this program: BUILD/tests/unit/test_x -> BUILD/libexec.
static inline void fixture_use_build(void)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 32);
	assert_true(n > 0);
	self[n] = 0;
	for (int up = 0; up < 3; up++)
		*strrchr(self, '/') = 0;
	strcat(self, "/libexec");
	setenv("RELOCD_LIBEXECDIR", self, 1);
	strcat(self, "/mover");
	if (access(self, X_OK) < 0)
		fail_msg("%s is not built", self);
}

static inline void fixture_host_at(struct fixture_host *host, const char *name)
{
	snprintf(host->dir, sizeof(host->dir), "%s/%s", fixture_top, name);
	snprintf(host->ca, sizeof(host->ca), "%s/ca.pem", host->dir);
	snprintf(host->cert, sizeof(host->cert), "%s/host.pem", host->dir);
	snprintf(host->key, sizeof(host->key), "%s/host.key", host->dir);
	host->tls = (struct link_tls){.ca = host->ca, .cert = host->cert, .key = host->key};
}

static inline void fixture_authority(const char *name)
{
	char dir[256];
	struct error err = {0};
	snprintf(dir, sizeof(dir), "%s/%s", fixture_top, name);
	assert_int_equal(mkdir(dir, 0755), 0);
	if (pki_ca_create(dir, &err) < 0)
		fail_msg("%s", err.message);
}

// A host `name` in folder `folder`, signed by `authority`.
static inline void fixture_member(struct fixture_host *host, const char *folder, const char *name,
				  const char *authority)
{
	char signer[256];
	struct error err = {0};
	snprintf(signer, sizeof(signer), "%s/%s", fixture_top, authority);
	fixture_host_at(host, folder);
	assert_int_equal(mkdir(host->dir, 0755), 0);
	_cleanup_free_ char *csr = pki_request(host->dir, name, &err);
	_cleanup_free_ char *cert = csr ? pki_sign(signer, csr, name, &err) : NULL;
	_cleanup_free_ char *ca = cert ? pki_ca_read(signer, &err) : NULL;
	if (!ca || pki_install(host->dir, cert, ca, name, NULL, &err) < 0)
		fail_msg("%s", err.message);
}

// Makes the host's certificate end an hour ago, and signs it again.
static inline void fixture_expire(const struct fixture_host *host, const char *authority)
{
	char path[320];
	snprintf(path, sizeof(path), "%s/%s/ca.key", fixture_top, authority);
	_cleanup_fclose_ FILE *key_file = fopen(path, "r");
	EVP_PKEY *key = PEM_read_PrivateKey(key_file, NULL, NULL, NULL);
	X509 *cert = cert_load(host->cert, NULL);
	assert_non_null(key);
	assert_non_null(cert);
	X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
	X509_gmtime_adj(X509_getm_notAfter(cert), -3600);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	_cleanup_fclose_ FILE *file = fopen(host->cert, "w");
	assert_int_equal(PEM_write_X509(file, cert), 1);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static inline int fixture_setup(void **state)
{
	(void)state;
	snprintf(fixture_top, sizeof(fixture_top), "/tmp/test-link-XXXXXX");
	return mkdtemp(fixture_top) ? 0 : -1;
}

static inline int fixture_teardown(void **state)
{
	(void)state;
	return fdio_remove_tree(AT_FDCWD, fixture_top, NULL);
}

static inline void fixture_listen(struct fixture_server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(server->listener, 4), 0);
	assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &length), 0);
	snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", ntohs(address.sin_port));
}

// Accepts a connection and its preamble as relocd's listener does. -1: the preamble is wrong.
static inline int fixture_accept(const struct fixture_server *server)
{
	uint8_t preamble[WIRE_PREAMBLE];
	enum wire_kind kind;
	int sock = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
	if (sock >= 0 && fdio_read_all(sock, preamble, sizeof(preamble), NULL) == 0 &&
	    wire_preamble_get(preamble, &kind, NULL) == 0 &&
	    kind == (server->join ? WIRE_KIND_JOIN : WIRE_KIND_CONTROL))
		return sock;
	close(sock);
	return -1;
}

// cmocka's assertions do not work in a thread: it only records.
static inline void *fixture_serve(void *argument)
{
	struct fixture_server *server = argument;
	int sock = fixture_accept(server);
	if (sock < 0) {
		error_set(&server->err, ERR_INTERNAL, "no connection or a wrong preamble");
		return NULL;
	}
	struct link *link = link_accept(sock, server->join, server->tls, deadline_in_ms(FIXTURE_MS),
					&server->err);
	if (link) {
		snprintf(server->peer, sizeof(server->peer), "%s", link_peer(link));
		if (server->play)
			server->play(link, server->argument);
	}
	link_close(link);
	return NULL;
}

static inline void fixture_start(struct fixture_server *server)
{
	fixture_listen(server);
	assert_int_equal(pthread_create(&server->thread, NULL, fixture_serve, server), 0);
}

static inline void fixture_join(struct fixture_server *server)
{
	pthread_join(server->thread, NULL);
	close(server->listener);
}

#endif
