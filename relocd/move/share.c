// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/share.h"

#include <unistd.h>

#define AUTO_MAX 4

unsigned share_streams(unsigned asked)
{
	long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
	if (asked)
		return asked < SHARE_STREAMS_MAX ? asked : SHARE_STREAMS_MAX;
	return half < 1 ? 1 : half < AUTO_MAX ? (unsigned)half : AUTO_MAX;
}
