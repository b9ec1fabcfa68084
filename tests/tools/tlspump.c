// SPDX-License-Identifier: Apache-2.0
// The least that OpenSSL needs to bring bytes from one host to another: what a transport can be
// measured by, and what the scripts that move partitions for comparison copy through. TLS 1.3 with
// the cipher that movers prefer, blocking sockets, nothing else. The receiver makes itself a
// certificate, and the sender takes any: not for use outside of tests.
//
// usage: tlspump receive ADDRESS PORT [STREAMS]            receives; one stream: to standard output
//        tlspump send ADDRESS PORT [STREAMS GIGABYTES]     from memory; without: standard input,
//        one stream tlspump --plain ...                               without TLS
// With STREAMS, both print JSON at the end: {"gb_s", "cpu_s_per_gb", "bytes"}, where GB = 1e9.
// Exit codes: 1 failed, 2 usage.
#include "lib/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK       (1 << 20)
#define STREAMS_MAX 64
#define CONNECT_MS  20000

struct stream {
	int sock;
	SSL *ssl; // NULL: plain
	uint64_t bytes;
	pthread_t thread;
};

static struct stream streams[STREAMS_MAX];
static int n_streams = 1;
static bool sending, plain, from_memory;
static uint64_t bytes_each; // of a sender from memory

static void die(const char *what)
{
	fprintf(stderr, "tlspump: %s: %s\n", what, strerror(errno));
	exit(1);
}

// ---- TLS
static void make_certificate(SSL_CTX *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	if (!X509_sign(cert, key, EVP_sha256()) || !SSL_CTX_use_certificate(context, cert) ||
	    !SSL_CTX_use_PrivateKey(context, key))
		die("certificate");
	X509_free(cert);
	EVP_PKEY_free(key);
}

static SSL_CTX *make_context(void)
{
	SSL_CTX *context = SSL_CTX_new(sending ? TLS_client_method() : TLS_server_method());
	if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"))
		die("TLS");
	if (!sending)
		make_certificate(context);
	SSL_CTX_set_num_tickets(context, 0); // nobody reads them: the end would be a reset
	return context;
}

static void shake_hands(struct stream *s, SSL_CTX *context)
{
	s->ssl = SSL_new(context);
	if (!s->ssl || !SSL_set_fd(s->ssl, s->sock) ||
	    (sending ? SSL_connect(s->ssl) : SSL_accept(s->ssl)) != 1)
		die("handshake");
}

// ---- sockets
static int connect_to(const struct sockaddr_in *address, deadline_t deadline)
{
	for (;;) {
		int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(sock, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return sock;
		close(sock);
		if (errno != ECONNREFUSED || deadline_passed(deadline))
			die("connect");
		usleep(5000); // the receiver is being started
	}
}

static int listen_at(const struct sockaddr_in *address)
{
	int one = 1, sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(sock, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    listen(sock, STREAMS_MAX) < 0)
		die("listen");
	return sock;
}

static void open_streams(const struct sockaddr_in *address)
{
	SSL_CTX *context = plain ? NULL : make_context();
	deadline_t deadline = deadline_in_ms(CONNECT_MS);
	int listener = sending ? -1 : listen_at(address);
	for (int i = 0; i < n_streams; i++) {
		struct stream *s = &streams[i];
		s->sock = sending ? connect_to(address, deadline)
				  : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (s->sock < 0)
			die("accept");
		if (context)
			shake_hands(s, context);
	}
	if (!sending)
		close(listener);
}

// ---- bytes
static void write_stream(struct stream *s, const uint8_t *data, size_t length)
{
	s->bytes += length;
	while (length > 0) {
		ssize_t n = s->ssl ? SSL_write(s->ssl, data, (int)length)
				   : send(s->sock, data, length, MSG_NOSIGNAL);
		if (n <= 0)
			die("send");
		data += n;
		length -= (size_t)n;
	}
}

static ssize_t read_stream(struct stream *s, uint8_t *data, size_t room)
{
	if (!s->ssl)
		return recv(s->sock, data, room, 0);
	int n = SSL_read(s->ssl, data, (int)room);
	return n > 0 ? n : SSL_get_error(s->ssl, n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static void put_out(const uint8_t *data, size_t length)
{
	while (length > 0) {
		ssize_t n = write(STDOUT_FILENO, data, length);
		if (n <= 0)
			die("write");
		data += n;
		length -= (size_t)n;
	}
}

// The sender's end of a stream, then the receiver's word that all has arrived.
static void finish_sending(struct stream *s)
{
	char word;
	if (s->ssl)
		SSL_shutdown(s->ssl);
	shutdown(s->sock, SHUT_WR);
	if (recv(s->sock, &word, 1, 0) < 0)
		die("end");
}

static void *send_stream(void *arg)
{
	struct stream *s = arg;
	uint8_t *chunk = malloc(CHUNK);
	ssize_t n = CHUNK;
	memset(chunk, 7, CHUNK);
	while (from_memory ? s->bytes < bytes_each : (n = read(STDIN_FILENO, chunk, CHUNK)) > 0)
		write_stream(s, chunk, (size_t)n);
	if (n < 0)
		die("read");
	finish_sending(s);
	free(chunk);
	return NULL;
}

static void *receive_stream(void *arg)
{
	struct stream *s = arg;
	uint8_t *chunk = malloc(CHUNK);
	ssize_t n;
	while ((n = read_stream(s, chunk, CHUNK)) > 0) {
		s->bytes += (uint64_t)n;
		if (!from_memory)
			put_out(chunk, (size_t)n);
	}
	if (n < 0)
		die("receive");
	free(chunk);
	close(s->sock);
	return NULL;
}

static void run(void)
{
	for (int i = 0; i < n_streams; i++)
		if (pthread_create(&streams[i].thread, NULL, sending ? send_stream : receive_stream,
				   &streams[i]))
			die("thread");
	for (int i = 0; i < n_streams; i++)
		pthread_join(streams[i].thread, NULL);
}

static void report(double seconds)
{
	struct rusage use;
	double gigabytes = 0;
	getrusage(RUSAGE_SELF, &use);
	for (int i = 0; i < n_streams; i++)
		gigabytes += (double)streams[i].bytes / 1e9;
	double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
		     (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
	printf("{\"gb_s\":%.4f,\"cpu_s_per_gb\":%.4f,\"bytes\":%.0f}\n", gigabytes / seconds,
	       cpu / gigabytes, gigabytes * 1e9);
}

static int usage(void)
{
	fprintf(stderr, "usage: tlspump [--plain] receive ADDRESS PORT [STREAMS]\n"
			"       tlspump [--plain] send ADDRESS PORT [STREAMS GIGABYTES]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	plain = argc > 1 && strcmp(argv[1], "--plain") == 0;
	argv += plain;
	argc -= plain;
	sending = argc > 1 && strcmp(argv[1], "send") == 0;
	from_memory = argc > 4;
	if ((!sending && (argc < 2 || strcmp(argv[1], "receive") != 0)) || argc < 4 ||
	    inet_pton(AF_INET, argv[2], &address.sin_addr) != 1 ||
	    (from_memory && argc != (sending ? 6 : 5)))
		return usage();
	address.sin_port = htons((uint16_t)atoi(argv[3]));
	if (from_memory)
		n_streams = atoi(argv[4]);
	if (n_streams < 1 || n_streams > STREAMS_MAX)
		return usage();
	if (from_memory && sending)
		bytes_each = (uint64_t)(atof(argv[5]) * 1e9 / n_streams);
	open_streams(&address);
	int64_t start = clock_now_ns();
	run();
	if (from_memory)
		report(clock_ms_since(start) / 1e3);
	return 0;
}
