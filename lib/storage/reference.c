// SPDX-License-Identifier: Apache-2.0
#include "lib/storage/reference.h"

#include "lib/base/cleanup.h"

#include <ctype.h>
#include <string.h>

static const char *const transports[] = {
	[REFERENCE_OCI] = "oci",
	[REFERENCE_OCI_ARCHIVE] = "oci-archive",
	[REFERENCE_DOCKER_ARCHIVE] = "docker-archive",
};

const char *reference_transport(enum reference_kind kind)
{
	return transports[kind];
}

static int wrong(struct error *err, const char *text, const char *why)
{
	return error_set(err, ERR_USAGE, "image \"%.200s\": %s", text, why);
}

static int take_transport(const char *text, struct reference *reference, struct error *err)
{
	size_t length = strcspn(text, ":");
	for (size_t i = 0; i < ARRAY_SIZE(transports); i++) {
		if (length != strlen(transports[i]) || strncmp(text, transports[i], length))
			continue;
		reference->kind = (enum reference_kind)i;
		return 0;
	}
	return wrong(err, text,
		     "only images on this host are taken: oci:PATH[:TAG], "
		     "oci-archive:FILE[:TAG] or docker-archive:FILE[:REF]; `skopeo copy` brings "
		     "one from a registry");
}

// "fd:N", N of one digit, at the end or before a colon.
static bool is_descriptor(const char *text)
{
	return !strncmp(text, "fd:", 3) && isdigit((unsigned char)text[3]) &&
	       (!text[4] || text[4] == ':');
}

static int take_path(const char *text, const char *at, struct reference *reference,
		     struct error *err, const char **rest)
{
	reference->descriptor = -1;
	if (is_descriptor(at)) {
		reference->descriptor = at[3] - '0';
		*rest = at + 4;
		return 0;
	}
	size_t length = strcspn(at, ":");
	if (at[0] != '/' || length >= sizeof(reference->path))
		return wrong(err, text, "an absolute path is wanted");
	memcpy(reference->path, at, length);
	reference->path[length] = 0;
	*rest = at + length;
	return 0;
}

// The letters that tags and references may have (OCI image specification, annotations; they reach
// the command line of skopeo).
static bool is_name(const char *name)
{
	if (!isalnum((unsigned char)*name))
		return false;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-+/:@", *c))
			return false;
	return true;
}

int reference_parse(const char *text, struct reference *reference, struct error *err)
{
	const char *rest = NULL;
	*reference = (struct reference){.descriptor = -1};
	if (take_transport(text, reference, err) < 0)
		return -1;
	const char *at = text + strlen(transports[reference->kind]);
	if (*at != ':' || take_path(text, at + 1, reference, err, &rest) < 0)
		return *at ? -1 : wrong(err, text, "a path is wanted after the colon");
	if (!*rest)
		return 0;
	if (!is_name(rest + 1) || strlen(rest + 1) >= sizeof(reference->name))
		return wrong(err, text, "what follows the path is not a tag");
	snprintf(reference->name, sizeof(reference->name), "%s", rest + 1);
	return 0;
}
