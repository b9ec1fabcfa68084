// SPDX-License-Identifier: Apache-2.0
// Which host answers a request, by what is known here.
#include "relocd/peers/forward.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(const struct forward_facts *given, enum forward_way way, const char *to)
{
	struct forward_facts facts = *given;
	const char *got;
	facts.self = "hostA";
	assert_int_equal(forward_decide(&facts, &got), way);
	if (to)
		assert_string_equal(got, to);
}

static void test_subjects(void **state)
{
	(void)state;
	assert_int_equal(forward_subject("GET", "/v1/partitions"), FORWARD_NOTHING);
	assert_int_equal(forward_subject("POST", "/v1/partitions"), FORWARD_NOTHING);
	assert_int_equal(forward_subject("GET", "/v1/partitions/{}"), FORWARD_PARTITION);
	assert_int_equal(forward_subject("POST", "/v1/partitions/{}/exec"), FORWARD_PARTITION);
	assert_int_equal(forward_subject("GET", "/v1/moves"), FORWARD_NOTHING);
	assert_int_equal(forward_subject("POST", "/v1/moves"), FORWARD_BEGIN);
	assert_int_equal(forward_subject("POST", "/v1/moves/{}/cancel"), FORWARD_MOVE);
	assert_int_equal(forward_subject("POST", "/v1/hosts/{}/cordon"), FORWARD_HOSTS);
	assert_int_equal(forward_subject("GET", "/v1/hosts"), FORWARD_NOTHING);
	assert_int_equal(forward_subject("GET", "/v1/hosts/{}"), FORWARD_NOTHING);
	assert_int_equal(forward_subject("GET", "/v1/cluster"), FORWARD_NOTHING);
}

static void test_of_this_host(void **state)
{
	(void)state;
	// what is here is done here, and so is everything where there is no cluster
	expect(&(struct forward_facts){.member = true,
				       .subject = FORWARD_PARTITION,
				       .row = ROW_HERE},
	       FORWARD_HERE, NULL);
	expect(&(struct forward_facts){.subject = FORWARD_PARTITION}, FORWARD_HERE, NULL);
	expect(&(struct forward_facts){.member = true}, FORWARD_HERE, NULL);
	// asked for in so many words
	expect(&(struct forward_facts){.member = true,
				       .local = true,
				       .subject = FORWARD_PARTITION,
				       .row = ROW_ELSEWHERE,
				       .elsewhere = "hostB"},
	       FORWARD_HERE, NULL);
	expect(&(struct forward_facts){.member = true,
				       .host = "hostA",
				       .subject = FORWARD_PARTITION},
	       FORWARD_HERE, "hostA");
	expect(&(struct forward_facts){.member = true, .subject = FORWARD_HOSTS, .param = "hostA"},
	       FORWARD_HERE, "hostA");
}

static void test_of_another_host(void **state)
{
	(void)state;
	expect(&(struct forward_facts){.member = true, .host = "hostB"}, FORWARD_TO, "hostB");
	expect(&(struct forward_facts){.member = true, .subject = FORWARD_HOSTS, .param = "hostB"},
	       FORWARD_TO, "hostB");
	// the host that is named is asked, also about what is here
	expect(&(struct forward_facts){.member = true,
				       .host = "hostB",
				       .subject = FORWARD_PARTITION,
				       .row = ROW_HERE},
	       FORWARD_TO, "hostB");
	for (enum forward_subject s = FORWARD_PARTITION; s <= FORWARD_BEGIN; s++) {
		expect(&(struct forward_facts){.member = true,
					       .subject = s,
					       .row = ROW_ELSEWHERE,
					       .elsewhere = "hostC"},
		       FORWARD_GUESS, "hostC");
		expect(&(struct forward_facts){.member = true, .subject = s}, FORWARD_SEARCH, NULL);
	}
}

// A request of a peer stays here or goes back: no two hosts send it in circles.
static void test_of_a_peer(void **state)
{
	(void)state;
	for (enum forward_subject s = FORWARD_NOTHING; s <= FORWARD_HOSTS; s++)
		for (enum forward_row row = ROW_NONE; row <= ROW_ELSEWHERE; row++) {
			struct forward_facts facts = {.self = "hostA",
						      .member = true,
						      .from_peer = true,
						      .subject = s,
						      .param = "hostC",
						      .row = row,
						      .elsewhere = "hostC"};
			bool owned = s == FORWARD_PARTITION || s == FORWARD_BEGIN;
			expect(&facts,
			       owned && row != ROW_HERE ? FORWARD_MISDIRECTED : FORWARD_HERE, NULL);
			facts.local = true;
			expect(&facts, FORWARD_HERE, NULL);
			facts.host = "hostA";
			expect(&facts, FORWARD_HERE, NULL);
			facts.host = "hostB";
			expect(&facts, FORWARD_LOOP, NULL);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subjects),
		cmocka_unit_test(test_of_this_host),
		cmocka_unit_test(test_of_another_host),
		cmocka_unit_test(test_of_a_peer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
