// SPDX-License-Identifier: Apache-2.0
#include "relocd/partitions/create_bundle.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define CONFIG_MAX (4 * 1024 * 1024)

// openat2(2): no step leaves the folder.
static int open_beneath(int folder, const char *path, int flags)
{
	struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	return (int)syscall(SYS_openat2, folder, path, &how, sizeof(how));
}

// The path of an open folder, as it is from here.
static int path_of(int fd, char path[PATH_MAX], struct error *err)
{
	char link[64];
	struct stat there, here;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, PATH_MAX - 1);
	path[n > 0 ? n : 0] = 0;
	if (path[0] != '/' || fstat(fd, &here) < 0 || stat(path, &there) < 0 ||
	    there.st_dev != here.st_dev || there.st_ino != here.st_ino)
		return error_set(err, ERR_BUNDLE,
				 "the folder that was passed (%s) cannot be reached from here",
				 path[0] ? path : "?");
	return 0;
}

static char *read_config(int folder, struct error *err)
{
	struct error why;
	_cleanup_close_ int fd = open_beneath(folder, "config.json", O_RDONLY | O_NOCTTY);
	if (fd < 0) {
		error_sys(err, ERR_BUNDLE_SYNTAX, errno, "cannot open the bundle's config.json");
		return NULL;
	}
	char *text = fdio_read_text(fd, "the bundle's config.json", CONFIG_MAX, &why);
	if (!text)
		error_set(err, ERR_BUNDLE_SYNTAX, "%s", why.message);
	return text;
}

// The root that bundle_from_text() joined to `dir` is looked up again from the descriptor.
static int resolve_root(int folder, const char *dir, json_t *definition, struct error *err)
{
	char path[PATH_MAX];
	const char *root = json_string_value(json_object_get(definition, "rootfs"));
	size_t length = strlen(dir);
	if (!root || strncmp(root, dir, length) != 0 || root[length] != '/')
		return 0; // an absolute path of the host
	_cleanup_close_ int fd = open_beneath(folder, root + length + 1, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return error_sys(err, errno == EXDEV ? ERR_BUNDLE : ERR_ROOTFS_MISSING, errno,
				 "root.path: %s is no folder beneath the bundle",
				 root + length + 1);
	if (path_of(fd, path, err) < 0)
		return -1;
	return json_object_set_new(definition, "rootfs", json_string(path)) < 0
		       ? error_set(err, ERR_BUNDLE, "root.path: %s is not UTF-8", path)
		       : 0;
}

json_t *create_from_bundle(int folder, json_t **notes, struct error *err)
{
	char dir[PATH_MAX];
	if (path_of(folder, dir, err) < 0)
		return NULL;
	_cleanup_free_ char *text = read_config(folder, err);
	json_t *definition = text ? bundle_from_text(text, strlen(text), dir, notes, err) : NULL;
	if (!definition || resolve_root(folder, dir, definition, err) == 0)
		return definition;
	json_decref(definition);
	json_decref(*notes);
	*notes = NULL;
	return NULL;
}
