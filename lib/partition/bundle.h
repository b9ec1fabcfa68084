// SPDX-License-Identifier: Apache-2.0
// Reads an OCI runtime-spec bundle (config.json beside a root filesystem) into a definition. A
// subset is honoured; whatever else a bundle asks for is refused by its JSON path, never dropped
// silently. An empty value (null, false, "", [], {}) asks for nothing. Source:
// https://github.com/opencontainers/runtime-spec, config.md and config-linux.md, 1.0 - 1.2.
#ifndef WPAR_PARTITION_BUNDLE_H
#define WPAR_PARTITION_BUNDLE_H

#include "lib/base/error.h"

#include <jansson.h>
#include <stddef.h>

// DIR/config.json -> definition JSON (for definition_from_json, after the caller's overrides such
// as name and networks were merged in). DIR must be absolute. *notes: an array of sentences on what
// is harmless and was left out or filled in (annotations, the size of a tmpfs, an absent seccomp
// profile); set on success, may be NULL. Returns NULL with ERR_BUNDLE_SYNTAX (unreadable, not JSON,
// a wrong type), ERR_BUNDLE (a field we do not honour) or ERR_ROOTFS_MISSING (root.path is not a
// folder). Both results are the caller's.
json_t *bundle_read(const char *dir, json_t **notes, struct error *err);

// The same from the text of a config.json; `dir` resolves relative paths.
json_t *bundle_from_text(const char *text, size_t length, const char *dir, json_t **notes,
			 struct error *err);

// The same from a parsed config.json.
json_t *bundle_convert(const json_t *config, const char *dir, json_t **notes, struct error *err);

#endif
