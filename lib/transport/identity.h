// SPDX-License-Identifier: Apache-2.0
// What a mover shows its peer: not the host's key, which no mover ever has, but a key made for one
// connection and a certificate for it that the host's key has signed and that ends within the hour.
// Whoever takes a mover over gains nothing that outlives it.
#ifndef WPAR_TRANSPORT_IDENTITY_H
#define WPAR_TRANSPORT_IDENTITY_H

#include "lib/base/error.h"
#include "lib/transport/link.h"

#include <openssl/x509.h>
#include <stdbool.h>

#define IDENTITY_MINUTES 60 // valid that long, and from that long ago: clocks differ

struct identity {
	char *ca;    // PEM; NULL: the peer is known by fingerprint
	char *chain; // PEM: the connection's certificate, the host's, in a join also the CA's
	char *key;   // PEM; NULL together with chain: nothing to show
};

// Reads the files of `tls`. ERR_CERTIFICATE names the file that cannot be used.
int identity_make(const struct link_tls *tls, bool server, bool join, struct identity *identity,
		  struct error *err);
void identity_free(struct identity *identity);

// The host's certificate among those that came with `leaf`: the one that signed it, or leaf itself
// when a host shows its own.
X509 *identity_host(X509 *leaf, const STACK_OF(X509) * sent);
// Whether `host` vouches for `leaf`: X509_V_OK or the reason. The host's own certificate is still
// to be verified.
int identity_vouched(X509 *leaf, X509 *host);

#endif
