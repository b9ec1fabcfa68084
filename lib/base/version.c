// SPDX-License-Identifier: Apache-2.0
#include "lib/base/version.h"

#include <stdio.h>
#include <string.h>

bool version_asked(int argc, char *const argv[], const char *program)
{
	if (argc != 2 || strcmp(argv[1], "--version"))
		return false;
	printf("%s %s\n", program, WPAR_VERSION);
	return true;
}
