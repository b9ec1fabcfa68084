// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/cert.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <string.h>

#define PAIR_TRIES   5
#define PAIR_WAIT_MS 10

int cert_error(struct error *err, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	// The first one in the queue is the cause, later ones are its consequences.
	const char *reason = ERR_reason_error_string(ERR_get_error());
	ERR_clear_error();
	return error_set(err, ERR_CERTIFICATE, "%s: %s", text, reason ? reason : "not usable");
}

static X509 *read_cert(BIO *bio, const char *what, struct error *err)
{
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	if (!cert)
		cert_error(err, "cannot read %s", what);
	return cert;
}

X509 *cert_load(const char *path, struct error *err)
{
	return read_cert(BIO_new_file(path, "r"), path, err);
}

X509 *cert_parse(const char *pem, struct error *err)
{
	return read_cert(BIO_new_mem_buf(pem, -1), "a certificate", err);
}

static EVP_PKEY *load_key(const char *path)
{
	BIO *bio = BIO_new_file(path, "r");
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
	BIO_free(bio);
	return key;
}

int cert_load_pair(const char *cert_path, const char *key_path, X509 **cert, EVP_PKEY **key,
		   struct error *err)
{
	*key = NULL;
	for (int tries = 0;; tries++) {
		*cert = cert_load(cert_path, NULL);
		if (!*cert)
			return cert_error(err, "cannot use %s as this host's certificate",
					  cert_path);
		*key = load_key(key_path);
		if (*key && X509_check_private_key(*cert, *key) == 1)
			return 0;
		X509_free(*cert);
		EVP_PKEY_free(*key);
		if (tries == PAIR_TRIES)
			break;
		clock_sleep_ms(PAIR_WAIT_MS);
	}
	*cert = NULL;
	*key = NULL;
	return cert_error(err, "cannot use %s as the key of %s", key_path, cert_path);
}

static void hex_of(const unsigned char digest[32], char text[PKI_FINGERPRINT_MAX])
{
	for (unsigned i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

int cert_fingerprint(const X509 *cert, char text[PKI_FINGERPRINT_MAX])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	if (!X509_digest(cert, EVP_sha256(), digest, &length) || length != 32)
		return -1;
	hex_of(digest, text);
	return 0;
}

int cert_key_fingerprint(const X509 *cert, char text[PKI_FINGERPRINT_MAX])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	if (!X509_pubkey_digest(cert, EVP_sha256(), digest, &length) || length != 32)
		return -1;
	hex_of(digest, text);
	return 0;
}

// Both CN and alternative names may hide a NUL byte or be in another alphabet: only what
// pki_name_check allows is a name.
static bool text_of(const ASN1_STRING *string, char name[PKI_NAME_MAX + 1])
{
	int length = ASN1_STRING_length(string);
	if (length < 1 || length > PKI_NAME_MAX)
		return false;
	memcpy(name, ASN1_STRING_get0_data(string), (size_t)length);
	name[length] = 0;
	return strlen(name) == (size_t)length && pki_name_check(name, NULL) == 0;
}

int cert_subject_name(const X509_NAME *subject, char name[PKI_NAME_MAX + 1], struct error *err)
{
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0 ||
	    !text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), name))
		return error_set(err, ERR_CERTIFICATE, "the subject does not name one host");
	return 0;
}

static bool has_alternative(X509 *cert, const char *name)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool found = false;
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
		const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
		char text[PKI_NAME_MAX + 1];
		found = one->type == GEN_DNS && text_of(one->d.dNSName, text) &&
			!strcmp(text, name);
	}
	GENERAL_NAMES_free(names);
	return found;
}

int cert_name(X509 *cert, char name[PKI_NAME_MAX + 1], struct error *err)
{
	if (cert_subject_name(X509_get_subject_name(cert), name, NULL) < 0 ||
	    !has_alternative(cert, name)) {
		name[0] = 0;
		return error_set(err, ERR_PEER_UNTRUSTED, "its certificate does not name a host");
	}
	return 0;
}

static void time_text(const ASN1_TIME *time, char text[32])
{
	struct tm parts;
	if (!time || !ASN1_TIME_to_tm(time, &parts) || !strftime(text, 32, "%FT%TZ", &parts))
		snprintf(text, 32, "an unknown time");
}

void cert_refusal(struct error *err, int why, const X509 *leaf, const X509 *at)
{
	char when[32], issuer[256] = "unknown";
	const X509 *cert = at ? at : leaf;
	switch (why) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		time_text(cert ? X509_get0_notAfter(cert) : NULL, when);
		error_set(err, ERR_PEER_UNTRUSTED, "its certificate expired at %s", when);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		time_text(cert ? X509_get0_notBefore(cert) : NULL, when);
		error_set(err, ERR_PEER_UNTRUSTED,
			  "its certificate is not valid before %s: compare the clocks", when);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		if (leaf)
			X509_NAME_oneline(X509_get_issuer_name(leaf), issuer, sizeof(issuer));
		error_set(err, ERR_PEER_UNTRUSTED,
			  "its certificate is not signed by the CA of this cluster (issuer %s)",
			  issuer);
		break;
	default:
		error_set(err, ERR_PEER_UNTRUSTED, "its certificate is refused: %s",
			  X509_verify_cert_error_string(why));
	}
}
