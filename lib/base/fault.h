// SPDX-License-Identifier: Apache-2.0
// Points at which a failure can be ordered: to prove what a move does then, and for drills.
//
// They are always built in, and inert unless root has written ETC/faults (/etc/relocd/faults),
// which nobody else may write. Each line orders one fault:
//
//	POINT ACTION [MS]        # departure:record:commit:before kill
//
// POINT is process:kind:name:when; `relocd --fault-points` lists them all. ACTION:
//	error        the act fails (WPAR-I012)
//	kill, stop   the process ends by SIGKILL, or is stopped by SIGSTOP
//	delay MS     it takes so much longer
//	drop-link    the connection to the peer is cut
//	short-write  of a record only its first half is written, which fails
//	torn         the same, and the process ends by SIGKILL
//	no-space     the disk is full
// What an act cannot do it leaves alone. Each line strikes once: RUN/faults (/run/relocd/faults)
// tells which have, "POINT ACTION PID" each; without it all may strike again.
#ifndef WPAR_BASE_FAULT_H
#define WPAR_BASE_FAULT_H

#include "lib/base/error.h"

#define FAULT_POINT_MAX 80

enum fault_kind {
	FAULT_PHASE,   // a phase begins; without `when`
	FAULT_RECORD,  // a record of the decision file is made durable
	FAULT_SEND,    // a message is handed to the link
	FAULT_RECEIVE, // a message was received, and is not looked at yet; without `when`
	FAULT_CRIU,    // a notification of CRIU is answered
};

enum fault_when { FAULT_BEFORE, FAULT_AFTER };

// What is left for the caller to do; the others have happened.
enum fault {
	FAULT_NONE,
	FAULT_ERROR, // *err says so
	FAULT_DROP_LINK,
	FAULT_SHORT_WRITE,
	FAULT_TORN,
	FAULT_NO_SPACE,
};

// The points of this process begin with its name ("departure"; kept, not copied). Before that there
// are none.
void fault_begin(const char *process);

// `name`: of the phase, record, message or notification, in any letters. Costs one open(2) of a
// file that is not there.
enum fault fault_at(enum fault_kind kind, const char *name, enum fault_when when,
		    struct error *err);

// The name of a point, in small letters.
void fault_point(char point[FAULT_POINT_MAX], const char *process, enum fault_kind kind,
		 const char *name, enum fault_when when);

#endif
