// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/identity.h"

#include "lib/base/cleanup.h"
#include "lib/transport/cert.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

static char *text_of(BIO *bio)
{
	char *bytes;
	long length = BIO_get_mem_data(bio, &bytes);
	char *text = length > 0 ? strndup(bytes, (size_t)length) : NULL;
	BIO_free(bio);
	return text;
}

static int set_random_serial(X509 *cert)
{
	unsigned char bytes[16];
	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return 0;
	bytes[0] &= 0x7f; // positive
	BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	int done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
	BN_free(number);
	return done;
}

static X509 *sign(EVP_PKEY *fresh, X509 *host, EVP_PKEY *key)
{
	X509 *cert = X509_new();
	const long span = IDENTITY_MINUTES * 60L;
	if (cert && X509_set_version(cert, X509_VERSION_3) && set_random_serial(cert) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(host)) &&
	    X509_set_subject_name(cert, X509_get_subject_name(host)) &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -span) &&
	    X509_gmtime_adj(X509_getm_notAfter(cert), span) && X509_set_pubkey(cert, fresh) &&
	    X509_sign(cert, key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

static int write_chain(struct identity *identity, X509 *cert, X509 *host, const char *last)
{
	BIO *bio = BIO_new(BIO_s_mem());
	if (!bio || !PEM_write_bio_X509(bio, cert) || !PEM_write_bio_X509(bio, host) ||
	    (last && BIO_puts(bio, last) <= 0)) {
		BIO_free(bio);
		return -1;
	}
	identity->chain = text_of(bio);
	return identity->chain ? 0 : -1;
}

static int write_key(struct identity *identity, EVP_PKEY *fresh)
{
	BIO *bio = BIO_new(BIO_s_mem());
	if (!bio || !PEM_write_bio_PrivateKey(bio, fresh, NULL, NULL, 0, NULL, NULL)) {
		BIO_free(bio);
		return -1;
	}
	identity->key = text_of(bio);
	return identity->key ? 0 : -1;
}

static int delegate(struct identity *identity, X509 *host, EVP_PKEY *key, const char *last,
		    struct error *err)
{
	EVP_PKEY *fresh = EVP_EC_gen("P-256");
	X509 *cert = fresh ? sign(fresh, host, key) : NULL;
	int done = cert && write_chain(identity, cert, host, last) == 0 &&
		   write_key(identity, fresh) == 0;
	X509_free(cert);
	EVP_PKEY_free(fresh);
	return done ? 0 : cert_error(err, "cannot make a certificate for a connection");
}

// Two, while the CA is being renewed.
static int read_authority(const struct link_tls *tls, struct identity *identity, struct error *err)
{
	BIO *from = BIO_new_file(tls->ca, "r"), *to = BIO_new(BIO_s_mem());
	X509 *ca;
	int count = 0, written = 1;
	while (from && to && written && count < PKI_CA_MAX &&
	       (ca = PEM_read_bio_X509(from, NULL, NULL, NULL))) {
		written = PEM_write_bio_X509(to, ca);
		X509_free(ca);
		count++;
	}
	BIO_free(from);
	if (count && written) {
		ERR_clear_error(); // the end of the file
		identity->ca = text_of(to);
		to = NULL;
	}
	BIO_free(to);
	return identity->ca ? 0 : cert_error(err, "cannot use %s as the cluster's CA", tls->ca);
}

static int read_host(const struct link_tls *tls, struct identity *identity, const char *last,
		     struct error *err)
{
	X509 *host;
	EVP_PKEY *key;
	if (cert_load_pair(tls->cert, tls->key ? tls->key : "(none)", &host, &key, err) < 0)
		return -1;
	int done = delegate(identity, host, key, last, err);
	EVP_PKEY_free(key);
	X509_free(host);
	return done;
}

int identity_make(const struct link_tls *tls, bool server, bool join, struct identity *identity,
		  struct error *err)
{
	*identity = (struct identity){0};
	if ((!tls->ca || read_authority(tls, identity, err) == 0) &&
	    (!tls->cert ||
	     read_host(tls, identity, server && join ? identity->ca : NULL, err) == 0))
		return 0;
	identity_free(identity);
	return -1;
}

void identity_free(struct identity *identity)
{
	if (identity->key)
		OPENSSL_cleanse(identity->key, strlen(identity->key));
	free(identity->ca);
	free(identity->chain);
	free(identity->key);
	*identity = (struct identity){0};
}

// ---- the peer's ---------------------------------------------------------------------------------

X509 *identity_host(X509 *leaf, const STACK_OF(X509) * sent)
{
	for (int i = 0; i < sk_X509_num(sent); i++) {
		X509 *other = sk_X509_value(sent, i);
		if (X509_cmp(other, leaf) != 0 && X509_check_ca(other) == 0 &&
		    X509_NAME_cmp(X509_get_subject_name(other), X509_get_issuer_name(leaf)) == 0)
			return other;
	}
	return leaf;
}

int identity_vouched(X509 *leaf, X509 *host)
{
	if (host == leaf)
		return X509_V_OK;
	if (X509_verify(leaf, X509_get0_pubkey(host)) != 1)
		return X509_V_ERR_CERT_SIGNATURE_FAILURE;
	if (X509_cmp_current_time(X509_get0_notBefore(leaf)) >= 0)
		return X509_V_ERR_CERT_NOT_YET_VALID;
	if (X509_cmp_current_time(X509_get0_notAfter(leaf)) <= 0)
		return X509_V_ERR_CERT_HAS_EXPIRED;
	return X509_V_OK;
}
