// SPDX-License-Identifier: Apache-2.0
// The manual pages against what is built: verbs, options and exit codes of wparctl(1); states, exit
// codes and error codes of wpar(7); messages of wpar-protocol(7). Run from the top of the tree, as
// make does.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/registry/state.h"
#include "lib/transport/wire.h"
#include "wparctl/help.h"

#include <ctype.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE_MAX (1 << 20)

static char *page_of(const char *path)
{
	struct error err;
	char *text = fdio_read_file(AT_FDCWD, path, PAGE_MAX, &err);
	if (!text)
		fail_msg("%s", err.message);
	return text;
}

// Takes roff's escapes of dashes and of words away, in place.
static char *unescape(char *text)
{
	char *to = text;
	for (char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] == '&')
			from++;
		else if (from[0] != '\\' || from[1] != '-')
			*to++ = *from;
	}
	*to = 0;
	return text;
}

static void wparctl_page_has_what_help_prints(void **state)
{
	(void)state;
	static const char begin[] = "are printed by `wparctl --help-man`.\n";
	static const char end[] = ".\\\" End of what `wparctl --help-man` prints.\n";
	_cleanup_free_ char *page = page_of("man/wparctl.1"), *printed = NULL;
	size_t length;
	FILE *to = open_memstream(&printed, &length);
	help_print_man(to);
	fclose(to);
	char *from = strstr(page, begin), *until = strstr(page, end);
	assert_non_null(from);
	assert_non_null(until);
	from += strlen(begin);
	*until = 0;
	// If this fails: replace the lines between the two marks by what --help-man prints.
	assert_string_equal(from, printed);
}

static void wparctl_page_has_the_exit_codes(void **state)
{
	(void)state;
	_cleanup_free_ char *page = page_of("man/wparctl.1");
	for (const struct exit_code *e = exit_codes; e->meaning; e++) {
		char item[128];
		snprintf(item, sizeof(item), "\n.It %d\n%s\n", e->code, e->meaning);
		if (!strstr(page, item))
			fail_msg("wparctl(1) lacks exit code %d: %s", e->code, e->meaning);
	}
}

static void wpar_page_has_the_exit_codes(void **state)
{
	(void)state;
	_cleanup_free_ char *page = page_of("man/wpar.7");
	char *from = strstr(page, "\n.Sh EXIT CODES\n"), *until = strstr(page, "\n.Sh ERROR CODES");
	assert_non_null(from);
	assert_non_null(until);
	*until = 0;
	for (char *at = from; *at; at++)
		*at = *at == '\n' ? ' ' : *at;
	for (const struct exit_code *e = exit_codes; e->meaning; e++) {
		char item[16];
		snprintf(item, sizeof(item), " %d ", e->code);
		if (!strstr(from, item))
			fail_msg("wpar(7) lacks exit code %d", e->code);
	}
}

static void protocol_page_has_the_messages(void **state)
{
	(void)state;
	_cleanup_free_ char *page = page_of("man/wpar-protocol.7");
	unsigned known = 0, described = 0;
	for (uint16_t type = WIRE_HELLO; type < 256; type++) {
		char row[64];
		if (!strcmp(wire_name(type), "?"))
			continue; // no number of a message
		snprintf(row, sizeof(row), "\n.It %u Ta %s Ta ", type, wire_name(type));
		if (!strstr(page, row))
			fail_msg("wpar-protocol(7) lacks %s, %u", wire_name(type), type);
		known++;
	}
	for (const char *at = page; (at = strstr(at, "\n.It ")); at++)
		described += isdigit((unsigned char)at[5]) != 0;
	assert_int_equal(described, known);
}

static void every_verb_has_help_with_an_example(void **state)
{
	(void)state;
	const struct verb *verb;
	for (size_t n = 0; (verb = verb_at(n)); n++) {
		_cleanup_free_ char *text = NULL;
		size_t length;
		FILE *to = open_memstream(&text, &length);
		char call[80];
		help_print(to, verb);
		fclose(to);
		snprintf(call, sizeof(call), "wparctl %s", verb->name);
		char *example = strstr(text, "\nexample:\n");
		assert_non_null(example);
		assert_non_null(strstr(example, call));
		assert_non_null(verb->run);
		for (const struct verb_option *o = verb->options; o->name; o++)
			assert_non_null(strstr(text, o->name));
		for (char *line = text; line; line = strchr(line, '\n')) {
			line += *line == '\n';
			assert_true(strcspn(line, "\n") <= HELP_WIDTH);
		}
	}
}

static void every_class_has_an_exit_code(void **state)
{
	(void)state;
	const char *code, *hint;
	enum error_class class;
	for (unsigned n = 0; error_nth(n, &code, &class, &hint); n++) {
		const struct exit_code *e = exit_codes;
		while (e->meaning && e->code != (int)class)
			e++;
		assert_non_null(e->meaning);
	}
}

static void wpar_page_has_all_error_codes(void **state)
{
	(void)state;
	_cleanup_free_ char *page = unescape(page_of("man/wpar.7"));
	const char *code, *hint;
	enum error_class class;
	unsigned known = 0, described = 0;
	for (; error_nth(known, &code, &class, &hint); known++) {
		char row[64];
		snprintf(row, sizeof(row), "\n.It %s Ta %d Ta ", code, (int)class);
		if (!strstr(page, row))
			fail_msg("wpar(7) lacks %s with exit code %d", code, (int)class);
	}
	for (const char *at = page; (at = strstr(at, "\n.It WPAR-")); at++)
		described++;
	assert_int_equal(described, known); // and none that does not exist
}

// What wpar(7) says about a state.
static void state_item(enum partition_state state, char *text, size_t size)
{
	const char *meaning = state_meaning(state);
	size_t used = (size_t)snprintf(text, size, "\n.It %s\n%c%s.\nAllowed:", state_name(state),
				       toupper((unsigned char)meaning[0]), meaning + 1);
	unsigned count = 0;
	for (unsigned act = 0; act < ACT_COUNT; act++)
		if (state_verb(act) && state_may(state, act))
			used += (size_t)snprintf(text + used, size - used, "%s %s",
						 count++ ? "," : "", state_verb(act));
	snprintf(text + used, size - used, "%s.\nWay out: %s.\n", count ? "" : " nothing",
		 state_way_out(state));
}

static void wpar_page_has_the_states(void **state)
{
	(void)state;
	_cleanup_free_ char *page = unescape(page_of("man/wpar.7"));
	for (unsigned s = 0; s < STATE_COUNT; s++) {
		char item[512];
		state_item(s, item, sizeof(item));
		if (!strstr(page, item))
			fail_msg("wpar(7) lacks:%s", item);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wparctl_page_has_what_help_prints),
		cmocka_unit_test(wparctl_page_has_the_exit_codes),
		cmocka_unit_test(every_verb_has_help_with_an_example),
		cmocka_unit_test(every_class_has_an_exit_code),
		cmocka_unit_test(wpar_page_has_all_error_codes),
		cmocka_unit_test(wpar_page_has_the_states),
		cmocka_unit_test(wpar_page_has_the_exit_codes),
		cmocka_unit_test(protocol_page_has_the_messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
