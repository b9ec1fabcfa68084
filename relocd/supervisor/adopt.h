// SPDX-License-Identifier: Apache-2.0
// Partitions of a host that is lost, started here from shared storage: a person's decision.
//
// POST /v1/adopt {"names": [NAME...] | "from": HOST, "peer_is_dead": true, "reason": TEXT}. What is
// known of them is what their host said last (peers/learn.h). The decision is a move from there to
// here that has ended, with an arrival file whose record is `kept`: so the lost host is told until
// it has confirmed that its copy is dead (recover.h, disown.h).
#ifndef RELOCD_ADOPT_H
#define RELOCD_ADOPT_H

#include "relocd/api/api_handlers.h"

// In the result of the move, {"uuid","seen"}: it is an adoption.
#define ADOPT_KEY "adopted"

#endif
