// SPDX-License-Identifier: Apache-2.0
// What the records of both sides of a move mean: pure functions, so that every row can be tested.
// The rules are those of wpar-protocol(7): a destructive act needs evidence of this epoch, never a
// mere absence; before the commit record the source may take its copy back, after it only when the
// destination has on disk that it never ran.
#ifndef WPAR_REGISTRY_RESOLVE_H
#define WPAR_REGISTRY_RESOLVE_H

#include "lib/base/error.h"
#include "lib/registry/decision.h"

#include <stdbool.h>

struct resolve_side {
	bool known;              // it is this host, or it has answered
	bool owned;              // its departure or arrival lives and decides by itself
	bool alive;              // processes of this copy exist, frozen or not
	enum decision_type last; // of its decision file
	bool kept, left;         // without one: its list of moves says that it is the source's, or
				 // the destination's
};

enum resolve_act {
	RESOLVE_WAIT,    // nobody may decide yet: stays as it is (in doubt), the peer is asked
	RESOLVE_STAY,    // source: it is ours; thaw (after an abort record where one is due)
	RESOLVE_COMMIT,  // source: its copy is dead and never ran since the dump: record the commit
	RESOLVE_REVOKE,  // source: record that it is ours again, one epoch on; thaw
	RESOLVE_RELEASE, // source: it runs there (or was given up): kill the original
	RESOLVE_CLEAR,   // destination: never ran here; kill what was restored, forget
	RESOLVE_REFUSE, // destination: voted, but the copy is dead: record that it never ran; clear
	RESOLVE_RUNS,   // destination: it is ours and runs
	RESOLVE_LOST,   // destination: it was ours and is dead
};

// For a move whose own process has ended (or !owned): what this side is to do. `peer` is looked at
// only where our records do not suffice.
enum resolve_act resolve_source(const struct resolve_side *own, const struct resolve_side *peer);
enum resolve_act resolve_target(const struct resolve_side *own, const struct resolve_side *peer);

// ---- a person decides ---------------------------------------------------------------------------

// Which copy `wparctl recover` proposes to keep: 's'ource, 't'arget, 'w': wait, it resolves itself;
// 'n': nothing is open. *why gets a sentence.
char resolve_propose(const struct resolve_side *source, const struct resolve_side *target,
		     const char **why);
// Whether a person may keep the copy `own`: 0, or -1 with the reason. `peer_is_dead`: asserted.
int resolve_may_keep(const struct resolve_side *own, const struct resolve_side *peer,
		     bool peer_is_dead, const char *host, const char *peer_host, struct error *err);

#endif
