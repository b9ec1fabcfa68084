// SPDX-License-Identifier: Apache-2.0
// Whether the CRIU of this host works on its kernel, as VALIDATE wants to know it.
//
// The proof is the program criu-selftest; a good result is kept in a file per kernel release and
// CRIU version, so that it is run once after an update. A bad result is never kept.
#ifndef WPAR_CRIU_SELFTEST_H
#define WPAR_CRIU_SELFTEST_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/criu/program.h"

// `statedir`: where criu-selftest.json is kept. *version is filled also from the kept result.
// ERR_CRIU_UNABLE with the self-test's sentence.
int criu_selftest_cached(const struct criu_program *p, const char *statedir, deadline_t deadline,
			 struct criu_version *version, struct error *err);

// Runs libexec's criu-selftest, whatever was found before.
int criu_selftest_run(const struct criu_program *p, deadline_t deadline, struct error *err);

#endif
