// SPDX-License-Identifier: Apache-2.0
#include "relocd/peers/bulk.h"

#include "relocd/supervisor/moves.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

static int secret(const uint8_t **bytes, struct error *err)
{
	static uint8_t made[32];
	static bool have;
	if (!have && RAND_bytes(made, sizeof(made)) != 1)
		return error_set(err, ERR_SYSTEM, "no random numbers");
	have = true;
	*bytes = made;
	return 0;
}

int bulk_token(const char *move, uint64_t epoch, uint8_t token[WIRE_TOKEN], struct error *err)
{
	uint8_t text[64] = {0}, digest[32];
	const uint64_t number = htole64(epoch);
	const uint8_t *key;
	size_t length = strnlen(move, sizeof(text) - sizeof(number));
	if (secret(&key, err) < 0)
		return -1;
	memcpy(text, &number, sizeof(number));
	memcpy(text + sizeof(number), move, length);
	if (!HMAC(EVP_sha256(), key, 32, text, sizeof(text), digest, NULL))
		return error_set(err, ERR_INTERNAL, "OpenSSL makes no token");
	memcpy(token, digest, WIRE_TOKEN);
	return 0;
}

int bulk_hand_over(struct daemon *d, int sock, const uint8_t token[WIRE_TOKEN], struct error *err)
{
	struct move *of = NULL;
	for (struct move *m = d->moves; m; m = m->next) {
		uint8_t mine[WIRE_TOKEN];
		if (!m->incoming || m->finished || !m->worker)
			continue;
		if (bulk_token(m->row.id, m->row.epoch, mine, err) < 0)
			return -1;
		if (CRYPTO_memcmp(mine, token, WIRE_TOKEN) == 0)
			of = m;
	}
	if (!of)
		return error_set(err, ERR_DENIED, "its token is of no move that arrives here");
	return worker_send_fd(of->worker, json_pack("{s:s}", "op", "bulk"), sock, err);
}
