// SPDX-License-Identifier: Apache-2.0
// Reads an OCI runtime-spec bundle (config.json beside a root filesystem) into a definition. A
// subset is honoured; whatever else a bundle asks for is refused by its JSON path, never dropped
// silently. Source: https://github.com/opencontainers/runtime-spec, config.md and
// config-linux.md, 1.0 - 1.2.
#ifndef WPAR_PARTITION_BUNDLE_H
#define WPAR_PARTITION_BUNDLE_H

#include "lib/base/error.h"

#include <jansson.h>

// DIR/config.json -> definition JSON (for definition_from_json, after the caller's overrides such
// as name and networks were merged in). DIR must be absolute. *notes: an array of sentences on what
// is harmless and was left out (annotations, the size of a tmpfs); may be NULL. Returns NULL with
// ERR_BUNDLE_SYNTAX (unreadable, not JSON, a wrong type) or ERR_BUNDLE (a field we do not honour).
// Both results are the caller's.
json_t *bundle_read(const char *dir, json_t **notes, struct error *err);

// The same from a parsed config.json; `dir` resolves a relative root.path.
json_t *bundle_convert(const json_t *config, const char *dir, json_t **notes, struct error *err);

#endif
