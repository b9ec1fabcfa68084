// SPDX-License-Identifier: Apache-2.0
// The keeper: one process per partition that holds what a partition is made of on this host
// (network namespace, mounts, groups, console pipes), is the parent of its init and keeps its exit
// status. It lives in the partition's network namespace and a mount namespace of its own, so that
// the kernel removes all of it with the process. It outlives relocd, which finds it again by its
// socket.
//
// Protocol (chan.h) on RUN/partitions/NAME/keeper.sock; requests and answers as in keeper_client.c.
#ifndef WPAR_PARTITION_KEEPER_H
#define WPAR_PARTITION_KEEPER_H

// The program libexec/keeper: `keeper [--arriving]`, the definition (JSON) on descriptor 3; one
// byte or the JSON of an error to descriptor 4 when it is ready. Returns the exit code.
int keeper_main(int argc, char **argv);

#endif
