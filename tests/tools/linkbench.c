// SPDX-License-Identifier: Apache-2.0
// Throughput of links over loopback, with movers, TLS and rings as in a move, from memory to
// memory:
//     linkbench [STREAMS [GIGABYTES]]
// Payloads are sealed, and copied out of the ring and checked, as in a move.
// Prints JSON: {"gb_s", "cpu_s_per_gb" of both ends together, "sender_cpu_s_per_gb", "connect_ms"},
// where GB = 1e9. RELOCD_LIBEXECDIR says where mover is.
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

#define WAIT_MS     60000
#define STREAMS_MAX 16

static struct link_tls tls;
static struct error err;

static void die(const char *what)
{
	fprintf(stderr, "linkbench: %s: %s\n", what, err.message);
	exit(1);
}

static double cpu_of_children(void)
{
	struct rusage use;
	getrusage(RUSAGE_CHILDREN, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
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
	struct link_message message;
	int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fdio_read_all(sock, preamble, sizeof(preamble), &err) < 0)
		die("preamble");
	struct link *link = link_accept(sock, false, &tls, deadline_in_ms(WAIT_MS), &err);
	if (!link)
		die("accept");
	while (link_recv(link, deadline_in_ms(WAIT_MS), &message, &err) == 1) {
		bool last = message.type == WIRE_PING;
		link_done(link, &message);
		if (last)
			link_send(link, WIRE_STATE, "", 0, &err);
	}
	link_close(link);
	return 0;
}

// Slots are the memory that it is sent from: an engine reads pages right into them.
static void send_all(struct link *link, double bytes)
{
	struct link_message message;
	for (double sent = 0; sent < bytes; sent += LINK_DATA_MAX) {
		uint8_t *slot = link_slot(link, deadline_in_ms(WAIT_MS), &err);
		if (!slot)
			die("slot");
		if (slot[0] != 7)
			memset(slot, 7, LINK_DATA_MAX);
		if (link_send_slot(link, WIRE_PAGES, slot, LINK_DATA_MAX, &err) < 0)
			die("send");
	}
	if (link_send(link, WIRE_PING, "", 0, &err) < 0 ||
	    link_recv(link, deadline_in_ms(WAIT_MS), &message, &err) != 1)
		die("answer");
	link_done(link, &message);
}

// Connects, says so, waits for the start, sends, says so when all has arrived.
static int send_stream(const char *address, double bytes, int say, int start)
{
	char c = 0;
	struct link *link =
		link_connect(address, "host", &tls, false, deadline_in_ms(WAIT_MS), &err);
	if (!link)
		die("connect");
	if (write(say, &c, 1) != 1 || read(start, &c, 1) != 1)
		die("start");
	send_all(link, bytes);
	if (write(say, &c, 1) != 1)
		die("end");
	link_close(link);
	return 0;
}

// Removes the certificates when the last of us has gone, however it went: a process of its own,
// which a signal to the group does not reach.
static void clean_up_after(const char *dir)
{
	int alive[2];
	char c;
	if (pipe2(alive, O_CLOEXEC) < 0)
		die("pipe");
	if (fork() != 0) {
		close(alive[0]); // the other end is held until the end
		return;
	}
	setsid();
	close(alive[1]);
	close(STDOUT_FILENO); // whoever reads our results does not wait for it
	if (read(alive[0], &c, 1) < 0)
		_exit(1);
	_exit(fdio_remove_tree(AT_FDCWD, dir, NULL) < 0);
}

static void hear(int from, int count)
{
	char c;
	while (count-- > 0)
		if (read(from, &c, 1) != 1)
			die("a sender ended");
}

static void wait_for(const pid_t *pids, int count)
{
	for (int i = 0; i < count; i++)
		if (waitpid(pids[i], NULL, 0) < 0)
			die("wait");
}

static void run(int listener, const char *address, int count, double bytes)
{
	pid_t receivers[STREAMS_MAX], senders[STREAMS_MAX];
	int said[2], start[2];
	if (pipe2(said, O_CLOEXEC) < 0 || pipe2(start, O_CLOEXEC) < 0)
		die("pipe");
	int64_t began = clock_now_ns();
	for (int i = 0; i < count; i++) {
		receivers[i] = fork();
		if (receivers[i] == 0)
			exit(serve(listener));
		senders[i] = fork();
		if (senders[i] == 0)
			exit(send_stream(address, bytes / count, said[1], start[0]));
	}
	close(said[1]);
	hear(said[0], count);
	double connect_ms = clock_ms_since(began);
	began = clock_now_ns();
	if (write(start[1], "0123456789abcdef", (size_t)count) != count)
		die("start");
	hear(said[0], count);
	double seconds = clock_ms_since(began) / 1e3, gigabytes = bytes / 1e9;
	wait_for(senders, count);
	double sender = cpu_of_children();
	wait_for(receivers, count);
	printf("{\"gb_s\":%.4f,\"cpu_s_per_gb\":%.4f,\"sender_cpu_s_per_gb\":%.4f,\"connect_ms\":%."
	       "1f}\n",
	       gigabytes / seconds, cpu_of_children() / gigabytes, sender / gigabytes, connect_ms);
}

int main(int argc, char **argv)
{
	const int count = argc > 1 ? atoi(argv[1]) : 1;
	const double bytes = (argc > 2 ? atof(argv[2]) : 4) * 1e9;
	char dir[] = "/tmp/linkbench-XXXXXX", text[64];
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (count < 1 || count > STREAMS_MAX || bytes <= 0) {
		fprintf(stderr, "usage: linkbench [STREAMS [GIGABYTES]]\n");
		return 2;
	}
	if (!mkdtemp(dir) || bind(listener, (struct sockaddr *)&address, length) < 0 ||
	    listen(listener, STREAMS_MAX) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) < 0)
		die("set-up");
	clean_up_after(dir);
	make_certificates(dir);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(address.sin_port));
	run(listener, text, count, bytes);
	return 0;
}
