// SPDX-License-Identifier: Apache-2.0
// The terminal in raw mode, and back to what it was however the program ends.
#ifndef WPARCTL_TERMINAL_H
#define WPARCTL_TERMINAL_H

#include "lib/base/error.h"

// Puts standard input's terminal into raw mode. It is restored by terminal_restore, at exit(3), and
// when a fault of our own kills us.
int terminal_raw(struct error *err);
void terminal_restore(void); // nothing when it is not raw
// Of standard input's or output's terminal; 24 by 80 when there is none.
void terminal_size(unsigned *rows, unsigned *cols);

#endif
