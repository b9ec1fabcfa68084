// SPDX-License-Identifier: Apache-2.0
// What a move's figures say: tables of its rounds and phases, and a picture of them over time.
#ifndef WPARCTL_EXPLAIN_H
#define WPARCTL_EXPLAIN_H

#include "wparctl/output.h"

#include <stdio.h>

// Of the result of a move; nothing for one without rounds.
void explain_rounds(const struct ctl *ctl, const json_t *result);
void explain_phases(const struct ctl *ctl, const json_t *result);

// The phases one behind the other as an SVG, rounds inside pre-copy, the time without the partition
// in another colour. `move`: GET /v1/moves/{}.
void explain_draw(FILE *f, const json_t *move);

#endif
