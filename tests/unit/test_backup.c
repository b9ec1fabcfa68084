// SPDX-License-Identifier: Apache-2.0
// A copy of the registry, taken while it is used, and put back.
#include "lib/registry/backup.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/registry/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static char folder[64], path[128], copy[128];

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test_backup.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/registry.db", folder);
	snprintf(copy, sizeof(copy), "%s/copy", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return fdio_remove_tree(AT_FDCWD, folder, NULL);
}

static bool has_host(struct registry *r, const char *name)
{
	struct registry_host host;
	return registry_host_get(r, name, &host, NULL) == 1;
}

static void a_copy_of_a_registry_in_use(void **state)
{
	struct error err = {0};
	struct stat st;
	char value[16];
	(void)state;
	struct registry *r = registry_open(path, &err);
	assert_non_null(r);
	assert_int_equal(registry_host_put(r, "hostA", "10.0.0.1:1", &err), 0);
	assert_int_equal(backup_write(path, copy, &err), 0);
	assert_int_equal(stat(copy, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(registry_host_put(r, "later", "10.0.0.2:1", &err), 0);
	registry_close(r);
	assert_int_equal(backup_restore(path, copy, &err), 0);
	r = registry_open(path, &err);
	assert_non_null(r);
	assert_true(has_host(r, "hostA"));
	assert_false(has_host(r, "later"));
	assert_int_equal(registry_meta_get(r, "restored", value, sizeof(value), &err), 1);
	assert_string_equal(value, "yes");
	registry_close(r);
	char old[160];
	snprintf(old, sizeof(old), "%s.old", path);
	r = registry_open(old, &err); // what was there is kept
	assert_non_null(r);
	assert_true(has_host(r, "later"));
	registry_close(r);
}

static void what_is_no_copy_is_refused(void **state)
{
	static const char junk[] = "this is no registry, though it is long enough to be one";
	struct error err = {0};
	(void)state;
	struct registry *r = registry_open(path, &err);
	assert_int_equal(registry_host_put(r, "hostA", "10.0.0.1:1", &err), 0);
	registry_close(r);
	assert_int_equal(backup_restore(path, "/nonexistent/file", &err), -1);
	assert_int_equal(err.id, ERR_REGISTRY);
	assert_int_equal(fdio_replace_file(copy, junk, sizeof(junk), 0600, &err), 0);
	assert_int_equal(backup_restore(path, copy, &err), -1);
	assert_int_equal(err.id, ERR_REGISTRY);
	r = registry_open(path, &err); // untouched
	assert_non_null(r);
	assert_true(has_host(r, "hostA"));
	registry_close(r);
}

static void a_copy_that_cannot_be_written_leaves_nothing(void **state)
{
	struct error err = {0};
	(void)state;
	assert_int_equal(backup_write("/nonexistent/registry.db", copy, &err), -1);
	assert_int_equal(access(copy, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_copy_of_a_registry_in_use, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_copy_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_copy_that_cannot_be_written_leaves_nothing,
						set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
