// SPDX-License-Identifier: Apache-2.0
// Mount options as words (mount(8), OCI) and as flags (mount(2)), and paths inside a partition.
#ifndef WPAR_PARTITION_MOUNTOPT_H
#define WPAR_PARTITION_MOUNTOPT_H

#include <stdbool.h>
#include <sys/types.h>

struct mountopt {
	unsigned long flags; // MS_*
	bool recursive;      // rbind
	mode_t mode;         // mode=, octal; 0: not given
	bool size_given;     // size=: there is one volatile filesystem, it is not divided
};

// Adds one word; false when it is not one of ours.
bool mountopt_add(struct mountopt *options, const char *word);
// The n-th word (0, 1, ...) that gives these flags; NULL past the end.
const char *mountopt_word(unsigned long flags, unsigned n);

// Brings an absolute path into its shortest form in place ("/a//b/" -> "/a/b"); false when it is
// relative, has a ".." component or a control character.
bool mountopt_normalise(char *path);

#endif
