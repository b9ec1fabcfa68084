// SPDX-License-Identifier: Apache-2.0
// JSON values as YAML: what `show` prints and `create -f` reads. Of YAML that is what JSON can say:
// no anchors, aliases and tags, no second document, no key twice.
#ifndef WPARCTL_YAML_H
#define WPARCTL_YAML_H

#include "lib/base/error.h"

#include <jansson.h>
#include <stdio.h>

// Plain words are null, true, false and numbers as in the core schema of YAML 1.2, else text;
// quoted ones are text. The caller owns the value. NULL: ERR_USAGE with `name` and the line.
json_t *yaml_read(const char *text, size_t length, const char *name, struct error *err);

// Prints a value; what it reads back as is equal. ERR_SYSTEM when it cannot be written.
int yaml_write(const json_t *json, FILE *to, struct error *err);

#endif
