// SPDX-License-Identifier: Apache-2.0
// The cluster's small certificate authority: EC P-256, X.509 v3, OpenSSL 3.
//
// A folder (/etc/relocd) holds ca.pem, host.pem and host.key; on the host where the cluster was
// made also ca.key. Keys are made with O_EXCL, mode 0600, and never leave their host.
#ifndef WPAR_TRANSPORT_PKI_H
#define WPAR_TRANSPORT_PKI_H

#include "lib/base/error.h"

#include <stddef.h>

#define PKI_NAME_MAX        63 // characters of a host name
#define PKI_PEM_MAX         16384
#define PKI_FINGERPRINT_MAX 65 // 64 hex digits and NUL
#define PKI_CA_DAYS         3650
#define PKI_HOST_DAYS       365

// Host names: 1 to 63 letters, digits, '.', '_', '-', starting with a letter or digit
// (ERR_NAME_INVALID).
int pki_name_check(const char *host, struct error *err);

// Makes ca.key and ca.pem (self-signed, path length 0). ca.pem exists: ERR_CLUSTER_EXISTS.
int pki_ca_create(const char *dir, struct error *err);

// Makes host.key unless it exists (so that a join that failed half-way can be repeated) and a
// certificate request for `host`: PEM, the caller frees it. NULL: error.
char *pki_request(const char *dir, const char *host, struct error *err);

// Signs a request with ca.key: the request's own signature, a P-256 key and CN = host are demanded;
// all else in it is ignored. SAN DNS:host, extended key usage server and client, random serial.
// Returns PEM, the caller frees it. ERR_CERTIFICATE; ERR_CLUSTER_NONE without ca.key.
char *pki_sign(const char *dir, const char *csr, const char *host, struct error *err);

// Writes host.pem and ca.pem (durably, 0644) after checking that the certificate is for host.key,
// names `host` and is signed by the CA, whose fingerprint must be `fingerprint` (NULL: any).
int pki_install(const char *dir, const char *cert, const char *ca, const char *host,
		const char *fingerprint, struct error *err);

// Contents of dir/ca.pem: PEM, the caller frees it.
char *pki_ca_read(const char *dir, struct error *err);
// SHA-256 of the DER form of the certificate in dir/ca.pem, lower-case hex.
int pki_fingerprint(const char *dir, char text[PKI_FINGERPRINT_MAX], struct error *err);

#endif
