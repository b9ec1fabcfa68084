// SPDX-License-Identifier: Apache-2.0
#include "images/digest.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

// There is no separate allocation: a digest_ctx is OpenSSL's context under our name.
static EVP_MD_CTX *evp(const struct digest_ctx *c)
{
	return (EVP_MD_CTX *)c;
}

static int failed(struct error *err)
{
	return error_set(err, ERR_INTERNAL, "OpenSSL cannot compute SHA-256");
}

struct digest_ctx *digest_begin(struct error *err)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1)
		return (struct digest_ctx *)c;
	EVP_MD_CTX_free(c);
	failed(err);
	return NULL;
}

int digest_update(struct digest_ctx *c, const void *bytes, size_t length, struct error *err)
{
	return EVP_DigestUpdate(evp(c), bytes, length) == 1 ? 0 : failed(err);
}

int digest_end(struct digest_ctx *c, struct digest *out, struct error *err)
{
	int ok = EVP_DigestFinal_ex(evp(c), out->b, NULL);

	digest_free(c);
	return ok == 1 ? 0 : failed(err);
}

void digest_free(struct digest_ctx *c)
{
	EVP_MD_CTX_free(evp(c));
}

int digest_of(const void *bytes, size_t length, struct digest *out, struct error *err)
{
	struct digest_ctx *c = digest_begin(err);

	if (!c)
		return -1;
	if (digest_update(c, bytes, length, err) < 0) {
		digest_free(c);
		return -1;
	}
	return digest_end(c, out, err);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return CRYPTO_memcmp(a->b, b->b, DIGEST_BYTES) == 0;
}

char *digest_hex(const struct digest *d, char text[DIGEST_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		text[2 * i] = digits[d->b[i] >> 4];
		text[2 * i + 1] = digits[d->b[i] & 15];
	}
	text[DIGEST_TEXT - 1] = 0;
	return text;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool digest_parse(const char *text, struct digest *out)
{
	if (!text || strlen(text) != DIGEST_TEXT - 1)
		return false;
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out->b[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
