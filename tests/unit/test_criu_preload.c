// SPDX-License-Identifier: Apache-2.0
// The preload object, compiled in: this program's own syscall() and prlimit() are its.
#include "lib/criu/preload/criu_preload.c"

#include <setjmp.h>
#include <sys/mman.h>

#include <cmocka.h>

static void knows_every_limit(void **state)
{
	struct rlimit lower = {.rlim_cur = 123, .rlim_max = 456};
	uint64_t got[2];

	(void)state;
	assert_int_equal(setrlimit(RLIMIT_CORE, &lower), 0);
	for (unsigned int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit r;

		assert_int_equal(getrlimit((enum __rlimit_resource)i, &r), 0);
		assert_true(public_limit(getpid(), i, got));
		assert_int_equal(got[0], r.rlim_cur);
		assert_int_equal(got[1], r.rlim_max);
	}
	assert_true(public_limit(getpid(), RLIMIT_CORE, got));
	assert_int_equal(got[0], 123);
	assert_int_equal(got[1], 456);
	assert_false(public_limit(getpid(), RLIM_NLIMITS, got));
	assert_false(public_limit(999999999, RLIMIT_CORE, got));
}

static void passes_system_calls_through(void **state)
{
	struct stat st;
	void *p;

	(void)state;
	assert_int_equal(syscall(SYS_getpid), getpid());
	errno = 0;
	assert_int_equal(syscall(SYS_close, -1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(syscall(SYS_newfstatat, AT_FDCWD, "/", &st, 0), 0);
	// six arguments, and a result that looks negative as an int
	p = (void *)syscall(SYS_mmap, 0L, 4096L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(munmap(p, 4096), 0);
}

static void answers_queries_that_the_kernel_refuses(void **state)
{
	struct rlimit64 r = {0};
	struct rlimit64 set = {.rlim_cur = 1, .rlim_max = 1};
	long direct[6] = {1, RLIMIT_NOFILE, 0, (long)&r, 0, 0};

	(void)state;
	if (kernel_call(SYS_prlimit64, direct) != -EPERM && (getuid() != 0 || setuid(65534) < 0))
		skip();
	if (kernel_call(SYS_prlimit64, direct) != -EPERM)
		skip(); // somebody else's process is ours to ask here
	assert_int_equal(syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, 0L, &r), 0);
	assert_true(r.rlim_cur > 0);
	assert_true(r.rlim_max >= r.rlim_cur);
	assert_int_equal(prlimit64(1, RLIMIT_NOFILE, NULL, &r), 0);
	// Setting stays refused.
	assert_int_equal(syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, &set, &r), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(prlimit(1, RLIMIT_NOFILE, NULL, NULL), -1);
}

// ---- the blank scan -----------------------------------------------------------------------------

// As departure makes it. Returns the file.
static int hide(uint64_t tasks, const struct criu_blank_segment *list, size_t count)
{
	struct criu_blank_head head = {.tasks = tasks, .segments = count};
	char number[16];
	int fd = memfd_create("blank", 0);

	assert_int_equal(pwrite(fd, &head, sizeof(head), 0), sizeof(head));
	if (count)
		assert_true(pwrite(fd, list, count * sizeof(*list), sizeof(head)) > 0);
	snprintf(number, sizeof(number), "%d", fd);
	setenv(CRIU_BLANK_ENV, number, 1);
	return fd;
}

static void unhide(int fd)
{
	unsetenv(CRIU_BLANK_ENV);
	close(fd);
}

// The scan that CRIU 4.2 makes; the number of regions, or -1 (errno).
static int ask(void *page, uint64_t mask, uint64_t *walk_end)
{
	struct {
		uint64_t start, end, categories;
	} regions[4];
	const uint64_t anyof = 1 << 3 | 1 << 4; // PRESENT, SWAPPED
	struct scan scan = {.size = sizeof(scan),
			    .start = (uint64_t)page,
			    .end = page ? (uint64_t)page + PAGE : 0,
			    .vec = (uint64_t)regions,
			    .vec_len = 4,
			    .category_inverted = mask,
			    .category_mask = mask,
			    .category_anyof_mask = anyof,
			    .return_mask = anyof};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int count = ioctl(fd, SCAN_IOCTL, &scan), before = errno;

	close(fd);
	errno = before;
	if (walk_end)
		*walk_end = scan.walk_end;
	return count;
}

static void hides_pages_from_the_dump_alone(void **state)
{
	const uint64_t dump = CATEGORY_PFNZERO | CATEGORY_FILE;
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t walk_end = 0;
	int fd;

	(void)state;
	page[0] = 1;
	if (ask(page, dump, NULL) < 0)
		skip(); // a kernel before 6.7
	assert_int_equal(ask(page, dump, NULL), 1);
	fd = hide(1, NULL, 0);
	assert_int_equal(ask(page, dump, &walk_end), 0);
	assert_int_equal(walk_end, (uint64_t)page + PAGE);
	assert_int_equal(ask(page, CATEGORY_FILE, NULL), 1); // another question
	// The probe gets the kernel's answer: without memory it would be an error for a lie.
	assert_int_equal(ask(NULL, dump, NULL), 0);
	unhide(fd);
	assert_int_equal(ask(page, dump, NULL), 1);
	fd = hide(0, NULL, 0);
	assert_int_equal(ask(page, dump, NULL), 1);
	unhide(fd);
	munmap(page, PAGE);
}

static void hides_nothing_without_a_proper_list(void **state)
{
	const uint64_t dump = CATEGORY_PFNZERO | CATEGORY_FILE;
	static const char *const wrong[] = {"", "x", "12x", "-1", "99999", "1048577"};
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	page[0] = 1;
	if (ask(page, dump, NULL) < 0)
		skip();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		setenv(CRIU_BLANK_ENV, wrong[i], 1);
		assert_int_equal(ask(page, dump, NULL), 1);
	}
	unsetenv(CRIU_BLANK_ENV);
	munmap(page, PAGE);
}

static void hides_listed_segments_alone(void **state)
{
	struct stat st;
	int listed = memfd_create("listed", 0), other = memfd_create("other", 0), fd;

	(void)state;
	assert_int_equal(pwrite(listed, "data", 4, PAGE), 4);
	assert_int_equal(pwrite(other, "data", 4, PAGE), 4);
	assert_int_equal(fstat(listed, &st), 0);
	assert_int_equal(lseek(listed, 0, SEEK_DATA), PAGE);
	struct criu_blank_segment list[] = {{st.st_dev + 1, st.st_ino}, {st.st_dev, st.st_ino}};
	fd = hide(1, list, 1);
	assert_int_equal(lseek(listed, 0, SEEK_DATA), PAGE); // another file system's
	unhide(fd);
	fd = hide(1, list, 2);
	errno = 0;
	assert_int_equal(lseek(listed, 0, SEEK_DATA), -1);
	assert_int_equal(errno, ENXIO);
	assert_int_equal(lseek64(listed, 0, SEEK_DATA), -1);
	assert_int_equal(lseek(listed, 0, SEEK_END), PAGE + 4);
	assert_int_equal(lseek(other, 0, SEEK_DATA), PAGE);
	// A list that ends early hides nothing by guess.
	assert_int_equal(ftruncate(fd, sizeof(struct criu_blank_head)), 0);
	assert_int_equal(lseek(listed, 0, SEEK_DATA), PAGE);
	unhide(fd);
	assert_int_equal(lseek(listed, 0, SEEK_DATA), PAGE);
	close(listed);
	close(other);
}

// ---- shared segments ----------------------------------------------------------------------------

enum { LENGTH = 4 << 20 };

static int make_source(void)
{
	int fd = memfd_create("source", 0);

	for (off64_t at = 0; at < LENGTH; at += PAGE)
		assert_int_equal(pwrite(fd, &at, sizeof(at), at + 8), sizeof(at));
	assert_int_equal(ftruncate(fd, LENGTH), 0);
	return fd;
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

// Reads most of the source to one page behind the beginning; returns how many faults that took.
static long read_into(uint8_t *to)
{
	int fd = make_source();
	size_t length = LENGTH - 2 * PAGE;
	long before = faults();

	for (size_t done = 0, n; done < length; done += n) {
		n = (size_t)pread64(fd, to + PAGE + done, length - done, (off64_t)(PAGE + done));
		assert_true(n > 0 && n <= length - done);
	}
	before = faults() - before;
	for (uint64_t at = 0; at < LENGTH; at += PAGE) {
		bool was_read = at >= PAGE && at < LENGTH - PAGE;
		assert_int_equal(*(uint64_t *)(to + at + 8), was_read ? at : 0);
	}
	close(fd);
	return before;
}

static void fills_segments_through_their_files(void **state)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS;
	int id = shmget(IPC_PRIVATE, LENGTH, IPC_CREAT | 0600);

	(void)state;
	uint8_t *plain = mmap64(NULL, LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0);
	long by_file = open_segment();
	long for_plain = read_into(plain);
	uint8_t *sysv = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	long for_sysv = read_into(sysv);
	munmap(plain, LENGTH);
	shmdt(sysv);
	if (by_file < 0)
		skip(); // takes CAP_CHECKPOINT_RESTORE
	close((int)by_file);
	assert_true(for_plain < LENGTH / PAGE / 4);
	assert_true(for_sysv < LENGTH / PAGE / 4);
}

static void reads_into_all_else(void **state)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = make_source();
	uint8_t *shared =
		mmap64(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint8_t *private;

	(void)state;
	// It has gone; what takes its place has no file, or is no mapping of one that is shared.
	munmap(shared, LENGTH);
	assert_int_equal(segment.at, (uint64_t)shared);
	assert_true(mmap(shared, LENGTH, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0) ==
		    shared);
	read_into(shared);
	private = mmap64(NULL, LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0);
	assert_int_equal(segment.length, 0);
	read_into(private);
	assert_int_equal(pread64(fd, private, 8, PAGE + 8), 8);
	assert_int_equal(*(uint64_t *)private, PAGE);
	errno = 0;
	assert_int_equal(pread64(-1, private, LENGTH, 0), -1);
	assert_int_equal(errno, EBADF);
	munmap(private, LENGTH);
	munmap(shared, LENGTH);
	close(fd);
}

// The text of smaps that it was given, for that task alone.
static void gives_noted_flags_instead_of_smaps(void **state)
{
	static const char text[] = "1000-2000 rw-p\nVmFlags: rd wr \n";
	char path[32], read_back[64];
	int fd = hide(1, NULL, 0);
	struct criu_blank_head head = {.tasks = 1, .smaps = 2};
	struct criu_blank_smaps list[] = {{1, 4096, 0}, {(uint64_t)getpid(), 4096, strlen(text)}};

	(void)state;
	assert_true(pwrite(fd, &head, sizeof(head), 0) > 0);
	assert_true(pwrite(fd, list, sizeof(list), sizeof(head)) > 0);
	assert_true(pwrite(fd, text, strlen(text), 4096) > 0);
	snprintf(path, sizeof(path), "/proc/%d", (int)getpid());
	int proc = open(path, O_RDONLY | O_DIRECTORY), self = open("/proc/self/task", O_RDONLY);
	int smaps = openat(proc, "smaps", O_RDONLY);
	assert_int_equal(read(smaps, read_back, sizeof(read_back)), strlen(text));
	assert_memory_equal(read_back, text, strlen(text));
	close(smaps);
	assert_int_equal(openat(self, "smaps", O_RDONLY), -1); // no process of the list
	// A text that is not all there is not given.
	assert_int_equal(ftruncate(fd, 4096 + 5), 0);
	smaps = openat(proc, "smaps", O_RDONLY);
	assert_true(read(smaps, read_back, sizeof(read_back)) > (ssize_t)strlen(text));
	close(smaps);
	smaps = openat(proc, "maps", O_RDONLY);
	assert_true(smaps >= 0);
	close(smaps);
	close(proc);
	close(self);
	unhide(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_every_limit),
		cmocka_unit_test(passes_system_calls_through),
		cmocka_unit_test(hides_pages_from_the_dump_alone),
		cmocka_unit_test(gives_noted_flags_instead_of_smaps),
		cmocka_unit_test(hides_nothing_without_a_proper_list),
		cmocka_unit_test(hides_listed_segments_alone),
		cmocka_unit_test(fills_segments_through_their_files),
		cmocka_unit_test(reads_into_all_else),
		cmocka_unit_test(answers_queries_that_the_kernel_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
