// SPDX-License-Identifier: Apache-2.0
// Which images of the store this host still needs.
#ifndef RELOCD_IMAGES_H
#define RELOCD_IMAGES_H

#include "relocd/daemon/daemon.h"

// With the lock held: removes in the background the images that no partition of the table names
// (one that has moved away still counts: it may come back) and that nobody holds, and what a crash
// has left half made.
void images_collect(struct daemon *d);

#endif
