// SPDX-License-Identifier: Apache-2.0
// An OCI image as skopeo or a peer has brought it: its index, its manifest and its configuration,
// a line each. Blobs are what their digests say, or nothing is read.
#include "images/digest.h"
#include "lib/base/cleanup.h"
#include "lib/storage/image.h"
#include "lib/storage/layout.h"
#include "tests/fuzz/scratch.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_file(int dirfd, const char *path, const void *bytes, size_t size)
{
	_cleanup_close_ int fd =
		openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		abort();
}

static void write_blob(int dirfd, const void *bytes, size_t size, char hex[DIGEST_TEXT])
{
	struct digest digest;
	char path[128];
	if (digest_of(bytes, size, &digest, NULL) < 0)
		abort();
	snprintf(path, sizeof(path), "layout/blobs/sha256/%s", digest_hex(&digest, hex));
	write_file(dirfd, path, bytes, size);
}

// The manifest, with the digest of the configuration where it says CONFIG.
static void write_manifest(int dirfd, const char *text, size_t size, const char *config,
			   char hex[DIGEST_TEXT])
{
	static const char mark[] = "CONFIG";
	_cleanup_free_ char *whole = malloc(size + DIGEST_TEXT);
	const char *at = memmem(text, size, mark, strlen(mark));
	if (!whole)
		return;
	size_t head = at ? (size_t)(at - text) : size;
	size_t tail = at ? size - head - strlen(mark) : 0;
	memcpy(whole, text, head);
	if (at) {
		memcpy(whole + head, config, DIGEST_TEXT - 1);
		memcpy(whole + head + DIGEST_TEXT - 1, at + strlen(mark), tail);
		head += DIGEST_TEXT - 1;
	}
	write_blob(dirfd, whole, head + tail, hex);
}

static void read_image(int dirfd, const char *hex)
{
	static struct image_blobs blobs;
	char digest[STORE_DIGEST_MAX];
	snprintf(digest, sizeof(digest), "sha256:%.64s", hex);
	_cleanup_json_ json_t *config = image_config(dirfd, digest, NULL);
	if (config && !json_is_object(config))
		abort();
	layout_check(dirfd, digest, NULL);
	if (image_blobs(dirfd, digest, &blobs, NULL) == 0 &&
	    (blobs.count < 1 || blobs.count > IMAGE_LAYERS_MAX + 2))
		abort();
}

static size_t line_of(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	return end ? (size_t)(end - data) : size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char config[DIGEST_TEXT], manifest[DIGEST_TEXT], found[STORE_DIGEST_MAX];
	int scratch = scratch_folder();
	fdio_remove_tree(scratch, "layout", NULL);
	if (layout_create(scratch, NULL) < 0)
		abort();
	size_t index = line_of(data, size), rest = index < size ? index + 1 : size;
	write_file(scratch, "layout/index.json", data, index);
	if (layout_digest(scratch, found, NULL) == 0 && strlen(found) != strlen("sha256:") + 64)
		abort();
	size_t middle = line_of(data + rest, size - rest), last = rest + middle;
	last += last < size;
	write_blob(scratch, data + last, size - last, config);
	write_manifest(scratch, (const char *)data + rest, middle, config, manifest);
	read_image(scratch, manifest);
	return 0;
}
