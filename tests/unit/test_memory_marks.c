// SPDX-License-Identifier: Apache-2.0
// Shared segments whose writes are told by marks: what is written arrives, and whatever could write
// without a mark, or take marks away, makes it be compared.
#include "tests/unit/track_fixture.h"

#include <linux/capability.h>
#include <sys/resource.h>

#define PAGES     2048ul // of a segment: MARKS_LEAST bytes
#define LENGTH    (PAGES * PAGE)
#define TURNS_MAX 200 // on a busy machine threads may not stop in time

// The same addresses in the test and in all that descend from it.
static uint8_t *segment;
static int orders[2], answers[2];

static void make_segment(void)
{
	segment = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(segment, MAP_FAILED);
	fill(segment, PAGES / 2);
	assert_int_equal(pipe(orders), 0);
	assert_int_equal(pipe(answers), 0);
}

static void drop_segment(void)
{
	munmap(segment, LENGTH);
	for (int i = 0; i < 2; i++) {
		close(orders[i]);
		close(answers[i]);
	}
}

// ---- what tasks do when they are told to --------------------------------------------------------

static void write_some(uint64_t *seed)
{
	for (int i = 0; i < 20; i++)
		segment[next_random(seed) % PAGES * PAGE + next_random(seed) % PAGE]++;
}

static void fork_one(uint64_t *seed, bool stays, bool execs)
{
	int ends[2];
	char byte;
	if (pipe2(ends, O_CLOEXEC) < 0)
		_exit(1);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		write_some(seed);
		if (execs)
			execl("/bin/sleep", "sleep", "1000", NULL);
		if (!stays)
			_exit(0);
		ready(ends[1]);
		for (;;)
			pause();
	}
	close(ends[1]);
	// By its end, by exec, or by its word.
	if (read(ends[0], &byte, 1) < 0)
		_exit(1);
	close(ends[0]);
	if (!stays && !execs)
		waitpid(pid, NULL, 0);
}

static void write_elsewhere(void)
{
	uint8_t *other = mremap(segment, 0, LENGTH, MREMAP_MAYMOVE);
	if (other == MAP_FAILED)
		_exit(1);
	other[5 * PAGE]++;
	munmap(other, LENGTH);
}

static void move_to_and_fro(void)
{
	uint8_t *room = mmap(NULL, LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	segment[5 * PAGE]++;
	if (mremap(segment, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, room) != room)
		_exit(1);
	room[6 * PAGE]++;
	if (mremap(room, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, segment) != segment)
		_exit(1);
}

static volatile uint8_t sink;

static void *wait_in_thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void act(char order, uint64_t *seed)
{
	pthread_t thread;
	switch (order) {
	case 'w':
		write_some(seed);
		break;
	case 'r': // pages are made that nobody writes to
		for (size_t i = 0; i < PAGES; i += 7)
			sink = segment[i * PAGE];
		break;
	case 'f': // a child writes and ends
		fork_one(seed, false, false);
		break;
	case 'F': // a child writes and stays
		fork_one(seed, true, false);
		break;
	case 'e': // a child writes and runs another program
		fork_one(seed, false, true);
		break;
	case 'd': // a second mapping, for a moment
		write_elsewhere();
		break;
	case 'm':
		move_to_and_fro();
		break;
	case 'u': // written, then unmapped
		segment[(PAGES - 1) * PAGE] = 77;
		munmap(segment + (PAGES - 1) * PAGE, PAGE);
		break;
	case 'R': // dropped and made anew, and never written to
		madvise(segment + 9 * PAGE, PAGE, MADV_REMOVE);
		sink = segment[9 * PAGE];
		break;
	case 'D': // written, and its mark is gone
		segment[10 * PAGE]++;
		madvise(segment + 10 * PAGE, PAGE, MADV_DONTNEED);
		break;
	case 'p': // protections come and go
		mprotect(segment, LENGTH / 2, PROT_READ);
		sink = segment[0];
		mprotect(segment, LENGTH / 2, PROT_READ | PROT_WRITE);
		write_some(seed);
		break;
	case 't':
		pthread_create(&thread, NULL, wait_in_thread, NULL);
		break;
	case 'o':
		if (open("/proc/self/exe", O_RDONLY | O_DIRECT) < 0)
			_exit(1);
		break;
	default:
		_exit(1);
	}
}

static void obey(int to)
{
	char order;
	uint64_t seed = 77;
	ready(to);
	while (read(orders[0], &order, 1) == 1) {
		act(order, &seed);
		ready(answers[1]);
	}
}

// Without it anybody could open mappings of others.
static void obey_meekly(int to)
{
	prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN);
	prctl(PR_CAPBSET_DROP, CAP_CHECKPOINT_RESTORE);
	obey(to);
}

static void tell(char order)
{
	char byte;
	assert_int_equal(write(orders[1], &order, 1), 1);
	assert_int_equal(read(answers[0], &byte, 1), 1);
}

// ---- looking at it ------------------------------------------------------------------------------

static uint64_t destination_of(const void *address)
{
	char line[512];
	unsigned long long from, to, inode;
	_cleanup_fclose_ FILE *f = fopen("/proc/self/maps", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx %*s %*s %*s %llu", &from, &to, &inode) == 3 &&
		    from <= (uintptr_t)address && (uintptr_t)address < to)
			return inode << 8 | 2;
	return 0;
}

static void segment_arrived(const struct track *t)
{
	uint64_t destination = destination_of(segment);
	for (uint64_t i = 0; i < PAGES; i++) {
		const struct page *p = slot(store.table, store.room, destination, i * PAGE);
		bool listed = entry_of(t, destination, i * PAGE) != NULL;
		assert_true(!listed || p->bytes);
		if (memcmp(listed ? p->bytes : zeroes, segment + i * PAGE, PAGE) != 0)
			fail_msg("page %llu of the segment differs", (unsigned long long)i);
	}
}

// Rounds until marks are trusted; false: they never are.
static bool come_to_trust(struct track *t, int turns)
{
	for (int i = 0; i < turns; i++)
		if (one_round(t).trusted == 1)
			return true;
	return false;
}

static pid_t root;

static struct track *begin_trusting(void)
{
	make_segment();
	root = start(obey_meekly);
	struct track *t = begin(&root);
	assert_true(come_to_trust(t, TURNS_MAX));
	return t;
}

// What each order leads to in the round after it, and in the end.
static void end_with(struct track *t, bool trusted)
{
	struct track_round r = last_round(t, root);
	assert_int_equal(r.trusted, trusted);
	segment_arrived(t);
	finish(t, root);
	drop_segment();
}

static void finds_by_marks(const char *list)
{
	struct track *t = begin_trusting();
	for (const char *at = list; *at; at++) {
		tell(*at);
		assert_int_equal(one_round(t).trusted, 1);
	}
	for (const char *at = list; *at; at++)
		tell(*at);
	end_with(t, true);
}

// It is compared right after the order, whether that comes in a round or in the end.
static void compares_after(char order, bool trusts_again)
{
	struct track *t = begin_trusting();
	tell(order);
	assert_int_equal(one_round(t).trusted, 0);
	assert_int_equal(come_to_trust(t, 3), trusts_again);
	end_with(t, trusts_again);
	t = begin_trusting();
	tell(order);
	end_with(t, false);
}

// ---- tests --------------------------------------------------------------------------------------

static void finds_writes(void **state)
{
	(void)state;
	finds_by_marks("wrwwp");
}

static void copies_only_what_has_marks(void **state)
{
	(void)state;
	struct track *t = begin_trusting();
	one_round(t);
	uint64_t before = store.data_pages;
	segment[3 * PAGE]++; // ours, which is not of the partition: not seen
	tell('w');
	struct track_round r = one_round(t);
	assert_true(store.data_pages - before <= 40);
	assert_int_equal(r.trusted, 1);
	segment[3 * PAGE]--;
	end_with(t, true);
}

static void tells_how_much_is_dirty(void **state)
{
	uint64_t before, after;
	(void)state;
	struct track *t = begin_trusting();
	assert_int_equal(track_dirty(t, &before, NULL), 0);
	tell('w');
	assert_int_equal(track_dirty(t, &after, NULL), 0);
	assert_true(after > before && after - before <= 40 * PAGE);
	assert_int_equal(one_round(t).trusted, 1);
	end_with(t, true);
}

static void follows_children_that_stay(void **state)
{
	(void)state;
	finds_by_marks("F");
}

static void compares_after_an_end(void **state)
{
	(void)state;
	compares_after('f', true);
}

static void compares_after_an_exec(void **state)
{
	(void)state;
	compares_after('e', true);
}

static void compares_after_a_second_mapping(void **state)
{
	(void)state;
	compares_after('d', true);
	compares_after('m', true);
}

static void compares_after_an_unmapping(void **state)
{
	(void)state;
	compares_after('u', true);
}

static void gives_up_when_pages_are_dropped(void **state)
{
	(void)state;
	compares_after('R', false);
	compares_after('D', false);
}

// There is none for the child's userfaultfd; its parent must not wait for that.
static void gives_up_without_descriptors(void **state)
{
	struct rlimit was, none;
	(void)state;
	struct track *t = begin_trusting();
	int next = dup(0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	tell('F');
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(one_round(t).trusted, 0);
	end_with(t, false);
}

static void gives_up_when_tasks_come_and_go(void **state)
{
	(void)state;
	struct track *t = begin_trusting();
	for (int i = 0; i < 3; i++) {
		tell('f');
		assert_int_equal(one_round(t).trusted, 0);
	}
	assert_false(come_to_trust(t, 3));
	end_with(t, false);
}

// Bodies before which marks are never trusted.
static void never_trusts(void (*body)(int), const char *list)
{
	make_segment();
	root = start(body);
	struct track *t = begin(&root);
	for (; *list; list++)
		tell(*list);
	assert_false(come_to_trust(t, 4));
	tell('w');
	end_with(t, false);
}

static void compares_what_threads_have(void **state)
{
	(void)state;
	never_trusts(obey_meekly, "t");
}

static void compares_with_direct_io(void **state)
{
	(void)state;
	never_trusts(obey_meekly, "o");
}

static void compares_what_privileged_tasks_have(void **state)
{
	(void)state;
	never_trusts(obey, "");
}

// The segment as a memfd, which the tasks have open or not.
static pid_t start_with_memfd(const char *name, bool open)
{
	make_segment();
	munmap(segment, LENGTH);
	int fd = memfd_create(name, MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, LENGTH), 0);
	segment = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!open)
		close(fd);
	pid_t pid = start(obey_meekly);
	if (open)
		close(fd);
	return pid;
}

static void compares_what_can_be_open(void **state)
{
	static const char *const names[] = {"of a test", "of a test", "/dev/zero"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		root = start_with_memfd(names[i], i != 0);
		struct track *t = begin(&root);
		assert_false(come_to_trust(t, 4));
		tell('w');
		end_with(t, false);
	}
}

static void trusts_what_criu_has_restored(void **state)
{
	(void)state;
	root = start_with_memfd("/dev/zero", false);
	struct track *t = begin(&root);
	assert_true(come_to_trust(t, TURNS_MAX));
	tell('w');
	end_with(t, true);
}

// All of it, by chance.
static void survives_anything(void **state)
{
	static const char list[] = "wwwwrpfFedmwRD";
	uint64_t seed = 12345;
	(void)state;
	for (int i = 0; i < 12; i++) {
		struct track *t = begin_trusting();
		// In half of them nothing makes it give up.
		size_t count = i % 2 ? sizeof(list) - 1 : 6;
		for (int k = 0; k < 12; k++) {
			tell(list[next_random(&seed) % count]);
			if (next_random(&seed) % 2)
				one_round(t);
		}
		last_round(t, root);
		segment_arrived(t);
		finish(t, root);
		drop_segment();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_writes),
		cmocka_unit_test(copies_only_what_has_marks),
		cmocka_unit_test(tells_how_much_is_dirty),
		cmocka_unit_test(follows_children_that_stay),
		cmocka_unit_test(compares_after_an_end),
		cmocka_unit_test(compares_after_an_exec),
		cmocka_unit_test(compares_after_a_second_mapping),
		cmocka_unit_test(compares_after_an_unmapping),
		cmocka_unit_test(gives_up_when_pages_are_dropped),
		cmocka_unit_test(gives_up_without_descriptors),
		cmocka_unit_test(gives_up_when_tasks_come_and_go),
		cmocka_unit_test(compares_what_threads_have),
		cmocka_unit_test(compares_with_direct_io),
		cmocka_unit_test(compares_what_privileged_tasks_have),
		cmocka_unit_test(compares_what_can_be_open),
		cmocka_unit_test(trusts_what_criu_has_restored),
		cmocka_unit_test(survives_anything),
	};
	if (geteuid() != 0) {
		printf("skipped: shared memory of others takes root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, usable, NULL);
}
