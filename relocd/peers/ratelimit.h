// SPDX-License-Identifier: Apache-2.0
// How often one source may begin a connection: a bucket of tokens for each IPv4 address or IPv6
// /64, in a table of fixed size (the source that was quiet longest makes room).
#ifndef RELOCD_RATELIMIT_H
#define RELOCD_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define RATELIMIT_SOURCES 256
#define RATELIMIT_BURST   100 // connections at once
#define RATELIMIT_RATE    25  // more of them a second

// What counts as one source.
struct ratelimit_source {
	uint64_t prefix; // IPv6: the first 64 bits; IPv4, mapped ones too: the address
	bool ip6;
};

struct ratelimit_bucket {
	struct ratelimit_source source;
	int64_t seen_ns; // 0: free
	double tokens;
};

struct ratelimit {
	struct ratelimit_bucket buckets[RATELIMIT_SOURCES];
};

struct ratelimit_source ratelimit_source_of(const struct sockaddr_storage *address);
bool ratelimit_same(struct ratelimit_source a, struct ratelimit_source b);
// Takes a token at the moment now_ns (clock_now_ns); false: there is none.
bool ratelimit_take(struct ratelimit *limit, struct ratelimit_source source, int64_t now_ns);

#endif
