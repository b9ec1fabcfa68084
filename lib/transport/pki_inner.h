// SPDX-License-Identifier: Apache-2.0
// What the files of the CA share. Not for others.
#ifndef WPAR_TRANSPORT_PKI_INNER_H
#define WPAR_TRANSPORT_PKI_INNER_H

#include "lib/base/cleanup.h"
#include "lib/transport/cert.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define DEFINE_CLEANUP(type, release)               \
	static inline void cleanup_##type(type **p) \
	{                                           \
		release(*p);                        \
	}
DEFINE_CLEANUP(EVP_PKEY, EVP_PKEY_free)
DEFINE_CLEANUP(X509, X509_free)
DEFINE_CLEANUP(X509_REQ, X509_REQ_free)
DEFINE_CLEANUP(BIO, BIO_free_all)
DEFINE_CLEANUP(BIGNUM, BN_free)
#define _cleanup_(type) __attribute__((cleanup(cleanup_##type)))

// One or two CAs, as in ca.pem: the one that signs first.
struct bundle {
	X509 *certs[PKI_CA_MAX];
	size_t count;
};
void bundle_free(struct bundle *b);
#define _cleanup_bundle_ __attribute__((cleanup(bundle_free)))

int bundle_parse(const char *pem, struct bundle *b, struct error *err);
int bundle_load(const char *dir, struct bundle *b, struct error *err);
bool bundle_has(const struct bundle *b, const X509 *cert);
bool bundle_issued(const struct bundle *b, X509 *cert); // one of them has signed it
char *bundle_text(const struct bundle *b, struct error *err);
int bundle_store(const char *dir, const struct bundle *b, struct error *err);

void pki_path(char path[4096], const char *dir, const char *file);
EVP_PKEY *pki_key_load(const char *path, struct error *err);
EVP_PKEY *pki_key_load_or_make(const char *path, struct error *err);
X509 *pki_make_authority(EVP_PKEY *key);
char *pki_cert_text(X509 *cert, struct error *err);
// A request for the key in dir/file, which is made unless it exists.
char *pki_request_for(const char *dir, const char *file, const char *host, struct error *err);
// The certificate is for the key in dir/file and names `host`.
int pki_check_own(const char *dir, const char *file, X509 *cert, const char *host,
		  struct error *err);

#endif
