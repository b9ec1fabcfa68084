// SPDX-License-Identifier: Apache-2.0
// Where things are. Compiled-in by the Makefile, each overridable by an environment variable so
// that a build tree runs without installation (RELOCD_LIBEXECDIR, RELOCD_STATEDIR, RELOCD_RUNDIR,
// RELOCD_ETCDIR).
#ifndef WPAR_BASE_PATHS_H
#define WPAR_BASE_PATHS_H

const char *paths_libexec(void); // /usr/libexec/relocd
const char *paths_state(void);   // /var/lib/relocd
const char *paths_run(void);     // /run/relocd
const char *paths_etc(void);     // /etc/relocd

// The decision files: "state/moves", in a static buffer of this thread.
const char *paths_moves(void);

// "libexec/name" into one of a few rotating static buffers; not for keeping.
const char *paths_program(const char *name);

#endif
