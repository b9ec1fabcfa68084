// SPDX-License-Identifier: Apache-2.0
// The manifest of an image set: every object with its length and digest, every page stream with its
// number of pages. B restores exactly what is listed and nothing that differs. Objects go into
// files and packed folders that live on, so their SHA-256 is kept; pages are checked one message
// after the other, where they arrive (lib/transport/seal.h).
#ifndef WPAR_IMAGES_MANIFEST_H
#define WPAR_IMAGES_MANIFEST_H

#include "images/digest.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MANIFEST_NAME_MAX    64
#define MANIFEST_OBJECTS_MAX 20000
#define MANIFEST_PAGES_MAX   20000

struct manifest_object {
	char name[MANIFEST_NAME_MAX];
	uint64_t length;
	struct digest digest;
};

struct manifest_pages {
	uint64_t destination;
	uint64_t pages;
};

struct manifest {
	char move[40];
	uint64_t epoch;
	struct manifest_object *objects;
	size_t object_count;
	struct manifest_pages *pages;
	size_t pages_count;
};

void manifest_free(struct manifest *m);

// Names are 1 to 63 of letters, digits and "._:-", without a leading dot: never a path.
bool manifest_name_ok(const char *name);

// ERR_PROTOCOL for a bad name, or beyond the limits.
int manifest_add_object(struct manifest *m, const char *name, uint64_t length,
			const struct digest *digest, struct error *err);
int manifest_add_pages(struct manifest *m, uint64_t destination, uint64_t pages, struct error *err);

// As the MANIFEST message (images/peer.proto); appended to out.
int manifest_write(const struct manifest *m, struct buf *out, struct error *err);
// *m must be zero; freed by the caller also on error.
int manifest_read(struct manifest *m, const void *bytes, size_t length, struct error *err);

// Are they the same set, in any order? ERR_DIGEST names the first difference, ERR_PROTOCOL what
// comes twice. Both are sorted by it.
int manifest_compare(struct manifest *announced, struct manifest *received, struct error *err);

#endif
