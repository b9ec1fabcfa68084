// SPDX-License-Identifier: Apache-2.0
// New partitions of bundles that come as a descriptor of their folder.
#ifndef RELOCD_CREATE_BUNDLE_H
#define RELOCD_CREATE_BUNDLE_H

#include "lib/base/error.h"

#include <jansson.h>

// As bundle_read(), of an open folder: config.json and a relative root.path are resolved beneath
// it, whatever links are there. The paths in the definition are those of the descriptors;
// ERR_BUNDLE when such a path does not lead back to the same folder.
json_t *create_from_bundle(int folder, json_t **notes, struct error *err);

#endif
