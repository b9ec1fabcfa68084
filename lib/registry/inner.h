// SPDX-License-Identifier: Apache-2.0
// What the files of the registry share. Not for others.
#ifndef WPAR_REGISTRY_INNER_H
#define WPAR_REGISTRY_INNER_H

#include "lib/registry/registry.h"

#include <sqlite3.h>

sqlite3 *registry_db(const struct registry *r);
// "PATH: cannot <what>: <SQLite's reason>". Returns -1.
int registry_fail(const struct registry *r, const char *what, struct error *err);

#endif
