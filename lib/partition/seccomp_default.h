// SPDX-License-Identifier: Apache-2.0
// The default system call profile: what ordinary programs need, close to what container engines
// ship, less what cannot be checkpointed (io_uring, userfaultfd, vsock, memfd_secret).
#ifndef WPAR_PARTITION_SECCOMP_DEFAULT_H
#define WPAR_PARTITION_SECCOMP_DEFAULT_H

#include <seccomp.h>
#include <stdint.h>

// Fills a filter whose default action is ENOSYS: a call this list has never heard of looks like an
// older kernel to a program, which then falls back. Known but forbidden calls give EPERM. 0, or a
// negative errno of libseccomp.
int seccomp_default_fill(scmp_filter_ctx filter, uint64_t capabilities);

#endif
