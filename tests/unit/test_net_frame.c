// SPDX-License-Identifier: Apache-2.0
// Which frames are for a partition, and what the frames that we make look like to others.
#include "lib/base/cleanup.h"
#include "lib/net/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static const struct mac own = {{0x02, 0, 0x0a, 0x4d, 0, 0x32}};
static const struct mac other = {{0x02, 0, 0, 0, 0, 9}};
static struct address addresses[3];
static struct frame_filter filter;

static int set_up(void **state)
{
	(void)state;
	if (address_parse_cidr("10.77.0.50/24", &addresses[0], NULL) < 0 ||
	    address_parse_cidr("fd77::50/64", &addresses[1], NULL) < 0)
		return -1;
	frame_link_local(&own, &addresses[2]);
	filter = (struct frame_filter){own, addresses, ARRAY_SIZE(addresses)};
	return 0;
}

static struct address host(const char *text)
{
	struct address address;
	assert_int_equal(address_parse_host(text, &address, NULL), 0);
	return address;
}

// Puts an 802.1Q tag behind the MACs; returns the new length.
static size_t tag(uint8_t *frame, size_t length)
{
	static const uint8_t vlan[4] = {0x81, 0x00, 0x00, 0x0a};
	memmove(frame + 16, frame + 12, length - 12);
	memcpy(frame + 12, vlan, sizeof(vlan));
	return length + 4;
}

static void wants_unicast_to_its_mac(void **state)
{
	(void)state;
	uint8_t frame[60] = {0};
	memcpy(frame, own.bytes, 6);
	memcpy(frame + 6, other.bytes, 6);
	assert_true(frame_wanted(&filter, frame, sizeof(frame)));
	assert_true(frame_wanted(&filter, frame, FRAME_MIN));
	assert_false(frame_wanted(&filter, frame, FRAME_MIN - 1));
	frame[5] ^= 1;
	assert_false(frame_wanted(&filter, frame, sizeof(frame)));
}

static void wants_questions_for_its_addresses_only(void **state)
{
	(void)state;
	static const struct {
		const char *address;
		bool wanted;
	} cases[] = {
		{"10.77.0.50", true}, {"10.77.0.51", false},       {"fd77::50", true},
		{"fd77::51", false},  {"fe80::aff:fe4d:32", true}, {"fe80::aff:fe4d:33", false},
		{"fd78::50", false}, // the same multicast group
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t frame[FRAME_TALK_MAX];
		struct address address = host(cases[i].address);
		size_t length = frame_question(frame, &other, &address);
		assert_int_equal(frame_wanted(&filter, frame, length), cases[i].wanted);
		for (size_t cut = 0; cut < length; cut++)
			assert_false(frame_wanted(&filter, frame, cut));
		length = tag(frame, length);
		assert_int_equal(frame_wanted(&filter, frame, length), cases[i].wanted);
	}
}

// Announcements by the other host carry the partition's own MAC and come back over the bridge.
static void does_not_want_what_its_own_mac_sent(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		uint8_t frame[FRAME_TALK_MAX];
		size_t length = frame_announcement(frame, &own, &addresses[i]);
		assert_false(frame_wanted(&filter, frame, length));
	}
}

static void does_not_want_other_broadcasts(void **state)
{
	(void)state;
	uint8_t frame[FRAME_TALK_MAX];
	struct address neighbour = host("10.77.0.51"), v6 = host("fd77::51");
	size_t length = frame_announcement(frame, &other, &neighbour);
	assert_false(frame_wanted(&filter, frame, length));
	length = frame_announcement(frame, &other, &v6);
	assert_false(frame_wanted(&filter, frame, length));
	// A reply that is broadcast asks for nothing.
	length = frame_question(frame, &other, &addresses[0]);
	frame[14 + 7] = 2;
	assert_false(frame_wanted(&filter, frame, length));
	// Neither a solicitation that was routed (hop limit below 255).
	length = frame_question(frame, &other, &addresses[1]);
	frame[14 + 7] = 254;
	assert_false(frame_wanted(&filter, frame, length));
}

// RFC 826 and RFC 5227: who has / is at, as bytes.
static void announces_ipv4_by_gratuitous_arp(void **state)
{
	(void)state;
	static const uint8_t expected[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x0a, 0x4d, 0x00, 0x32, 0x08, 0x06,
		0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x02, 0x00, 0x0a, 0x4d, 0x00, 0x32,
		10,   77,   0,    50,   0,    0,    0,    0,    0,    0,    10,   77,   0,    50};
	uint8_t frame[FRAME_TALK_MAX];
	assert_int_equal(frame_announcement(frame, &own, &addresses[0]), sizeof(expected));
	assert_memory_equal(frame, expected, sizeof(expected));
}

static uint32_t add(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < length; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	return sum;
}

static void announces_ipv6_to_all_nodes_with_override(void **state)
{
	(void)state;
	uint8_t frame[FRAME_TALK_MAX];
	size_t length = frame_announcement(frame, &own, &addresses[1]);
	static const uint8_t to[6] = {0x33, 0x33, 0, 0, 0, 1};
	static const uint8_t option[8] = {2, 1, 0x02, 0, 0x0a, 0x4d, 0, 0x32};
	assert_int_equal(length, 14 + 40 + 32);
	assert_memory_equal(frame, to, 6);
	assert_int_equal(frame[14 + 7], 255);                        // hop limit
	assert_memory_equal(frame + 14 + 8, addresses[1].bytes, 16); // source
	assert_int_equal(frame[54], 136);                            // neighbour advertisement
	assert_int_equal(frame[58], 0x20);                           // override, not solicited
	assert_memory_equal(frame + 62, addresses[1].bytes, 16);
	assert_memory_equal(frame + 78, option, sizeof(option));
	// Right checksum: pseudo header and message sum up to all ones.
	uint32_t sum = add(frame + 22, 32) + 32 + 58 + add(frame + 54, 32);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
}

static void hears_claims(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint8_t frame[FRAME_TALK_MAX];
		struct mac who;
		size_t length = frame_announcement(frame, &other, &addresses[i]);
		assert_true(frame_claims(frame, length, &addresses[i], &who));
		assert_true(mac_equal(&who, &other));
		assert_false(frame_claims(frame, length, &addresses[1 - i], &who));
		for (size_t cut = 0; cut < 42; cut++)
			assert_false(frame_claims(frame, cut, &addresses[i], &who));
		// Another's probe: it is about to take the address.
		length = frame_question(frame, &other, &addresses[i]);
		assert_true(frame_claims(frame, length, &addresses[i], &who));
	}
}

static void somebody_asking_claims_only_his_own(void **state)
{
	(void)state;
	uint8_t frame[FRAME_TALK_MAX];
	struct mac who;
	size_t length = frame_question(frame, &other, &addresses[0]);
	frame[14 + 17] = 9; // 0.0.0.9 asks
	assert_false(frame_claims(frame, length, &addresses[0], &who));
	length = frame_question(frame, &other, &addresses[1]);
	frame[14 + 8] = 0xfd; // fd00:: asks
	assert_false(frame_claims(frame, length, &addresses[1], &who));
}

static void checks_the_offload_header(void **state)
{
	(void)state;
	struct virtio_net_hdr h = {0};
	const uint8_t *bytes = (const uint8_t *)&h;
	assert_true(frame_vnet_valid(bytes, 60));
	h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h.csum_start = 34;
	h.csum_offset = 16;
	assert_true(frame_vnet_valid(bytes, 52));
	assert_false(frame_vnet_valid(bytes, 51));
	h.csum_start = h.csum_offset = 0xffff;
	assert_false(frame_vnet_valid(bytes, FRAME_MAX));
	h = (struct virtio_net_hdr){.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448};
	h.hdr_len = 66;
	assert_true(frame_vnet_valid(bytes, 3000));
	assert_false(frame_vnet_valid(bytes, 65));
	h.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	assert_true(frame_vnet_valid(bytes, 3000));
	h.gso_size = 0;
	assert_false(frame_vnet_valid(bytes, 3000));
	h = (struct virtio_net_hdr){.gso_type = 77, .gso_size = 1};
	assert_false(frame_vnet_valid(bytes, 3000));
	h = (struct virtio_net_hdr){.gso_type = VIRTIO_NET_HDR_GSO_ECN};
	assert_false(frame_vnet_valid(bytes, 3000));
	h = (struct virtio_net_hdr){.flags = 0x80};
	assert_false(frame_vnet_valid(bytes, 3000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wants_unicast_to_its_mac),
		cmocka_unit_test(wants_questions_for_its_addresses_only),
		cmocka_unit_test(does_not_want_what_its_own_mac_sent),
		cmocka_unit_test(does_not_want_other_broadcasts),
		cmocka_unit_test(announces_ipv4_by_gratuitous_arp),
		cmocka_unit_test(announces_ipv6_to_all_nodes_with_override),
		cmocka_unit_test(hears_claims),
		cmocka_unit_test(somebody_asking_claims_only_his_own),
		cmocka_unit_test(checks_the_offload_header),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
