// SPDX-License-Identifier: Apache-2.0
// The manual pages against what is built: verbs, options and exit codes of wparctl(1); states, exit
// codes and error codes of wpar(7); messages of wpar-protocol(7). Run from the top of the tree, as
// make does.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/registry/state.h"
#include "lib/transport/wire.h"
#include "wparctl/help.c"
#include "wparctl/verbs.c"

#include <ctype.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

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
	for (uint16_t type = WIRE_HELLO; strcmp(wire_name(type), "?"); type++) {
		char row[64];
		if (type == WIRE_ROUND || type == WIRE_ROUND_ACK)
			continue; // of no use yet
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
	for (size_t i = 0; i < VERB_COUNT; i++) {
		_cleanup_free_ char *text = NULL;
		size_t length;
		FILE *to = open_memstream(&text, &length);
		char call[80];
		help_print(to, &verbs[i]);
		fclose(to);
		snprintf(call, sizeof(call), "wparctl %s", verbs[i].name);
		char *example = strstr(text, "\nexample:\n");
		assert_non_null(example);
		assert_non_null(strstr(example, call));
		for (const struct verb_option *o = verbs[i].options; o->name; o++)
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

// The words in columns `from`..`to` of a row of the table of states and the lines that go on with
// it.
static void cell_of(const char *page, const char *name, size_t from, size_t to, char *cell)
{
	char row[32];
	snprintf(row, sizeof(row), "\n%s ", name);
	const char *line = strstr(strstr(page, "\nState "), row);
	assert_non_null(line);
	cell[0] = 0;
	do {
		size_t length = strcspn(++line, "\n");
		size_t stop = length < to ? length : to;
		if (stop > from)
			strncat(strcat(cell, " "), line + from, stop - from);
		line += length;
	} while (line[1] == ' ');
	strcat(cell, " ");
}

static bool has_word(const char *cell, const char *word)
{
	char spaced[32];
	snprintf(spaced, sizeof(spaced), " %s ", word);
	return strstr(cell, spaced) != NULL;
}

static void wpar_page_has_the_states(void **state)
{
	(void)state;
	static const struct {
		enum partition_act act;
		const char *verb;
	} acts[] = {{ACT_START, "start"}, {ACT_STOP, "stop"},     {ACT_REMOVE, "remove"},
		    {ACT_EXEC, "exec"},   {ACT_MOVE, "relocate"}, {ACT_VALIDATE, "validate"}};
	_cleanup_free_ char *page = unescape(page_of("man/wpar.7"));
	const char *title = strstr(page, "\nState ") + 1;
	size_t from = (size_t)(strstr(title, "Allowed") - title);
	size_t to = (size_t)(strstr(title, "Way out") - title);
	for (unsigned s = 0; s < STATE_COUNT; s++) {
		char cell[256];
		cell_of(page, state_name(s), from, to, cell);
		for (size_t a = 0; a < ARRAY_SIZE(acts); a++) {
			bool allowed = state_allows(s, acts[a].act, "db1", NULL) == 0;
			if (has_word(cell, acts[a].verb) != allowed)
				fail_msg("wpar(7), %s: %s is %sallowed", state_name(s),
					 acts[a].verb, allowed ? "" : "not ");
		}
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
