// SPDX-License-Identifier: Apache-2.0
// Messages of a peer, behind the seal: the first byte says of which type, the rest is its contents.
// What departure and arrival read of it.
#include "images/peer.pb-c.h"
#include "lib/base/cleanup.h"
#include "lib/partition/definition.h"
#include "relocd/move/known.h"
#include "relocd/move/talk.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
	&wpar__hello__descriptor, &wpar__offer__descriptor,      &wpar__want__descriptor,
	&wpar__blob__descriptor,  &wpar__checks__descriptor,     &wpar__object__descriptor,
	&wpar__state__descriptor, &wpar__object_end__descriptor, &wpar__decision__descriptor,
	&wpar__round__descriptor, &wpar__mark__descriptor,       &wpar__query__descriptor,
	&wpar__join__descriptor,  &wpar__joined__descriptor,     &wpar__call__descriptor,
	&wpar__reply__descriptor, &wpar__taken__descriptor,
};

static void try_revoked(Wpar__Revoked *const *list, size_t count)
{
	struct known known;
	_cleanup_json_ json_t *json = known_to_json(list, count);
	known_from_json(json, &known);
	if (known.count > KNOWN_MAX)
		abort();
}

static void try_reason(const char *text)
{
	struct error err = {0};
	Wpar__Decision decision = WPAR__DECISION__INIT;
	decision.reason = (char *)text;
	if (talk_reason(&decision, "hostB", &err) != -1 || !error_is_set(&err) ||
	    !memchr(err.message, 0, sizeof(err.message)))
		abort();
}

static void read_decision(const struct link_message *message)
{
	struct error err = {0};
	Wpar__Decision *d = talk_read_decision(message, "m-1", 7, &err);
	if (!d && !error_is_set(&err))
		abort();
	if (!d)
		return;
	try_reason(d->reason);
	wpar__decision__free_unpacked(d, NULL);
}

static void read_offer(const Wpar__Offer *offer)
{
	_cleanup_definition_ struct partition_def *def =
		definition_from_text(offer->definition, strlen(offer->definition), NULL);
	if (def && !def->name[0])
		abort();
}

static void read_message(const ProtobufCMessage *m, const struct link_message *message)
{
	if (m->descriptor == &wpar__offer__descriptor)
		read_offer((const Wpar__Offer *)m);
	else if (m->descriptor == &wpar__decision__descriptor)
		read_decision(message);
	else if (m->descriptor == &wpar__round__descriptor)
		talk_check_round(message, "m-1", 7, 1, NULL);
	else if (m->descriptor == &wpar__mark__descriptor)
		talk_check_mark(message, "m-1", 7, 1, NULL);
	else if (m->descriptor == &wpar__call__descriptor)
		try_revoked(((const Wpar__Call *)m)->revoked, ((const Wpar__Call *)m)->n_revoked);
	else if (m->descriptor == &wpar__reply__descriptor)
		try_reason(((const Wpar__Reply *)m)->error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	const struct link_message message = {
		.type = WIRE_READY, .payload = data + 1, .length = size - 1, .slot = -1};
	const ProtobufCMessageDescriptor *type = types[data[0] % ARRAY_SIZE(types)];
	ProtobufCMessage *m =
		protobuf_c_message_unpack(type, NULL, message.length, message.payload);
	if (!m)
		return 0;
	read_message(m, &message);
	protobuf_c_message_free_unpacked(m, NULL);
	return 0;
}
