// SPDX-License-Identifier: Apache-2.0
// What we read out of X.509 certificates, and sentences about what is wrong with one.
#ifndef WPAR_TRANSPORT_CERT_H
#define WPAR_TRANSPORT_CERT_H

#include "lib/base/error.h"
#include "lib/transport/pki.h"

#include <openssl/x509.h>

// The first certificate of a PEM file; free it with X509_free. ERR_CERTIFICATE.
X509 *cert_load(const char *path, struct error *err);
X509 *cert_parse(const char *pem, struct error *err);
// A host's certificate and key. They are replaced one after the other when they are renewed: two
// that do not match are looked at again for a moment. ERR_CERTIFICATE names the file that is wrong.
int cert_load_pair(const char *cert_path, const char *key_path, X509 **cert, EVP_PKEY **key,
		   struct error *err);
// SHA-256 of its DER form in lower-case hex; -1 when OpenSSL fails.
int cert_fingerprint(const X509 *cert, char text[PKI_FINGERPRINT_MAX]);
// The same of its public key, which stays when it is signed anew.
int cert_key_fingerprint(const X509 *cert, char text[PKI_FINGERPRINT_MAX]);

// The host that it is for: its only CN, which must be a host name and one of the DNS alternative
// names. Otherwise ERR_PEER_UNTRUSTED.
int cert_name(X509 *cert, char name[PKI_NAME_MAX + 1], struct error *err);
// The one CN of a subject as a host name; ERR_CERTIFICATE.
int cert_subject_name(const X509_NAME *subject, char name[PKI_NAME_MAX + 1], struct error *err);

// ERR_PEER_UNTRUSTED with a sentence for X509_V_ERR_ `why` about the peer's certificate `leaf`,
// found at `at` of its chain (either may be NULL).
void cert_refusal(struct error *err, int why, const X509 *leaf, const X509 *at);

// ERR_CERTIFICATE: the text, then OpenSSL's own reason. Returns -1.
int cert_error(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
