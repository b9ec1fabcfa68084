// SPDX-License-Identifier: Apache-2.0
// The manifest: what it says survives the wire, and any difference is found.
#include "images/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct digest one = {{1}}, two = {{2}};

static void fill(struct manifest *m, bool reversed)
{
	struct error err = {0};
	snprintf(m->move, sizeof(m->move), "m-1");
	m->epoch = 3;
	for (int i = 0; i < 2; i++) {
		bool first = (i == 0) != reversed;
		assert_int_equal(manifest_add_object(m, first ? "core-1.img" : "mm-1.img", 10,
						     first ? &one : &two, &err),
				 0);
		assert_int_equal(manifest_add_pages(m, first ? 0x101 : 0x102, 5, &err), 0);
	}
}

static void survives_the_wire_in_any_order(void **state)
{
	(void)state;
	struct error err = {0};
	struct manifest a = {0}, b = {0}, c = {0};
	struct buf wire = BUF_INIT(4096);
	fill(&a, false);
	fill(&c, true);
	assert_int_equal(manifest_write(&a, &wire, &err), 0);
	assert_int_equal(manifest_read(&b, wire.data, wire.length, &err), 0);
	assert_int_equal(manifest_compare(&b, &c, &err), 0);
	manifest_free(&a);
	manifest_free(&b);
	manifest_free(&c);
	buf_free(&wire);
}

static void finds_every_difference(void **state)
{
	(void)state;
	for (int what = 0; what < 6; what++) {
		struct error err = {0};
		struct manifest a = {0}, b = {0};
		fill(&a, false);
		fill(&b, false);
		if (what == 0)
			b.epoch++;
		else if (what == 1)
			b.objects[0].length++;
		else if (what == 2)
			b.objects[1].digest = one;
		else if (what == 3)
			b.pages[0].pages++;
		else if (what == 4)
			b.pages_count--;
		else
			snprintf(b.objects[0].name, sizeof(b.objects[0].name), "core-2.img");
		assert_int_equal(manifest_compare(&a, &b, &err), -1);
		assert_int_equal(err.id, ERR_DIGEST);
		manifest_free(&a);
		manifest_free(&b);
	}
}

static void refuses_names_that_are_paths(void **state)
{
	(void)state;
	static const char *const bad[] = {"", ".hidden", "a/b", "..", "a b", "a\nb"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(manifest_name_ok(bad[i]));
	assert_true(manifest_name_ok("pagemap-shmem-1.img"));
}

static void refuses_doubles_and_garbage(void **state)
{
	(void)state;
	struct error err = {0};
	struct manifest a = {0}, b = {0};
	manifest_add_object(&a, "x", 1, &one, NULL);
	manifest_add_object(&a, "x", 1, &one, NULL);
	manifest_add_object(&b, "x", 1, &one, NULL);
	manifest_add_object(&b, "y", 1, &one, NULL);
	assert_int_equal(manifest_compare(&a, &b, &err), -1);
	manifest_free(&a);
	manifest_free(&b);
	assert_int_equal(manifest_read(&a, "\xff\xff\xff", 3, &err), -1);
	manifest_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(survives_the_wire_in_any_order),
		cmocka_unit_test(finds_every_difference),
		cmocka_unit_test(refuses_names_that_are_paths),
		cmocka_unit_test(refuses_doubles_and_garbage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
