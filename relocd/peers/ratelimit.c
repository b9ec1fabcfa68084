// SPDX-License-Identifier: Apache-2.0
#include "relocd/peers/ratelimit.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

struct ratelimit_source ratelimit_source_of(const struct sockaddr_storage *address)
{
	struct ratelimit_source source = {0};
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	if (address->ss_family == AF_INET) {
		source.prefix = four->sin_addr.s_addr;
	} else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		source.prefix = six->sin6_addr.s6_addr32[3];
	} else {
		source.ip6 = true;
		memcpy(&source.prefix, &six->sin6_addr, sizeof(source.prefix));
	}
	return source;
}

bool ratelimit_same(struct ratelimit_source a, struct ratelimit_source b)
{
	return a.prefix == b.prefix && a.ip6 == b.ip6;
}

static struct ratelimit_bucket *find(struct ratelimit *limit, struct ratelimit_source source)
{
	struct ratelimit_bucket *quietest = &limit->buckets[0];
	for (size_t i = 0; i < RATELIMIT_SOURCES; i++) {
		struct ratelimit_bucket *b = &limit->buckets[i];
		if (b->seen_ns && ratelimit_same(b->source, source))
			return b;
		if (b->seen_ns < quietest->seen_ns)
			quietest = b;
	}
	*quietest = (struct ratelimit_bucket){.source = source, .tokens = RATELIMIT_BURST};
	return quietest;
}

bool ratelimit_take(struct ratelimit *limit, struct ratelimit_source source, int64_t now_ns)
{
	struct ratelimit_bucket *b = find(limit, source);
	if (b->seen_ns)
		b->tokens += (double)(now_ns - b->seen_ns) / 1e9 * RATELIMIT_RATE;
	if (b->tokens > RATELIMIT_BURST)
		b->tokens = RATELIMIT_BURST;
	b->seen_ns = now_ns;
	if (b->tokens < 1)
		return false;
	b->tokens -= 1;
	return true;
}
