// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/talk.h"

#include "lib/base/buf.h"
#include "lib/base/cleanup.h"

#include <string.h>

#define RESTORE_BYTES_MS 20000 // 20 MB/s

int64_t talk_restore_ms(uint64_t bytes)
{
	return (int64_t)(bytes / RESTORE_BYTES_MS);
}

int talk_send(struct link *link, uint16_t type, const ProtobufCMessage *message, struct error *err)
{
	_cleanup_buf_ struct buf bytes = BUF_INIT(LINK_CONTROL_MAX + 1);
	size_t length = protobuf_c_message_get_packed_size(message);
	uint8_t *to = buf_reserve(&bytes, length + 1, err); // a message may be empty
	if (!to)
		return error_wrap(err, "message %s", wire_name(type));
	protobuf_c_message_pack(message, to);
	return link_send(link, type, to, length, err);
}

static int check_hello(struct link *link, const Wpar__Hello *hello, struct error *err)
{
	if (!hello)
		return error_set(err, ERR_PROTOCOL, "HELLO of %s is malformed", link_peer(link));
	if (strcmp(hello->host, link_peer(link)))
		return error_set(err, ERR_PEER_UNTRUSTED, "host %s calls itself %s",
				 link_peer(link), hello->host);
	if (hello->protocol != TALK_PROTOCOL)
		return error_set(err, ERR_VERSION,
				 "%s speaks peer protocol %u, this host speaks %d", hello->host,
				 hello->protocol, TALK_PROTOCOL);
	return 0;
}

static int receive_hello(struct link *link, deadline_t deadline, Wpar__Hello **hello,
			 struct error *err)
{
	struct link_message message;
	int got = link_recv(link, deadline, &message, err);
	if (got < 0)
		return -1;
	if (!got)
		return error_set(err, ERR_DEADLINE, "%s did not say HELLO in time",
				 link_peer(link));
	int done = 0;
	if (message.type != WIRE_HELLO)
		done = error_set(err, ERR_PROTOCOL, "%s began with %s instead of HELLO",
				 link_peer(link), wire_name(message.type));
	else
		*hello = wpar__hello__unpack(NULL, message.length, message.payload);
	link_done(link, &message);
	return done < 0 ? -1 : check_hello(link, *hello, err);
}

int talk_hello(struct link *link, const char *host, const char *address, deadline_t deadline,
	       Wpar__Hello **hello, struct error *err)
{
	Wpar__Hello mine = WPAR__HELLO__INIT;
	*hello = NULL;
	mine.protocol = TALK_PROTOCOL;
	mine.host = (char *)host;
	mine.version = WPAR_VERSION;
	mine.address = (char *)address;
	if (talk_send(link, WIRE_HELLO, &mine.base, err) < 0)
		return -1;
	if (receive_hello(link, deadline, hello, err) < 0) {
		if (*hello)
			wpar__hello__free_unpacked(*hello, NULL);
		*hello = NULL;
		return -1;
	}
	return 0;
}

int talk_decision(struct link *link, uint16_t type, const struct talk_decision *d,
		  struct error *err)
{
	Wpar__Decision message = WPAR__DECISION__INIT;
	_cleanup_json_ json_t *why = d->why ? error_to_json(d->why) : NULL;
	_cleanup_free_ char *reason = why ? json_dumps(why, JSON_COMPACT) : NULL;
	message.move = (char *)d->move;
	message.epoch = d->epoch;
	message.reason = reason;
	message.has_restore_ms = type == WIRE_READY;
	message.restore_ms = d->restore_ms;
	message.has_switch_ms = type == WIRE_RUNNING;
	message.switch_ms = d->switch_ms;
	message.has_frozen_ms = type == WIRE_COMMIT;
	message.frozen_ms = d->frozen_ms;
	message.has_token = d->token != NULL;
	message.token = (ProtobufCBinaryData){.len = WIRE_TOKEN, .data = (uint8_t *)d->token};
	return talk_send(link, type, &message.base, err);
}

Wpar__Decision *talk_read_decision(const struct link_message *message, const char *move,
				   uint64_t epoch, struct error *err)
{
	Wpar__Decision *d = wpar__decision__unpack(NULL, message->length, message->payload);
	if (!d) {
		error_set(err, ERR_PROTOCOL, "message %s is malformed", wire_name(message->type));
		return NULL;
	}
	if (strcmp(d->move, move) || d->epoch != epoch) {
		error_set(err, ERR_PROTOCOL, "message %s is of another move",
			  wire_name(message->type));
		wpar__decision__free_unpacked(d, NULL);
		return NULL;
	}
	return d;
}

int talk_round(struct link *link, uint16_t type, const char *move, uint64_t epoch, uint32_t number,
	       struct error *err)
{
	Wpar__Round message = WPAR__ROUND__INIT;
	message.move = (char *)move;
	message.epoch = epoch;
	message.number = number;
	return talk_send(link, type, &message.base, err);
}

int talk_check_round(const struct link_message *message, const char *move, uint64_t epoch,
		     uint32_t number, struct error *err)
{
	Wpar__Round *round = wpar__round__unpack(NULL, message->length, message->payload);
	int done = 0;
	if (!round)
		return error_set(err, ERR_PROTOCOL, "message %s is malformed",
				 wire_name(message->type));
	if (strcmp(round->move, move) || round->epoch != epoch)
		done = error_set(err, ERR_PROTOCOL, "message %s is of another move",
				 wire_name(message->type));
	else if (round->number != number)
		done = error_set(err, ERR_PROTOCOL, "%s of round %u where %u was to come",
				 wire_name(message->type), round->number, number);
	wpar__round__free_unpacked(round, NULL);
	return done;
}

int talk_mark(struct link *link, const char *move, uint64_t epoch, uint32_t number,
	      struct error *err)
{
	Wpar__Mark message = WPAR__MARK__INIT;
	message.move = (char *)move;
	message.epoch = epoch;
	message.number = number;
	return talk_send(link, WIRE_MARK, &message.base, err);
}

int talk_check_mark(const struct link_message *message, const char *move, uint64_t epoch,
		    uint32_t number, struct error *err)
{
	Wpar__Mark *mark = wpar__mark__unpack(NULL, message->length, message->payload);
	int done = 0;
	if (!mark)
		return error_set(err, ERR_PROTOCOL, "MARK is malformed");
	if (strcmp(mark->move, move) || mark->epoch != epoch)
		done = error_set(err, ERR_PROTOCOL, "MARK is of another move");
	else if (mark->number != number)
		done = error_set(err, ERR_PROTOCOL, "MARK %u came where %u was to come",
				 mark->number, number);
	wpar__mark__free_unpacked(mark, NULL);
	return done;
}

int talk_reason(const Wpar__Decision *decision, const char *peer, struct error *err)
{
	_cleanup_json_ json_t *why =
		decision->reason ? json_loads(decision->reason, 0, NULL) : NULL;
	if (!why)
		return error_set(err, ERR_PEER_REFUSED, "%s ended the move without a reason", peer);
	error_from_json(err, why);
	error_at(err, peer, NULL, NULL);
	return -1;
}

void *talk_slot(struct link *link, deadline_t deadline, struct error *err)
{
	struct error why = {0};
	void *slot = link_slot(link, deadline, &why);
	if (!slot && why.id == ERR_DEADLINE)
		why.id = ERR_PEER_UNREACHABLE;
	if (!slot && err)
		*err = why;
	return slot;
}

static int send_chunks(struct link *link, const uint8_t *bytes, uint64_t length, struct error *err)
{
	for (uint64_t done = 0; done < length;) {
		size_t part =
			length - done < LINK_DATA_MAX ? (size_t)(length - done) : LINK_DATA_MAX;
		void *slot = talk_slot(link, deadline_in_ms(TALK_SLOT_MS), err);
		if (!slot)
			return -1;
		memcpy(slot, bytes + done, part);
		if (link_send_slot(link, WIRE_CHUNK, slot, part, err) < 0)
			return -1;
		done += part;
	}
	return 0;
}

int talk_send_object(struct link *link, const char *name, const void *bytes, uint64_t length,
		     struct digest *digest, struct error *err)
{
	Wpar__Object begin = WPAR__OBJECT__INIT;
	Wpar__ObjectEnd end = WPAR__OBJECT_END__INIT;
	if (digest_of(bytes, length, digest, err) < 0)
		return -1;
	begin.name = (char *)name;
	begin.length = length;
	end.sha256 = (ProtobufCBinaryData){.len = sizeof(digest->b), .data = digest->b};
	if (talk_send(link, WIRE_OBJECT, &begin.base, err) < 0 ||
	    send_chunks(link, bytes, length, err) < 0 ||
	    talk_send(link, WIRE_OBJECT_END, &end.base, err) < 0)
		return error_wrap(err, "object %s", name);
	return 0;
}
