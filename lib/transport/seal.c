// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/seal.h"

#include "lib/base/cleanup.h"
#include "lib/transport/cert.h"

#include <endian.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#define PUBLIC 32
#define KEY    32
#define HASH   32
#define NONCE  12 // type and number: never the same twice with one key

// What a host's key signs begins with one of these; nothing else that it signs does.
static const char context_server[] = "wpar seal 1, accepting side";
static const char context_client[] = "wpar seal 1, connecting side";

struct seal {
	bool server;
	int step; // messages of the three that have passed
	EVP_PKEY *ephemeral, *host_key;
	X509 *host;
	X509_STORE *trusted;
	uint8_t theirs[PUBLIC];
	EVP_MD_CTX *transcript;
	char peer[PKI_NAME_MAX + 1];
	char peer_key[PKI_FINGERPRINT_MAX];
	uint8_t key_out[KEY], key_in[KEY];
	EVP_CIPHER_CTX *data_out, *data_in;
	uint64_t sent, received;
};

static int broken(struct error *err)
{
	ERR_clear_error();
	return error_set(err, ERR_INTERNAL, "OpenSSL cannot seal a connection");
}

// ---- opening ------------------------------------------------------------------------------------

static int load(struct seal *s, const struct link_tls *tls, struct error *err)
{
	s->trusted = X509_STORE_new();
	// Two, while the CA is being renewed.
	if (!s->trusted || !tls->ca || X509_STORE_load_file(s->trusted, tls->ca) != 1)
		return cert_error(err, "cannot use %s as the cluster's CA",
				  tls->ca ? tls->ca : "(none)");
	return cert_load_pair(tls->cert ? tls->cert : "(none)", tls->key ? tls->key : "(none)",
			      &s->host, &s->host_key, err);
}

struct seal *seal_open(bool server, const struct link_tls *tls, struct error *err)
{
	struct seal *s = calloc(1, sizeof(*s));
	if (!s) {
		error_set(err, ERR_NOMEM, "no memory for a connection");
		return NULL;
	}
	s->server = server;
	if (load(s, tls, err) == 0) {
		s->ephemeral = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
		s->transcript = EVP_MD_CTX_new();
		if (s->ephemeral && s->transcript &&
		    EVP_DigestInit_ex(s->transcript, EVP_sha256(), NULL))
			return s;
		broken(err);
	}
	seal_close(s);
	return NULL;
}

void seal_close(struct seal *s)
{
	if (!s)
		return;
	EVP_PKEY_free(s->ephemeral);
	EVP_PKEY_free(s->host_key);
	X509_free(s->host);
	X509_STORE_free(s->trusted);
	EVP_MD_CTX_free(s->transcript);
	EVP_CIPHER_CTX_free(s->data_out);
	EVP_CIPHER_CTX_free(s->data_in);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}

// ---- the transcript -----------------------------------------------------------------------------

static int note(struct seal *s, const void *bytes, size_t length, struct error *err)
{
	return EVP_DigestUpdate(s->transcript, bytes, length) ? 0 : broken(err);
}

static int hash_now(const struct seal *s, uint8_t hash[HASH], struct error *err)
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	int done = copy && EVP_MD_CTX_copy_ex(copy, s->transcript) &&
		   EVP_DigestFinal_ex(copy, hash, NULL);
	EVP_MD_CTX_free(copy);
	return done ? 0 : broken(err);
}

// What the signature of a side covers: its context and all that passed up to its certificate.
static int to_be_signed(const struct seal *s, bool server, struct buf *out, struct error *err)
{
	uint8_t hash[HASH];
	const char *context = server ? context_server : context_client;
	if (hash_now(s, hash, err) < 0 || buf_append(out, context, strlen(context) + 1, err) < 0)
		return -1;
	return buf_append(out, hash, sizeof(hash), err);
}

// ---- what we say --------------------------------------------------------------------------------

static int put_public(struct seal *s, struct buf *out, struct error *err)
{
	uint8_t public[PUBLIC];
	size_t length = sizeof(public);
	if (!EVP_PKEY_get_raw_public_key(s->ephemeral, public, &length))
		return broken(err);
	if (note(s, public, sizeof(public), err) < 0)
		return -1;
	return buf_append(out, public, sizeof(public), err);
}

static int put_block(struct buf *out, const void *bytes, size_t length, struct error *err)
{
	uint16_t size = htole16((uint16_t)length);
	return buf_append(out, &size, sizeof(size), err) < 0 ? -1
							     : buf_append(out, bytes, length, err);
}

static int put_certificate(struct seal *s, struct buf *out, struct error *err)
{
	unsigned char *der = NULL;
	int length = i2d_X509(s->host, &der);
	if (length <= 0)
		return broken(err);
	int done = note(s, der, (size_t)length, err);
	if (done == 0)
		done = put_block(out, der, (size_t)length, err);
	OPENSSL_free(der);
	return done;
}

static int put_signature(struct seal *s, struct buf *out, struct error *err)
{
	_cleanup_buf_ struct buf text = BUF_INIT(256);
	uint8_t signature[256];
	size_t length = sizeof(signature);
	if (to_be_signed(s, s->server, &text, err) < 0)
		return -1;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int done = context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, s->host_key) &&
		   EVP_DigestSign(context, signature, &length, text.data, text.length);
	EVP_MD_CTX_free(context);
	if (!done)
		return broken(err);
	if (note(s, signature, length, err) < 0)
		return -1;
	return put_block(out, signature, length, err);
}

// ---- what we hear -------------------------------------------------------------------------------

struct reader {
	const uint8_t *at;
	size_t left;
};

static const uint8_t *take(struct reader *r, size_t length)
{
	const uint8_t *at = r->at;
	if (length > r->left)
		return NULL;
	r->at += length;
	r->left -= length;
	return at;
}

static const uint8_t *take_block(struct reader *r, size_t *length)
{
	uint16_t size;
	const uint8_t *head = take(r, sizeof(size));
	if (!head)
		return NULL;
	memcpy(&size, head, sizeof(size));
	*length = le16toh(size);
	return take(r, *length);
}

static int malformed(struct error *err)
{
	ERR_clear_error();
	return error_set(err, ERR_PROTOCOL, "SEAL is malformed");
}

static int take_public(struct seal *s, struct reader *r, struct error *err)
{
	const uint8_t *public = take(r, PUBLIC);
	if (!public)
		return malformed(err);
	memcpy(s->theirs, public, PUBLIC);
	return note(s, public, PUBLIC, err);
}

static int verify_certificate(struct seal *s, X509 *cert, struct error *err)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int verified = context && X509_STORE_CTX_init(context, s->trusted, cert, NULL) &&
		       X509_verify_cert(context) == 1;
	int why = context ? X509_STORE_CTX_get_error(context) : X509_V_ERR_OUT_OF_MEM;
	if (!verified)
		cert_refusal(err, why ? why : X509_V_ERR_UNSPECIFIED, cert,
			     context ? X509_STORE_CTX_get_current_cert(context) : NULL);
	X509_STORE_CTX_free(context);
	ERR_clear_error();
	if (!verified || cert_name(cert, s->peer, err) < 0)
		return -1;
	return cert_key_fingerprint(cert, s->peer_key) < 0 ? broken(err) : 0;
}

static int verify_signature(X509 *cert, const struct buf *text, const uint8_t *signature,
			    size_t length, struct error *err)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int good = context &&
		   EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL,
					X509_get0_pubkey(cert)) == 1 &&
		   EVP_DigestVerify(context, signature, length, text->data, text->length) == 1;
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return good ? 0
		    : error_set(err, ERR_PEER_UNTRUSTED,
				"its host's key has not sealed this connection");
}

static int take_signature(struct seal *s, struct reader *r, X509 *cert, struct error *err)
{
	_cleanup_buf_ struct buf text = BUF_INIT(256);
	size_t length = 0;
	if (to_be_signed(s, !s->server, &text, err) < 0)
		return -1;
	const uint8_t *signature = take_block(r, &length);
	if (!signature || r->left)
		return malformed(err);
	if (verify_signature(cert, &text, signature, length, err) < 0)
		return -1;
	return note(s, signature, length, err);
}

static int take_identity(struct seal *s, struct reader *r, struct error *err)
{
	size_t length = 0;
	const uint8_t *der = take_block(r, &length), *at = der;
	X509 *cert = der ? d2i_X509(NULL, &at, (long)length) : NULL;
	int done = -1;
	if (!cert || at != der + length)
		malformed(err);
	else if (note(s, der, length, err) == 0 && verify_certificate(s, cert, err) == 0)
		done = take_signature(s, r, cert, err);
	X509_free(cert);
	return done;
}

// ---- the keys -----------------------------------------------------------------------------------

static int agree(struct seal *s, uint8_t secret[PUBLIC])
{
	EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, s->theirs, PUBLIC);
	EVP_PKEY_CTX *context = theirs ? EVP_PKEY_CTX_new(s->ephemeral, NULL) : NULL;
	size_t length = PUBLIC;
	// OpenSSL refuses a key of small order: the secret would be zero.
	int done = context && EVP_PKEY_derive_init(context) == 1 &&
		   EVP_PKEY_derive_set_peer(context, theirs) == 1 &&
		   EVP_PKEY_derive(context, secret, &length) == 1 && length == PUBLIC;
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(theirs);
	return done;
}

static int expand(const uint8_t secret[PUBLIC], const uint8_t salt[HASH], const char *label,
		  uint8_t key[KEY])
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, "SHA256", 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, PUBLIC),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, HASH),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)label,
						  strlen(label)),
		OSSL_PARAM_END,
	};
	int done = context && EVP_KDF_derive(context, key, KEY, params) == 1;
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	return done;
}

static EVP_CIPHER_CTX *make_data_key(const uint8_t secret[PUBLIC], const uint8_t salt[HASH],
				     const char *label)
{
	uint8_t key[KEY];
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int done = context && expand(secret, salt, label, key) &&
		   EVP_EncryptInit_ex(context, EVP_chacha20_poly1305(), NULL, key, NULL);
	OPENSSL_cleanse(key, sizeof(key));
	if (!done) {
		EVP_CIPHER_CTX_free(context);
		context = NULL;
	}
	return context;
}

static int make_keys(struct seal *s, struct error *err)
{
	uint8_t secret[PUBLIC], salt[HASH];
	if (hash_now(s, salt, err) < 0)
		return -1;
	int done = agree(s, secret) &&
		   expand(secret, salt, "connecting", s->server ? s->key_in : s->key_out) &&
		   expand(secret, salt, "accepting", s->server ? s->key_out : s->key_in);
	EVP_CIPHER_CTX **connecting = s->server ? &s->data_in : &s->data_out;
	EVP_CIPHER_CTX **accepting = s->server ? &s->data_out : &s->data_in;
	if (done) {
		*connecting = make_data_key(secret, salt, "connecting, data");
		*accepting = make_data_key(secret, salt, "accepting, data");
		done = *connecting && *accepting;
	}
	OPENSSL_cleanse(secret, sizeof(secret));
	return done ? 0 : malformed(err);
}

// ---- the three steps ----------------------------------------------------------------------------

static bool our_turn(const struct seal *s)
{
	return s->step < 3 && s->server == (s->step == 1);
}

int seal_say(struct seal *s, struct buf *out, struct error *err)
{
	if (!our_turn(s))
		return 0;
	if (s->step < 2 && put_public(s, out, err) < 0)
		return -1;
	if (s->step > 0 && (put_certificate(s, out, err) < 0 || put_signature(s, out, err) < 0))
		return -1;
	if (++s->step == 3 && make_keys(s, err) < 0)
		return -1;
	return 1;
}

int seal_hear(struct seal *s, const uint8_t *bytes, size_t length, struct error *err)
{
	struct reader r = {bytes, length};
	if (s->step == 3 || our_turn(s))
		return error_set(err, ERR_PROTOCOL, "SEAL is not due");
	if (s->step < 2 && take_public(s, &r, err) < 0)
		return -1;
	if (s->step > 0 && take_identity(s, &r, err) < 0)
		return -1;
	if (r.left)
		return malformed(err);
	return ++s->step == 3 ? make_keys(s, err) : 0;
}

const char *seal_peer_key(const struct seal *s)
{
	return s->peer_key;
}

const char *seal_peer(const struct seal *s)
{
	return s->step == 3 ? s->peer : NULL;
}

// ---- messages -----------------------------------------------------------------------------------

static int tag_of(const uint8_t key[KEY], uint64_t number, uint16_t type, const void *payload,
		  size_t length, uint8_t tag[SEAL_TAG])
{
	const uint64_t n = htole64(number);
	const uint16_t t = htole16(type);
	uint8_t full[HASH], head[sizeof(n) + sizeof(t)];
	size_t size = 0;
	memcpy(head, &n, sizeof(n));
	memcpy(head + sizeof(n), &t, sizeof(t));
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
		OSSL_PARAM_END,
	};
	int done = context && EVP_MAC_init(context, key, KEY, params) &&
		   EVP_MAC_update(context, head, sizeof(head)) &&
		   EVP_MAC_update(context, payload, length) &&
		   EVP_MAC_final(context, full, &size, sizeof(full));
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(mac);
	memcpy(tag, full, SEAL_TAG);
	return done;
}

int seal_put(struct seal *s, uint16_t type, const void *payload, size_t length,
	     uint8_t tag[SEAL_TAG], struct error *err)
{
	return tag_of(s->key_out, s->sent++, type, payload, length, tag) ? 0 : broken(err);
}

static ssize_t wrong(uint16_t type, struct error *err)
{
	return error_set(err, ERR_PROTOCOL,
			 "%s was changed, repeated or lost on its way: its seal is wrong",
			 wire_name(type));
}

ssize_t seal_check(struct seal *s, uint16_t type, const uint8_t *message, size_t length,
		   struct error *err)
{
	uint8_t tag[SEAL_TAG];
	size_t payload = length - SEAL_TAG;
	if (length < SEAL_TAG || !tag_of(s->key_in, s->received, type, message, payload, tag) ||
	    CRYPTO_memcmp(tag, message + payload, SEAL_TAG) != 0)
		return wrong(type, err);
	s->received++;
	return (ssize_t)payload;
}

// ---- data messages ------------------------------------------------------------------------------

// There is nothing to encrypt: the payload is only authenticated.
static int data_tag_of(EVP_CIPHER_CTX *context, uint64_t number, uint16_t type, const void *payload,
		       size_t length, uint8_t tag[SEAL_TAG])
{
	const uint64_t n = htole64(number);
	const uint32_t t = htole32(type);
	uint8_t nonce[NONCE], none[1];
	int written = 0;
	memcpy(nonce, &t, sizeof(t));
	memcpy(nonce + sizeof(t), &n, sizeof(n));
	return EVP_EncryptInit_ex(context, NULL, NULL, NULL, nonce) &&
	       (length == 0 || EVP_EncryptUpdate(context, NULL, &written, payload, (int)length)) &&
	       EVP_EncryptFinal_ex(context, none, &written) &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, tag);
}

int seal_put_data(struct seal *s, uint16_t type, const void *payload, size_t length,
		  uint8_t tag[SEAL_TAG], struct error *err)
{
	return data_tag_of(s->data_out, s->sent++, type, payload, length, tag) ? 0 : broken(err);
}

uint64_t seal_count(struct seal *s)
{
	return s->received++;
}

ssize_t seal_check_data(struct seal *s, uint64_t number, uint16_t type, const uint8_t *message,
			size_t length, struct error *err)
{
	uint8_t tag[SEAL_TAG];
	size_t payload = length - SEAL_TAG;
	if (length < SEAL_TAG || !data_tag_of(s->data_in, number, type, message, payload, tag) ||
	    CRYPTO_memcmp(tag, message + payload, SEAL_TAG) != 0)
		return wrong(type, err);
	return (ssize_t)payload;
}
