// SPDX-License-Identifier: Apache-2.0
// When rounds of copying end, against a model of a partition that writes and a link.
#include "lib/memory/converge.h"

#include "lib/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MB 1e6

// A partition of `memory` bytes that writes `rate` bytes a second to `set` different bytes of it;
// throttling slows that down. Runs to the end; the last round is in *last.
struct model {
	double memory, set, rate, link, max_downtime_ms;
	enum converge_policy policy;
	bool cpu_bound;
};

static enum converge_next run(const struct model *m, struct converge *c,
			      struct converge_round *last)
{
	const struct converge_goal goal = {
		.max_downtime_ms = m->max_downtime_ms, .fixed_ms = 40, .policy = m->policy};
	enum converge_next next = CONVERGE_AGAIN;
	double to_send = m->memory;
	unsigned number = 0;
	converge_begin(c, &goal);
	while (next == CONVERGE_AGAIN || next == CONVERGE_THROTTLE) {
		double s = to_send / m->link;
		double speed = m->cpu_bound ? c->cpu_percent / 100.0 : 1;
		double dirty = m->rate * speed * s < m->set ? m->rate * speed * s : m->set;
		*last = (struct converge_round){.number = number + 1,
						.bytes = (uint64_t)to_send,
						.dirty_bytes = (uint64_t)dirty,
						.ms = s * 1000,
						.cpu_percent = c->cpu_percent};
		assert_true(++number <= CONVERGE_ROUNDS_MAX);
		next = converge_after(c, last);
		to_send = dirty;
	}
	return next;
}

static void ends_at_once_when_nothing_is_written(void **state)
{
	const struct model idle = {.memory = 1000 * MB, .link = 500 * MB, .max_downtime_ms = 100};
	struct converge c;
	struct converge_round r;
	(void)state;
	assert_int_equal(run(&idle, &c, &r), CONVERGE_FREEZE);
	assert_int_equal(r.number, 1);
	assert_false(c.diverged);
	assert_true(r.downtime_ms > 39 && r.downtime_ms < 41);
}

static void comes_down_to_the_wanted_downtime(void **state)
{
	const struct model busy = {.memory = 1000 * MB,
				   .set = 500 * MB,
				   .rate = 100 * MB,
				   .link = 500 * MB,
				   .max_downtime_ms = 100};
	struct converge c;
	struct converge_round r;
	(void)state;
	assert_int_equal(run(&busy, &c, &r), CONVERGE_FREEZE);
	assert_true(r.number > 1 && r.number < 6);
	assert_true(r.memory_ms <= 60);
	assert_true(r.link_rate > 499 * MB && r.link_rate < 501 * MB);
	assert_true(r.dirty_rate > 99 * MB && r.dirty_rate < 101 * MB);
	assert_false(c.diverged);
	assert_int_equal(c.cpu_percent, 100);
}

// A round that was slow because the host was busy says nothing of the link.
static void does_not_blame_the_link_for_stepping_back(void **state)
{
	struct converge c;
	struct converge_round r = {.number = 1,
				   .bytes = 1000u * 1000000,
				   .dirty_bytes = 20u * 1000000,
				   .ms = 10000,
				   .plain_bytes = 32u * 1000000,
				   .plain_ms = 64,
				   .cpu_percent = 100};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 40});
	// 40 ms would do, but a round more makes it less
	assert_int_equal(converge_after(&c, &r), CONVERGE_AGAIN);
	assert_true(r.link_rate > 499 * MB && r.link_rate < 501 * MB);
}

// What is left comes down to what is written during the shortest possible round.
static void goes_on_while_a_round_makes_it_much_shorter(void **state)
{
	static const unsigned left_mb[] = {400, 25, 12, 7, 6};
	struct converge c;
	struct converge_round r = {0};
	enum converge_next next = CONVERGE_AGAIN;
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 40});
	for (unsigned i = 0; next == CONVERGE_AGAIN && i < ARRAY_SIZE(left_mb); i++) {
		r = (struct converge_round){.number = i + 1,
					    .bytes = i ? left_mb[i - 1] << 20 : 1000u << 20,
					    .ms = i ? left_mb[i - 1] * 2 : 2000,
					    .dirty_bytes = left_mb[i] << 20};
		next = converge_after(&c, &r);
	}
	assert_int_equal(next, CONVERGE_FREEZE);
	assert_int_equal(r.number, 5);
	assert_int_equal(c.polished, 3);
}

static void bears_that_the_last_rounds_waver(void **state)
{
	struct converge c;
	struct converge_round first = {
		.number = 1, .bytes = 500 << 20, .ms = 1000, .dirty_bytes = 29 << 20};
	struct converge_round second = {
		.number = 2, .bytes = 29 << 20, .ms = 58, .dirty_bytes = 35 << 20};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 40});
	assert_int_equal(converge_after(&c, &first), CONVERGE_AGAIN);
	assert_int_equal(converge_after(&c, &second), CONVERGE_FREEZE);
	assert_false(c.diverged);
}

static void leaves_twenty_milliseconds_to_memory(void **state)
{
	struct converge c;
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 30, .fixed_ms = 40});
	assert_true(converge_limit_ms(&c, 0) == CONVERGE_LEAST_MS);
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 40});
	assert_true(converge_limit_ms(&c, 0) == 60);
	assert_true(converge_limit_ms(&c, 25) == 35);
	assert_true(converge_limit_ms(&c, 200) == CONVERGE_LEAST_MS);
}

static void does_what_the_policy_says_when_it_diverges(void **state)
{
	struct model m = {.memory = 1000 * MB,
			  .set = 800 * MB,
			  .rate = 900 * MB,
			  .link = 500 * MB,
			  .max_downtime_ms = 100,
			  .policy = CONVERGE_ABORT};
	struct converge c;
	struct converge_round r;
	(void)state;
	assert_int_equal(run(&m, &c, &r), CONVERGE_GIVE_UP);
	assert_true(c.diverged);
	assert_int_equal(c.cpu_percent, 100);
	assert_true(r.number < 6);
	m.policy = CONVERGE_STOP;
	assert_int_equal(run(&m, &c, &r), CONVERGE_FREEZE);
	assert_true(c.diverged);
	m.policy = CONVERGE_THROTTLE_THEN_ABORT; // of no use: it does not depend on the processor
	assert_int_equal(run(&m, &c, &r), CONVERGE_GIVE_UP);
	assert_int_equal(c.cpu_percent, 5);
	m.policy = CONVERGE_THROTTLE_THEN_STOP;
	assert_int_equal(run(&m, &c, &r), CONVERGE_FREEZE);
	assert_int_equal(c.cpu_percent, 5);
	m.cpu_bound = true;
	m.policy = CONVERGE_THROTTLE_THEN_ABORT;
	assert_int_equal(run(&m, &c, &r), CONVERGE_FREEZE);
	assert_true(c.diverged);
	assert_true(c.cpu_percent < 100);
	assert_true(r.memory_ms <= 60);
}

static void does_not_take_latency_for_the_link(void **state)
{
	struct converge c;
	struct converge_round first = {.number = 1, .bytes = 100 << 20, .ms = 200};
	struct converge_round small = {
		.number = 2, .bytes = 4096, .dirty_bytes = 8192, .ms = 50, .paused_ms = 10};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 40});
	first.dirty_bytes = 80 << 20;
	assert_int_equal(converge_after(&c, &first), CONVERGE_AGAIN);
	assert_int_equal(converge_after(&c, &small), CONVERGE_FREEZE);
	assert_true(small.link_rate == first.link_rate);
}

static void waiting_for_a_bandwidth_is_not_the_link(void **state)
{
	struct converge c;
	struct converge_round r = {
		.number = 1, .bytes = 100 << 20, .dirty_bytes = 1, .ms = 1100, .paused_ms = 1000};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 40});
	assert_int_equal(converge_after(&c, &r), CONVERGE_FREEZE);
	assert_true(r.link_rate > 1000 * MB);
}

// A database with much shared memory and a fast link.
static void comparing_is_not_the_link(void **state)
{
	struct converge c;
	struct converge_round first = {.number = 1,
				       .bytes = 600 << 20,
				       .ms = 1200,
				       .dirty_bytes = 40 << 20,
				       .frozen_ms = 150};
	struct converge_round second = {.number = 2,
					.bytes = 40 << 20,
					.ms = 580,
					.scan_ms = 500,
					.idle_ms = 530,
					.dirty_bytes = 8 << 20,
					.frozen_ms = 150};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 40});
	assert_int_equal(converge_after(&c, &first), CONVERGE_AGAIN);
	assert_int_equal(converge_after(&c, &second), CONVERGE_AGAIN);
	assert_int_equal(c.polished, 1);
	assert_true(second.link_rate > 499 * (1 << 20) && second.link_rate < 501 * (1 << 20));
	assert_true(second.send_ms < 17 && second.memory_ms > 165 && second.downtime_ms > 205);
}

static void comparing_while_the_link_is_busy_costs_nothing(void **state)
{
	struct converge c;
	struct converge_round r = {
		.number = 1, .bytes = 100 << 20, .ms = 1000, .scan_ms = 500, .idle_ms = 10};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100});
	converge_after(&c, &r);
	assert_true(r.link_rate > 100 * (1 << 20) && r.link_rate < 103 * (1 << 20));
}

// Rounds that take long only because they compare leave much, round for round.
static void is_not_slowed_down_for_less_than_comparing_takes(void **state)
{
	struct converge c;
	enum converge_next next = CONVERGE_AGAIN;
	struct converge_round r = {0};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 40});
	for (unsigned number = 1; next == CONVERGE_AGAIN; number++) {
		r = (struct converge_round){.number = number,
					    .bytes = number == 1 ? 600 << 20 : 50 << 20,
					    .ms = number == 1 ? 1200 : 600,
					    .scan_ms = number == 1 ? 0 : 500,
					    .idle_ms = number == 1 ? 0 : 500,
					    .dirty_bytes = 50 << 20,
					    .frozen_ms = 150};
		next = converge_after(&c, &r);
	}
	assert_int_equal(next, CONVERGE_FREEZE);
	assert_true(r.number > 1);
	assert_false(c.diverged);
	// but where sending it takes longer than that:
	r.number++;
	r.dirty_bytes = 200 << 20;
	c.last_dirty = r.dirty_bytes;
	assert_int_equal(converge_after(&c, &r), CONVERGE_THROTTLE);
}

// Many processes and an eager restore: 40 ms more are not what makes it long.
static void is_not_slowed_down_for_a_fifth_of_what_is_fixed(void **state)
{
	struct converge c;
	struct converge_round r = {.number = 1, .bytes = 500 << 20, .ms = 1000};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 890});
	r.dirty_bytes = 20 << 20;
	for (r.number = 1; r.number < 4; r.number++) {
		enum converge_next next = converge_after(&c, &r);
		assert_int_equal(next, r.number < 3 ? CONVERGE_AGAIN : CONVERGE_FREEZE);
		r.bytes = 4 << 20;
	}
	assert_false(c.diverged);
}

static void waiting_for_an_answer_is_not_the_link(void **state)
{
	struct converge c;
	struct converge_round first = {
		.number = 1, .bytes = 600 << 20, .ms = 1200, .dirty_bytes = 100 << 20};
	struct converge_round second = {
		.number = 2, .bytes = 5 << 20, .ms = 110, .dirty_bytes = 5 << 20};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100, .fixed_ms = 40});
	assert_int_equal(converge_after(&c, &first), CONVERGE_AGAIN);
	assert_true(first.link_rate > 499 * (1 << 20) && first.link_rate < 501 * (1 << 20));
	assert_int_equal(converge_after(&c, &second), CONVERGE_AGAIN);
	assert_int_equal(c.polished, 1);
	assert_true(second.link_rate > 499 * (1 << 20) && second.link_rate < 501 * (1 << 20));
}

// Counting what is dirty takes a while where there is much memory.
static void counts_what_is_written_while_it_counts(void **state)
{
	struct converge c;
	struct converge_round r = {.number = 1,
				   .bytes = 200 << 20,
				   .ms = 1000,
				   .dirty_bytes = 100 << 20,
				   .look_ms = 100};
	(void)state;
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = 100});
	converge_after(&c, &r);
	assert_true(r.send_ms > 524 && r.send_ms < 526);
}

static void knows_the_names_of_policies(void **state)
{
	enum converge_policy policy;
	struct error err;
	(void)state;
	assert_int_equal(converge_policy_of("abort", &policy, &err), 0);
	assert_int_equal(policy, CONVERGE_ABORT);
	assert_int_equal(converge_policy_of("throttle-then-stop", &policy, &err), 0);
	assert_int_equal(policy, CONVERGE_THROTTLE_THEN_STOP);
	assert_int_equal(converge_policy_of("postcopy", &policy, &err), -1);
	assert_int_equal(err.id, ERR_USAGE);
	assert_int_equal(converge_policy_of("", &policy, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_at_once_when_nothing_is_written),
		cmocka_unit_test(comes_down_to_the_wanted_downtime),
		cmocka_unit_test(does_not_blame_the_link_for_stepping_back),
		cmocka_unit_test(goes_on_while_a_round_makes_it_much_shorter),
		cmocka_unit_test(bears_that_the_last_rounds_waver),
		cmocka_unit_test(leaves_twenty_milliseconds_to_memory),
		cmocka_unit_test(does_what_the_policy_says_when_it_diverges),
		cmocka_unit_test(does_not_take_latency_for_the_link),
		cmocka_unit_test(waiting_for_a_bandwidth_is_not_the_link),
		cmocka_unit_test(comparing_is_not_the_link),
		cmocka_unit_test(comparing_while_the_link_is_busy_costs_nothing),
		cmocka_unit_test(is_not_slowed_down_for_less_than_comparing_takes),
		cmocka_unit_test(is_not_slowed_down_for_a_fifth_of_what_is_fixed),
		cmocka_unit_test(waiting_for_an_answer_is_not_the_link),
		cmocka_unit_test(counts_what_is_written_while_it_counts),
		cmocka_unit_test(knows_the_names_of_policies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
