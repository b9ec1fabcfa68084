// SPDX-License-Identifier: Apache-2.0
// Command lines: what is understood, what is refused and with which advice.
#include "wparctl/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 32

static char *words[WORDS_MAX];

// Parses "wparctl LINE", words divided by single spaces.
static int parse(struct args *args, const char *line, struct error *err)
{
	static char text[512];
	int count = 0;
	char *rest = text;
	snprintf(text, sizeof(text), "wparctl %s", line);
	for (char *word; (word = strsep(&rest, " "));)
		if (word[0])
			words[count++] = word;
	words[count] = NULL;
	*err = (struct error){0};
	return args_parse(args, count, words, err);
}

static void reads_names_and_options(void **state)
{
	struct args args;
	struct error err;
	(void)state;
	assert_int_equal(parse(&args, "--json stop db1 --grace 10s db2 --kill", &err), 0);
	assert_ptr_equal(args.verb, verb_find("stop"));
	assert_int_equal(args.count, 2);
	assert_string_equal(args.names[0], "db1");
	assert_string_equal(args.names[1], "db2");
	assert_string_equal(args_value(&args, "grace"), "10s");
	assert_true(args_has(&args, "kill"));
	assert_true(args_has(&args, "json"));
	assert_false(args_has(&args, "quiet"));
	assert_null(args_value(&args, "connect"));
	args_free(&args);
}

static void reads_short_options(void **state)
{
	struct args args;
	struct error err;
	(void)state;
	assert_int_equal(parse(&args, "-c/a/b exec -it db1 -- sh -c true", &err), 0);
	assert_string_equal(args_value(&args, "connect"), "/a/b");
	assert_true(args_has(&args, "interactive") && args_has(&args, "tty"));
	assert_string_equal(args.command[0], "sh");
	assert_string_equal(args.command[1], "-c");
	assert_null(args.command[3]);
	args_free(&args);
	assert_int_equal(parse(&args, "logs -f db1 -c /x", &err), 0);
	assert_string_equal(args_value(&args, "connect"), "/x");
	args_free(&args);
}

static void repeated_options(void **state)
{
	struct args args;
	struct error err;
	size_t at = 0;
	(void)state;
	assert_int_equal(parse(&args,
			       "create a --rootfs / --env=A=1 --env B=2 --memory 1G --memory 2G",
			       &err),
			 0);
	assert_string_equal(args_next(&args, "env", &at), "A=1");
	assert_string_equal(args_next(&args, "env", &at), "B=2");
	assert_null(args_next(&args, "env", &at));
	assert_string_equal(args_value(&args, "memory"), "2G");
	args_free(&args);
}

static void verbs_of_two_words(void **state)
{
	struct args args;
	struct error err;
	(void)state;
	assert_int_equal(parse(&args, "cluster add-host hostB --address 10.0.0.2", &err), 0);
	assert_ptr_equal(args.verb, verb_find("cluster add-host"));
	assert_int_equal(args.count, 1);
	args_free(&args);
	assert_int_equal(parse(&args, "cluster", &err), -1);
	assert_string_equal(
		err.hint,
		"one of: init, add-host, join, status, renew, revoke, remove-host, trust-local");
	args_free(&args);
}

static void refuses(const char *line, const char *message, const char *hint)
{
	struct args args;
	struct error err;
	assert_int_equal(parse(&args, line, &err), -1);
	assert_int_equal(err.id, ERR_USAGE);
	assert_non_null(strstr(err.message, message));
	if (hint)
		assert_non_null(strstr(err.hint, hint));
	args_free(&args);
}

static void refuses_and_advises(void **state)
{
	(void)state;
	refuses("", "a verb is missing", NULL);
	refuses("relocat db1 hostB", "no verb \"relocat\"", "\"relocate\"");
	refuses("frobnicate", "no verb \"frobnicate\"", NULL);
	refuses("list --locla", "no option --locla", "--local");
	refuses("list -x", "no option -x", "list --help");
	refuses("stop db1 --grace", "--grace wants a value", NULL);
	refuses("exec -i db1 -c", "--connect wants a value", NULL);
	refuses("stop db1 --kill=yes", "--kill takes no value", NULL);
	refuses("start", "start: too few", "wparctl start NAME...");
	refuses("cluster nothing", "cluster: a second word", "one of: init");
	refuses("start a\xff", "is not text in UTF-8", NULL);
	refuses("set db1", "set: too few", "KEY=VALUE");
	refuses("create a b", "\"b\" is an argument too many", NULL);
	refuses("list a", "\"a\" is an argument too many", NULL);
	refuses("start a -- b", "takes no command", NULL);
	refuses("exec db1 ls", "\"ls\" is an argument too many", NULL);
	refuses("exec db1", "a command is missing", NULL);
	refuses("exec db1 --", "a command is missing", NULL);
}

static void help_needs_nothing_else(void **state)
{
	struct args args;
	struct error err;
	(void)state;
	assert_int_equal(parse(&args, "relocate --help", &err), 0);
	assert_ptr_equal(args.verb, verb_find("relocate"));
	args_free(&args);
	assert_int_equal(parse(&args, "-h", &err), 0);
	assert_null(args.verb);
	args_free(&args);
	assert_int_equal(parse(&args, "--version", &err), 0);
	args_free(&args);
	// After "--" it is the command's.
	assert_int_equal(parse(&args, "exec db1 -- ls --help", &err), 0);
	assert_false(args_has(&args, "help"));
	args_free(&args);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_names_and_options),
		cmocka_unit_test(reads_short_options),
		cmocka_unit_test(repeated_options),
		cmocka_unit_test(verbs_of_two_words),
		cmocka_unit_test(refuses_and_advises),
		cmocka_unit_test(help_needs_nothing_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
