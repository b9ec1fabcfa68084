// SPDX-License-Identifier: Apache-2.0
#include "lib/base/paths.h"

#include <stdio.h>
#include <stdlib.h>

static const char *chosen(const char *variable, const char *built_in)
{
	const char *value = secure_getenv(variable);
	return value && value[0] == '/' ? value : built_in;
}

const char *paths_libexec(void)
{
	return chosen("RELOCD_LIBEXECDIR", WPAR_LIBEXECDIR);
}

const char *paths_state(void)
{
	return chosen("RELOCD_STATEDIR", WPAR_STATEDIR);
}

const char *paths_run(void)
{
	return chosen("RELOCD_RUNDIR", WPAR_RUNDIR);
}

const char *paths_etc(void)
{
	return chosen("RELOCD_ETCDIR", WPAR_ETCDIR);
}

const char *paths_moves(void)
{
	static __thread char path[512];
	snprintf(path, sizeof(path), "%s/moves", paths_state());
	return path;
}

const char *paths_program(const char *name)
{
	static __thread char path[4][512];
	static __thread unsigned turn;
	char *buffer = path[turn++ % 4];
	snprintf(buffer, sizeof(path[0]), "%s/%s", paths_libexec(), name);
	return buffer;
}
