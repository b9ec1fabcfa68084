// SPDX-License-Identifier: Apache-2.0
// Whose are the partitions that this host knows? The registry says it, unless it is empty, restored
// or was not looked at while the host was off: then the other hosts are asked before anything is
// started.
//
// Quarantine: the registry is not the one that this host had, or comes from a backup. Nothing is
// started and nothing is received until all other hosts have confirmed what is here, or a person
// trusts it (`wparctl cluster trust-local`). What runs goes on running.
#ifndef RELOCD_OWNERSHIP_H
#define RELOCD_OWNERSHIP_H

#include "relocd/partitions/partitions.h"

// ---- at relocd's start, in this order, without the lock -----------------------------------------

// After registry_open and partitions_load: is it the registry that was here before?
int ownership_open(struct daemon *d, struct error *err);
// Keepers that run and that the registry does not know are taken into it: their partitions are as
// the keepers were told. A frozen one gets its move back, for moves_resume().
void ownership_adopt(struct daemon *d);
// Last: asks the other hosts, in the background, where that is needed; then revive_begin().
void ownership_begin(struct daemon *d);

// ---- with the lock held -------------------------------------------------------------------------

// 0, or -1 with ERR_QUARANTINE.
int ownership_check(struct daemon *d, const char *name, struct error *err);
// Ends quarantine and doubts about the owners: a person knows. ERR_WRONG_STATE when there is
// nothing to trust.
int ownership_trust_local(struct daemon *d, const char *reason, struct error *err);

// ---- the rule (a pure function, for tests) ------------------------------------------------------

struct ownership_claim { // what another host says of a partition of the same uuid
	enum partition_state state;
	uint64_t epoch;
	bool departed_to_us;
};
enum ownership_verdict {
	OWNERSHIP_OURS,     // nothing that it says speaks against us
	OWNERSHIP_THEIRS,   // it has it, later than we
	OWNERSHIP_CONFLICT, // both say that they run it: people must look
};
enum ownership_verdict ownership_judge(enum partition_state own, uint64_t own_epoch,
				       const struct ownership_claim *claim);

#endif
