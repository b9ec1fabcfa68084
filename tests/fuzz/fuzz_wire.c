// SPDX-License-Identifier: Apache-2.0
// What a peer, a captured mover or a mistyped token can put before our parsers: the preamble, frame
// headers, notes on the channel against the ledger, tokens. Whatever is accepted must be in bounds.
#include "lib/transport/ring.h"
#include "lib/transport/token.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool fact)
{
	if (!fact)
		abort();
}

static void try_frames(const uint8_t *data, size_t size)
{
	struct wire_header header;
	for (; size >= WIRE_HEADER; data += WIRE_HEADER, size -= WIRE_HEADER) {
		if (wire_header_get(data, &header, NULL) < 0)
			continue;
		uint8_t again[WIRE_HEADER];
		wire_header_put(again, header.type, header.length);
		demand(memcmp(again, data, WIRE_HEADER) == 0);
		demand(header.length <=
		       (wire_is_data(header.type) ? WIRE_DATA_MAX : WIRE_CONTROL_MAX));
	}
}

// As link.c and the mover do: form first, then the ledger.
static void try_notes(const uint8_t *data, size_t size, bool from_mover)
{
	struct ring_ledger ledger = {.lent = 0xa, .controls_lent = 3, .flushes = 1};
	struct ring_note note;
	for (; size > sizeof(note); data += sizeof(note) + 1, size -= sizeof(note) + 1) {
		memcpy(&note, data, sizeof(note));
		size_t payload = data[sizeof(note)] & 1 ? note.length : 0;
		if (ring_check(&note, payload, from_mover, NULL) < 0 ||
		    ring_ledger_received(&ledger, &note, NULL) < 0)
			return; // the link has failed
		demand(ledger.held < 1U << LINK_SLOTS && ledger.lent < 1U << LINK_SLOTS);
		demand(ledger.controls_held <= LINK_CREDIT && ledger.controls_lent <= LINK_CREDIT);
		demand(ledger.flushes <= RING_FLUSHES_MAX);
		if (note.kind == RING_DATA)
			demand(note.slot < LINK_SLOTS && note.length <= WIRE_DATA_MAX);
	}
}

static void try_token(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1), again[TOKEN_TEXT_MAX];
	struct token token, same;
	memcpy(text, data, size);
	if (token_decode(text, &token, NULL) == 0) {
		demand(token_encode(&token, again, NULL) == 0);
		demand(token_decode(again, &same, NULL) == 0);
		demand(memcmp(token.secret, same.secret, TOKEN_SECRET) == 0);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum wire_kind kind;
	if (!size)
		return 0;
	switch (data[0] % 5) {
	case 0:
		if (size > WIRE_PREAMBLE)
			wire_preamble_get(data + 1, &kind, NULL);
		break;
	case 1:
		try_frames(data + 1, size - 1);
		break;
	case 2:
		try_token(data + 1, size - 1);
		break;
	default:
		try_notes(data + 1, size - 1, data[0] & 1);
	}
	return 0;
}
