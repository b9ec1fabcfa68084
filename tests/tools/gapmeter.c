// SPDX-License-Identifier: Apache-2.0
// What one client of a Redis sees: over ONE TCP connection, never renewed, it sends INCR KEY and
// PING in turn, one request each interval on an absolute clock, and measures how long each reply
// takes. A request waits for the reply before it; so an interruption shows as one long wait. Runs
// until SIGTERM or SIGINT or for a given time, takes the reply that is still out, and writes JSON:
//
//   schema, target, connection {local, remote, retransmissions, rto_ms},
//   started, ended {realtime_ms, monotonic_ms}, sent, acked (INCR replies), first_value, last_value
//   (of KEY), pings, errors (replies that were errors), sequence_breaks (INCR replies that are not
//   the one before + 1: lost, repeated or foreign increments), reconnects (always 0), lost (null,
//   or why the connection ended), latency_ms {p50, p99, p999, max}, max_gap {ms, request,
//   at_realtime_ms, at_monotonic_ms}, buckets [[ms since start, longest wait in ms, replies], ...]
//   (by moment of sending), slow [[ms since start, wait in ms, request], ...] (waits of at least 5
//   ms).
//
// Exit codes: 0 all replies came and were good; 1 the connection was lost or a reply did not come
// in time; 2 usage; 3 cannot connect; 4 error replies or sequence breaks; 5 cannot write the file.
#include "tests/tools/redis_conn.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BUCKET_MS 10
#define SLOW_MS   5.0

struct bucket {
	double max_ms;
	unsigned replies;
};

struct slow {
	double at_ms, wait_ms;
	bool incr;
};

struct meter {
	struct redis_conn conn;
	const char *host, *port, *key, *out;
	int64_t interval_ns, timeout_ms, duration_ms; // duration 0: until a signal
	int64_t start_ns;
	double start_real_ms;
	uint64_t sent, acked, pings, errors, breaks;
	long long first_value, last_value;
	int lost; // errno, 0: none
	struct slow gap;
	float *waits; // all of them, in ms
	struct bucket *buckets;
	struct slow *slow;
	size_t n_waits, n_buckets, n_slow;
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static double real_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

// Room for one more element in a growing array; ends the program when there is no memory.
static void *grown(void *array, size_t used, size_t size)
{
	if (used & (used - 1) || (used && used < 1024))
		return array; // grows at 0 and at powers of two
	array = realloc(array, (used < 1024 ? 1024 : used * 2) * size);
	if (!array) {
		fprintf(stderr, "gapmeter: no memory\n");
		exit(5);
	}
	return array;
}

static void record(struct meter *m, double at_ms, double wait_ms, bool incr)
{
	struct slow s = {at_ms, wait_ms, incr};
	size_t bucket = (size_t)(at_ms / BUCKET_MS);

	m->waits = grown(m->waits, m->n_waits, sizeof(*m->waits));
	m->waits[m->n_waits++] = (float)wait_ms;
	while (m->n_buckets <= bucket) {
		m->buckets = grown(m->buckets, m->n_buckets, sizeof(*m->buckets));
		m->buckets[m->n_buckets++] = (struct bucket){0};
	}
	m->buckets[bucket].replies++;
	if (wait_ms > m->buckets[bucket].max_ms)
		m->buckets[bucket].max_ms = wait_ms;
	if (wait_ms >= SLOW_MS) {
		m->slow = grown(m->slow, m->n_slow, sizeof(*m->slow));
		m->slow[m->n_slow++] = s;
	}
	if (wait_ms > m->gap.wait_ms)
		m->gap = s;
}

static void take_incr(struct meter *m, const char *reply)
{
	long long value = atoll(reply + 1);

	if (m->acked++ == 0)
		m->first_value = value;
	else if (value != m->last_value + 1)
		m->breaks++;
	m->last_value = value;
}

// One request and its reply. -1: the connection is of no use any more.
static int request(struct meter *m, const char *text, size_t len, bool incr)
{
	int64_t begin = clock_now_ns();
	const char *reply;

	m->sent++;
	if (redis_send(&m->conn, text, len) < 0)
		goto lost;
	reply = redis_line(&m->conn, deadline_in_ms(m->timeout_ms));
	if (!reply)
		goto lost;
	record(m, (double)(begin - m->start_ns) / 1e6, clock_ms_since(begin), incr);
	if (incr && reply[0] == ':')
		take_incr(m, reply);
	else if (!incr && strcmp(reply, "+PONG") == 0)
		m->pings++;
	else
		m->errors++;
	return 0;
lost:
	m->lost = errno;
	return -1;
}

static void measure(struct meter *m)
{
	static const char ping[] = "*1\r\n$4\r\nPING\r\n";
	char incr[512];
	int len = snprintf(incr, sizeof(incr), "*2\r\n$4\r\nINCR\r\n$%zu\r\n%s\r\n", strlen(m->key),
			   m->key);
	int64_t tick = m->start_ns;

	for (uint64_t n = 0; !stop; n++) {
		struct timespec ts = {.tv_sec = tick / 1000000000, .tv_nsec = tick % 1000000000};

		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL))
			continue; // a signal: stop is looked at
		if (n % 2 ? request(m, ping, sizeof(ping) - 1, false)
			  : request(m, incr, (size_t)len, true))
			return;
		tick += m->interval_ns;
		if (tick < clock_now_ns()) // late: go on with the next tick to come
			tick += (clock_now_ns() - tick) / m->interval_ns * m->interval_ns +
				m->interval_ns;
		if (m->duration_ms && tick - m->start_ns >= m->duration_ms * 1000000)
			return;
	}
}

static int by_wait(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

// Microseconds are enough, and shorter.
static json_t *ms(double v)
{
	return json_real((double)(int64_t)(v * 1e3 + 0.5) / 1e3);
}

static json_t *quantile(const struct meter *m, double q)
{
	size_t i = (size_t)(q * (double)m->n_waits);

	if (m->n_waits == 0)
		return json_null();
	return ms((double)m->waits[i < m->n_waits ? i : m->n_waits - 1]);
}

static json_t *moment(const struct meter *m, double at_ms)
{
	return json_pack("{s:o,s:o}", "realtime_ms", ms(m->start_real_ms + at_ms), "monotonic_ms",
			 ms((double)m->start_ns / 1e6 + at_ms));
}

static json_t *address(int fd, int (*name)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char host[INET6_ADDRSTRLEN], port[8];

	if (name(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return json_null();
	return json_pack("{s:s,s:i}", "address", host, "port", atoi(port));
}

static json_t *connection(struct meter *m, json_t *local, json_t *remote)
{
	struct tcp_info ti = {0};
	socklen_t len = sizeof(ti);

	getsockopt(m->conn.fd, IPPROTO_TCP, TCP_INFO, &ti, &len);
	return json_pack("{s:o,s:o,s:i,s:o}", "local", local, "remote", remote, "retransmissions",
			 (int)ti.tcpi_total_retrans, "rto_ms", ms(ti.tcpi_rto / 1e3));
}

static json_t *buckets(const struct meter *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_buckets; i++)
		if (m->buckets[i].replies)
			json_array_append_new(list, json_pack("[i,o,i]", (int)i * BUCKET_MS,
							      ms(m->buckets[i].max_ms),
							      (int)m->buckets[i].replies));
	return list;
}

static const char *request_name(const struct slow *s)
{
	return s->incr ? "INCR" : "PING";
}

static json_t *slow_list(const struct meter *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_slow; i++)
		json_array_append_new(list,
				      json_pack("[o,o,s]", ms(m->slow[i].at_ms),
						ms(m->slow[i].wait_ms), request_name(&m->slow[i])));
	return list;
}

static json_t *max_gap(const struct meter *m)
{
	return json_pack("{s:o,s:s,s:o,s:o}", "ms", ms(m->gap.wait_ms), "request",
			 request_name(&m->gap), "at_realtime_ms",
			 ms(m->start_real_ms + m->gap.at_ms), "at_monotonic_ms",
			 ms((double)m->start_ns / 1e6 + m->gap.at_ms));
}

static json_t *report(struct meter *m, json_t *conn)
{
	json_t *ended = moment(m, clock_ms_since(m->start_ns));

	qsort(m->waits, m->n_waits, sizeof(*m->waits), by_wait);
	return json_pack(
		"{s:i,s:{s:s,s:s,s:s},s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:s?,s:{s:o,s:o,"
		"s:o,s:o},s:o,s:i,s:o,s:f,s:o}",
		"schema", 1, "target", "host", m->host, "port", m->port, "key", m->key,
		"connection", conn, "started", moment(m, 0), "ended", ended, "sent",
		(json_int_t)m->sent, "acked", (json_int_t)m->acked, "first_value",
		(json_int_t)m->first_value, "last_value", (json_int_t)m->last_value, "pings",
		(json_int_t)m->pings, "errors", (json_int_t)m->errors, "sequence_breaks",
		(json_int_t)m->breaks, "reconnects", 0, "lost", m->lost ? strerror(m->lost) : NULL,
		"latency_ms", "p50", quantile(m, 0.5), "p99", quantile(m, 0.99), "p999",
		quantile(m, 0.999), "max", ms(m->gap.wait_ms), "max_gap", max_gap(m), "bucket_ms",
		BUCKET_MS, "buckets", buckets(m), "slow_from_ms", SLOW_MS, "slow", slow_list(m));
}

static int usage(void)
{
	fprintf(stderr, "usage: gapmeter --out FILE [--key KEY] [--interval-us N] [--timeout-ms N] "
			"[--duration-ms N] ADDRESS PORT\n");
	return 2;
}

static int parse(struct meter *m, int argc, char **argv)
{
	static const struct option opts[] = {
		{"out", required_argument, NULL, 'o'},
		{"key", required_argument, NULL, 'k'},
		{"interval-us", required_argument, NULL, 'i'},
		{"timeout-ms", required_argument, NULL, 't'},
		{"duration-ms", required_argument, NULL, 'd'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		switch (c) {
		case 'o':
			m->out = optarg;
			break;
		case 'k':
			m->key = optarg;
			break;
		case 'i':
			m->interval_ns = atoll(optarg) * 1000;
			break;
		case 't':
			m->timeout_ms = atoll(optarg);
			break;
		case 'd':
			m->duration_ms = atoll(optarg);
			break;
		default:
			return usage();
		}
	}
	if (argc - optind != 2 || !m->out || strlen(m->key) > 255 || m->interval_ns <= 0 ||
	    m->timeout_ms <= 0 || m->duration_ms < 0)
		return usage();
	m->host = argv[optind];
	m->port = argv[optind + 1];
	return 0;
}

static void catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
}

int main(int argc, char **argv)
{
	static struct meter m = {.key = "counter", .interval_ns = 1000000, .timeout_ms = 15000};
	json_t *local, *remote, *result;
	int bad = parse(&m, argc, argv);

	if (bad)
		return bad;
	catch_signals();
	if (redis_connect(&m.conn, m.host, m.port) < 0) {
		fprintf(stderr, "gapmeter: cannot connect to %s port %s: %s\n", m.host, m.port,
			strerror(errno));
		return 3;
	}
	local = address(m.conn.fd, getsockname);
	remote = address(m.conn.fd, getpeername);
	// the first line: others may wait for it
	printf("connected from port %d\n", (int)json_integer_value(json_object_get(local, "port")));
	fflush(stdout);
	m.start_ns = clock_now_ns();
	m.start_real_ms = real_ms();
	measure(&m);
	result = report(&m, connection(&m, local, remote));
	if (!result || json_dump_file(result, m.out, JSON_COMPACT | JSON_REAL_PRECISION(16)) < 0) {
		fprintf(stderr, "gapmeter: cannot write %s\n", m.out);
		return 5;
	}
	if (m.lost) {
		fprintf(stderr, "gapmeter: connection lost after %llu replies: %s\n",
			(unsigned long long)m.n_waits, strerror(m.lost));
		return 1;
	}
	return m.errors || m.breaks ? 4 : 0;
}
