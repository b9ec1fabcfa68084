// SPDX-License-Identifier: Apache-2.0
// Writes the inputs of tests/fuzz/corpus that are no text, by the code that makes such bytes in
// earnest: `make fuzz-seeds`. What fuzzing has found lies beside them and is left alone.
#include "images/criu_mm.pb-c.h"
#include "images/folder.h"
#include "images/lazymap.h"
#include "images/manifest.h"
#include "images/pageframe.h"
#include "images/peer.pb-c.h"
#include "lib/base/fdio.h"
#include "lib/criu/pageserver.h"
#include "lib/net/held.h"
#include "lib/registry/decision.h"
#include "lib/transport/ring.h"
#include "lib/transport/token.h"
#include "tests/unit/audit_images.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static const char *corpus;

static void demand(bool fact, const char *what)
{
	if (fact)
		return;
	fprintf(stderr, "seeds: cannot make %s\n", what);
	exit(1);
}

// Writes what is in the buffer, and empties it.
static void put(const char *target, const char *name, struct buf *b)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", corpus, target);
	demand(fdio_mkdir_p(path, 0755, NULL) == 0, path);
	snprintf(path, sizeof(path), "%s/%s/%s", corpus, target, name);
	demand(fdio_replace_file(path, b->data, b->length, 0644, NULL) == 0, path);
	b->length = 0;
}

static void add(struct buf *b, const void *bytes, size_t length)
{
	demand(buf_append(b, bytes, length, NULL) == 0, "a seed");
}

static void byte(struct buf *b, unsigned value)
{
	add(b, &(uint8_t){(uint8_t)value}, 1);
}

static void half(struct buf *b, unsigned value)
{
	byte(b, value & 0xff);
	byte(b, value >> 8);
}

static void word(struct buf *b, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		byte(b, value >> 8 * i & 0xff);
}

static void message(struct buf *b, const ProtobufCMessage *m)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	demand(buf_reserve(b, size, NULL) != NULL, "a message");
	b->length += protobuf_c_message_pack(m, b->data + b->length);
}

// ---- the wire -----------------------------------------------------------------------------------

static void wire_token(struct buf *b)
{
	char text[TOKEN_TEXT_MAX];
	struct token token = {
		.name = "hostB", .host = "hostA", .address = "10.77.0.1:7470", .secret = {1, 2, 3}};
	memset(token.ca, 'a', sizeof(token.ca) - 1);
	demand(token_encode(&token, text, NULL) == 0, "a token");
	byte(b, 2);
	add(b, text, strlen(text));
	put("wire", "token", b);
}

static void wire(struct buf *b)
{
	static const uint16_t types[] = {WIRE_HELLO, WIRE_OFFER, WIRE_PAGES, WIRE_COMMIT,
					 WIRE_SEAL};
	const struct ring_note notes[] = {{.kind = RING_CONTROL, .type = WIRE_HELLO, .length = 40},
					  {.kind = RING_DATA, .type = WIRE_PAGES, .length = 4128}};
	byte(b, 0);
	add(b, "WPAR/1\r\n\2\0\0\0\0\0\0\0tokentokentoken!", WIRE_PREAMBLE);
	put("wire", "preamble", b);
	byte(b, 1);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		uint8_t header[WIRE_HEADER];
		wire_header_put(header, types[i], 100);
		add(b, header, sizeof(header));
	}
	put("wire", "frames", b);
	for (unsigned side = 3; side < 5; side++) {
		byte(b, side);
		for (size_t i = 0; i < ARRAY_SIZE(notes); i++) {
			add(b, &notes[i], sizeof(notes[i]));
			byte(b, i == 0);
		}
		put("wire", side == 3 ? "notes-of-mover" : "notes-to-mover", b);
	}
	wire_token(b);
	byte(b, 23);
	add(b, "a handshake record, or what it may be", 37);
	put("record", "content", b);
	add(b, "\x17\x03\x03\x00\x11sixteen and a tag", 22);
	put("record", "record", b);
}

// ---- messages -----------------------------------------------------------------------------------

static const char definition[] =
	"{\"name\":\"db1\",\"rootfs\":\"/srv/shared/db1\",\"process\":{\"args\":[\"/r\"]}}";
static const char reason[] = "{\"code\":\"WPAR-M015\",\"message\":\"no\",\"hint\":\"none\"}";

static void offer(struct buf *b)
{
	Wpar__Offer m = WPAR__OFFER__INIT;
	uint64_t stdio[2] = {4, 5};
	m.move = (char *)"m-1";
	m.epoch = 7;
	m.definition = (char *)definition;
	m.kernel = (char *)"6.18";
	m.criu = (char *)"4.2";
	m.n_stdio = 2;
	m.stdio = stdio;
	byte(b, 1);
	message(b, &m.base);
	put("relocd_message", "offer", b);
}

static void messages(struct buf *b)
{
	Wpar__Hello hello = WPAR__HELLO__INIT;
	Wpar__Decision decision = WPAR__DECISION__INIT;
	Wpar__Round round = WPAR__ROUND__INIT;
	Wpar__Revoked revoked = WPAR__REVOKED__INIT, *list[] = {&revoked};
	Wpar__Call call = WPAR__CALL__INIT;
	hello.protocol = 2;
	hello.host = hello.version = (char *)"hostA";
	byte(b, 0);
	message(b, &hello.base);
	put("relocd_message", "hello", b);
	decision.move = round.move = (char *)"m-1";
	decision.epoch = round.epoch = 7;
	decision.reason = (char *)reason;
	byte(b, 8);
	message(b, &decision.base);
	put("relocd_message", "decision", b);
	round.number = 1;
	byte(b, 9);
	message(b, &round.base);
	put("relocd_message", "round", b);
	revoked.host = (char *)"hostC";
	revoked.key = (char *)"abababababababababababababababababababababababababababababababab";
	call.user = (char *)"root";
	call.role = (char *)"admin";
	call.revoked = list;
	call.n_revoked = 1;
	byte(b, 14);
	message(b, &call.base);
	put("relocd_message", "call", b);
	offer(b);
}

// ---- images -------------------------------------------------------------------------------------

static void manifests(struct buf *b)
{
	struct manifest m = {.move = "m-1", .epoch = 7};
	const struct digest digest = {{1, 2, 3}};
	demand(manifest_write(&m, b, NULL) == 0, "a manifest");
	put("manifest", "empty", b);
	demand(manifest_add_object(&m, "core-1.img", 1234, &digest, NULL) == 0 &&
		       manifest_add_object(&m, "mm-1.img", 99, &digest, NULL) == 0 &&
		       manifest_add_pages(&m, 0x101, 5, NULL) == 0 &&
		       manifest_add_pages(&m, 0x202, 1ull << 40, NULL) == 0 &&
		       manifest_write(&m, b, NULL) == 0,
	       "a manifest");
	put("manifest", "small", b);
	manifest_free(&m);
}

static void one_image(struct buf *to, unsigned kind, uint32_t magic, const ProtobufCMessage *first,
		      size_t count, size_t step)
{
	struct buf b = image_begin(magic);
	for (size_t i = 0; i < count; i++)
		image_add(&b, (const void *)((const char *)first + i * step));
	half(to, (unsigned)b.length);
	byte(to, kind);
	add(to, b.data, b.length);
	buf_free(&b);
}

// As tests/fuzz/fuzz_audit.c numbers the kinds.
static void audit_set(struct buf *b, const char *name, const struct image_set *s)
{
	one_image(b, 0, AUDIT_INVENTORY, &s->inventory.base, 1, 0);
	one_image(b, 1, 0x50273030, &s->process.base, 1, 0);
	one_image(b, 2, 0x55053847, &s->core.base, 1, 0);
	one_image(b, 3, 0x54432030, &s->ids.base, 1, 0);
	one_image(b, 4, 0x64413049, &s->seccomp.base, 1, 0);
	one_image(b, 5, 0x55563928, &s->mounts[0].base, s->mount_count, sizeof(s->mounts[0]));
	one_image(b, 6, 0x56303138, &s->file.base, 1, 0);
	one_image(b, 7, 0x52583605, &s->ghost.base, 1, 0);
	put("audit", name, b);
}

static void audits(struct buf *b)
{
	static struct image_set s;
	struct error err = {0};
	image_set_init(&s);
	demand(image_set_audit(&s, &image_grant, &err) == 0, "images");
	audit_set(b, "granted", &s);
	s.sets[1][0] |= 1u << CAP_SYS_ADMIN;
	audit_set(b, "capability", &s);
	image_set_init(&s);
	s.file.type = 4;
	s.file.socket = &s.socket;
	image_mount(&s, 0, 20, 0, "/srv/root/data", "/data", NULL);
	audit_set(b, "socket", &s);
}

static void mappings(struct buf *b)
{
	Criu__MmMapping m = CRIU__MM_MAPPING__INIT, *list[] = {&m};
	Criu__MmMappings mm = CRIU__MM_MAPPINGS__INIT;
	m.start = 0x10000;
	m.end = 0x10000000;
	m.flags = MAP_PRIVATE | MAP_ANONYMOUS;
	mm.n_mappings = 1;
	mm.mappings = list;
	byte(b, 1);
	word(b, 0x20000), word(b, 2), word(b, 0);
	add(b, "magicmag", 8);
	image_word(b, (uint32_t)criu__mm_mappings__get_packed_size(&mm));
	message(b, &mm.base);
	put("lazyplan", "fits", b);
	byte(b, 2);
	word(b, 0x20000), word(b, 2), word(b, 0);
	word(b, 0x40000), word(b, 8), word(b, 0x2000);
	half(b, 0x20), half(b, 0x41), half(b, 3);
	put("lazymap", "moved", b);
}

// ---- pages --------------------------------------------------------------------------------------

static void pagemap_op(struct buf *b, unsigned kind, unsigned dst, unsigned pages, unsigned flags,
		       unsigned page)
{
	byte(b, kind), byte(b, dst), byte(b, pages), byte(b, flags), half(b, page);
}

static void pageframe_op(struct buf *b, unsigned raw, unsigned flags, unsigned value, unsigned page,
			 unsigned pages)
{
	byte(b, raw), half(b, flags), byte(b, 0), byte(b, value), half(b, page), half(b, pages);
}

static void page_streams(struct buf *b)
{
	pagemap_op(b, 1, 0x11, 2, 0, 0);
	pagemap_op(b, 0, 0x11, 3, PAGEFRAME_PRESENT, 16);
	pagemap_op(b, 0, 0x11, 1, PAGEFRAME_PRESENT | PAGEFRAME_LAZY, 40);
	pagemap_op(b, 0, 0x22, 5, PAGEFRAME_PRESENT, 1);
	put("pagemap", "two-tasks", b);
	pagemap_op(b, 2, 0x11, 1, PAGEFRAME_PRESENT, 1);
	pagemap_op(b, 0, 0x11, 0, PAGEFRAME_PRESENT, 1);
	put("pagemap", "unaligned", b);
	pageframe_op(b, 0, PAGEFRAME_ROUND | PAGEFRAME_PRESENT, 7, 10, 3);
	pageframe_op(b, 2, PAGEFRAME_ROUND | PAGEFRAME_PRESENT, 9, 11, 2);
	pageframe_op(b, 6, PAGEFRAME_ROUND | PAGEFRAME_PRESENT, 8, 40, 4);
	pageframe_op(b, 0, PAGEFRAME_ROUND | PAGEFRAME_ZERO, 0, 100, 900);
	pageframe_op(b, 0, PAGEFRAME_MAP | PAGEFRAME_PRESENT, 0, 10, 3);
	pageframe_op(b, 0, PAGEFRAME_MAP | PAGEFRAME_PRESENT, 0, 40, 4);
	put("pageframe", "rounds", b);
	pageframe_op(b, 0, PAGEFRAME_PRESENT, 3, 5, 2);
	pageframe_op(b, 0, PAGEFRAME_PRESENT | PAGEFRAME_LAZY, 4, 9, 1);
	put("pageframe", "plain", b);
}

// A message of CRIU's page server protocol, in its form since 4.2 or before.
static void page_command(struct buf *b, bool recent, unsigned command, uint64_t pages,
			 uint64_t address, uint64_t destination)
{
	const uint32_t low = command, count = (uint32_t)pages;
	add(b, &low, sizeof(low));
	if (recent) {
		image_word(b, 0);
		word(b, pages);
	} else {
		image_word(b, count);
	}
	word(b, address), word(b, destination);
}

static void page_server(struct buf *b)
{
	static const uint8_t page[PAGE_BYTES];
	for (int recent = 0; recent < 2; recent++) {
		byte(b, 200);
		page_command(b, recent, 4, 0, 0, 0x101);
		page_command(b, recent, 6 | PAGE_PRESENT << 16, 1, 0x10000, 0x101);
		add(b, page, sizeof(page));
		page_command(b, recent, 0x1023, 0, 0, 0);
		put("pageserver", recent ? "criu-4.2" : "criu-4.1", b);
	}
}

// ---- the rest -----------------------------------------------------------------------------------

static void decisions(struct buf *b)
{
	byte(b, 1), byte(b, 2), byte(b, DECISION_FINAL), byte(b, DECISION_COMMIT), half(b, 0);
	half(b, 300), half(b, 0x101);
	put("decision", "commit-flipped", b);
	byte(b, 0), byte(b, 2), byte(b, DECISION_PREPARED), byte(b, DECISION_RESUMING);
	half(b, 256);
	put("decision", "resuming-cut", b);
	byte(b, 1), byte(b, 3), byte(b, DECISION_FINAL), byte(b, DECISION_COMMIT);
	byte(b, DECISION_REVOKED), half(b, 0), half(b, 513), half(b, 0x055);
	put("decision", "torn-behind", b);
	byte(b, 3);
	add(b, "CDPW\1\0\1\0", 8);
	put("decision", "anything", b);
}

static void frames(struct buf *b)
{
	uint8_t frame[FRAME_VNET + 60] = {0};
	memcpy(frame + FRAME_VNET, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\x00", 14);
	for (int i = 0; i < 2; i++) {
		image_word(b, 2 + sizeof(frame));
		half(b, FRAME_VNET);
		add(b, frame, sizeof(frame));
	}
	put("held", "two", b);
	add(b,
	    "\xff\xff\xff\xff\xff\xff\2\0\0\0\0\2\x08\6\0\1\x08\0\6\4\0\1\2\0\0\0\0\2\x0a\0\0\2"
	    "\0\0\0\0\0\0\x0a\0\0\1",
	    42);
	put("held", "arp", b);
}

static void folders(struct buf *b)
{
	char path[] = "/tmp/seeds.XXXXXX";
	demand(mkdtemp(path) != NULL, path);
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct timespec times[2] = {{1, 0}, {1, 0}};
	demand(mkdirat(dir, "d", 0755) == 0 && symlinkat("../f", dir, "d/l") == 0 &&
		       mkfifoat(dir, "p", 0600) == 0,
	       path);
	int fd = openat(dir, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	demand(write(fd, "some bytes", 10) == 10 && ftruncate(fd, 9000) == 0 &&
		       linkat(dir, "f", dir, "d/f", 0) == 0 && futimens(fd, times) == 0,
	       path);
	utimensat(dir, "p", times, 0);
	utimensat(dir, "d/l", times, AT_SYMLINK_NOFOLLOW);
	utimensat(dir, "d", times, 0);
	futimens(dir, times);
	demand(folder_pack(dir, b, NULL) == 0, path);
	close(fd);
	close(dir);
	fdio_remove_tree(AT_FDCWD, path, NULL);
	put("folder", "tree", b);
}

int main(int argc, char **argv)
{
	struct buf b = BUF_INIT(1 << 20);
	demand(argc == 2, "seeds without a folder: seeds FOLDER");
	corpus = argv[1];
	wire(&b);
	messages(&b);
	manifests(&b);
	audits(&b);
	mappings(&b);
	page_streams(&b);
	page_server(&b);
	decisions(&b);
	frames(&b);
	folders(&b);
	buf_free(&b);
	return 0;
}
