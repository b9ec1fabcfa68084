// SPDX-License-Identifier: Apache-2.0
// `--version`, the same for each program.
#ifndef WPAR_BASE_VERSION_H
#define WPAR_BASE_VERSION_H

#include <stdbool.h>

// Is --version the only argument? Then "PROGRAM VERSION" has been printed and the program ends.
bool version_asked(int argc, char *const argv[], const char *program);

#endif
