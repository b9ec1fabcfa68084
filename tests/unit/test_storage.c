// SPDX-License-Identifier: Apache-2.0
// References to images, names of signals, and the store: one image per digest, kept while somebody
// holds it, collected when nobody needs it.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/signame.h"
#include "lib/storage/image.h"
#include "lib/storage/reference.h"
#include "lib/storage/store.h"
#include "lib/storage/upper.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char state_dir[] = "/tmp/wpar-storage-XXXXXX";

static void references(void **state)
{
	struct reference r;
	struct error err;
	(void)state;
	assert_int_equal(reference_parse("oci:/srv/i:v1.2", &r, &err), 0);
	assert_int_equal(r.kind, REFERENCE_OCI);
	assert_string_equal(r.path, "/srv/i");
	assert_string_equal(r.name, "v1.2");
	assert_int_equal(reference_parse("oci:/srv/i", &r, &err), 0);
	assert_string_equal(r.name, "");
	assert_int_equal(reference_parse("docker-archive:/a.tar:web:1", &r, &err), 0);
	assert_int_equal(r.kind, REFERENCE_DOCKER_ARCHIVE);
	assert_string_equal(r.name, "web:1");
	assert_int_equal(reference_parse("oci-archive:fd:2:latest", &r, &err), 0);
	assert_int_equal(r.descriptor, 2);
	assert_string_equal(r.name, "latest");
}

static void wrong_references(void **state)
{
	static const char *const wrong[] = {"",
					    "oci",
					    "oci:",
					    "oci:relative",
					    "docker://docker.io/nginx",
					    "dir:/srv/x",
					    "oci:/srv/i:",
					    "oci:/srv/i:-o",
					    "oci:/srv/i:a b",
					    "oci:fd:12",
					    "oci:fd:x"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct reference r;
		struct error err = {0};
		assert_int_equal(reference_parse(wrong[i], &r, &err), -1);
		assert_int_equal(err.id, ERR_USAGE);
	}
}

static void signals(void **state)
{
	(void)state;
	assert_int_equal(signame_number("SIGQUIT"), SIGQUIT);
	assert_int_equal(signame_number("INT"), SIGINT);
	assert_int_equal(signame_number("9"), SIGKILL);
	assert_int_equal(signame_number("SIGRTMIN+3"), SIGRTMIN + 3);
	assert_int_equal(signame_number("SIGRTMIN"), SIGRTMIN);
	assert_int_equal(signame_number("SIGRTMIN+99"), -1);
	assert_int_equal(signame_number("0"), -1);
	assert_int_equal(signame_number("65"), -1);
	assert_int_equal(signame_number(""), -1);
	assert_int_equal(signame_number("SIGNONE"), -1);
}

static bool never(void *arg, const char *digest)
{
	(void)arg;
	(void)digest;
	return false;
}

static bool always(void *arg, const char *digest)
{
	assert_string_equal(digest, DIGEST);
	(*(int *)arg)++;
	return true;
}

static int make_image(void)
{
	char path[PATH_MAX], file[PATH_MAX + 8];
	struct error err;
	_cleanup_close_ int made = store_begin(path, &err);
	assert_true(made >= 0);
	snprintf(file, sizeof(file), "%s/rootfs", path);
	assert_int_equal(mkdir(file, 0751), 0);
	int image = store_finish(path, DIGEST, &err);
	assert_true(image >= 0);
	assert_int_equal(access(path, F_OK), -1);
	return image;
}

static void an_image_stays_while_it_is_held(void **state)
{
	char path[PATH_MAX];
	struct error err;
	int asked = 0;
	(void)state;
	assert_int_equal(store_open(DIGEST, &err), -1);
	assert_int_equal(err.id, ERR_IMAGE);
	int image = make_image();
	assert_int_equal(store_collect(never, NULL), 0); // held
	close(image);
	assert_int_equal(store_collect(always, &asked), 0); // needed
	assert_int_equal(asked, 1);
	assert_int_equal(access(store_path(DIGEST, "rootfs", path), F_OK), 0);
	assert_int_equal(store_collect(never, NULL), 1);
	assert_int_equal(store_open(DIGEST, &err), -1);
}

static void the_first_of_two_is_kept(void **state)
{
	struct error err;
	struct stat first, second;
	(void)state;
	_cleanup_close_ int a = make_image();
	_cleanup_close_ int b = make_image();
	assert_int_equal(fstat(a, &first), 0);
	assert_int_equal(fstat(b, &second), 0);
	assert_true(first.st_ino == second.st_ino);
	(void)err;
}

static void half_made_images_are_collected(void **state)
{
	char path[PATH_MAX];
	struct error err;
	(void)state;
	int fd = store_begin(path, &err);
	assert_int_equal(store_collect(never, NULL), 0);
	close(fd);
	assert_int_equal(store_collect(never, NULL), 1);
	assert_int_equal(access(path, F_OK), -1);
}

static void one_import_at_a_time(void **state)
{
	struct error err;
	(void)state;
	_cleanup_close_ int first = store_lock(deadline_in_ms(1000), &err);
	assert_true(first >= 0);
	assert_int_equal(store_lock(deadline_in_ms(0), &err), -1);
	assert_int_equal(err.id, ERR_DEADLINE);
	close(take_fd(&first));
	_cleanup_close_ int second = store_lock(deadline_in_ms(0), &err);
	assert_true(second >= 0);
}

// A partition may nest folders as deep as it likes: what it leaves is removed all the same.
static void deep_trees_are_removed(void **state)
{
	char path[PATH_MAX];
	struct error err;
	(void)state;
	int top = store_begin(path, &err), at = dup(top);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdirat(at, i % 2 ? "d" : ".deep-0", 0700), 0);
		int next = openat(at, i % 2 ? "d" : ".deep-0", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(at);
		assert_true(next >= 0);
		at = next;
	}
	close(at);
	close(top);
	assert_int_equal(store_discard(path, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/trash", state_dir);
	assert_int_equal(rmdir(path), 0); // empty
}

static void an_upper_layer_belongs_to_one(void **state)
{
	char path[PATH_MAX];
	struct error err;
	struct stat st;
	(void)state;
	_cleanup_close_ int image = make_image();
	assert_int_equal(upper_make("w", DIGEST, &err), 0);
	assert_int_equal(stat(upper_path("w", path), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0751); // as the root of the image
	_cleanup_close_ int first = upper_hold("w", &err);
	assert_true(first >= 0);
	assert_int_equal(upper_hold("w", &err), -1);
	assert_int_equal(upper_discard("w", &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(upper_discard("w", &err), 0); // again
}

static void blobs_have_digests_for_names(void **state)
{
	char path[PATH_MAX];
	struct error err;
	(void)state;
	_cleanup_close_ int folder = store_begin(path, &err);
	assert_int_equal(image_receive_begin(folder, &err), 0);
	assert_int_equal(image_blob_create(folder, "../../../../etc/passwd", &err), -1);
	assert_int_equal(image_blob_create(folder, "", &err), -1);
	_cleanup_close_ int blob = image_blob_create(folder, DIGEST + 7, &err);
	assert_true(blob >= 0);
	assert_int_equal(image_blob_create(folder, DIGEST + 7, &err), -1); // comes twice
	// What is there is not what the digest says.
	assert_int_equal(fdio_write_all(blob, "{}", 2, &err), 0);
	struct image_blobs blobs;
	assert_int_equal(image_blobs(folder, DIGEST, &blobs, &err), -1);
	assert_int_equal(err.id, ERR_IMAGE);
	store_abandon(path);
}

static int make_state(void **state)
{
	(void)state;
	return mkdtemp(state_dir) && setenv("RELOCD_STATEDIR", state_dir, 1) == 0 ? 0 : -1;
}

static int remove_state(void **state)
{
	(void)state;
	return fdio_remove_tree(AT_FDCWD, state_dir, NULL);
}

static int collect_all(void **state)
{
	(void)state;
	store_collect(never, NULL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references),
		cmocka_unit_test(wrong_references),
		cmocka_unit_test(signals),
		cmocka_unit_test_teardown(an_image_stays_while_it_is_held, collect_all),
		cmocka_unit_test_teardown(the_first_of_two_is_kept, collect_all),
		cmocka_unit_test_teardown(half_made_images_are_collected, collect_all),
		cmocka_unit_test(one_import_at_a_time),
		cmocka_unit_test_teardown(deep_trees_are_removed, collect_all),
		cmocka_unit_test_teardown(an_upper_layer_belongs_to_one, collect_all),
		cmocka_unit_test_teardown(blobs_have_digests_for_names, collect_all),
	};
	return cmocka_run_group_tests(tests, make_state, remove_state);
}
