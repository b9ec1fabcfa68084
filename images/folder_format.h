// SPDX-License-Identifier: Apache-2.0
// Private to folder_pack.c and folder_unpack.c: the form of the stream. All numbers little-endian.
//
// An entry: struct folder_entry; the path, relative, without NUL; the extended attributes, each a
// struct folder_attribute with name and value; `data_length` bytes for the target of a link. Of a
// file follow its extents: struct folder_extent and its bytes; the last one has length 0 and the
// size of the file for its offset.
#ifndef WPAR_IMAGES_FOLDER_FORMAT_H
#define WPAR_IMAGES_FOLDER_FORMAT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FOLDER_MAGIC          0x324c4f46u // "FOL2"
#define FOLDER_PATH_LIMIT     4096u
#define FOLDER_ATTRIBUTES_MAX (256u << 10)

enum folder_kind {
	FOLDER_END = 0,
	FOLDER_FOLDER = 1,
	FOLDER_FILE = 2,
	FOLDER_LINK = 3,
	FOLDER_FIFO = 4,
	FOLDER_HARD_LINK = 5,
	FOLDER_DEVICE = 6, // mode says which; `device` is that of mknod(2)
	FOLDER_SOCKET = 7,
	FOLDER_REMOVED = 8,
	FOLDER_PATCH = 9, // of a file that is there: its extents go over what it has
};

struct __attribute__((packed)) folder_entry {
	uint32_t magic;
	uint16_t kind;
	uint16_t path_length;
	uint32_t mode, uid, gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint32_t attribute_length;
	uint64_t device;
	uint64_t data_length;
};

struct __attribute__((packed)) folder_attribute {
	uint16_t name_length;
	uint32_t value_length;
};

struct __attribute__((packed)) folder_extent {
	uint64_t offset, length;
};

static inline uint32_t folder_mode_kept(bool whole)
{
	return whole ? 07777u : 01777u; // no setuid, no setgid
}

// What means nothing on another host: handles of files of this one's filesystem. And the label that
// the security module of a host gives by itself.
static inline bool folder_attribute_travels(const char *name)
{
	static const char *const stays[] = {"trusted.overlay.origin", "trusted.overlay.impure",
					    "trusted.overlay.nlink", "trusted.overlay.upper",
					    "security.selinux"};
	for (unsigned i = 0; i < sizeof(stays) / sizeof(stays[0]); i++)
		if (!strcmp(stays[i], name))
			return false;
	return true;
}

#endif
