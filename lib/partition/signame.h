// SPDX-License-Identifier: Apache-2.0
// Signals by name, as images and definitions write them.
#ifndef WPAR_PARTITION_SIGNAME_H
#define WPAR_PARTITION_SIGNAME_H

// "SIGQUIT", "QUIT", "3", "SIGRTMIN+3", "RTMIN+3": the number (1 to SIGRTMAX); anything else: -1.
int signame_number(const char *name);

#endif
