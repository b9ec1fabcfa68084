// SPDX-License-Identifier: Apache-2.0
// What comes from the network behind a handshake: records of TLS, of which none is by our key; and
// content of any length and type, which must come out as it went in.
#include "lib/transport/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool fact)
{
	if (!fact)
		abort();
}

static struct record_key *key_of(bool sending)
{
	static const uint8_t secret[32] = {7};
	static SSL *ssl;
	if (!ssl)
		ssl = SSL_new(SSL_CTX_new(TLS_client_method()));
	const SSL_CIPHER *suite = SSL_CIPHER_find(ssl, (const unsigned char *)"\x13\x01");
	struct record_key *key = record_key_new(suite, secret, sizeof(secret), sending, NULL);
	demand(key);
	return key;
}

static void try_strangers(struct record_key *from, const uint8_t *data, size_t size)
{
	uint8_t type;
	ssize_t length = record_length(data, size, NULL);
	demand(length <= RECORD_MAX);
	if (length <= 0 || (size_t)length > size)
		return;
	uint8_t *record = malloc((size_t)length), *out = malloc(record_room((size_t)length) + 1);
	memcpy(record, data, (size_t)length);
	demand(record_open(from, record, (size_t)length, out, &type, NULL) == -1);
	free(record);
	free(out);
}

static void try_ours(struct record_key *to, struct record_key *from, const uint8_t *data,
		     size_t size)
{
	uint8_t type;
	if (size == 0 || size - 1 > RECORD_CONTENT_MAX || data[0] == 0)
		return;
	const size_t content = size - 1, length = content + RECORD_OVERHEAD;
	uint8_t *record = malloc(length), *out = malloc(content + 1);
	demand(record_seal(to, (enum record_type)data[0], data + 1, content, record, NULL) == 0);
	demand(record_length(record, length, NULL) == (ssize_t)length);
	demand(record_open(from, record, length, out, &type, NULL) == (ssize_t)content);
	demand(type == data[0] && memcmp(out, data + 1, content) == 0);
	free(record);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_key *to = key_of(true), *from = key_of(false);
	try_ours(to, from, data, size);
	try_strangers(from, data, size);
	record_key_free(to);
	record_key_free(from);
	return 0;
}
