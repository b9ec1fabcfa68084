// SPDX-License-Identifier: Apache-2.0
// Copying shared memory without a name: what is written by whomever, in whatever way, arrives.
#include "tests/unit/track_fixture.h"

#define SEGMENT_PAGES 512ul

static struct {
	pid_t writer;
	uint8_t *anonymous, *memfd, *sysv;
	int fd;
} shared; // the same addresses in parent and child

static void make_segments(void)
{
	size_t length = SEGMENT_PAGES * PAGE;
	shared.fd = memfd_create("of a test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(shared.fd, (off_t)length), 0);
	shared.memfd = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, shared.fd, 0);
	shared.anonymous =
		mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int id = shmget(IPC_PRIVATE, length, IPC_CREAT | 0600);
	shared.sysv = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	memset(shared.anonymous, 1, length / 2);
	memset(shared.memfd, 2, length / 2);
	memset(shared.sysv, 3, length / 2);
}

static void drop_segments(void)
{
	munmap(shared.memfd, SEGMENT_PAGES * PAGE);
	munmap(shared.anonymous, SEGMENT_PAGES * PAGE);
	shmdt(shared.sysv);
	close(shared.fd);
}

// Processes that write to shared memory and are gone before anybody has seen them, and write(2).
static void short_lived(int to)
{
	ready(to);
	for (uint64_t seed = 9;; next_random(&seed)) {
		pid_t pid = fork();
		if (pid == 0) {
			scribble(shared.anonymous, SEGMENT_PAGES, &seed);
			scribble(shared.memfd, SEGMENT_PAGES / 2, &seed);
			scribble(shared.sysv, SEGMENT_PAGES, &seed);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		if (pwrite(shared.fd, &seed, sizeof(seed),
			   (off_t)(next_random(&seed) % (SEGMENT_PAGES * PAGE - 8))) < 0)
			_exit(1);
	}
}

static uint64_t inode_at(const void *address)
{
	char line[512];
	unsigned long long from, to, inode = 0;
	_cleanup_fclose_ FILE *f = fopen("/proc/self/maps", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx %*s %*s %*s %llu", &from, &to, &inode) == 3 &&
		    from <= (uintptr_t)address && (uintptr_t)address < to)
			return inode;
	return 0;
}

// Our own view of it is the truth.
static void segment_is_whole(const struct track *t, const uint8_t *bytes)
{
	uint64_t destination = inode_at(bytes) << 8 | 2;
	const struct track_segment *list;
	size_t count, found = 0;
	track_segments(t, &list, &count);
	for (size_t i = 0; i < count; i++)
		found += list[i].destination == destination;
	assert_int_equal(found, 1);
	for (uint64_t i = 0; i < SEGMENT_PAGES; i++) {
		struct page *p = slot(store.table, store.room, destination, i * PAGE);
		bool listed = entry_of(t, destination, i * PAGE) != NULL;
		if (listed)
			assert_non_null(p->bytes);
		const uint8_t *copy = listed ? p->bytes : zeroes;
		if (memcmp(copy, bytes + i * PAGE, PAGE) != 0)
			fail_msg("page %llu of a segment differs", (unsigned long long)i);
	}
}

static void copies_shared_segments(void **state)
{
	(void)state;
	make_segments();
	pid_t root = start(short_lived);
	struct track *t = begin(&root);
	for (int i = 0; i < ROUNDS; i++) {
		one_round(t);
		usleep(1000);
	}
	last_round(t, root);
	segment_is_whole(t, shared.memfd); // also by its descriptor
	if (geteuid() == 0) {
		segment_is_whole(t, shared.anonymous);
		segment_is_whole(t, shared.sysv);
	}
	finish(t, root);
	drop_segments();
	if (geteuid() != 0) {
		print_message("skipped: opening shared memory of others takes root\n");
		skip();
	}
}

#define RESIZE_PAGES 4096ul

// One that is cut short and grows again while it is copied.
static void resizes(int to)
{
	ready(to);
	for (uint64_t seed = 5;; next_random(&seed)) {
		uint64_t pages = next_random(&seed) % RESIZE_PAGES + 1;
		if (ftruncate(shared.fd, (off_t)(pages * PAGE)) < 0)
			_exit(1);
		for (int i = 0; i < 64; i++)
			if (pwrite(shared.fd, &seed, sizeof(seed),
				   (off_t)(next_random(&seed) % pages * PAGE)) < 0)
				_exit(1);
	}
}

static void follows_the_size_of_a_segment(void **state)
{
	(void)state;
	uint8_t bytes[PAGE];
	struct stat st;
	shared.fd = memfd_create("of a test", MFD_CLOEXEC);
	pid_t root = start(resizes);
	struct track *t = begin(&root);
	for (int i = 0; i < 4 * ROUNDS; i++)
		one_round(t);
	last_round(t, root);
	assert_int_equal(fstat(shared.fd, &st), 0);
	uint64_t destination = st.st_ino << 8 | 2;
	for (uint64_t i = 0; i < RESIZE_PAGES; i++) {
		const struct page *p = slot(store.table, store.room, destination, i * PAGE);
		bool listed = entry_of(t, destination, i * PAGE) != NULL;
		memset(bytes, 0, PAGE);
		assert_true(pread(shared.fd, bytes, PAGE, (off_t)(i * PAGE)) >= 0);
		assert_true(!listed || (i * PAGE < (uint64_t)st.st_size && p->bytes));
		assert_memory_equal(bytes, listed ? p->bytes : zeroes, PAGE);
	}
	finish(t, root);
	close(shared.fd);
}

#define SPARSE_PAGES 1024ul
#define SPARSE_STEP  (64ul << 20)

static void sparse_segment(int to)
{
	int fd = memfd_create("of a test", MFD_CLOEXEC);
	if (ftruncate(fd, (off_t)(SPARSE_PAGES * SPARSE_STEP)) < 0)
		_exit(1);
	for (uint64_t i = 0; i < SPARSE_PAGES; i++)
		if (pwrite(fd, "x", 1, (off_t)(i * SPARSE_STEP)) != 1)
			_exit(1);
	wait_only(to);
}

// What it costs is for its pages, not for its length.
static void takes_sparse_segments(void **state)
{
	(void)state;
	pid_t root = start(sparse_segment);
	struct track *t = begin(&root);
	struct track_round r = one_round(t);
	assert_true(r.pages >= SPARSE_PAGES);
	assert_true(r.ns < 10000000000u);
	last_round(t, root);
	const struct track_segment *list;
	size_t count;
	track_segments(t, &list, &count);
	assert_int_equal(count, 1);
	for (uint64_t i = 0; i < SPARSE_PAGES; i++) {
		assert_non_null(entry_of(t, list[0].destination, i * SPARSE_STEP));
		assert_null(entry_of(t, list[0].destination, i * SPARSE_STEP + PAGE));
	}
	finish(t, root);
}

// Sending a page is not comparing it.
static void tells_what_comparing_costs(void **state)
{
	(void)state;
	pid_t root = start(sparse_segment);
	struct track *t = begin(&root);
	struct track_round first = one_round(t), second = one_round(t);
	assert_int_equal(first.compare_ns, 0);
	assert_true(first.final_ns > 0);
	assert_true(second.compare_ns > 0 && second.compare_ns <= second.copy_ns);
	assert_true(second.final_ns > 0);
	finish(t, root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_shared_segments),
		cmocka_unit_test(follows_the_size_of_a_segment),
		cmocka_unit_test(takes_sparse_segments),
		cmocka_unit_test(tells_what_comparing_costs),
	};
	return cmocka_run_group_tests(tests, usable, NULL);
}
