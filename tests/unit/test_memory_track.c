// SPDX-License-Identifier: Apache-2.0
// Copying the memory of running processes: what a store of frames has in the end is what the
// stopped processes have, whatever they did meanwhile. And: copying before protecting is found out.
#include "tests/unit/track_fixture.h"

// ---- writers ------------------------------------------------------------------------------------

static void *write_pages(void *arg)
{
	uint64_t seed = 0x9e3779b97f4a7c15u * (1 + (uintptr_t)arg), version = 0;
	for (;;) {
		uint64_t at = next_random(&seed);
		uint64_t page = at % 10 < 7 ? at / 10 % 512 : at / 10 % (ARENA_PAGES / 2);
		volatile uint64_t *words = (uint64_t *)(ARENA + page * PAGE);
		version++;
		if (at >> 60 == 0)
			for (size_t i = 0; i < PAGE / 8; i++)
				words[i] = version + i;
		else
			words[(at >> 20) % (PAGE / 8)] = version;
		if (version % 256 == 0)
			usleep(50); // others need the CPU as well
	}
	return NULL;
}

// One page after another, so that none is written again soon.
static void *sweep(void *arg)
{
	for (uint64_t i = 0;; i++) {
		ARENA[(ARENA_PAGES / 2 + i % (ARENA_PAGES / 2)) * PAGE] += 1;
		if (i % 8 == 0)
			usleep(10);
	}
	return arg;
}

static void writers(int to)
{
	map_arena();
	fill(ARENA, ARENA_PAGES / 2);
	pthread_t t;
	pthread_create(&t, NULL, write_pages, NULL);
	pthread_create(&t, NULL, sweep, NULL);
	ready(to);
	for (;;)
		pause();
}

static void copies_what_is_written(void **state)
{
	(void)state;
	pid_t root = start(writers);
	struct track *t = begin(&root);
	assert_int_equal(arm_all(t), 1);
	assert_true(store.data_pages >= ARENA_PAGES / 2);
	for (int i = 1; i < ROUNDS; i++) {
		struct track_round r = one_round(t);
		assert_int_equal(r.armed, 0);
		assert_int_equal(r.unarmed, 0);
	}
	uint64_t dirty = 0;
	while (dirty == 0)
		assert_int_equal(track_dirty(t, &dirty, NULL), 0);
	struct track_round last = last_round(t, root);
	assert_true(last.pages > 0);
	assert_int_equal(differences(t, root), 0);
	assert_int_equal(missing(t, root), 0);
	finish(t, root);
}

// ---- mappings that change -----------------------------------------------------------------------

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	uint8_t *page = (uint8_t *)((uintptr_t)info->si_addr & ~(PAGE - 1));
	if (page < ARENA || page >= ARENA + ARENA_PAGES * PAGE)
		_exit(11);
	if (mprotect(page, PAGE, PROT_READ | PROT_WRITE) < 0)
		mmap(page, PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void move(uint8_t *from, uint8_t *to, size_t length)
{
	size_t apart = (size_t)(from > to ? from - to : to - from);
	if (apart < length ||
	    mremap(from, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		return;
	mmap(from, length, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void change(uint64_t *seed)
{
	const size_t half = ARENA_PAGES / 2;
	uint8_t *base = ARENA + half * PAGE;
	uint8_t *at = base + next_random(seed) % (half - 300) * PAGE;
	size_t pages = 1 + next_random(seed) % 256, length = pages * PAGE;
	pid_t child;
	switch (next_random(seed) % 16) {
	case 0:
		madvise(at, length, MADV_DONTNEED);
		break;
	case 1:
		madvise(at, length, MADV_FREE);
		break;
	case 2:
		mprotect(at, length, PROT_READ);
		break;
	case 3:
		mprotect(at, length, PROT_NONE);
		break;
	case 4:
		munmap(at, length);
		mmap(at, length, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		scribble(at, pages, seed);
		break;
	case 5:
		munmap(at, length);
		break;
	case 6:
	case 7:
		move(at, base + next_random(seed) % (half - 300) * PAGE, length);
		break;
	case 8:
		child = fork();
		if (child == 0) {
			usleep(next_random(seed) % 1000);
			_exit(0);
		}
		waitpid(child, NULL, 0);
		break;
	case 9:
		at = (uint8_t *)((uintptr_t)at & ~((2ul << 20) - 1));
		madvise(at, 2ul << 20, MADV_HUGEPAGE);
		break;
	case 10:
		madvise(at, length, 21); // MADV_PAGEOUT
		break;
	default:
		mprotect(at, length, PROT_READ | PROT_WRITE);
		scribble(at, pages, seed);
	}
}

static void *change_mappings(void *arg)
{
	uint64_t seed = 77 + (uintptr_t)arg;
	for (;;) {
		change(&seed);
		usleep(20);
	}
	return NULL;
}

static void churn(int to)
{
	struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	map_arena();
	fill(ARENA, ARENA_PAGES);
	pthread_t t;
	pthread_create(&t, NULL, write_pages, NULL);
	pthread_create(&t, NULL, change_mappings, NULL);
	ready(to);
	for (;;)
		pause();
}

static void follows_changing_mappings(void **state)
{
	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		pid_t root = start(churn);
		struct track *t = begin(&root);
		for (int i = 0; i < ROUNDS; i++) {
			one_round(t);
			usleep(2000);
		}
		last_round(t, root);
		assert_int_equal(differences(t, root), 0);
		assert_int_equal(missing(t, root), 0);
		finish(t, root);
	}
}

// ---- processes that come and go -----------------------------------------------------------------

static void forks_and_execs(int to)
{
	map_arena();
	fill(ARENA, 256);
	signal(SIGUSR1, SIG_IGN);
	if (fork() == 0) { // lives on, with the arena as its own
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ready(to);
		for (uint64_t seed = 5;;)
			scribble(ARENA, 256, &seed);
	}
	sigset_t set;
	int number;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigwait(&set, &number);
	execl("/bin/sleep", "sleep", "1000", NULL);
}

static void follows_processes(void **state)
{
	(void)state;
	pid_t root = start(forks_and_execs), pids[PIDS_MAX];
	size_t count = 0;
	struct track *t = begin(&root);
	assert_int_equal(arm_all(t), 2);
	kill(root, SIGUSR2);
	char name[64] = "", path[64];
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)root);
	while (strcmp(name, "sleep\n") != 0) {
		_cleanup_fclose_ FILE *f = fopen(path, "re");
		assert_non_null(fgets(name, sizeof(name), f));
	}
	assert_true(arm_all(t) >= 1); // another address space
	last_round(t, root);
	add_tree(root, pids, &count);
	assert_int_equal(count, 2);
	assert_int_equal(differences(t, pids[0]), 0);
	assert_int_equal(differences(t, pids[1]), 0);
	assert_int_equal(missing(t, pids[1]), 0);
	finish(t, root);
}

static void shares_with_a_child(int to)
{
	fill(map_arena(), ARENA_PAGES);
	if (fork() == 0)
		to = open("/dev/null", O_WRONLY | O_CLOEXEC);
	wait_only(to);
}

static uint64_t shared_kb(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kb, sum = 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Shared_Dirty: %llu", &kb) == 1)
			sum += kb;
	return sum;
}

// To read pages that a fork left in common must not make copies of them.
static void leaves_shared_pages_shared(void **state)
{
	(void)state;
	pid_t root = start(shares_with_a_child);
	uint64_t before = shared_kb(root);
	struct track *t = begin(&root);
	assert_true(before >= ARENA_PAGES * PAGE / 1024);
	first_round(t);
	one_round(t);
	assert_true(shared_kb(root) >= ARENA_PAGES * PAGE / 1024);
	last_round(t, root);
	assert_true(shared_kb(root) >= ARENA_PAGES * PAGE / 1024);
	assert_int_equal(differences(t, root), 0);
	finish(t, root);
}

static size_t userfaultfds(pid_t pid)
{
	char path[64], link[64];
	size_t n = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		ssize_t got = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		link[got < 0 ? 0 : got] = 0;
		n += !strcmp(link, "anon_inode:[userfaultfd]");
	}
	return n;
}

struct pair {
	pid_t pids[2];
	size_t count;
};

static int list_pair(void *arg, pid_t **pids, size_t *count, struct error *err)
{
	const struct pair *pair = arg;
	(void)err;
	*count = pair->count;
	*pids = malloc(sizeof(pair->pids));
	memcpy(*pids, pair->pids, sizeof(pair->pids));
	return 0;
}

// A child that was forked while its parent had our userfaultfd; this one has it from us.
static void takes_back_what_a_child_inherited(void **state)
{
	(void)state;
	static const struct memory_sink sink = {.place = place, .send = take_message};
	struct pair pair = {{start(wait_only), 0}, 1};
	const struct track_tasks tasks = {list_pair, &pair};
	struct track *t = track_begin(pair.pids[0], &tasks, &sink, NULL);
	size_t others = userfaultfds(getpid());
	assert_int_equal(arm_all(t), 1);
	pair.pids[1] = start(wait_only);
	pair.count = 2;
	assert_int_equal(userfaultfds(pair.pids[1]), others + 1);
	assert_int_equal(arm_all(t), 1);
	assert_int_equal(userfaultfds(pair.pids[1]), others);
	kill_tree(pair.pids[1]);
	finish(t, pair.pids[0]);
}

// ---- special pages ------------------------------------------------------------------------------

#define ODD_PAGES 16ul

enum { ODD_NONE, ODD_LOCKED, ODD_GUARD, ODD_READ, ODD_ZERO, ODD_HUGE, ODD_COUNT };

static uint8_t *odd(int which)
{
	return ARENA + (size_t)which * 512 * PAGE;
}

static void odd_pages(int to)
{
	map_arena();
	fill(odd(ODD_NONE), ODD_PAGES);
	mprotect(odd(ODD_NONE), ODD_PAGES * PAGE, PROT_NONE);
	fill(odd(ODD_LOCKED), ODD_PAGES);
	syscall(SYS_mlock, odd(ODD_LOCKED), ODD_PAGES * PAGE); // not of AddressSanitizer
	fill(odd(ODD_GUARD), ODD_PAGES);
	madvise(odd(ODD_GUARD) + PAGE, 4 * PAGE, GUARD_INSTALL);
	volatile uint8_t sum = 0;
	for (size_t i = 0; i < ODD_PAGES; i++) // the kernel's page of zeroes
		sum += odd(ODD_READ)[i * PAGE];
	memset(odd(ODD_ZERO), 1, ODD_PAGES * PAGE);
	memset(odd(ODD_ZERO), 0, ODD_PAGES * PAGE);
	madvise(odd(ODD_HUGE), 512 * PAGE, MADV_HUGEPAGE);
	fill(odd(ODD_HUGE), 512);
	ready(to);
	for (;;)
		pause();
}

static void handles_odd_pages(void **state)
{
	(void)state;
	pid_t root = start(odd_pages);
	uint64_t destination = (uint64_t)root << 8 | 1;
	struct track *t = begin(&root);
	struct track_round r = first_round(t);
	assert_true(r.zero_bytes >= ODD_PAGES * PAGE);
	assert_int_equal(r.sent_bytes, store.data_pages * PAGE);
	assert_int_equal(r.zero_bytes, store.zero_pages * PAGE);
	r = last_round(t, root);
	// Nothing was written since, but where the kernel notes on which CPU a thread runs (rseq).
	assert_true(r.pages <= 4);
	assert_int_equal(differences(t, root), 0);
	assert_int_equal(missing(t, root), 0);
	const struct track_entry *e = entry_of(t, destination, (uintptr_t)odd(ODD_NONE));
	assert_int_equal(e->flags, PAGEFRAME_PRESENT | PAGEFRAME_LAZY);
	e = entry_of(t, destination, (uintptr_t)odd(ODD_LOCKED));
	assert_int_equal(e->flags, PAGEFRAME_PRESENT);
	assert_null(entry_of(t, destination, (uintptr_t)odd(ODD_READ)));
	assert_non_null(entry_of(t, destination, (uintptr_t)odd(ODD_ZERO)));
	assert_non_null(entry_of(t, destination, (uintptr_t)odd(ODD_GUARD)));
	if (madvise(store.place, 0, GUARD_INSTALL) == 0)
		assert_null(entry_of(t, destination, (uintptr_t)odd(ODD_GUARD) + PAGE));
	finish(t, root);
}

static void many_mappings(int to)
{
	map_arena();
	fill(ARENA, ARENA_PAGES);
	for (size_t i = 0; i < ARENA_PAGES; i += 2)
		mprotect(ARENA + i * PAGE, PAGE, PROT_READ);
	ready(to);
	for (uint64_t seed = 3;;)
		ARENA[(next_random(&seed) % ARENA_PAGES | 1) * PAGE] = (uint8_t)seed;
}

static void takes_many_mappings(void **state)
{
	(void)state;
	pid_t root = start(many_mappings);
	struct track *t = begin(&root);
	for (int i = 0; i < 3; i++)
		one_round(t);
	last_round(t, root);
	assert_int_equal(differences(t, root), 0);
	assert_int_equal(missing(t, root), 0);
	finish(t, root);
}

// What cannot be armed is copied whole in the end.
static void brings_unarmed_tasks_in_the_end(void **state)
{
	(void)state;
	pid_t root = start(writers);
	assert_int_equal(ptrace(PTRACE_SEIZE, root, NULL, 0), 0);
	struct track *t = begin(&root);
	struct track_round r = one_round(t);
	assert_int_equal(r.unarmed, 1);
	assert_non_null(strstr(r.unarmed_why, "traced"));
	assert_int_equal(store.data_pages, 0);
	ptrace(PTRACE_INTERRUPT, root, NULL, NULL);
	waitpid(root, NULL, __WALL);
	assert_int_equal(ptrace(PTRACE_DETACH, root, NULL, 0), 0);
	r = last_round(t, root);
	assert_int_equal(r.unarmed, 1);
	assert_true(r.pages >= ARENA_PAGES / 2);
	assert_int_equal(differences(t, root), 0);
	assert_int_equal(missing(t, root), 0);
	finish(t, root);
}

// A device may still write to what was protected and copied: the next round copies it again.
static void direct_io(int to)
{
	map_arena();
	fill(ARENA, ODD_PAGES);
	int fd = open("/proc/self/exe", O_RDONLY | O_DIRECT);
	if (fd < 0)
		_exit(1);
	ready(to);
	for (;;)
		pause();
}

static void copies_twice_for_direct_io(void **state)
{
	(void)state;
	pid_t root = start(direct_io);
	struct track *t = begin(&root);
	struct track_round first = first_round(t), second = one_round(t), third = one_round(t);
	assert_true(second.sent_bytes >= first.sent_bytes / 2);
	assert_true(third.sent_bytes < first.sent_bytes / 2);
	finish(t, root);
}

// A task that ends between two rounds, or in one.
static void survives_an_end(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		pid_t root = start(writers);
		struct track *t = begin(&root);
		one_round(t);
		pid_t killer = fork();
		if (killer == 0) {
			usleep((useconds_t)i * 300);
			kill(root, SIGKILL);
			_exit(0);
		}
		for (int k = 0; k < 3; k++)
			one_round(t);
		waitpid(killer, NULL, 0);
		waitpid(root, NULL, 0);
		assert_int_equal(one_round(t).tasks, 0);
		track_end(t);
		store_clear();
	}
}

// ---- figures ------------------------------------------------------------------------------------

static int drop_message(void *arg, void *at, size_t length, struct error *err)
{
	(void)arg;
	(void)at;
	(void)length;
	(void)err;
	return 0;
}

static void idle(int to)
{
	map_arena();
	fill(ARENA, ARENA_PAGES);
	ready(to);
	for (;;)
		pause();
}

// A task that is written to right after its first pages were copied, once.
struct poked {
	pid_t pid;
	bool done;
};

static int take_and_poke(void *arg, void *bytes, size_t length, struct error *err)
{
	struct poked *poked = arg;
	char path[64];
	if (take_message(NULL, bytes, length, err) < 0)
		return -1;
	struct page *first =
		slot(store.table, store.room, (uint64_t)poked->pid << 8 | 1, (uintptr_t)ARENA);
	if (poked->done || !first->bytes)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)poked->pid);
	_cleanup_close_ int mem = open(path, O_WRONLY | O_CLOEXEC);
	poked->done = pwrite(mem, "new", 3, (off_t)(uintptr_t)ARENA) == 3;
	return poked->done ? 0 : -1;
}

static size_t differences_after_a_poke(const char *swapped)
{
	struct poked poked = {.pid = start(idle)};
	const struct memory_sink sink = {.place = place, .send = take_and_poke, .arg = &poked};
	setenv("RELOCD_TEST_SWAP_ORDER", swapped, 1);
	struct track *t = begin_to(&poked.pid, &sink);
	unsetenv("RELOCD_TEST_SWAP_ORDER");
	arm_all(t);
	one_round(t);
	assert_true(poked.done);
	last_round(t, poked.pid);
	size_t bad = differences(t, poked.pid);
	finish(t, poked.pid);
	return bad;
}

// In the wrong order a write between copy and protection is lost.
static void notices_the_wrong_order(void **state)
{
	(void)state;
	assert_int_equal(differences_after_a_poke("0"), 0);
	assert_int_equal(differences_after_a_poke("1"), 1);
}

static double per_gb(uint64_t ns, uint64_t bytes)
{
	return bytes ? (double)ns / 1e6 / ((double)bytes / 1e9) : 0;
}

static void tells_figures(void **state)
{
	(void)state;
	static const struct memory_sink nowhere = {.place = place, .send = drop_message};
	pid_t root = start(idle);
	const struct track_tasks tasks = {list_tree, &root};
	struct track *t = track_begin(root, &tasks, &nowhere, NULL);
	struct track_round first = first_round(t), none = one_round(t);
	uint64_t bytes = ARENA_PAGES * PAGE;
	struct track_round last = last_round(t, root);
	print_message("armed in %.0f us; protecting %.1f ms/GB, again %.1f ms/GB, last list %.1f "
		      "ms/GB; copying %.2f GB/s\n",
		      (double)first.arm_ns / 1e3, per_gb(first.protect_ns, bytes),
		      per_gb(none.protect_ns, bytes), per_gb(last.protect_ns, bytes),
		      (double)first.sent_bytes / (double)first.copy_ns);
	assert_true(first.sent_bytes >= bytes);
	finish(t, root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_what_is_written),
		cmocka_unit_test(notices_the_wrong_order),
		cmocka_unit_test(follows_changing_mappings),
		cmocka_unit_test(follows_processes),
		cmocka_unit_test(leaves_shared_pages_shared),
		cmocka_unit_test(takes_back_what_a_child_inherited),
		cmocka_unit_test(handles_odd_pages),
		cmocka_unit_test(takes_many_mappings),
		cmocka_unit_test(brings_unarmed_tasks_in_the_end),
		cmocka_unit_test(copies_twice_for_direct_io),
		cmocka_unit_test(survives_an_end),
		cmocka_unit_test(tells_figures),
	};
	return cmocka_run_group_tests(tests, usable, NULL);
}
