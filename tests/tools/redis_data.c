// SPDX-License-Identifier: Apache-2.0
// Fills a Redis with data that cannot be compressed away, and verifies it: each value follows from
// its key, so any page lost, mixed up or zeroed on the way shows. `write` stores the same values
// anew, at random and RATE MB/s (1e6) of them, until SIGTERM: Redis puts them into other memory.
//
// Exit codes: 0 done, 1 a value is wrong or missing, or Redis failed; 2 usage; 3 cannot connect.
#include "tests/tools/redis_conn.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define VALUE_BYTES 4096
#define BATCH       8 // requests on the way at once
#define TIMEOUT_MS  120000

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

// xorshift64*: Marsaglia, "Xorshift RNGs" (2003); multiplier by Vigna.
static void make_value(uint32_t index, uint64_t value[VALUE_BYTES / 8])
{
	uint64_t x = 0x9e3779b97f4a7c15u ^ ((uint64_t)index << 17 | 1);

	for (size_t i = 0; i < VALUE_BYTES / 8; i++) {
		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		value[i] = x * 0x2545f4914f6cdd1du;
	}
}

static int send_set(struct redis_conn *c, uint32_t index)
{
	uint64_t value[VALUE_BYTES / 8];
	char head[64];
	int len = snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$9\r\nd%08x\r\n$%d\r\n", index,
			   VALUE_BYTES);

	make_value(index, value);
	if (redis_send(c, head, (size_t)len) < 0 || redis_send(c, value, sizeof(value)) < 0)
		return -1;
	return redis_send(c, "\r\n", 2);
}

static int take_set(struct redis_conn *c, uint32_t index)
{
	const char *line = redis_line(c, deadline_in_ms(TIMEOUT_MS));

	if (line && strcmp(line, "+OK") == 0)
		return 0;
	fprintf(stderr, "redis_data: SET %u: %s\n", index, line ? line : strerror(errno));
	return -1;
}

static int send_get(struct redis_conn *c, uint32_t index)
{
	char head[64];
	int len = snprintf(head, sizeof(head), "*2\r\n$3\r\nGET\r\n$9\r\nd%08x\r\n", index);

	return redis_send(c, head, (size_t)len);
}

static int take_get(struct redis_conn *c, uint32_t index)
{
	uint64_t value[VALUE_BYTES / 8];
	const char *line = redis_line(c, deadline_in_ms(TIMEOUT_MS));
	const char *data = NULL;

	if (line && line[0] == '$' && atoi(line + 1) == VALUE_BYTES)
		data = redis_bulk(c, VALUE_BYTES, deadline_in_ms(TIMEOUT_MS));
	make_value(index, value);
	if (data && memcmp(data, value, sizeof(value)) == 0)
		return 0;
	fprintf(stderr, "redis_data: value %u is %s\n", index,
		data ? "not what was stored" : "missing");
	return -1;
}

static int run(struct redis_conn *c, uint32_t count, int (*send_one)(struct redis_conn *, uint32_t),
	       int (*take_one)(struct redis_conn *, uint32_t))
{
	for (uint32_t i = 0; i < count + BATCH; i++) {
		if (i < count && send_one(c, i) < 0) {
			perror("redis_data: send");
			return 1;
		}
		if (i >= BATCH && take_one(c, i - BATCH) < 0)
			return 1;
	}
	return 0;
}

// A batch of values at a time, on an absolute clock; what was missed is not made up for.
static int write_on(struct redis_conn *c, uint32_t count, double rate)
{
	int64_t pause = (int64_t)(BATCH * VALUE_BYTES * 1e3 / rate), tick = clock_now_ns();
	uint32_t index[BATCH], state = 1;

	while (!stop) {
		struct timespec ts;

		for (size_t i = 0; i < BATCH; i++) {
			index[i] = (state = state * 1664525 + 1013904223) % count;
			if (send_set(c, index[i]) < 0) {
				perror("redis_data: send");
				return 1;
			}
		}
		for (size_t i = 0; i < BATCH; i++)
			if (take_set(c, index[i]) < 0)
				return 1;
		tick = tick + pause > clock_now_ns() ? tick + pause : clock_now_ns();
		ts = (struct timespec){tick / 1000000000, tick % 1000000000};
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	}
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: redis_data fill|verify ADDRESS PORT MIB\n"
			"       redis_data write ADDRESS PORT MIB RATE\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct redis_conn c;
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	long mib = argc >= 5 ? atol(argv[4]) : 0;
	double rate = argc == 6 && strcmp(argv[1], "write") == 0 ? atof(argv[5]) : 0;
	uint32_t count = (uint32_t)(mib * (1024 * 1024 / VALUE_BYTES));
	int fill = argc == 5 && strcmp(argv[1], "fill") == 0;

	if (mib < 1 || mib > 1024 * 1024 ||
	    (!fill && rate <= 0 && (argc != 5 || strcmp(argv[1], "verify") != 0)))
		return usage();
	sigaction(SIGTERM, &sa, NULL);
	if (redis_connect(&c, argv[2], argv[3]) < 0) {
		perror("redis_data: connect");
		return 3;
	}
	if (rate > 0)
		return write_on(&c, count, rate);
	return fill ? run(&c, count, send_set, take_set) : run(&c, count, send_get, take_get);
}
