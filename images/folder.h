// SPDX-License-Identifier: Apache-2.0
// Packs trees of a partition into a stream of bytes and unpacks them beneath a folder: its per-host
// volatile folders (/run, /tmp, /dev/shm ...), and the layer that it wrote above its image.
//
// Folders, regular files with their holes, symbolic links and FIFOs travel, with mode, owner and
// time; hard links within one tree stay hard links. A `whole` tree also keeps setuid bits, extended
// attributes, device nodes and socket files; of others sockets do not travel (CRIU binds them anew)
// and device nodes and setuid bits never do.
//
// Unpacking never leaves the folder: no "..", no absolute names, no symbolic link is followed. A
// second stream over the first one changes what it holds and removes what it names as removed.
#ifndef WPAR_IMAGES_FOLDER_H
#define WPAR_IMAGES_FOLDER_H

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

// ---- packing ------------------------------------------------------------------------------------

// Where the bytes go.
struct folder_sink {
	int (*put)(void *arg, const void *bytes, size_t length, struct error *err);
	void *arg;
};

// What was sent of a large file, so that only those of its blocks that change are sent again.
struct folder_blocks;
struct folder_blocks *folder_blocks_new(struct error *err); // NULL: no memory
void folder_blocks_free(struct folder_blocks *b);           // NULL is fine

struct folder_how {
	bool whole;
	// Where the blocks of the file that was wanted last are noted: *place is NULL, or was left
	// by an earlier stream over which this one will be unpacked. Not asked for files of several
	// names. NULL: files are sent whole.
	struct folder_blocks **(*place)(void *arg);
	// Whether the entry travels (1, 0, or -1 with err); asked once for each, folders before
	// what is in them; the path is relative, "." the folder itself. NULL: all do.
	int (*wants)(void *arg, const char *path, const struct stat *st, struct error *err);
	void *arg;
};

// Writes the tree below `dirfd`, with mode and owner of the folder itself, without the end. A tree
// may change meanwhile: what it reads of a file then is of some moment or of several.
int folder_stream(int dirfd, const struct folder_how *how, const struct folder_sink *sink,
		  struct error *err);
// Names a path that is there no more; after folder_stream().
int folder_stream_removed(const struct folder_sink *sink, const char *path, struct error *err);
int folder_stream_end(const struct folder_sink *sink, struct error *err);

// Appends a volatile folder to `out`.
int folder_pack(int dirfd, struct buf *out, struct error *err);

// ---- unpacking ----------------------------------------------------------------------------------

struct folder_unpacker;

// `dirfd` stays the caller's and open. NULL: no memory.
struct folder_unpacker *folder_unpacker_new(int dirfd, bool whole, struct error *err);
void folder_unpacker_free(struct folder_unpacker *u); // NULL is fine

// Takes the next bytes of a stream, however they are cut; after the end of one the next may begin.
// ERR_PROTOCOL when they are not what folder_stream() writes; then it takes no more.
int folder_unpacker_feed(struct folder_unpacker *u, const void *bytes, size_t length,
			 struct error *err);
// Whether it stands between two streams.
bool folder_unpacker_idle(const struct folder_unpacker *u);

// Creates what `bytes` holds in the empty folder `dirfd`: one volatile folder.
int folder_unpack(int dirfd, const void *bytes, size_t length, struct error *err);

#endif
