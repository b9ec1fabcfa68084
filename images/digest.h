// SPDX-License-Identifier: Apache-2.0
// The one digest of images, packed folders, layers and manifests: SHA-256. Both ends compute it
// over what they sent and what they stored. Pages have none: each of their messages is checked
// where it arrives (lib/transport/seal.h).
#ifndef WPAR_IMAGES_DIGEST_H
#define WPAR_IMAGES_DIGEST_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32
#define DIGEST_TEXT  (2 * DIGEST_BYTES + 1)

struct digest {
	uint8_t b[DIGEST_BYTES];
};

struct digest_ctx; // a digest being computed

struct digest_ctx *digest_begin(struct error *err);
int digest_update(struct digest_ctx *c, const void *bytes, size_t length, struct error *err);
// The digest; frees c, also on error.
int digest_end(struct digest_ctx *c, struct digest *out, struct error *err);
void digest_free(struct digest_ctx *c);

int digest_of(const void *bytes, size_t length, struct digest *out, struct error *err);

bool digest_equal(const struct digest *a, const struct digest *b);
// 64 lower-case hexadecimal digits; returns text.
char *digest_hex(const struct digest *d, char text[DIGEST_TEXT]);
// false: text is not exactly that.
bool digest_parse(const char *text, struct digest *out);

static inline void digest_freep(struct digest_ctx **c)
{
	digest_free(*c);
}
#define _cleanup_digest_ __attribute__((cleanup(digest_freep)))

#endif
