// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/tls.h"

#include "lib/base/cleanup.h"
#include "lib/transport/cert.h"
#include "lib/transport/identity.h"
#include "lib/transport/pki.h"
#include "lib/transport/record.h"
#include "lib/transport/wire.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>

// Measured with one stream: AES-128-GCM 1.0 GB/s, AES-256-GCM 0.9; ChaCha20 for CPUs without AES.
#define TLS_CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define TLS_GROUPS  "X25519:P-256"
// A handshake message of an unauthenticated peer: two small certificates.
#define TLS_CHAIN_MAX 16384

_Static_assert(TLS_RECORD_MAX == RECORD_MAX, "a record fits into a pipe");

struct tls {
	SSL_CTX *context;
	SSL *ssl;
	BIO_METHOD *method;
	struct tls_pipe *in, *out;
	bool server, join;
	char expected[PKI_NAME_MAX + 1];
	char fingerprint[PKI_FINGERPRINT_MAX];
	char peer[PKI_NAME_MAX + 1];
	struct error refusal; // why we refuse the peer's certificate

	// From the end of the handshake on records are ours, not libssl's.
	uint8_t secret_in[RECORD_SECRET_MAX], secret_out[RECORD_SECRET_MAX];
	size_t secret_in_length, secret_out_length;
	struct record_key *key_in, *key_out;
	bool update_asked; // by the peer: of the key that we send with
	bool alerted;      // nothing follows what we said last
	struct {
		uint8_t bytes[RECORD_CONTENT_MAX + 256];
		size_t start, end;
	} left;             // of a record that was more than the caller had room for
	struct error ended; // no record comes any more, and why
};

// ---- BIO over the pipes, for the handshake
static int pipe_read(BIO *bio, char *bytes, int room)
{
	struct tls_pipe *in = ((struct tls *)BIO_get_data(bio))->in;
	size_t n = in->end - in->start;
	BIO_clear_retry_flags(bio);
	if (!n && in->ended)
		return 0;
	if (!n) {
		BIO_set_retry_read(bio);
		return -1;
	}
	if (n > (size_t)room)
		n = (size_t)room;
	memcpy(bytes, in->data + in->start, n);
	in->start += n;
	return (int)n;
}

static int pipe_write(BIO *bio, const char *bytes, int length)
{
	struct tls_pipe *out = ((struct tls *)BIO_get_data(bio))->out;
	size_t n = out->room - out->end;
	BIO_clear_retry_flags(bio);
	if (!n) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if (n > (size_t)length)
		n = (size_t)length;
	memcpy(out->data + out->end, bytes, n);
	out->end += n;
	return (int)n;
}

static long pipe_control(BIO *bio, int command, long number, void *pointer)
{
	(void)number;
	(void)pointer;
	const struct tls_pipe *in = ((struct tls *)BIO_get_data(bio))->in;
	if (command == BIO_CTRL_FLUSH)
		return 1;
	return command == BIO_CTRL_EOF && in->ended && in->start == in->end;
}

static BIO *pipe_bio(struct tls *tls)
{
	tls->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wpar pipe");
	if (!tls->method || !BIO_meth_set_read(tls->method, pipe_read) ||
	    !BIO_meth_set_write(tls->method, pipe_write) ||
	    !BIO_meth_set_ctrl(tls->method, pipe_control))
		return NULL;
	BIO *bio = BIO_new(tls->method);
	if (bio) {
		BIO_set_data(bio, tls);
		BIO_set_init(bio, 1);
	}
	return bio;
}

// ---- who the peer is
static int refuse(struct tls *tls, X509_STORE_CTX *context, int why)
{
	X509 *leaf = X509_STORE_CTX_get0_cert(context),
	     *at = X509_STORE_CTX_get_current_cert(context);
	if (!error_is_set(&tls->refusal))
		cert_refusal(&tls->refusal, why, leaf, at);
	X509_STORE_CTX_set_error(context, why);
	return 0;
}

// In a join the client knows the CA by fingerprint only; the server sends it along.
static X509 *find_authority(X509_STORE_CTX *context, const char *fingerprint)
{
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(context);
	for (int i = 0; i < sk_X509_num(sent); i++) {
		char text[PKI_FINGERPRINT_MAX];
		X509 *candidate = sk_X509_value(sent, i);
		if (cert_fingerprint(candidate, text) == 0 && !strcmp(text, fingerprint))
			return candidate;
	}
	return NULL;
}

static int verify_chain(struct tls *tls, X509_STORE_CTX *context)
{
	if (!tls->fingerprint[0])
		return X509_verify_cert(context);
	X509 *authority = find_authority(context, tls->fingerprint);
	if (!authority) {
		X509_STORE_CTX_set_error(context, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
		return 0;
	}
	STACK_OF(X509) *trusted = sk_X509_new_null();
	int verified = 0;
	if (trusted && sk_X509_push(trusted, authority)) {
		X509_STORE_CTX_set0_trusted_stack(context, trusted);
		verified = X509_verify_cert(context);
	}
	sk_X509_free(trusted);
	return verified;
}

// Replaces OpenSSL's own verification, so that a wrong name fails the handshake itself and the
// peer gets an alert.
static int verify(X509_STORE_CTX *context, void *argument)
{
	struct tls *tls = argument;
	X509 *leaf = X509_STORE_CTX_get0_cert(context);
	X509 *host = identity_host(leaf, X509_STORE_CTX_get0_untrusted(context));
	int vouched = identity_vouched(leaf, host);
	// From here on it is about the host: its certificate must be the cluster's.
	X509_STORE_CTX_set_cert(context, host);
	if (vouched != X509_V_OK)
		return refuse(tls, context, vouched);
	if (verify_chain(tls, context) <= 0) {
		int why = X509_STORE_CTX_get_error(context);
		return refuse(tls, context, why == X509_V_OK ? X509_V_ERR_UNSPECIFIED : why);
	}
	if (cert_name(X509_STORE_CTX_get0_cert(context), tls->peer, &tls->refusal) < 0)
		return refuse(tls, context, X509_V_ERR_HOSTNAME_MISMATCH);
	if (tls->expected[0] && strcmp(tls->expected, tls->peer) != 0) {
		error_set(&tls->refusal, ERR_PEER_UNTRUSTED,
			  "its certificate is that of host %s, expected was %s", tls->peer,
			  tls->expected);
		return refuse(tls, context, X509_V_ERR_HOSTNAME_MISMATCH);
	}
	return 1;
}

// ---- secrets of the two directions
static void take_secret(const char *hex, uint8_t secret[RECORD_SECRET_MAX], size_t *length)
{
	size_t n = 0;
	if (OPENSSL_hexstr2buf_ex(secret, RECORD_SECRET_MAX, &n, hex, 0))
		*length = n;
}

// "LABEL RANDOM SECRET": the one way by which libssl tells them.
static void hear_secret(const SSL *ssl, const char *line)
{
	struct tls *tls = SSL_get_app_data(ssl);
	const char *secret = strrchr(line, ' ');
	const bool client = !strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24);
	if (!secret || (!client && strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) != 0))
		return;
	if (client == tls->server)
		take_secret(secret + 1, tls->secret_in, &tls->secret_in_length);
	else
		take_secret(secret + 1, tls->secret_out, &tls->secret_out_length);
}

static void forget_secrets(struct tls *tls)
{
	OPENSSL_cleanse(tls->secret_in, sizeof(tls->secret_in));
	OPENSSL_cleanse(tls->secret_out, sizeof(tls->secret_out));
}

// ---- set-up
static const unsigned char alpn[] = "\x06" WIRE_ALPN;

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *length,
		       const unsigned char *in, unsigned in_length, void *argument)
{
	(void)ssl;
	(void)argument;
	unsigned char *chosen;
	if (SSL_select_next_proto(&chosen, length, alpn, sizeof(alpn) - 1, in, in_length) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int set_policy(SSL_CTX *c, struct error *err)
{
	SSL_CTX_set_security_level(c, 2);
	SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
				       SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(c, SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_max_cert_list(c, TLS_CHAIN_MAX);
	SSL_CTX_set_alpn_select_cb(c, select_alpn, NULL);
	SSL_CTX_set_keylog_callback(c, hear_secret);
	if (!SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) ||
	    !SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(c, TLS_CIPHERS) || !SSL_CTX_set1_groups_list(c, TLS_GROUPS) ||
	    !SSL_CTX_set_num_tickets(c, 0) ||
	    SSL_CTX_set_alpn_protos(c, alpn, sizeof(alpn) - 1) != 0)
		return error_set(err, ERR_INTERNAL, "OpenSSL does not do TLS 1.3 as asked");
	return 0;
}

static int take_authority(SSL_CTX *c, const char *text, struct error *err)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	X509 *authority;
	int added = 0, failed = 0;
	while (bio && !failed && (authority = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		failed = !X509_STORE_add_cert(SSL_CTX_get_cert_store(c), authority);
		X509_free(authority);
		added++;
	}
	BIO_free(bio);
	if (failed || !added)
		return cert_error(err, "cannot use the cluster's CA");
	ERR_clear_error(); // the end of the text
	return 0;
}

static int take_key(SSL_CTX *c, const char *text, struct error *err)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, "") : NULL;
	int taken = key && SSL_CTX_use_PrivateKey(c, key) == 1 && SSL_CTX_check_private_key(c) == 1;
	EVP_PKEY_free(key);
	BIO_free(bio);
	return taken ? 0 : cert_error(err, "cannot use the key of a connection");
}

static int take_chain(SSL_CTX *c, const char *text, struct error *err)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	int taken = cert && SSL_CTX_use_certificate(c, cert) == 1;
	while (taken) {
		X509_free(cert);
		cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		if (!cert)
			break;
		taken = SSL_CTX_add1_chain_cert(c, cert) == 1;
	}
	ERR_clear_error(); // the end of the text
	X509_free(cert);
	BIO_free(bio);
	return taken ? 0 : cert_error(err, "cannot use the certificate of a connection");
}

static int take_identity(SSL_CTX *c, const struct tls_setup *setup, struct error *err)
{
	if (setup->ca && take_authority(c, setup->ca, err) < 0)
		return -1;
	if (!setup->chain || !setup->key)
		return 0;
	return take_chain(c, setup->chain, err) < 0 ? -1 : take_key(c, setup->key, err);
}

static int set_verification(struct tls *tls, const struct tls_setup *setup, struct error *err)
{
	if (setup->server && setup->join) {
		SSL_CTX_set_verify(tls->context, SSL_VERIFY_NONE, NULL);
		return 0;
	}
	if (!setup->ca && !setup->fingerprint)
		return error_set(err, ERR_CERTIFICATE, "no CA is known to check the peer with");
	SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(tls->context, verify, tls);
	return 0;
}

static int open_session(struct tls *tls, struct error *err)
{
	tls->ssl = SSL_new(tls->context);
	BIO *bio = pipe_bio(tls);
	if (!tls->ssl || !bio) {
		BIO_free(bio);
		return error_set(err, ERR_NOMEM, "no memory for TLS");
	}
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_app_data(tls->ssl, tls);
	if (tls->server)
		SSL_set_accept_state(tls->ssl);
	else
		SSL_set_connect_state(tls->ssl);
	return 0;
}

struct tls *tls_open(const struct tls_setup *setup, struct tls_pipe *in, struct tls_pipe *out,
		     struct error *err)
{
	// What openssl.cnf of the host says must not change what we speak.
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ERR_clear_error();
	struct tls *tls = calloc(1, sizeof(*tls));
	if (!tls) {
		error_set(err, ERR_NOMEM, "no memory for TLS");
		return NULL;
	}
	tls->in = in;
	tls->out = out;
	tls->server = setup->server;
	tls->join = setup->join;
	snprintf(tls->expected, sizeof(tls->expected), "%s", setup->peer ? setup->peer : "");
	snprintf(tls->fingerprint, sizeof(tls->fingerprint), "%s",
		 setup->fingerprint ? setup->fingerprint : "");
	tls->context = SSL_CTX_new(setup->server ? TLS_server_method() : TLS_client_method());
	if (!tls->context)
		cert_error(err, "cannot start TLS");
	else if (set_policy(tls->context, err) == 0 &&
		 take_identity(tls->context, setup, err) == 0 &&
		 set_verification(tls, setup, err) == 0 && open_session(tls, err) == 0)
		return tls;
	tls_close(tls);
	return NULL;
}

void tls_close(struct tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	SSL_CTX_free(tls->context);
	BIO_meth_free(tls->method);
	record_key_free(tls->key_in);
	record_key_free(tls->key_out);
	forget_secrets(tls);
	OPENSSL_cleanse(&tls->left, sizeof(tls->left));
	free(tls);
}

// ---- the handshake
static const struct {
	int alert;
	enum error_id id;
	const char *text;
} alerts[] = {
	{SSL_AD_CERTIFICATE_EXPIRED, ERR_PEER_UNTRUSTED,
	 "it says that our certificate has expired"},
	{SSL_AD_CERTIFICATE_REQUIRED, ERR_PEER_UNTRUSTED,
	 "it asks for a certificate and we presented none"},
	{SSL_AD_UNKNOWN_CA, ERR_PEER_UNTRUSTED,
	 "it does not trust the CA that signed our certificate"},
	{SSL_AD_BAD_CERTIFICATE, ERR_PEER_UNTRUSTED, "it does not accept our certificate"},
	{SSL_AD_UNSUPPORTED_CERTIFICATE, ERR_PEER_UNTRUSTED, "it does not accept our certificate"},
	{SSL_AD_CERTIFICATE_UNKNOWN, ERR_PEER_UNTRUSTED, "it does not accept our certificate"},
	{SSL_AD_CERTIFICATE_REVOKED, ERR_PEER_UNTRUSTED, "it says that our certificate is revoked"},
	{SSL_AD_ACCESS_DENIED, ERR_PEER_UNTRUSTED, "it denies us access"},
	{SSL_AD_NO_APPLICATION_PROTOCOL, ERR_PROTOCOL, "it does not speak " WIRE_ALPN},
	{SSL_AD_PROTOCOL_VERSION, ERR_PROTOCOL, "it does not speak TLS 1.3"},
};

static int explain_alert(int alert, struct error *err)
{
	if (alert == SSL_AD_CLOSE_NOTIFY)
		return error_set(err, ERR_PEER_UNREACHABLE, "it has closed the connection");
	for (size_t i = 0; i < ARRAY_SIZE(alerts); i++)
		if (alert == alerts[i].alert)
			return error_set(err, alerts[i].id, "%s", alerts[i].text);
	return error_set(err, ERR_PROTOCOL, "TLS failed: it says %s",
			 SSL_alert_desc_string_long(alert));
}

static int explain(struct tls *tls, struct error *err)
{
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_REASON(code);
	if (error_is_set(&tls->refusal)) {
		if (err)
			*err = tls->refusal;
		return -1;
	}
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		return error_set(err, ERR_PEER_UNTRUSTED, "it presented no certificate");
	if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return error_set(err, ERR_PEER_UNREACHABLE, "the connection was cut");
	if (reason > SSL_AD_REASON_OFFSET)
		return explain_alert(reason - SSL_AD_REASON_OFFSET, err);
	const char *text = ERR_reason_error_string(code);
	return error_set(err, ERR_PROTOCOL, "TLS failed: %s", text ? text : "no reason given");
}

static int result_of(struct tls *tls, int returned, struct error *err)
{
	switch (SSL_get_error(tls->ssl, returned)) {
	case SSL_ERROR_NONE:
		return 1;
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return error_set(err, ERR_PEER_UNREACHABLE, "it has closed the connection");
	case SSL_ERROR_SYSCALL:
		return error_set(err, ERR_PEER_UNREACHABLE, "the connection was cut");
	default:
		return explain(tls, err);
	}
}

// libssl has read the handshake's last record and nothing behind it.
static int take_over(struct tls *tls, struct error *err)
{
	const SSL_CIPHER *suite = SSL_get_current_cipher(tls->ssl);
	if (SSL_has_pending(tls->ssl))
		return error_set(err, ERR_INTERNAL, "libssl has read more than its handshake");
	tls->key_in = record_key_new(suite, tls->secret_in, tls->secret_in_length, false, err);
	if (tls->key_in)
		tls->key_out =
			record_key_new(suite, tls->secret_out, tls->secret_out_length, true, err);
	forget_secrets(tls);
	return tls->key_out ? 0 : -1;
}

int tls_handshake(struct tls *tls, struct error *err)
{
	ERR_clear_error();
	int done = result_of(tls, SSL_do_handshake(tls->ssl), err);
	if (done <= 0)
		return done;
	if (take_over(tls, err) < 0)
		return -1;
	const unsigned char *chosen;
	unsigned length;
	SSL_get0_alpn_selected(tls->ssl, &chosen, &length);
	if (length != strlen(WIRE_ALPN) || memcmp(chosen, WIRE_ALPN, length) != 0)
		return error_set(err, ERR_PROTOCOL, "it does not speak " WIRE_ALPN);
	return 1;
}

// ---- sending ------------------------------------------------------------------------------------

static size_t room_out(const struct tls *tls)
{
	return tls->out->room - tls->out->end;
}

// 1; 0: there is no room for it.
static int put(struct tls *tls, enum record_type type, const void *bytes, size_t length,
	       struct error *err)
{
	struct tls_pipe *out = tls->out;
	if (room_out(tls) < length + RECORD_OVERHEAD)
		return 0;
	if (record_seal(tls->key_out, type, bytes, length, out->data + out->end, err) < 0)
		return -1;
	out->end += length + RECORD_OVERHEAD;
	return 1;
}

static int update_key_when_due(struct tls *tls, struct error *err)
{
	static const uint8_t update[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, SSL_KEY_UPDATE_NOT_REQUESTED};
	if (record_count(tls->key_out) < RECORD_KEY_MAX && !tls->update_asked)
		return 1;
	int done = put(tls, RECORD_HANDSHAKE, update, sizeof(update), err);
	if (done <= 0)
		return done;
	tls->update_asked = false;
	return record_key_update(tls->key_out, err) < 0 ? -1 : 1;
}

int tls_write(struct tls *tls, const void *bytes, size_t length, size_t *taken, struct error *err)
{
	*taken = 0;
	if (!tls->key_out)
		return error_set(err, ERR_INTERNAL, "TLS is not up yet");
	int done = update_key_when_due(tls, err);
	if (done <= 0)
		return done;
	const size_t room = room_out(tls);
	size_t part = length < RECORD_CONTENT_MAX ? length : RECORD_CONTENT_MAX;
	if (room < part + RECORD_OVERHEAD) {
		// What is there goes first, unless there is nothing and never more room.
		if (tls->out->end || room <= RECORD_OVERHEAD)
			return 0;
		part = room - RECORD_OVERHEAD;
	}
	done = put(tls, RECORD_DATA, bytes, part, err);
	*taken = done > 0 ? part : 0;
	return done;
}

static void put_alert(struct tls *tls, uint8_t level, uint8_t alert)
{
	const uint8_t bytes[] = {level, alert};
	if (tls->key_out)
		put(tls, RECORD_ALERT, bytes, sizeof(bytes), NULL);
}

void tls_end(struct tls *tls)
{
	ERR_clear_error();
	if (!tls->key_out)
		SSL_shutdown(tls->ssl);
	else if (!tls->alerted)
		put_alert(tls, SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY);
	tls->alerted = true;
}

// ---- receiving ----------------------------------------------------------------------------------

static int refuse_record(struct tls *tls, uint8_t alert)
{
	put_alert(tls, SSL3_AL_FATAL, alert);
	tls->alerted = true;
	return -1;
}

static int take_alert(const uint8_t *bytes, size_t length, struct error *err)
{
	if (length != 2)
		return error_set(err, ERR_PROTOCOL, "TLS failed: an alert is malformed");
	return explain_alert(bytes[1], err);
}

// The one message of a handshake that may still come.
static int take_update(struct tls *tls, const uint8_t *bytes, size_t length, struct error *err)
{
	if (length != 5 || memcmp(bytes, (const uint8_t[]){SSL3_MT_KEY_UPDATE, 0, 0, 1}, 4) != 0 ||
	    bytes[4] > SSL_KEY_UPDATE_REQUESTED) {
		error_set(err, ERR_PROTOCOL, "TLS failed: a handshake when none is due");
		return refuse_record(tls, SSL_AD_UNEXPECTED_MESSAGE);
	}
	tls->update_asked |= bytes[4] == SSL_KEY_UPDATE_REQUESTED;
	return record_key_update(tls->key_in, err);
}

static int take_record(struct tls *tls, uint8_t type, const uint8_t *bytes, size_t length,
		       struct error *err)
{
	if (type == RECORD_ALERT)
		return take_alert(bytes, length, err);
	if (type == RECORD_HANDSHAKE)
		return take_update(tls, bytes, length, err);
	error_set(err, ERR_PROTOCOL, "TLS failed: a record of type %u", type);
	return refuse_record(tls, SSL_AD_UNEXPECTED_MESSAGE);
}

// Right to where the caller wants it, where it fits.
static int open_next(struct tls *tls, size_t length, uint8_t *bytes, size_t room, size_t *got,
		     struct error *err)
{
	const bool direct = record_room(length) <= room;
	uint8_t *to = direct ? bytes : tls->left.bytes;
	uint8_t type;
	ssize_t content =
		record_open(tls->key_in, tls->in->data + tls->in->start, length, to, &type, err);
	if (content < 0)
		return refuse_record(tls, SSL_AD_BAD_RECORD_MAC);
	tls->in->start += length;
	if (type != RECORD_DATA)
		return take_record(tls, type, to, (size_t)content, err);
	if (direct)
		*got = (size_t)content;
	else
		tls->left.end = (size_t)content;
	return 0;
}

static size_t take_left(struct tls *tls, uint8_t *bytes, size_t room)
{
	size_t n = tls->left.end - tls->left.start;
	if (n > room)
		n = room;
	memcpy(bytes, tls->left.bytes + tls->left.start, n);
	tls->left.start += n;
	if (tls->left.start == tls->left.end)
		tls->left.start = tls->left.end = 0;
	return n;
}

// The length of the record that has come whole; 0: none; -1: it is none.
static ssize_t whole_record(const struct tls *tls, struct error *err)
{
	const struct tls_pipe *in = tls->in;
	const size_t available = in->end - in->start;
	ssize_t length = record_length(in->data + in->start, available, err);
	return length > 0 && (size_t)length > available ? 0 : length;
}

static int read_some(struct tls *tls, uint8_t *bytes, size_t room, size_t *got, struct error *err)
{
	while (*got == 0) {
		*got = take_left(tls, bytes, room);
		ssize_t length = *got ? 0 : whole_record(tls, err);
		if (length < 0)
			return refuse_record(tls, SSL_AD_DECODE_ERROR);
		if (length == 0)
			break;
		if (open_next(tls, (size_t)length, bytes, room, got, err) < 0)
			return -1;
	}
	if (!*got && tls->in->ended)
		return error_set(err, ERR_PEER_UNREACHABLE, "the connection was cut");
	return *got > 0;
}

int tls_read(struct tls *tls, void *bytes, size_t room, size_t *got, struct error *err)
{
	*got = 0;
	if (!tls->key_in)
		return error_set(err, ERR_INTERNAL, "TLS is not up yet");
	if (error_is_set(&tls->ended)) {
		if (err)
			*err = tls->ended;
		return -1;
	}
	int done = room ? read_some(tls, bytes, room, got, &tls->ended) : 1;
	if (done < 0 && err)
		*err = tls->ended;
	return done;
}

bool tls_can_read(const struct tls *tls)
{
	if (!tls->key_in)
		return tls->in->start < tls->in->end || tls->in->ended;
	return tls->left.start < tls->left.end || tls->in->ended || error_is_set(&tls->ended) ||
	       whole_record(tls, NULL) != 0;
}

const char *tls_peer(const struct tls *tls)
{
	return tls->peer;
}
