// SPDX-License-Identifier: Apache-2.0
#include "lib/storage/layout.h"

#include "images/digest.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/storage/image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define BLOBS    "layout/blobs/sha256"
#define HEAD     "sha256:"
#define JSON_MAX (4u << 20)
#define MEDIA    "application/vnd.oci.image.manifest.v1+json"
#define REF_NAME "org.opencontainers.image.ref.name"

static int malformed(struct error *err, const char *what)
{
	return error_set(err, ERR_IMAGE, "the image is malformed: %s", what);
}

// The 64 digits of "sha256:..."; NULL: it is none.
static const char *hex_of(const char *digest)
{
	if (!digest || strncmp(digest, HEAD, strlen(HEAD)) != 0)
		return NULL;
	const char *hex = digest + strlen(HEAD);
	return strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64 ? hex : NULL;
}

int layout_blob(int folder, const char *hex, int flags, struct error *err)
{
	char path[sizeof(BLOBS) + IMAGE_HEX + 1], digest[STORE_DIGEST_MAX];
	snprintf(digest, sizeof(digest), HEAD "%.64s", hex);
	if (!hex_of(digest))
		return malformed(err, "a blob has no digest");
	snprintf(path, sizeof(path), BLOBS "/%s", hex);
	int fd = openat(folder, path, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? error_sys(err, ERR_IMAGE, errno, "blob %s", hex) : fd;
}

// A small blob as JSON, checked by its digest.
static json_t *read_blob(int folder, const char *digest, struct error *err)
{
	const char *hex = hex_of(digest);
	struct digest sum;
	char found[DIGEST_TEXT];
	_cleanup_close_ int fd = hex ? layout_blob(folder, hex, O_RDONLY, err)
				     : malformed(err, "a digest is not that of SHA-256");
	_cleanup_free_ char *text = fd < 0 ? NULL : fdio_read_text(fd, digest, JSON_MAX, err);
	if (!text || digest_of(text, strlen(text), &sum, err) < 0)
		return NULL;
	if (strcmp(digest_hex(&sum, found), hex) != 0) {
		error_set(err, ERR_IMAGE, "the image is damaged: blob %s has another digest", hex);
		return NULL;
	}
	json_t *json = json_loads(text, 0, NULL);
	if (!json)
		malformed(err, "a blob is not JSON");
	return json;
}

int layout_create(int folder, struct error *err)
{
	static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	static const char *const folders[] = {"layout", "layout/blobs", BLOBS};
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (mkdirat(folder, folders[i], 0700) < 0)
			return error_sys(err, ERR_STORAGE, errno, "cannot make an image layout");
	_cleanup_close_ int fd =
		openat(folder, "layout/oci-layout", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot make an image layout");
	return fdio_write_all(fd, version, strlen(version), err);
}

int layout_write_index(int folder, const char *digest, struct error *err)
{
	struct stat st;
	const char *hex = hex_of(digest);
	_cleanup_close_ int blob = hex ? layout_blob(folder, hex, O_RDONLY, err) : -1;
	if (blob < 0 || fstat(blob, &st) < 0)
		return malformed(err, "its manifest is missing");
	_cleanup_json_ json_t *index =
		json_pack("{s:i, s:[{s:s, s:s, s:I, s:{s:s}}]}", "schemaVersion", 2, "manifests",
			  "mediaType", MEDIA, "digest", digest, "size", (json_int_t)st.st_size,
			  "annotations", REF_NAME, STORE_IMAGE);
	_cleanup_free_ char *text = index ? json_dumps(index, JSON_COMPACT) : NULL;
	_cleanup_close_ int fd =
		openat(folder, "layout/index.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (!text || fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot make an image layout");
	return fdio_write_all(fd, text, strlen(text), err);
}

int layout_digest(int folder, char digest[STORE_DIGEST_MAX], struct error *err)
{
	_cleanup_free_ char *text = fdio_read_file(folder, "layout/index.json", JSON_MAX, err);
	_cleanup_json_ json_t *index = text ? json_loads(text, 0, NULL) : NULL;
	const json_t *list = json_object_get(index, "manifests");
	const char *found = json_string_value(json_object_get(json_array_get(list, 0), "digest"));
	if (!text)
		return -1;
	if (json_array_size(list) != 1 || !hex_of(found))
		return malformed(err, "its index does not name one manifest");
	snprintf(digest, STORE_DIGEST_MAX, "%s", found);
	return 0;
}

json_t *layout_manifest(int folder, const char *digest, struct error *err)
{
	return read_blob(folder, digest, err);
}

json_t *layout_config(int folder, const json_t *manifest, struct error *err)
{
	const char *digest =
		json_string_value(json_object_get(json_object_get(manifest, "config"), "digest"));
	if (!digest) {
		malformed(err, "it has no configuration");
		return NULL;
	}
	return read_blob(folder, digest, err);
}

// What Go, and so the specification of images, calls the machine that uname(2) names.
static const char *go_name(const char *machine)
{
	static const char *const names[][2] = {{"x86_64", "amd64"},
					       {"aarch64", "arm64"},
					       {"ppc64le", "ppc64le"},
					       {"s390x", "s390x"},
					       {"riscv64", "riscv64"}};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i][0], machine))
			return names[i][1];
	return machine;
}

int layout_check(int folder, const char *digest, struct error *err)
{
	struct utsname host;
	_cleanup_json_ json_t *manifest = layout_manifest(folder, digest, err);
	_cleanup_json_ json_t *config = manifest ? layout_config(folder, manifest, err) : NULL;
	if (!config)
		return -1;
	const char *os = json_string_value(json_object_get(config, "os"));
	const char *machine = json_string_value(json_object_get(config, "architecture"));
	uname(&host);
	if (os && *os && strcmp(os, "linux") != 0)
		return error_set(err, ERR_IMAGE, "the image is for %.32s, not for Linux", os);
	if (machine && *machine && strcmp(machine, go_name(host.machine)) != 0)
		return error_set(err, ERR_IMAGE, "the image is for %.32s, this host is %s", machine,
				 go_name(host.machine));
	return 0;
}

// ---- what it consists of ------------------------------------------------------------------------

static int add_blob(int folder, const char *digest, struct image_blobs *blobs, struct error *err)
{
	struct stat st;
	const char *hex = hex_of(digest);
	if (!hex || blobs->count == sizeof(blobs->list) / sizeof(blobs->list[0]))
		return malformed(err, hex ? "it has too many layers" : "a layer has no digest");
	for (size_t i = 0; i < blobs->count; i++)
		if (!strcmp(blobs->list[i].hex, hex))
			return 0; // the same layer twice
	_cleanup_close_ int fd = layout_blob(folder, hex, O_RDONLY, err);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	struct image_blob *blob = &blobs->list[blobs->count++];
	snprintf(blob->hex, sizeof(blob->hex), "%s", hex);
	blob->size = (uint64_t)st.st_size;
	blobs->bytes += blob->size;
	return 0;
}

int image_blobs(int folder, const char *digest, struct image_blobs *blobs, struct error *err)
{
	size_t i;
	json_t *layer;
	_cleanup_json_ json_t *manifest = layout_manifest(folder, digest, err);
	*blobs = (struct image_blobs){.count = 0};
	if (!manifest || add_blob(folder, digest, blobs, err) < 0)
		return -1;
	const json_t *config = json_object_get(manifest, "config");
	if (add_blob(folder, json_string_value(json_object_get(config, "digest")), blobs, err) < 0)
		return -1;
	json_array_foreach (json_object_get(manifest, "layers"), i, layer)
		if (add_blob(folder, json_string_value(json_object_get(layer, "digest")), blobs,
			     err) < 0)
			return -1;
	return 0;
}

json_t *image_config(int folder, const char *digest, struct error *err)
{
	_cleanup_json_ json_t *manifest = layout_manifest(folder, digest, err);
	_cleanup_json_ json_t *whole = manifest ? layout_config(folder, manifest, err) : NULL;
	if (!whole)
		return NULL;
	json_t *config = json_object_get(whole, "config");
	return json_is_object(config) ? json_incref(config) : json_object();
}
