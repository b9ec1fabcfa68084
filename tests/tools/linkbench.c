// SPDX-License-Identifier: Apache-2.0
// Throughput of one link over loopback, with movers, TLS and rings as in a move:
//     linkbench [GIGABYTES]
// Prints GB/s (1e9) and the CPU seconds per GB of each side. RELOCD_LIBEXECDIR says where mover is.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/transport/link.h"
#include "lib/transport/pki.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 60000

static struct link_tls tls;
static struct error err;

static void die(const char *what)
{
	fprintf(stderr, "linkbench: %s: %s\n", what, err.message);
	exit(1);
}

static double cpu_seconds(int who)
{
	struct rusage use;
	getrusage(who, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void print_cpu(const char *side, double bytes)
{
	printf("%s: %.2f CPU s/GB itself, %.2f its mover\n", side,
	       cpu_seconds(RUSAGE_SELF) / (bytes / 1e9),
	       cpu_seconds(RUSAGE_CHILDREN) / (bytes / 1e9));
}

static void make_certificates(const char *dir)
{
	static char ca[320], cert[320], key[320];
	snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	snprintf(cert, sizeof(cert), "%s/host.pem", dir);
	snprintf(key, sizeof(key), "%s/host.key", dir);
	tls = (struct link_tls){.ca = ca, .cert = cert, .key = key};
	if (pki_ca_create(dir, &err) < 0)
		die("CA");
	_cleanup_free_ char *csr = pki_request(dir, "host", &err);
	_cleanup_free_ char *own = csr ? pki_sign(dir, csr, "host", &err) : NULL;
	_cleanup_free_ char *authority = pki_ca_read(dir, &err);
	if (!own || !authority || pki_install(dir, own, authority, "host", NULL, &err) < 0)
		die("certificate");
}

static int serve(int listener)
{
	uint8_t preamble[WIRE_PREAMBLE];
	static uint8_t copy[WIRE_DATA_MAX];
	struct link_message message;
	double bytes = 0;
	int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fdio_read_all(sock, preamble, sizeof(preamble), &err) < 0)
		die("preamble");
	struct link *link = link_accept(sock, false, &tls, deadline_in_ms(WAIT_MS), &err);
	if (!link)
		die("accept");
	while (link_recv(link, deadline_in_ms(WAIT_MS), &message, &err) == 1) {
		bool last = message.type == WIRE_PING;
		memcpy(copy, message.payload, message.length);
		bytes += (double)message.length;
		link_done(link, &message);
		if (last)
			link_send(link, WIRE_STATE, "", 0, &err);
	}
	link_close(link);
	print_cpu("receiver", bytes);
	return 0;
}

static void send_all(struct link *link, double bytes)
{
	static uint8_t source[WIRE_DATA_MAX];
	struct link_message message;
	memset(source, 7, sizeof(source));
	for (double sent = 0; sent < bytes; sent += WIRE_DATA_MAX) {
		void *slot = link_slot(link, deadline_in_ms(WAIT_MS), &err);
		if (!slot)
			die("slot");
		memcpy(slot, source, WIRE_DATA_MAX);
		if (link_send_slot(link, WIRE_PAGES, slot, WIRE_DATA_MAX, &err) < 0)
			die("send");
	}
	if (link_send(link, WIRE_PING, "", 0, &err) < 0 ||
	    link_recv(link, deadline_in_ms(WAIT_MS), &message, &err) != 1)
		die("answer");
	link_done(link, &message);
}

int main(int argc, char **argv)
{
	const double bytes = (argc > 1 ? atof(argv[1]) : 4) * 1e9;
	char dir[] = "/tmp/linkbench-XXXXXX", text[64];
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!mkdtemp(dir) || bind(listener, (struct sockaddr *)&address, length) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) < 0)
		die("set-up");
	make_certificates(dir);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(address.sin_port));
	pid_t receiver = fork();
	if (receiver == 0)
		return serve(listener);
	int64_t start = clock_now_ns();
	struct link *link = link_connect(text, "host", &tls, false, deadline_in_ms(WAIT_MS), &err);
	if (!link)
		die("connect");
	printf("connect: %.1f ms\n", clock_ms_since(start));
	start = clock_now_ns();
	send_all(link, bytes);
	double seconds = clock_ms_since(start) / 1e3;
	start = clock_now_ns();
	link_close(link);
	printf("close: %.1f ms\n", clock_ms_since(start));
	print_cpu("sender", bytes);
	fflush(stdout);
	waitpid(receiver, NULL, 0);
	printf("one stream: %.2f GB/s\n", bytes / 1e9 / seconds);
	return fdio_remove_tree(AT_FDCWD, dir, NULL);
}
