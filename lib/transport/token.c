// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/token.h"

#include "lib/base/cleanup.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#define PREFIX "wpar1."

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// base64url without padding (RFC 4648 section 5); OpenSSL has only the padded classic form.
static size_t base64url_put(char *text, const uint8_t *bytes, size_t length)
{
	size_t n = 0;
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < length; i++) {
		bits = bits << 8 | bytes[i];
		for (have += 8; have >= 6; have -= 6)
			text[n++] = alphabet[bits >> (have - 6) & 63];
	}
	if (have)
		text[n++] = alphabet[bits << (6 - have) & 63];
	text[n] = 0;
	return n;
}

// Returns the length, or -1 for a foreign character, a text that is too long, or one that no
// encoder writes (left-over bits).
static ssize_t base64url_get(const char *text, uint8_t *bytes, size_t room)
{
	size_t n = 0;
	uint32_t bits = 0;
	unsigned have = 0;
	for (; *text; text++) {
		const char *at = strchr(alphabet, *text);
		if (!at)
			return -1;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		have += 6;
		if (have < 8)
			continue;
		if (n == room)
			return -1;
		have -= 8;
		bytes[n++] = (uint8_t)(bits >> have);
	}
	return have >= 6 || bits & ((1U << have) - 1) ? -1 : (ssize_t)n;
}

static bool is_hex(const char *text, size_t length)
{
	return strlen(text) == length && strspn(text, "0123456789abcdef") == length;
}

static int check(const struct token *token, struct error *err)
{
	if (pki_name_check(token->name, NULL) < 0 || pki_name_check(token->host, NULL) < 0 ||
	    !token->address[0] || !is_hex(token->ca, PKI_FINGERPRINT_MAX - 1))
		return error_set(err, ERR_TOKEN, "the token is damaged");
	return 0;
}

int token_make(struct token *token, const char *name, const char *host, const char *address,
	       const char *fingerprint, struct error *err)
{
	memset(token, 0, sizeof(*token));
	if (strlen(name) >= sizeof(token->name) || strlen(host) >= sizeof(token->host) ||
	    strlen(address) >= sizeof(token->address) || strlen(fingerprint) >= sizeof(token->ca))
		return error_set(err, ERR_TOKEN, "a token cannot hold a name or address this long");
	strcpy(token->name, name);
	strcpy(token->host, host);
	strcpy(token->address, address);
	strcpy(token->ca, fingerprint);
	if (RAND_priv_bytes(token->secret, sizeof(token->secret)) != 1)
		return error_set(err, ERR_SYSTEM, "no random bytes for a token");
	return check(token, err);
}

int token_encode(const struct token *token, char text[TOKEN_TEXT_MAX], struct error *err)
{
	char secret[TOKEN_SECRET * 2];
	base64url_put(secret, token->secret, sizeof(token->secret));
	_cleanup_json_ json_t *json =
		json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", token->name, "host", token->host,
			  "address", token->address, "ca", token->ca, "secret", secret);
	_cleanup_free_ char *plain = json ? json_dumps(json, JSON_COMPACT) : NULL;
	size_t room = TOKEN_TEXT_MAX - sizeof(PREFIX);
	if (!plain || strlen(plain) > room / 4 * 3)
		return error_set(err, ERR_TOKEN, "the token cannot be encoded");
	strcpy(text, PREFIX);
	base64url_put(text + strlen(PREFIX), (const uint8_t *)plain, strlen(plain));
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(plain, strlen(plain));
	return 0;
}

static bool take_text(const json_t *json, const char *key, char *to, size_t room)
{
	const json_t *value = json_object_get(json, key);
	const char *text = json_string_value(value);
	// Equal lengths: no NUL character inside.
	if (!text || strlen(text) >= room || strlen(text) != json_string_length(value))
		return false;
	memcpy(to, text, strlen(text) + 1);
	return true;
}

static bool take_fields(const json_t *json, struct token *token)
{
	char secret[TOKEN_SECRET * 2];
	uint8_t bytes[TOKEN_SECRET];
	bool taken = json_object_size(json) == 5 &&
		     take_text(json, "name", token->name, sizeof(token->name)) &&
		     take_text(json, "host", token->host, sizeof(token->host)) &&
		     take_text(json, "address", token->address, sizeof(token->address)) &&
		     take_text(json, "ca", token->ca, sizeof(token->ca)) &&
		     take_text(json, "secret", secret, sizeof(secret)) &&
		     base64url_get(secret, bytes, sizeof(bytes)) == TOKEN_SECRET;
	if (taken)
		memcpy(token->secret, bytes, sizeof(bytes));
	return taken;
}

int token_decode(const char *text, struct token *token, struct error *err)
{
	memset(token, 0, sizeof(*token));
	if (strnlen(text, TOKEN_TEXT_MAX) >= TOKEN_TEXT_MAX ||
	    strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return error_set(err, ERR_TOKEN, "this is not a token (%s...)", PREFIX);
	uint8_t plain[TOKEN_TEXT_MAX];
	ssize_t length = base64url_get(text + strlen(PREFIX), plain, sizeof(plain));
	_cleanup_json_ json_t *json =
		length > 0 ? json_loadb((const char *)plain, (size_t)length,
					JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL)
			   : NULL;
	if (!json || !take_fields(json, token))
		return error_set(err, ERR_TOKEN, "the token is damaged");
	return check(token, err);
}

void token_digest(const struct token *token, char text[TOKEN_DIGEST_MAX])
{
	uint8_t digest[EVP_MAX_MD_SIZE] = {0};
	unsigned length = 0;
	text[0] = 0;
	if (!EVP_Digest(token->secret, sizeof(token->secret), digest, &length, EVP_sha256(), NULL))
		return; // matches nothing
	for (unsigned i = 0; i < length; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

bool token_matches(const struct token *token, const char *digest)
{
	char own[TOKEN_DIGEST_MAX];
	token_digest(token, own);
	return is_hex(digest, TOKEN_DIGEST_MAX - 1) && is_hex(own, TOKEN_DIGEST_MAX - 1) &&
	       CRYPTO_memcmp(own, digest, TOKEN_DIGEST_MAX - 1) == 0;
}
