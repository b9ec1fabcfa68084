// SPDX-License-Identifier: Apache-2.0
// Images: brought into the store of this host (store.h) by skopeo(1) and umoci(1), and read.
//
// Every blob is checked by its digest, layers also by that of what they unpack to. The tools run
// confined (tool.h): a hostile archive can fill the disk down to its reserve, for a moment, and
// nothing else.
#ifndef WPAR_STORAGE_IMAGE_H
#define WPAR_STORAGE_IMAGE_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/storage/store.h"
#include "lib/storage/tool.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_IMPORT_MS  600000 // for the whole of an import
#define IMAGE_LAYERS_MAX 256
#define IMAGE_HEX        65

// Brings the image of a reference (reference.h) into the store, unless it is there, and returns its
// descriptor (store_open); its digest into `digest`. `descriptor` is that of an "fd:N", else -1.
// ERR_USAGE (the reference), ERR_IMAGE (the image, in the words of the tool), ERR_IMAGE_TOOLS,
// ERR_NO_SPACE, ERR_DEADLINE.
int image_import(const char *reference, int descriptor, const struct storage_watch *watch,
		 char digest[STORE_DIGEST_MAX], struct error *err);

// A blob of an image, in the order in which they are sent: manifest, configuration, layers.
struct image_blob {
	char hex[IMAGE_HEX];
	uint64_t size;
};
struct image_blobs {
	struct image_blob list[IMAGE_LAYERS_MAX + 2];
	size_t count;
	uint64_t bytes; // together
};
// What the image in the layout below `folder` (a descriptor) consists of.
int image_blobs(int folder, const char *digest, struct image_blobs *blobs, struct error *err);
// Opens one of them to read.
int image_blob_open(int folder, const char *hex, struct error *err);

// For an image that comes from another host, blob by blob: makes the layout below `folder`; creates
// a blob in it; and when all are there, checks and unpacks it and makes it an image of the store.
int image_receive_begin(int folder, struct error *err);
int image_blob_create(int folder, const char *hex, struct error *err);
int image_receive_end(const char *path, const char *digest, const struct storage_watch *watch,
		      struct error *err);

// What an image says of how it is to be run: the object "config" of its configuration (OCI image
// specification). The caller's; {} when it says nothing.
json_t *image_config(int folder, const char *digest, struct error *err);

#endif
