// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/record.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdlib.h>
#include <string.h>

#define TAG   16
#define NONCE 12

struct record_key {
	const EVP_CIPHER *cipher;
	const EVP_MD *digest;
	bool sending;
	EVP_CIPHER_CTX *context;
	uint8_t secret[RECORD_SECRET_MAX];
	uint8_t iv[NONCE];
	uint64_t count; // the next record's number
};

static int broken(struct error *err)
{
	ERR_clear_error();
	return error_set(err, ERR_INTERNAL, "OpenSSL cannot make records of TLS");
}

// ---- keys ---------------------------------------------------------------------------------------

static size_t digest_size(const struct record_key *key)
{
	return (size_t)EVP_MD_get_size(key->digest);
}

// HKDF-Expand-Label of RFC 8446, 7.1, without context.
static int expand(const struct record_key *key, const char *label, uint8_t *out, size_t length)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
						 (char *)EVP_MD_get0_name(key->digest), 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key->secret,
						  digest_size(key)),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)"tls13 ", 6),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)label,
						  strlen(label)),
		OSSL_PARAM_END,
	};
	int done = context && EVP_KDF_derive(context, out, length, params) == 1;
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	return done;
}

static int use_secret(struct record_key *key, struct error *err)
{
	uint8_t bytes[EVP_MAX_KEY_LENGTH];
	int done = expand(key, "key", bytes, (size_t)EVP_CIPHER_get_key_length(key->cipher)) &&
		   expand(key, "iv", key->iv, NONCE) &&
		   EVP_CipherInit_ex(key->context, key->cipher, NULL, bytes, NULL, key->sending);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	key->count = 0;
	return done ? 0 : broken(err);
}

struct record_key *record_key_new(const SSL_CIPHER *suite, const uint8_t *secret, size_t length,
				  bool sending, struct error *err)
{
	struct record_key *key = calloc(1, sizeof(*key));
	if (!key) {
		error_set(err, ERR_NOMEM, "no memory for TLS");
		return NULL;
	}
	key->sending = sending;
	key->cipher = suite ? EVP_get_cipherbynid(SSL_CIPHER_get_cipher_nid(suite)) : NULL;
	key->digest = suite ? SSL_CIPHER_get_handshake_digest(suite) : NULL;
	key->context = EVP_CIPHER_CTX_new();
	if (!key->cipher || EVP_CIPHER_get_iv_length(key->cipher) != NONCE || !key->digest ||
	    digest_size(key) != length || length > sizeof(key->secret) || !key->context) {
		broken(err);
	} else {
		memcpy(key->secret, secret, length);
		if (use_secret(key, err) == 0)
			return key;
	}
	record_key_free(key);
	return NULL;
}

void record_key_free(struct record_key *key)
{
	if (!key)
		return;
	EVP_CIPHER_CTX_free(key->context);
	OPENSSL_cleanse(key, sizeof(*key));
	free(key);
}

int record_key_update(struct record_key *key, struct error *err)
{
	uint8_t next[RECORD_SECRET_MAX];
	int done = expand(key, "traffic upd", next, digest_size(key));
	if (done)
		memcpy(key->secret, next, digest_size(key));
	OPENSSL_cleanse(next, sizeof(next));
	return done ? use_secret(key, err) : broken(err);
}

uint64_t record_count(const struct record_key *key)
{
	return key->count;
}

// Takes a number for good: no nonce comes twice with a key.
static int begin(struct record_key *key, const uint8_t header[RECORD_HEADER])
{
	uint8_t nonce[NONCE];
	int written;
	memcpy(nonce, key->iv, NONCE);
	uint64_t number = key->count++;
	for (int i = NONCE - 1; number; i--, number >>= 8)
		nonce[i] ^= (uint8_t)number;
	return EVP_CipherInit_ex(key->context, NULL, NULL, NULL, nonce, key->sending) &&
	       EVP_CipherUpdate(key->context, NULL, &written, header, RECORD_HEADER);
}

// ---- making -------------------------------------------------------------------------------------

int record_seal(struct record_key *key, enum record_type type, const void *bytes, size_t length,
		uint8_t *out, struct error *err)
{
	const size_t inside = length + 1 + TAG;
	const uint8_t last = (uint8_t)type;
	uint8_t *body = out + RECORD_HEADER;
	int written;
	if (length > RECORD_CONTENT_MAX)
		return broken(err);
	out[0] = RECORD_DATA; // what it is of is inside
	out[1] = 3;
	out[2] = 3;
	out[3] = (uint8_t)(inside >> 8);
	out[4] = (uint8_t)inside;
	int done = begin(key, out) &&
		   (length == 0 ||
		    EVP_CipherUpdate(key->context, body, &written, bytes, (int)length)) &&
		   EVP_CipherUpdate(key->context, body + length, &written, &last, 1) &&
		   EVP_CipherFinal_ex(key->context, body + length + 1, &written) &&
		   EVP_CIPHER_CTX_ctrl(key->context, EVP_CTRL_AEAD_GET_TAG, TAG, body + length + 1);
	return done ? 0 : broken(err);
}

// ---- opening ------------------------------------------------------------------------------------

ssize_t record_length(const uint8_t *bytes, size_t available, struct error *err)
{
	if (available < RECORD_HEADER)
		return 0;
	size_t inside = (size_t)bytes[3] << 8 | bytes[4];
	if (bytes[0] != RECORD_DATA || inside < 1 + TAG || inside > RECORD_MAX - RECORD_HEADER)
		return error_set(err, ERR_PROTOCOL, "TLS failed: a record is malformed");
	return (ssize_t)(RECORD_HEADER + inside);
}

static int decrypt(struct record_key *key, const uint8_t *record, size_t length, uint8_t *out,
		   uint8_t *last)
{
	const size_t content = record_room(length);
	const uint8_t *body = record + RECORD_HEADER;
	uint8_t tag[TAG], none[1];
	int written;
	memcpy(tag, record + length - TAG, TAG);
	return begin(key, record) &&
	       (content == 0 ||
		EVP_CipherUpdate(key->context, out, &written, body, (int)content)) &&
	       EVP_CipherUpdate(key->context, last, &written, body + content, 1) &&
	       EVP_CIPHER_CTX_ctrl(key->context, EVP_CTRL_AEAD_SET_TAG, TAG, tag) &&
	       EVP_CipherFinal_ex(key->context, none, &written) > 0;
}

ssize_t record_open(struct record_key *key, const uint8_t *record, size_t length, uint8_t *out,
		    uint8_t *type, struct error *err)
{
	size_t content = record_room(length);
	*type = 0;
	if (!decrypt(key, record, length, out, type)) {
		ERR_clear_error();
		return error_set(err, ERR_PROTOCOL, "TLS failed: a record was changed on its way");
	}
	// The type is the last byte that is not padding.
	while (!*type && content)
		*type = out[--content];
	if (!*type || content > RECORD_CONTENT_MAX)
		return error_set(err, ERR_PROTOCOL, "TLS failed: a record is malformed");
	return (ssize_t)content;
}
