// SPDX-License-Identifier: Apache-2.0
// The cluster's small certificate authority: EC P-256, X.509 v3, OpenSSL 3.
//
// A folder (/etc/relocd) holds ca.pem, host.pem and host.key; on the host where the cluster was
// made also ca.key. Keys are made with O_EXCL, mode 0600, and never leave their host.
#ifndef WPAR_TRANSPORT_PKI_H
#define WPAR_TRANSPORT_PKI_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PKI_NAME_MAX        63 // characters of a host name
#define PKI_PEM_MAX         16384
#define PKI_FINGERPRINT_MAX 65 // 64 hex digits and NUL
#define PKI_CA_DAYS         3650
#define PKI_HOST_DAYS       365
#define PKI_CA_MAX          2 // certificates in ca.pem

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

// Contents of dir/ca.pem: PEM, the caller frees it. Two certificates while the CA is being renewed:
// the one that signs first.
char *pki_ca_read(const char *dir, struct error *err);
// SHA-256 of the DER form of the (first) certificate in dir/ca.pem, lower-case hex.
int pki_fingerprint(const char *dir, char text[PKI_FINGERPRINT_MAX], struct error *err);
// When the first certificate of a PEM file ends, seconds since 1970; 0: not known.
int64_t pki_not_after(const char *path);
// SHA-256 of the public key of a PEM certificate, as link_peer_key gives it.
int pki_key_of(const char *cert, char text[PKI_FINGERPRINT_MAX], struct error *err);
// Who asks in a certificate request; nothing of it is checked. ERR_CERTIFICATE.
int pki_request_name(const char *csr, char name[PKI_NAME_MAX + 1], struct error *err);

// ---- renewal
// New keys and certificates are complete beside the old ones (host.key.next, ca.key.next) before
// they take their place, the certificate first. After a crash between the two pki_recover ends what
// was begun; before anything else is done with the folder.
int pki_recover(const char *dir, struct error *err);

// A new key and a request for it, as pki_request.
char *pki_renew_request(const char *dir, const char *host, struct error *err);
// As pki_install, for the key of pki_renew_request. One of the CAs in `ca` must be one that is
// trusted now.
int pki_renew_install(const char *dir, const char *cert, const char *ca, const char *host,
		      struct error *err);

// Trusts the certificates of `ca`, one or two, from now on. One of them must be trusted now, and
// one must have signed host.pem: ERR_CERTIFICATE.
int pki_trust(const char *dir, const char *ca, struct error *err);
// A new CA, on the host that has ca.key, in steps: _next makes it unless it is made and returns
// what all hosts have to trust from now on (old, new); _switch signs with it from now on; _only
// returns what is to be trusted when all hosts have certificates of it.
char *pki_ca_next(const char *dir, struct error *err);
int pki_ca_switch(const char *dir, struct error *err);
char *pki_ca_only(const char *dir, struct error *err);
// A renewal of the CA is under way: the first step is done and the last is not.
bool pki_ca_renewing(const char *dir);
int pki_ca_done(const char *dir, struct error *err);

#endif
