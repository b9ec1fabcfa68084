// SPDX-License-Identifier: Apache-2.0
// The image that the arriving partition's root is made of. What this host lacks the source sends,
// blob by blob; the digest in the definition vouches for the manifest, and that for all others.
#include "relocd/arrival/arrival.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/storage/image.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <string.h>

#define UNPACKED_TIMES 4 // that an image is larger when it is unpacked, about
#define BLOB_MS        60000

int arrival_check_image(struct arrival *a, struct error *err)
{
	uint64_t bytes = a->offer->upper_bytes;
	_cleanup_close_ int there = store_open(a->def->image_digest, NULL);
	if (bytes > UINT64_MAX / 16 || a->offer->image_bytes > UINT64_MAX / 16)
		return error_set(err, ERR_PROTOCOL, "OFFER has impossible sizes");
	if (there < 0) {
		bytes += a->offer->image_bytes * (1 + UNPACKED_TIMES);
		if (tool_check(err) < 0)
			return -1;
	}
	return tool_check_space(paths_state(), bytes, err);
}

// The blobs that are arriving, one after the other.
struct incoming {
	int folder, fd; // the one that has begun; -1: none
	char hex[IMAGE_HEX];
	struct digest_ctx *digest;
	uint64_t left, total;
	size_t count;
	bool last, complete;
};

static int end_of_blob(struct incoming *in, struct error *err)
{
	struct digest sum;
	char hex[DIGEST_TEXT];
	struct digest_ctx *digest = take_ptr(in->digest);
	close(take_fd(&in->fd));
	if (digest_end(digest, &sum, err) < 0)
		return -1;
	if (strcmp(digest_hex(&sum, hex), in->hex) != 0)
		return error_set(err, ERR_DIGEST, "blob %s did not arrive as it was sent", in->hex);
	in->complete = in->last;
	return 0;
}

static int open_blob(struct incoming *in, const Wpar__Blob *blob, uint64_t allowed,
		     struct error *err)
{
	struct digest sum;
	if (!blob || blob->sha256.len != sizeof(sum.b) || in->fd >= 0 ||
	    in->count++ > IMAGE_LAYERS_MAX + 2 || blob->length > allowed - in->total)
		return error_set(err, ERR_PROTOCOL, "BLOB is malformed");
	memcpy(sum.b, blob->sha256.data, sizeof(sum.b));
	digest_hex(&sum, in->hex);
	in->left = blob->length;
	in->total += blob->length;
	in->last = blob->last;
	if (!(in->digest = digest_begin(err)) ||
	    (in->fd = image_blob_create(in->folder, in->hex, err)) < 0)
		return -1;
	return in->left ? 0 : end_of_blob(in, err);
}

static int on_blob(struct arrival *a, struct incoming *in, const struct link_message *message,
		   struct error *err)
{
	Wpar__Blob *blob = wpar__blob__unpack(NULL, message->length, message->payload);
	int done = open_blob(in, blob, a->offer->image_bytes, err);
	if (blob)
		wpar__blob__free_unpacked(blob, NULL);
	return done;
}

static int on_chunk(struct arrival *a, struct incoming *in, const struct link_message *message,
		    struct error *err)
{
	if (in->fd < 0 || message->length > in->left)
		return error_set(err, ERR_PROTOCOL, "CHUNK has no place");
	if (digest_update(in->digest, message->payload, message->length, err) < 0 ||
	    fdio_write_all(in->fd, message->payload, message->length, err) < 0 ||
	    tool_check_space(a->staging, 0, err) < 0)
		return -1;
	in->left -= message->length;
	a->received_bytes += message->length;
	report_progress(&a->report, a->received_bytes, a->offer->image_bytes);
	return in->left ? 0 : end_of_blob(in, err);
}

static int take(struct arrival *a, struct incoming *in, const struct link_message *message,
		struct error *err)
{
	if (message->type == WIRE_BLOB)
		return on_blob(a, in, message, err);
	if (message->type == WIRE_CHUNK)
		return on_chunk(a, in, message, err);
	return arrival_take_aside(a, message, err);
}

static int receive_all(struct arrival *a, struct incoming *in, struct error *err)
{
	deadline_t deadline = deadline_in_ms(BLOB_MS);
	while (!in->complete) {
		struct link_message message;
		int got = link_recv(a->link, report_deadline(&a->report, deadline), &message, err);
		if (got > 0) {
			got = take(a, in, &message, err);
			link_done(a->link, &message);
			deadline = deadline_in_ms(BLOB_MS);
		}
		if (got < 0 || arrival_check_cancel(a, err) < 0)
			return -1;
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE,
					 "%s fell silent while it sent the image",
					 link_peer(a->link));
	}
	return 0;
}

static int still_wanted(void *arg, struct error *err)
{
	return arrival_listen(arg, err);
}

static int receive_into(struct arrival *a, int folder, struct error *err)
{
	struct incoming in = {.folder = folder, .fd = -1};
	int done = image_receive_begin(folder, err);
	if (done == 0)
		done = receive_all(a, &in, err);
	digest_free(in.digest);
	if (in.fd >= 0)
		close(in.fd);
	return done;
}

static int receive(struct arrival *a, struct error *err)
{
	const struct storage_watch watch = {still_wanted, a};
	_cleanup_close_ int folder = store_begin(a->staging, err);
	if (folder < 0 || receive_into(a, folder, err) < 0)
		return -1;
	a->image = image_receive_end(a->staging, a->def->image_digest, &watch, err);
	if (a->image < 0)
		return -1;
	a->staging[0] = 0;
	log_info("this host has the image %s now", a->def->image_digest);
	return 0;
}

int arrival_fetch_image(struct arrival *a, struct error *err)
{
	Wpar__Want want = WPAR__WANT__INIT;
	a->image = store_open(a->def->image_digest, NULL);
	want.wanted = a->image < 0;
	if (talk_send(a->link, WIRE_WANT, &want.base, err) < 0)
		return -1;
	return a->image < 0 ? receive(a, err) : 0;
}

void arrival_drop_image(struct arrival *a)
{
	if (a->staging[0])
		store_abandon(a->staging);
	a->staging[0] = 0;
	if (a->image >= 0)
		close(take_fd(&a->image));
}
