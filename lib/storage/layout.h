// SPDX-License-Identifier: Apache-2.0
// The OCI image layout below a folder of the store (image-layout.md of the OCI image
// specification), in the one form that we make: one image, tagged STORE_IMAGE.
#ifndef WPAR_STORAGE_LAYOUT_H
#define WPAR_STORAGE_LAYOUT_H

#include "lib/base/error.h"
#include "lib/storage/store.h"

#include <jansson.h>

// FOLDER/layout with oci-layout and an empty blobs/sha256.
int layout_create(int folder, struct error *err);
// index.json for the manifest that is there.
int layout_write_index(int folder, const char *digest, struct error *err);
// The digest of the one manifest in index.json.
int layout_digest(int folder, char digest[STORE_DIGEST_MAX], struct error *err);
// A blob, opened with these flags of open(2). `hex` has 64 digits, or it is refused.
int layout_blob(int folder, const char *hex, int flags, struct error *err);
// Whether this host can run it: Linux, and this processor's architecture.
int layout_check(int folder, const char *digest, struct error *err);
// The manifest, whose digest is checked; and the configuration that it names, likewise.
json_t *layout_manifest(int folder, const char *digest, struct error *err);
json_t *layout_config(int folder, const json_t *manifest, struct error *err);

#endif
