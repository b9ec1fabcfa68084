// SPDX-License-Identifier: Apache-2.0
// The image that the partition's root is made of: the peer gets it from here if it has not got it.
// It goes as the blobs that it came in, so that the digest in the definition vouches for it there.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/partition/strv.h"
#include "lib/storage/image.h"
#include "lib/storage/upper.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#define WANT_MS    60000
#define FOLDERS_FD 64 // that the walk keeps open

static uint64_t walked;

static int add_size(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)path, (void)where;
	walked += type == FTW_F ? (uint64_t)st->st_blocks * 512 : 0;
	return 0;
}

static uint64_t size_below(const char *path)
{
	walked = 0;
	nftw(path, add_size, FOLDERS_FD, FTW_PHYS | FTW_MOUNT);
	return walked;
}

// Where CRIU looks for files that are watched: overlayfs has no handles for them.
static int list_folders(struct departure *d, struct error *err)
{
	char path[64];
	struct stat top, st;
	snprintf(path, sizeof(path), "/proc/%d/root", (int)d->status.pid);
	_cleanup_close_ int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || fstat(root, &top) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot look at the root");
	if (!(d->folders = strv_new(NULL)))
		return error_set(err, ERR_NOMEM, "no memory for a list of folders");
	_cleanup_closedir_ DIR *dir = fdio_opendir(root, err);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir)))
		if (fstatat(root, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISDIR(st.st_mode) && st.st_dev == top.st_dev &&
		    strv_addf(&d->folders, "/%s", entry->d_name) < 0)
			return error_set(err, ERR_NOMEM, "no memory for a list of folders");
	return dir ? 0 : -1;
}

int departure_open_image(struct departure *d, struct error *err)
{
	char path[PATH_MAX];
	_cleanup_free_ struct image_blobs *blobs = malloc(sizeof(*blobs));
	if (!blobs)
		return error_set(err, ERR_NOMEM, "no memory for an image");
	d->image = store_open(d->def->image_digest, err);
	if (d->image < 0 || image_blobs(d->image, d->def->image_digest, blobs, err) < 0)
		return -1;
	d->upper = open(upper_path(d->def->name, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->upper < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
	d->image_bytes = blobs->bytes;
	d->upper_bytes = size_below(path);
	return list_folders(d, err);
}

static int send_bytes(struct departure *d, int fd, uint64_t length, struct error *err)
{
	for (uint64_t done = 0; done < length;) {
		size_t part =
			length - done < LINK_DATA_MAX ? (size_t)(length - done) : LINK_DATA_MAX;
		void *slot = departure_pace(d, err) < 0 || departure_listen(d, err) < 0
				     ? NULL
				     : talk_slot(d->link, deadline_in_ms(TALK_SLOT_MS), err);
		if (!slot || fdio_pread_all(fd, slot, part, (off_t)done, err) < 0 ||
		    link_send_slot(d->link, WIRE_CHUNK, slot, part, err) < 0)
			return -1;
		done += part;
		departure_paced(d, part);
		d->sent_bytes += part;
		d->file_bytes += part;
		report_progress(&d->report, d->sent_bytes,
				d->image_bytes + d->upper_bytes + d->memory_bytes);
	}
	return 0;
}

static int send_blob(struct departure *d, const struct image_blob *blob, bool last,
		     struct error *err)
{
	struct digest digest;
	Wpar__Blob begin = WPAR__BLOB__INIT;
	_cleanup_close_ int fd = image_blob_open(d->image, blob->hex, err);
	if (fd < 0)
		return -1;
	if (!digest_parse(blob->hex, &digest))
		return error_set(err, ERR_INTERNAL, "blob %s has no digest", blob->hex);
	begin.sha256 = (ProtobufCBinaryData){.len = sizeof(digest.b), .data = digest.b};
	begin.length = blob->size;
	begin.last = last;
	if (talk_send(d->link, WIRE_BLOB, &begin.base, err) < 0)
		return -1;
	return send_bytes(d, fd, blob->size, err);
}

static int is_wanted(struct departure *d, bool *wanted, struct error *err)
{
	struct link_message message;
	if (departure_wait(d, WIRE_WANT, deadline_in_ms(WANT_MS), &message, err) < 0)
		return -1;
	Wpar__Want *want = wpar__want__unpack(NULL, message.length, message.payload);
	link_done(d->link, &message);
	if (!want)
		return error_set(err, ERR_PROTOCOL, "WANT of %s is malformed", d->peer);
	*wanted = want->wanted;
	wpar__want__free_unpacked(want, NULL);
	return 0;
}

int departure_send_image(struct departure *d, struct error *err)
{
	bool wanted = false;
	_cleanup_free_ struct image_blobs *blobs = malloc(sizeof(*blobs));
	if (!blobs)
		return error_set(err, ERR_NOMEM, "no memory for an image");
	if (is_wanted(d, &wanted, err) < 0)
		return -1;
	if (!wanted)
		return 0;
	if (image_blobs(d->image, d->def->image_digest, blobs, err) < 0)
		return -1;
	log_info("%s gets the image %s, %llu bytes", d->peer, d->def->image_digest,
		 (unsigned long long)blobs->bytes);
	for (size_t i = 0; i < blobs->count; i++)
		if (send_blob(d, &blobs->list[i], i + 1 == blobs->count, err) < 0)
			return -1;
	return 0;
}

void departure_close_image(struct departure *d)
{
	strv_free(d->folders);
	d->folders = NULL;
	snapshot_free(d->snapshot);
	d->snapshot = NULL;
	digest_free(d->digest);
	d->digest = NULL;
	if (d->upper >= 0)
		close(take_fd(&d->upper));
	if (d->image >= 0)
		close(take_fd(&d->image));
}
