// SPDX-License-Identifier: Apache-2.0
// Import, and the life of a layout. What is in a layout: layout.c.
#include "lib/storage/image.h"

#include "images/digest.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/storage/layout.h"
#include "lib/storage/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MANIFEST_MAX (4u << 20)
#define POLICY       "/etc/containers/policy.json"

// The image as skopeo is to be told. A descriptor is number 3 in it.
static int source_of(const struct reference *r, char text[PATH_MAX + 512], struct error *err)
{
	char real[PATH_MAX] = "/proc/self/fd/3";
	if (r->descriptor < 0 && !realpath(r->path, real))
		return error_sys(err, ERR_IMAGE, errno, "image %s", r->path);
	if (strchr(real, ':'))
		return error_set(err, ERR_IMAGE, "image %s: a path with a colon cannot be named",
				 real);
	snprintf(text, PATH_MAX + 512, "%s:%s%s%s", reference_transport(r->kind), real,
		 *r->name ? ":" : "", r->name);
	return 0;
}

struct import {
	char source[PATH_MAX + 512];
	char path[PATH_MAX]; // of the folder that it is made in
	int folder;
	struct tool tool; // what both runs have in common
};

// Signatures are asked for as the administrator of the host has it, if he has.
static const char *policy_option(void)
{
	return access(POLICY, R_OK) == 0 ? "--debug=false" : "--insecure-policy";
}

// The digest that it will have, unless it is converted or chosen from a list: then it is unknown.
static int digest_of_source(struct import *import, char digest[STORE_DIGEST_MAX], struct error *err)
{
	_cleanup_buf_ struct buf raw = BUF_INIT(MANIFEST_MAX);
	const char *argv[] = {TOOL_SKOPEO, policy_option(), "--tmpdir",     import->path,
			      "inspect",   "--raw",         import->source, NULL};
	struct tool tool = import->tool;
	struct digest sum;
	char hex[DIGEST_TEXT];
	tool.argv = argv;
	tool.output = &raw;
	if (tool_run(&tool, err) < 0 || digest_of(raw.data, raw.length, &sum, err) < 0)
		return -1;
	snprintf(digest, STORE_DIGEST_MAX, "sha256:%s", digest_hex(&sum, hex));
	return 0;
}

static int copy(struct import *import, struct error *err)
{
	char to[PATH_MAX + 64];
	const char *argv[] = {TOOL_SKOPEO, policy_option(), "--tmpdir", import->path,   "copy",
			      "--quiet",   "--format",      "oci",      import->source, to,
			      NULL};
	struct tool tool = import->tool;
	snprintf(to, sizeof(to), "oci:%s/layout:" STORE_IMAGE, import->path);
	tool.argv = argv;
	return tool_run(&tool, err);
}

static int unpack(const char *path, const struct tool *common, struct error *err)
{
	char image[PATH_MAX + 64], rootfs[PATH_MAX + 64];
	const char *argv[] = {TOOL_UMOCI, "raw", "unpack", "--image", image, rootfs, NULL};
	struct tool tool = *common;
	snprintf(image, sizeof(image), "%s/layout:" STORE_IMAGE, path);
	snprintf(rootfs, sizeof(rootfs), "%s/rootfs", path);
	tool.argv = argv;
	tool.descriptor = -1;
	return tool_run(&tool, err);
}

static int import_new(struct import *import, char digest[STORE_DIGEST_MAX], struct error *err)
{
	if (copy(import, err) < 0 || layout_digest(import->folder, digest, err) < 0)
		return -1;
	int there = store_open(digest, NULL);
	if (there >= 0)
		return there;
	if (layout_check(import->folder, digest, err) < 0 ||
	    unpack(import->path, &import->tool, err) < 0)
		return -1;
	return store_finish(import->path, digest, err);
}

int image_import(const char *reference, int descriptor, const struct storage_watch *watch,
		 char digest[STORE_DIGEST_MAX], struct error *err)
{
	struct reference parsed;
	struct import import = {.folder = -1};
	deadline_t deadline = deadline_in_ms(IMAGE_IMPORT_MS);
	if (reference_parse(reference, &parsed, err) < 0 || tool_check(err) < 0 ||
	    source_of(&parsed, import.source, err) < 0)
		return -1;
	_cleanup_close_ int lock = store_lock(deadline, err);
	if (lock < 0)
		return -1;
	_cleanup_close_ int folder = store_begin(import.path, err);
	if (folder < 0)
		return -1;
	import.folder = folder;
	import.tool = (struct tool){.folder = import.path,
				    .descriptor = descriptor,
				    .watch = watch,
				    .deadline = deadline};
	int image = -1, known = digest_of_source(&import, digest, err);
	if (known == 0 && (image = store_open(digest, NULL)) < 0)
		image = import_new(&import, digest, err);
	store_abandon(import.path); // gone by now if it became the image
	return image < 0 ? error_wrap(err, "image %s", reference) : image;
}

// ---- from another host --------------------------------------------------------------------------

int image_receive_begin(int folder, struct error *err)
{
	return layout_create(folder, err);
}

int image_blob_open(int folder, const char *hex, struct error *err)
{
	return layout_blob(folder, hex, O_RDONLY, err);
}

int image_blob_create(int folder, const char *hex, struct error *err)
{
	return layout_blob(folder, hex, O_WRONLY | O_CREAT | O_EXCL, err);
}

int image_receive_end(const char *path, const char *digest, const struct storage_watch *watch,
		      struct error *err)
{
	struct tool tool = {.folder = path,
			    .descriptor = -1,
			    .watch = watch,
			    .deadline = deadline_in_ms(IMAGE_IMPORT_MS)};
	_cleanup_close_ int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
	if (layout_write_index(folder, digest, err) < 0 || layout_check(folder, digest, err) < 0 ||
	    unpack(path, &tool, err) < 0)
		return -1;
	return store_finish(path, digest, err);
}
