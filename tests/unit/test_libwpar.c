// SPDX-License-Identifier: Apache-2.0
// libwpar.so as it is built: it shows exactly what wpar.h declares, its header stands alone, and
// wparctl uses nothing else of lib/ but lib/base.
#include "lib/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define NAMES_MAX 16384

struct names {
	char *list[NAMES_MAX];
	size_t count;
};

// The folder that we were built into: tests are in its tests/unit.
static const char *build(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	assert_true(n > 0);
	path[n] = 0;
	for (int up = 0; up < 3; up++)
		*strrchr(path, '/') = 0;
	return path;
}

static FILE *run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static FILE *run(const char *format, ...)
{
	char command[4096];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	FILE *out = popen(command, "r");
	assert_non_null(out);
	return out;
}

static void read_names(struct names *names, FILE *from)
{
	char line[512];
	names->count = 0;
	while (fgets(line, sizeof(line), from)) {
		line[strcspn(line, "\n")] = 0;
		assert_true(names->count < NAMES_MAX);
		names->list[names->count++] = strdup(line);
	}
	assert_int_equal(pclose(from), 0);
}

static void free_names(struct names *names)
{
	while (names->count)
		free(names->list[--names->count]);
}

static bool has(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (!strcmp(names->list[i], name))
			return true;
	return false;
}

static void shows_what_the_header_declares(void **state)
{
	static struct names shown, declared;
	(void)state;
	read_names(&shown,
		   run("nm -D --defined-only %s/lib/libwpar.so | awk '$2 != \"A\" {print $3}'",
		       build()));
	read_names(&declared, run("sed -n 's/^WPAR_PUBLIC.*[ *]\\(wpar_[a-z_]*\\)(.*/\\1/p' "
				  "lib/client/wpar.h"));
	assert_true(declared.count > 50);
	assert_int_equal(shown.count, declared.count);
	for (size_t i = 0; i < declared.count; i++) {
		char versioned[128];
		snprintf(versioned, sizeof(versioned), "%s@@WPAR_1", declared.list[i]);
		if (!has(&shown, versioned))
			fail_msg("%s is declared, but not in the library", versioned);
	}
	free_names(&shown);
	free_names(&declared);
}

static void the_manual_names_all_functions(void **state)
{
	static struct names declared, described;
	(void)state;
	read_names(&declared, run("sed -n 's/^WPAR_PUBLIC.*[ *]\\(wpar_[a-z_]*\\)(.*/\\1/p' "
				  "lib/client/wpar.h"));
	read_names(&described, run("sed -n '/^.Ss Functions/,/^.Ss Once/s/^.Fn \\(wpar_[a-z_]*\\).*"
				   "/\\1/p' man/libwpar.3"));
	for (size_t i = 0; i < declared.count; i++)
		if (!has(&described, declared.list[i]))
			fail_msg("libwpar(3) lacks %s", declared.list[i]);
	for (size_t i = 0; i < described.count; i++)
		if (!has(&declared, described.list[i]))
			fail_msg("libwpar(3) describes %s, which is not there", described.list[i]);
	free_names(&declared);
	free_names(&described);
}

static void has_a_soname(void **state)
{
	static struct names names;
	(void)state;
	read_names(&names, run("readelf -d %s/lib/libwpar.so | sed -n 's/.*soname: //p'", build()));
	assert_int_equal(names.count, 1);
	assert_string_equal(names.list[0], "[libwpar.so.1]");
	free_names(&names);
}

// Alone in a folder, by a compiler that warns, as C11 and as C++.
static void the_header_stands_alone(void **state)
{
	static struct names names;
	(void)state;
	read_names(&names,
		   run("d=$(mktemp -d) && cp lib/client/wpar.h $d && cd $d && echo '#include "
		       "<wpar.h>' > a.c && cc -std=c11 -Wall -Wextra -Wpedantic -Werror -I. "
		       "-fsyntax-only a.c 2>&1; echo $?; rm -rf $d"));
	assert_string_equal(names.list[names.count - 1], "0");
	free_names(&names);
}

// Symbols of the engine outside of lib/base must not have been linked into wparctl.
static void wparctl_uses_nothing_else(void **state)
{
	static struct names ours, engine, base, needed;
	(void)state;
	read_names(&ours, run("nm --defined-only %s/bin/wparctl | awk '$2 ~ /[TDBR]/ {print $3}'",
			      build()));
	read_names(&engine, run("nm --defined-only %s/libengine.a 2>/dev/null | "
				"awk '$2 ~ /[TDBR]/ {print $3}'",
				build()));
	read_names(&base, run("nm --defined-only %s/libbase.a 2>/dev/null | "
			      "awk '$2 ~ /[TDBR]/ {print $3}'",
			      build()));
	assert_true(has(&engine, "registry_open") && has(&engine, "wpar_start"));
	assert_true(has(&base, "error_set"));
	for (size_t i = 0; i < ours.count; i++)
		if (has(&engine, ours.list[i]) && !has(&base, ours.list[i]))
			fail_msg("wparctl contains %s of lib/", ours.list[i]);
	read_names(&needed,
		   run("readelf -d %s/bin/wparctl | sed -n 's/.*Shared library: //p'", build()));
	assert_true(has(&needed, "[libwpar.so.1]"));
	assert_false(has(&needed, "[libcurl.so.4]"));
	free_names(&ours);
	free_names(&engine);
	free_names(&base);
	free_names(&needed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_what_the_header_declares),
		cmocka_unit_test(the_manual_names_all_functions),
		cmocka_unit_test(has_a_soname),
		cmocka_unit_test(the_header_stands_alone),
		cmocka_unit_test(wparctl_uses_nothing_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
