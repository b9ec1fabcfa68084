// SPDX-License-Identifier: Apache-2.0
// The tables of the registry and how an older file becomes a current one.
#ifndef WPAR_REGISTRY_SCHEMA_H
#define WPAR_REGISTRY_SCHEMA_H

#include "lib/base/error.h"

#include <sqlite3.h>

// Step n turns version n into n + 1 (PRAGMA user_version); steps that were released never change.
extern const char *const schema_steps[];
extern const unsigned schema_version;

// Brings db to `version`, all steps in one transaction. An older registry is first copied to
// PATH.vN; a newer one is refused (ERR_REGISTRY).
int schema_migrate(sqlite3 *db, const char *path, const char *const *steps, unsigned version,
		   struct error *err);

#endif
