// SPDX-License-Identifier: Apache-2.0
// libexec/keeper: see lib/partition/keeper.h.
#include "lib/partition/keeper.h"
#include "lib/base/version.h"

int main(int argc, char **argv)
{
	return version_asked(argc, argv, "keeper") ? 0 : keeper_main(argc, argv);
}
