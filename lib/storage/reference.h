// SPDX-License-Identifier: Apache-2.0
// References to images as people write them: TRANSPORT:PATH[:NAME], in the words of skopeo(1). Only
// what lies on this host: "oci:/layout[:tag]", "oci-archive:/file.tar[:tag]",
// "docker-archive:/file.tar[:reference]". The path is absolute and has no colon, or it is "fd:N",
// a descriptor that came with the request.
#ifndef WPAR_STORAGE_REFERENCE_H
#define WPAR_STORAGE_REFERENCE_H

#include "lib/base/error.h"

#include <limits.h>
#include <stdbool.h>

enum reference_kind { REFERENCE_OCI, REFERENCE_OCI_ARCHIVE, REFERENCE_DOCKER_ARCHIVE };

struct reference {
	enum reference_kind kind;
	char path[PATH_MAX]; // absolute; "" with a descriptor
	int descriptor;      // number N of "fd:N"; -1: a path
	char name[256];      // tag or reference; "": none was given
};

// ERR_USAGE with a sentence that says which part is wrong.
int reference_parse(const char *text, struct reference *reference, struct error *err);

// "oci", "oci-archive", "docker-archive".
const char *reference_transport(enum reference_kind kind);

#endif
