// SPDX-License-Identifier: Apache-2.0
// What arrives: image files, packed folders, pages, held frames. The link hands out copies whose
// seal is right: the mover that wrote them to the ring is not trusted.
#include "relocd/arrival/arrival.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "relocd/move/priority.h"
#include "relocd/move/talk.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define OBJECT_MAX (1ull << 30)
#define TREE_NAME  "tree:"

int arrival_on_frozen(struct arrival *a, struct error *err)
{
	priority_resume(); // what is started from now on is the partition's
	if (cable_pull(&a->cable, false, err) < 0 || cable_announce(&a->cable, err) < 0)
		return -1;
	return arrival_warm_begin(a, err);
}

static bool starts_with(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

// Images that CRIU reads are files; what is for us is kept in memory.
static int open_target(struct arrival *a, struct error *err)
{
	struct arriving_object *o = &a->object;
	if (!strcmp(o->name, "manifest")) {
		if (a->manifest_bytes.length)
			return error_set(err, ERR_PROTOCOL, "the manifest comes twice");
		o->memory = &a->manifest_bytes;
		return 0;
	}
	if (starts_with(o->name, TREE_NAME)) {
		if (a->tree_count == ARRIVAL_TREES_MAX)
			return error_set(err, ERR_PROTOCOL, "too many packed folders");
		struct arrived_tree *tree = &a->trees[a->tree_count++];
		snprintf(tree->name, sizeof(tree->name), "%s", o->name + strlen(TREE_NAME));
		tree->bytes = BUF_INIT(OBJECT_MAX);
		o->memory = &tree->bytes;
		return 0;
	}
	// Pages have frames of their own and are written by the page store.
	if (starts_with(o->name, "pages") || strchr(o->name, ':'))
		return error_set(err, ERR_PROTOCOL, "object %s may not be sent", o->name);
	o->fd = openat(a->images, o->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	return o->fd < 0 ? error_sys(err, ERR_SYSTEM, errno, "cannot create image %s", o->name) : 0;
}

int arrival_on_object(struct arrival *a, struct error *err)
{
	const struct link_message *message = &a->message;
	struct arriving_object *o = &a->object;
	Wpar__Object *begin = wpar__object__unpack(NULL, message->length, message->payload);
	int done = 0;
	if (!begin || !manifest_name_ok(begin->name) || begin->length > OBJECT_MAX)
		done = error_set(err, ERR_PROTOCOL, "OBJECT is malformed");
	else if (o->digest)
		done = error_set(err, ERR_PROTOCOL, "object %s begins inside %s", begin->name,
				 o->name);
	if (done == 0) {
		*o = (struct arriving_object){
			.fd = -1, .length = begin->length, .digest = digest_begin(err)};
		snprintf(o->name, sizeof(o->name), "%s", begin->name);
		done = o->digest ? open_target(a, err) : -1;
	}
	if (begin)
		wpar__object__free_unpacked(begin, NULL);
	return done;
}

int arrival_on_chunk(struct arrival *a, struct error *err)
{
	const struct link_message *message = &a->message;
	struct arriving_object *o = &a->object;
	if (!o->digest || message->length > o->length - o->received)
		return error_set(err, ERR_PROTOCOL, "CHUNK has no place");
	o->received += message->length;
	a->received_bytes += message->length;
	if (digest_update(o->digest, message->payload, message->length, err) < 0)
		return -1;
	if (o->memory)
		return buf_append(o->memory, message->payload, message->length, err);
	return fdio_write_all(o->fd, message->payload, message->length, err);
}

static int compare_end(const struct arriving_object *o, const struct digest *mine,
		       const Wpar__ObjectEnd *end, struct error *err)
{
	if (!end || end->sha256.len != sizeof(mine->b))
		return error_set(err, ERR_PROTOCOL, "OBJECT_END is malformed");
	if (o->received != o->length || memcmp(mine->b, end->sha256.data, sizeof(mine->b)))
		return error_set(err, ERR_DIGEST, "object %s did not arrive as it was sent",
				 o->name);
	return 0;
}

int arrival_on_object_end(struct arrival *a, struct error *err)
{
	const struct link_message *message = &a->message;
	struct arriving_object *o = &a->object;
	struct digest mine;
	if (!o->digest)
		return error_set(err, ERR_PROTOCOL, "OBJECT_END without an object");
	Wpar__ObjectEnd *end = wpar__object_end__unpack(NULL, message->length, message->payload);
	struct digest_ctx *digest = take_ptr(o->digest);
	int done = digest_end(digest, &mine, err);
	if (done == 0)
		done = compare_end(o, &mine, end, err);
	if (end)
		wpar__object_end__free_unpacked(end, NULL);
	bool image = o->fd >= 0;
	if (image)
		close(take_fd(&o->fd));
	if (done < 0 || o->memory == &a->manifest_bytes)
		return done;
	if (image && arrival_audit_image(a, o->name, err) < 0)
		return -1;
	return manifest_add_object(&a->received, o->name, o->length, &mine, err);
}

int arrival_take_pages(struct arrival *a, bool rounds_only, const struct link_message *message,
		       struct error *err)
{
	if (a->report.phase == PHASE_PRECOPY && a->received_bytes > PRIORITY_YIELD_AFTER &&
	    a->rounds == 0)
		priority_yield(0, 0, NULL);
	priority_rate();
	int64_t bytes = pageintake_take(a->intake, a->store, rounds_only, message->payload,
					message->length, err);
	if (bytes < 0)
		return -1;
	a->received_bytes += (uint64_t)bytes;
	report_progress(&a->report, a->received_bytes, a->offer->memory_bytes);
	return 0;
}

// Until it is frozen nothing is final.
int arrival_on_pages(struct arrival *a, struct error *err)
{
	return arrival_take_pages(a, a->report.phase == PHASE_PRECOPY, &a->message, err);
}

// What came before it is in the store: messages are handled one after the other, and a MARK went
// ahead where there are several connections.
int arrival_on_round(struct arrival *a, struct error *err)
{
	const uint32_t number = a->rounds + 1;
	if (talk_check_round(&a->message, a->offer->move, a->offer->epoch, number, err) < 0)
		return -1;
	a->rounds++;
	priority_resume(); // the rounds after the first are short
	return talk_round(a->link, WIRE_ROUND_ACK, a->offer->move, a->offer->epoch, a->rounds, err);
}

int arrival_on_held(struct arrival *a, struct error *err)
{
	const struct link_message *message = &a->message;
	if (message->length < 1)
		return error_set(err, ERR_PROTOCOL, "HELD is too short");
	if (message->payload[0] >= a->cable.count)
		return error_set(err, ERR_PROTOCOL, "HELD is for network %u of %zu",
				 message->payload[0], a->cable.count);
	return hold_add_frames(a->cable.holds[message->payload[0]], message->payload + 1,
			       message->length - 1, err);
}
