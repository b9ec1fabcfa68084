// SPDX-License-Identifier: Apache-2.0
// libexec/keeper: see lib/partition/keeper.h.
#include "lib/partition/keeper.h"

int main(int argc, char **argv)
{
	return keeper_main(argc, argv);
}
