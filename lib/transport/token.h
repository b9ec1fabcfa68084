// SPDX-License-Identifier: Apache-2.0
// The one-time token with which a host joins a cluster:
//     wpar1.<base64url of {"name","host","address","ca","secret"}>
// It tells the new host whom to ask, where, and which CA to believe, and proves that it was
// invited.
#ifndef WPAR_TRANSPORT_TOKEN_H
#define WPAR_TRANSPORT_TOKEN_H

#include "lib/base/error.h"
#include "lib/transport/pki.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKEN_SECRET      32
#define TOKEN_TEXT_MAX    1024
#define TOKEN_ADDRESS_MAX 256
#define TOKEN_DIGEST_MAX  65 // 64 hex digits and NUL

struct token {
	char name[PKI_NAME_MAX + 1];     // of the host that is invited
	char host[PKI_NAME_MAX + 1];     // that invites
	char address[TOKEN_ADDRESS_MAX]; // of the host that invites, "10.77.0.1:7470"
	char ca[PKI_FINGERPRINT_MAX];    // pki_fingerprint
	uint8_t secret[TOKEN_SECRET];
};

// A new token with a random secret.
int token_make(struct token *token, const char *name, const char *host, const char *address,
	       const char *fingerprint, struct error *err);
int token_encode(const struct token *token, char text[TOKEN_TEXT_MAX], struct error *err);
// Strict: anything unexpected is ERR_TOKEN.
int token_decode(const char *text, struct token *token, struct error *err);

// SHA-256 of the secret in hex: what the inviting host keeps, instead of the secret.
void token_digest(const struct token *token, char text[TOKEN_DIGEST_MAX]);
// Whether the token's secret has that digest; takes the same time in any case.
bool token_matches(const struct token *token, const char *digest);

#endif
