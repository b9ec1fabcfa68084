// SPDX-License-Identifier: Apache-2.0
// Help texts, and the sections of wparctl(1) that are made of the same table.
#ifndef WPARCTL_HELP_H
#define WPARCTL_HELP_H

#include "wparctl/verbs.h"

#include <stdio.h>

#define HELP_WIDTH 80

// All verbs (verb NULL), or one.
void help_print(FILE *to, const struct verb *verb);
// The verbs and options as mdoc(7), for man/wparctl.1.
void help_print_man(FILE *to);

#endif
