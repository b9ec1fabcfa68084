// SPDX-License-Identifier: Apache-2.0
// New partitions of images: what the image says of how it is to be run, as a definition.
#ifndef RELOCD_CREATE_IMAGE_H
#define RELOCD_CREATE_IMAGE_H

#include "lib/base/error.h"

#include <jansson.h>

// body: {"image":"oci:/path:tag", "user":"name[:group]", "process":{"args":[...]}, ...}. Brings the
// image into the store and returns the definition that it asks for, the whole command in
// process.args: the image's entrypoint, then the arguments of the body, or else those of the image.
// *image is then the caller's and keeps the image from being collected until a partition names it.
// Sentences for the caller of the API are added to notes. Takes no lock and may take minutes.
json_t *create_from_image(const json_t *body, int descriptor, json_t *notes, int *image,
			  struct error *err);

#endif
