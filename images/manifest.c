// SPDX-License-Identifier: Apache-2.0
#include "images/manifest.h"

#include "images/peer.pb-c.h"
#include "lib/base/cleanup.h"

#include <ctype.h>
#include <string.h>

void manifest_free(struct manifest *m)
{
	free(m->objects);
	free(m->pages);
	*m = (struct manifest){0};
}

bool manifest_name_ok(const char *name)
{
	size_t length = strlen(name);
	if (!length || length >= MANIFEST_NAME_MAX || name[0] == '.')
		return false;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._:-", *c))
			return false;
	return true;
}

int manifest_add_object(struct manifest *m, const char *name, uint64_t length,
			const struct digest *digest, struct error *err)
{
	if (!manifest_name_ok(name))
		return error_set(err, ERR_PROTOCOL, "an object has a name that is not permitted");
	if (m->object_count >= MANIFEST_OBJECTS_MAX)
		return error_set(err, ERR_PROTOCOL, "more than %d objects", MANIFEST_OBJECTS_MAX);
	struct manifest_object *more = reallocarray(m->objects, m->object_count + 1, sizeof(*more));
	if (!more)
		return error_set(err, ERR_NOMEM, "no memory for a manifest");
	m->objects = more;
	struct manifest_object *o = &more[m->object_count++];
	*o = (struct manifest_object){.length = length, .digest = *digest};
	snprintf(o->name, sizeof(o->name), "%s", name);
	return 0;
}

int manifest_add_pages(struct manifest *m, uint64_t destination, uint64_t pages, struct error *err)
{
	if (m->pages_count >= MANIFEST_PAGES_MAX)
		return error_set(err, ERR_PROTOCOL, "more than %d page streams",
				 MANIFEST_PAGES_MAX);
	struct manifest_pages *more = reallocarray(m->pages, m->pages_count + 1, sizeof(*more));
	if (!more)
		return error_set(err, ERR_NOMEM, "no memory for a manifest");
	m->pages = more;
	more[m->pages_count++] = (struct manifest_pages){destination, pages};
	return 0;
}

static ProtobufCBinaryData digest_bytes(const struct digest *d)
{
	return (ProtobufCBinaryData){.len = sizeof(d->b), .data = (uint8_t *)d->b};
}

struct wire {
	Wpar__ManifestObject *objects, **object_list;
	Wpar__ManifestPages *pages, **pages_list;
};

static void wire_free(struct wire *w)
{
	free(w->objects);
	free(w->object_list);
	free(w->pages);
	free(w->pages_list);
}

static int wire_fill(struct wire *w, const struct manifest *m, struct error *err)
{
	w->objects = calloc(m->object_count + 1, sizeof(*w->objects));
	w->object_list = calloc(m->object_count + 1, sizeof(*w->object_list));
	w->pages = calloc(m->pages_count + 1, sizeof(*w->pages));
	w->pages_list = calloc(m->pages_count + 1, sizeof(*w->pages_list));
	if (!w->objects || !w->object_list || !w->pages || !w->pages_list)
		return error_set(err, ERR_NOMEM, "no memory for a manifest");
	for (size_t i = 0; i < m->object_count; i++) {
		wpar__manifest_object__init(&w->objects[i]);
		w->objects[i].name = m->objects[i].name;
		w->objects[i].length = m->objects[i].length;
		w->objects[i].sha256 = digest_bytes(&m->objects[i].digest);
		w->object_list[i] = &w->objects[i];
	}
	for (size_t i = 0; i < m->pages_count; i++) {
		wpar__manifest_pages__init(&w->pages[i]);
		w->pages[i].destination = m->pages[i].destination;
		w->pages[i].pages = m->pages[i].pages;
		w->pages_list[i] = &w->pages[i];
	}
	return 0;
}

int manifest_write(const struct manifest *m, struct buf *out, struct error *err)
{
	__attribute__((cleanup(wire_free))) struct wire w = {0};
	if (wire_fill(&w, m, err) < 0)
		return -1;
	Wpar__Manifest message = WPAR__MANIFEST__INIT;
	message.move = (char *)m->move;
	message.epoch = m->epoch;
	message.n_objects = m->object_count;
	message.objects = w.object_list;
	message.n_pages = m->pages_count;
	message.pages = w.pages_list;
	size_t length = wpar__manifest__get_packed_size(&message);
	uint8_t *to = buf_reserve(out, length, err);
	if (!to)
		return -1;
	out->length += wpar__manifest__pack(&message, to);
	return 0;
}

static int take_digest(const ProtobufCBinaryData *bytes, struct digest *digest, struct error *err)
{
	if (bytes->len != sizeof(digest->b))
		return error_set(err, ERR_PROTOCOL, "a digest has %zu bytes", bytes->len);
	memcpy(digest->b, bytes->data, sizeof(digest->b));
	return 0;
}

static int take_message(struct manifest *m, const Wpar__Manifest *message, struct error *err)
{
	if (strlen(message->move) >= sizeof(m->move))
		return error_set(err, ERR_PROTOCOL, "a manifest names a move that is too long");
	snprintf(m->move, sizeof(m->move), "%s", message->move);
	m->epoch = message->epoch;
	struct digest digest;
	for (size_t i = 0; i < message->n_objects; i++) {
		const Wpar__ManifestObject *o = message->objects[i];
		if (take_digest(&o->sha256, &digest, err) < 0 ||
		    manifest_add_object(m, o->name, o->length, &digest, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < message->n_pages; i++) {
		const Wpar__ManifestPages *p = message->pages[i];
		if (manifest_add_pages(m, p->destination, p->pages, err) < 0)
			return -1;
	}
	return 0;
}

int manifest_read(struct manifest *m, const void *bytes, size_t length, struct error *err)
{
	Wpar__Manifest *message = wpar__manifest__unpack(NULL, length, bytes);
	if (!message)
		return error_set(err, ERR_PROTOCOL, "a manifest is malformed");
	int done = take_message(m, message, err);
	wpar__manifest__free_unpacked(message, NULL);
	return done;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct manifest_object *)a)->name,
		      ((const struct manifest_object *)b)->name);
}

static int by_destination(const void *a, const void *b)
{
	uint64_t x = ((const struct manifest_pages *)a)->destination;
	uint64_t y = ((const struct manifest_pages *)b)->destination;
	return (x > y) - (x < y);
}

static int sort(struct manifest *m, struct error *err)
{
	if (m->object_count)
		qsort(m->objects, m->object_count, sizeof(*m->objects), by_name);
	if (m->pages_count)
		qsort(m->pages, m->pages_count, sizeof(*m->pages), by_destination);
	for (size_t i = 1; i < m->object_count; i++)
		if (!by_name(&m->objects[i - 1], &m->objects[i]))
			return error_set(err, ERR_PROTOCOL, "object %s comes twice",
					 m->objects[i].name);
	for (size_t i = 1; i < m->pages_count; i++)
		if (!by_destination(&m->pages[i - 1], &m->pages[i]))
			return error_set(err, ERR_PROTOCOL, "page stream %#llx comes twice",
					 (unsigned long long)m->pages[i].destination);
	return 0;
}

int manifest_compare(struct manifest *announced, struct manifest *received, struct error *err)
{
	if (strcmp(announced->move, received->move) || announced->epoch != received->epoch)
		return error_set(err, ERR_DIGEST, "the manifest is of another move");
	if (announced->object_count != received->object_count)
		return error_set(err, ERR_DIGEST, "%zu objects arrived where %zu were announced",
				 received->object_count, announced->object_count);
	if (announced->pages_count != received->pages_count)
		return error_set(err, ERR_DIGEST,
				 "%zu page streams arrived where %zu were announced",
				 received->pages_count, announced->pages_count);
	if (sort(announced, err) < 0 || sort(received, err) < 0)
		return -1;
	for (size_t i = 0; i < announced->object_count; i++) {
		const struct manifest_object *a = &announced->objects[i],
					     *b = &received->objects[i];
		if (strcmp(a->name, b->name) || b->length != a->length ||
		    !digest_equal(&a->digest, &b->digest))
			return error_set(err, ERR_DIGEST, "object %s did not arrive as it was sent",
					 a->name);
	}
	for (size_t i = 0; i < announced->pages_count; i++) {
		const struct manifest_pages *a = &announced->pages[i], *b = &received->pages[i];
		if (a->destination != b->destination || b->pages != a->pages)
			return error_set(err, ERR_DIGEST,
					 "the pages of %s %llu did not arrive as they were sent",
					 (a->destination & 0xff) == 1 ? "task" : "shared segment",
					 (unsigned long long)(a->destination >> 8));
	}
	return 0;
}
