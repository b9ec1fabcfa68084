// SPDX-License-Identifier: Apache-2.0
// The page server against tasks that give it their userfaultfd as CRIU does: what they read is what
// is in the store, whatever they do to their address space and however often the server is killed.
#include "images/lazymap.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/memory/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PAGE     4096ul
#define PAGES    6000ul // of the task's memory; every fifth one is not listed
#define BASE     ((uint8_t *)0x200000000000)
#define LIMIT_MS 30000
#define VPID     7

#define NEEDED                                                          \
	((uint64_t)UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | \
	 UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)

static char folder[64];
static struct pager *pager;

// ---- the store ----------------------------------------------------------------------------------

static bool listed(size_t page)
{
	return page % 5 != 4;
}

// Pages of zeroes are holes in the store.
static bool blank(size_t page)
{
	return page >= 3100 && page < 3200;
}

static uint64_t mark(size_t page)
{
	return blank(page) ? 0 : (page + 1) * 0x9e3779b97f4a7c15u;
}

static void write_store(int dirfd, size_t cut)
{
	struct lazymap_run runs[PAGES / 5 + 1];
	size_t count = 0, stored = 0;
	int fd = openat(dirfd, "lazy-7.pages", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (size_t page = 0; page < PAGES; page++) {
		uint64_t words[PAGE / 8] = {mark(page), blank(page) ? 0 : page};
		words[PAGE / 8 - 1] = mark(page);
		if (!listed(page))
			continue;
		if (page % 5 == 0)
			runs[count++] = (struct lazymap_run){(uintptr_t)BASE + page * PAGE, 4,
							     stored * PAGE};
		if (!blank(page))
			assert_int_equal(pwrite(fd, words, PAGE, (off_t)(stored * PAGE)), PAGE);
		stored++;
	}
	assert_int_equal(ftruncate(fd, (off_t)((stored - cut) * PAGE)), 0);
	close(fd);
	assert_int_equal(lazymap_write(dirfd, VPID, runs, count, NULL), 0);
}

static int listen_in(int dirfd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" PAGER_SOCKET,
		 dirfd);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

// ---- a task -------------------------------------------------------------------------------------

static void give_away(int uffd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int32_t pid = VPID;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/" PAGER_SOCKET, folder);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, &pid, sizeof(pid), 0) != sizeof(pid) ||
	    fdio_send_fds(fd, "x", 1, &uffd, 1, NULL) != 1)
		_exit(90);
	close(fd);
	close(uffd);
}

static void become_task(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = NEEDED};
	struct uffdio_register range = {.range = {(uintptr_t)BASE, PAGES * PAGE},
					.mode = UFFDIO_REGISTER_MODE_MISSING};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(LIMIT_MS / 1000);
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	void *p = mmap(BASE, PAGES * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (p != BASE || ioctl(uffd, UFFDIO_API, &api) < 0 ||
	    ioctl(uffd, UFFDIO_REGISTER, &range) < 0)
		_exit(91);
	give_away(uffd);
}

static const volatile uint64_t *page_at(const uint8_t *base, size_t page)
{
	return (const volatile uint64_t *)(base + page * PAGE);
}

static bool is_zero(const volatile uint64_t *w)
{
	return w[0] == 0 && w[1] == 0 && w[PAGE / 8 - 1] == 0;
}

static bool is_right(const volatile uint64_t *w, size_t page)
{
	if (!listed(page) || blank(page))
		return is_zero(w);
	return w[0] == mark(page) && w[1] == page && w[PAGE / 8 - 1] == mark(page);
}

// Pages [first, end) of the store, which are at `base` + their number.
static bool all_right(const uint8_t *base, size_t first, size_t end)
{
	for (size_t page = first; page < end; page++)
		if (!is_right(page_at(base, page), page))
			return false;
	return true;
}

static int ends_well(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int reader(void)
{
	return all_right(BASE, 0, PAGES) ? 0 : 1;
}

static int sleeper(void)
{
	clock_sleep_ms(100000);
	return 0;
}

// Children and their children, at once, with nothing filled yet.
static int parent(void)
{
	pid_t children[8];
	for (int i = 0; i < 8; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			pid_t grandchild = i % 2 ? 0 : fork();
			if (!all_right(BASE, (size_t)i * 100, PAGES))
				_exit(1);
			if (i % 2 == 0 && grandchild && !ends_well(grandchild))
				_exit(2);
			_exit(0);
		}
		if (!is_right(page_at(BASE, (size_t)i * 700), (size_t)i * 700))
			return 3;
	}
	for (int i = 0; i < 8; i++)
		if (!ends_well(children[i]))
			return 4;
	return reader();
}

// Forks all the time: most children look at one page and end.
static int forker(void)
{
	for (size_t i = 0; i < 150; i++) {
		size_t page = i * 37 % PAGES;
		pid_t child = fork();
		if (child == 0) {
			alarm(LIMIT_MS / 1000);
			_exit(is_right(page_at(BASE, page), page) &&
					      all_right(BASE, PAGES - page % 50, PAGES)
				      ? 0
				      : 1);
		}
		if (!ends_well(child))
			return 1;
	}
	return reader();
}

static int churner(void)
{
	uint8_t *away = BASE + 2 * PAGES * PAGE;
	// zeroes from here on
	if (madvise(BASE + 1000 * PAGE, 500 * PAGE, MADV_DONTNEED))
		return 10;
	// away and back again, in parts
	if (mremap(BASE + 2000 * PAGE, 1000 * PAGE, 1000 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   away + 2000 * PAGE) != away + 2000 * PAGE)
		return 11;
	if (!all_right(away, 2000, 2300))
		return 12;
	if (mremap(away + 2500 * PAGE, 500 * PAGE, 500 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   BASE + 2500 * PAGE) != BASE + 2500 * PAGE)
		return 13;
	// unmapped, and mapped anew: no business of the store's any more
	if (munmap(BASE + 4000 * PAGE, 100 * PAGE) ||
	    mmap(BASE + 4000 * PAGE, 100 * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return 14;
	// several mappings where there was one
	for (size_t page = 5000; page < 5200; page += 10)
		if (mprotect(BASE + page * PAGE, PAGE, PROT_READ))
			return 15;
	// written before it was ever read
	memset(BASE + 5500 * PAGE, 0x5a, PAGE);
	pid_t child = fork();
	if (child == 0)
		_exit(all_right(BASE, 3000, 4000) && all_right(away, 2300, 2500) ? 0 : 1);
	if (!ends_well(child))
		return 16;
	for (size_t page = 1000; page < 1500; page++)
		if (!is_zero(page_at(BASE, page)))
			return 17;
	for (size_t page = 4000; page < 4100; page++)
		if (!is_zero(page_at(BASE, page)))
			return 18;
	if (*page_at(BASE, 5500) != 0x5a5a5a5a5a5a5a5a)
		return 19;
	return all_right(BASE, 0, 1000) && all_right(BASE, 1500, 2000) &&
			       all_right(away, 2000, 2500) && all_right(BASE, 2500, 4000) &&
			       all_right(BASE, 4100, 5500) && all_right(BASE, 5501, PAGES)
		       ? 0
		       : 20;
}

// ---- guard regions ------------------------------------------------------------------------------

#define GUARD_INSTALL 102 // madvise(2), Linux 6.13
#define GUARD_REMOVE  103

static bool kernel_has_guards(void)
{
	void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool has = madvise(page, PAGE, GUARD_INSTALL) == 0 || errno != EINVAL;
	munmap(page, PAGE);
	return has;
}

static bool guard(size_t page, size_t pages, bool install)
{
	return madvise(BASE + page * PAGE, pages * PAGE, install ? GUARD_INSTALL : GUARD_REMOVE) ==
	       0;
}

// The kernel itself cannot read it.
static bool all_guarded(size_t page, size_t pages)
{
	int ends[2];
	bool guarded = pipe2(ends, O_CLOEXEC) == 0;
	for (size_t i = page; guarded && i < page + pages; i++)
		guarded = write(ends[1], BASE + i * PAGE, 1) < 0 && errno == EFAULT;
	close(ends[0]);
	close(ends[1]);
	return guarded;
}

static bool all_zero(size_t page, size_t pages)
{
	for (size_t i = page; i < page + pages; i++)
		if (!is_zero(page_at(BASE, i)))
			return false;
	return true;
}

static int progress_ends[2]; // of a task: it is guarded; of the test: all is filled

static bool tell_and_wait(void)
{
	char byte = 0;
	return write(progress_ends[1], &byte, 1) == 1 && recv(progress_ends[1], &byte, 1, 0) == 1;
}

// What is guarded before anything is filled is so afterwards, and zeroes once it is not any more,
// also if that was before; next to it nothing has changed. Also in a child.
static int check_guards(size_t at)
{
	if (!all_guarded(at, 300) || !all_zero(at + 300, 20) || !all_guarded(at + 1000, 1))
		return 30;
	if (!guard(at, 300, false) || !guard(at + 1000, 1, false))
		return 31;
	if (!all_zero(at, 300) || !all_zero(at + 1000, 1))
		return 32;
	return all_right(BASE, at + 320, at + 1000) && all_right(BASE, at + 1001, at + 1500) ? 0
											     : 33;
}

static bool install_guards(size_t at)
{
	if (!guard(at, 320, true) || !guard(at + 1000, 1, true))
		return false;
	usleep(50000); // it is seen
	return guard(at + 300, 20, false);
}

static int guarder(void)
{
	// So it is known whose memory it is.
	if (!all_right(BASE, 0, 40) || !install_guards(1000))
		return 34;
	pid_t child = fork();
	if (child < 0)
		return 35;
	if (child == 0) {
		alarm(LIMIT_MS / 1000);
		_exit(all_right(BASE, 4000, 4040) && install_guards(2500) && tell_and_wait()
			      ? check_guards(1000) + check_guards(2500)
			      : 36);
	}
	if (!tell_and_wait() || check_guards(1000) || !all_right(BASE, 2500, PAGES))
		return 37;
	return ends_well(child) ? 0 : 38;
}

// Guards pages while it is filled. One whose copy was under way may be lost, as on Linux 6.18.
static int hasty_guarder(void)
{
	for (size_t page = PAGES - 2; page >= 40; page -= 40) {
		if (!guard(page, 1, true))
			return 40;
		usleep(50);
		if (!all_right(BASE, page - 2, page))
			return 41;
	}
	usleep(100000);
	int lost = 0;
	for (size_t page = PAGES - 2; page >= 40; page -= 40) {
		if (!all_guarded(page, 1))
			lost++;
		else if (!guard(page, 1, false) || !all_zero(page, 1))
			return 42;
	}
	return lost <= 1 ? 0 : 43;
}

// ---- the keeper ---------------------------------------------------------------------------------

static pid_t start_task(int (*run)(void))
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		become_task();
		_exit(run());
	}
	return pid;
}

// One that the server has taken: it is here, and got its first page.
static pid_t start_served_task(int (*run)(void))
{
	int ends[2];
	char byte = 0;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		become_task();
		_exit(is_right(page_at(BASE, 0), 0) && write(ends[1], &byte, 1) == 1 ? run() : 92);
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	close(ends[1]);
	return pid;
}

static void start_folder(size_t cut)
{
	snprintf(folder, sizeof(folder), "/tmp/test-pager.XXXXXX");
	assert_non_null(mkdtemp(folder));
	_cleanup_close_ int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	write_store(dirfd, cut);
}

static void nobody_is_lost(const char *name)
{
	(void)name;
	_exit(99);
}

// Those of our process group.
static int our_tasks(const char *name, pid_t **pids, size_t *count)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc");
	struct dirent *entry;
	(void)name;
	*count = 0;
	*pids = calloc(4096, sizeof(**pids));
	while (dir && *pids && (entry = readdir(dir)) && *count < 4096)
		if (atoi(entry->d_name) > 0 && getpgid(atoi(entry->d_name)) == getpgrp())
			(*pids)[(*count)++] = atoi(entry->d_name);
	return *pids ? 0 : -1;
}

static void start_server(void)
{
	const struct pager_ways ways = {nobody_is_lost, our_tasks};
	struct error err = {0};
	int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pager = pager_new("test", listen_in(dirfd), dirfd, &ways, &err);
	assert_non_null(pager);
	assert_int_equal(pager_start(pager, &err), 0);
}

static void start_pager(size_t cut)
{
	start_folder(cut);
	start_server();
}

static void end_pager(void)
{
	pager_free(pager);
	pager = NULL;
	assert_int_equal(fdio_remove_tree(AT_FDCWD, folder, NULL), 0);
}

// Reaps until the task (0: none) has ended and the server has done all; `kills` times the server
// is killed, `every_ms` apart. The status of the task.
static int serve(pid_t task, int kills, int every_ms)
{
	struct pager_progress progress = {0};
	deadline_t deadline = deadline_in_ms(LIMIT_MS), kill_at = deadline_in_ms(every_ms);
	int task_status = 0, status;
	while (task || !progress.complete) {
		assert_false(deadline_passed(deadline));
		if (kills && pager_pid(pager) && deadline_passed(kill_at)) {
			kill(pager_pid(pager), SIGKILL);
			kill_at = deadline_in_ms(every_ms);
			kills--;
		}
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid == 0) {
			usleep(200);
		} else if (pid == task) {
			task = 0;
			task_status = status;
		} else if (pid == pager_pid(pager)) {
			pager_ended(pager);
			pager_progress(pager, &progress);
			assert_string_equal(progress.broken, "");
			if (!progress.complete)
				assert_int_equal(pager_start(pager, NULL), 0);
		}
	}
	assert_int_equal(progress.left, 0);
	return WIFEXITED(task_status) ? WEXITSTATUS(task_status) : 200 + WTERMSIG(task_status);
}

static void run(int (*task)(void), bool fill, int kills, int every_ms)
{
	start_pager(0);
	if (fill)
		pager_fill(pager);
	pid_t pid = start_task(task);
	if (!fill) { // all of it on demand
		int status;
		while (waitpid(pid, &status, WNOHANG) == 0)
			usleep(200);
		assert_int_equal(status, 0);
		pager_fill(pager);
		pid = 0;
	}
	assert_int_equal(serve(pid, kills, every_ms), 0);
	end_pager();
}

static int need_userfaultfd(void **state)
{
	char why[200];
	(void)state;
	if (pager_usable(why, sizeof(why)))
		return 0;
	print_message("skipped: %s\n", why);
	return 1;
}

#define UNLESS_UNUSABLE()                    \
	do {                                 \
		if (need_userfaultfd(state)) \
			skip();              \
	} while (0)

static void test_on_demand(void **state)
{
	UNLESS_UNUSABLE();
	run(reader, false, 0, 0);
	run(parent, false, 0, 0);
	run(churner, false, 0, 0);
}

static void test_while_it_fills(void **state)
{
	UNLESS_UNUSABLE();
	run(reader, true, 0, 0);
	run(parent, true, 0, 0);
	run(churner, true, 0, 0);
	run(forker, true, 0, 0);
}

static void test_server_is_killed(void **state)
{
	UNLESS_UNUSABLE();
	for (int i = 0; i < 3; i++) {
		run(reader, true, 6, 1);
		run(parent, true, 7, 2);
		run(churner, true, 7, 1);
		run(forker, true, 7, 4);
	}
	for (int i = 0; i < 20; i++) // before and while it takes the task
		run(reader, true, 7, 0);
}

// A task that touches nothing has all its memory in the end, and the store is empty by then.
static void test_store_shrinks(void **state)
{
	UNLESS_UNUSABLE();
	struct stat st;
	char path[100];
	start_pager(0);
	snprintf(path, sizeof(path), "%s/lazy-7.pages", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks > 0);
	pager_fill(pager);
	pid_t pid = start_task(sleeper);
	struct pager_progress progress;
	assert_int_equal(serve(0, 0, 0), 0);
	pager_progress(pager, &progress);
	assert_int_equal(progress.total, PAGES / 5 * 4);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	int mem = open(path, O_RDONLY);
	uint64_t words[2];
	for (size_t page = 0; page < PAGES; page++) {
		assert_int_equal(pread(mem, words, sizeof(words), (off_t)(BASE + page * PAGE)),
				 sizeof(words));
		assert_true(words[0] == (listed(page) ? mark(page) : 0));
	}
	close(mem);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	end_pager();
}

static void test_guards(void **state)
{
	UNLESS_UNUSABLE();
	if (!kernel_has_guards()) {
		print_message("skipped: the kernel has no guard regions\n");
		skip();
	}
	for (int kills = 0; kills <= 6; kills += 6) {
		char bytes[2] = {0};
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, progress_ends), 0);
		start_pager(0);
		pid_t pid = start_task(guarder);
		for (int i = 0; i < 2; i++)
			assert_int_equal(recv(progress_ends[0], bytes, 1, 0), 1);
		pager_fill(pager);
		assert_int_equal(serve(0, kills, 1), 0);
		assert_int_equal(send(progress_ends[0], bytes, 2, 0), 2);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		close(progress_ends[0]);
		close(progress_ends[1]);
		end_pager();
	}
}

static void test_guards_while_it_fills(void **state)
{
	UNLESS_UNUSABLE();
	if (!kernel_has_guards())
		skip();
	for (int i = 0; i < 5; i++)
		run(hasty_guarder, true, 0, 0);
}

// Its keeper dies before CRIU has come: nobody will ever need it.
static void test_keeper_dies_early(void **state)
{
	UNLESS_UNUSABLE();
	pid_t server;
	int ends[2], status;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	start_folder(0);
	pid_t keeper = fork();
	if (keeper == 0) {
		start_server();
		server = pager_pid(pager);
		_exit(write(ends[1], &server, sizeof(server)) != sizeof(server));
	}
	assert_int_equal(read(ends[0], &server, sizeof(server)), sizeof(server));
	assert_int_equal(waitpid(keeper, &status, 0), keeper);
	deadline_t deadline = deadline_in_ms(LIMIT_MS);
	while (waitpid(server, &status, WNOHANG) == 0) {
		if (deadline_passed(deadline))
			kill(server, SIGKILL);
		usleep(1000);
	}
	assert_int_equal(status, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(fdio_remove_tree(AT_FDCWD, folder, NULL), 0);
}

// A keeper of its own, which only lives; the pid of its server.
static pid_t start_keeper(pid_t *server)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t keeper = fork();
	if (keeper == 0) {
		start_server();
		pid_t pid = pager_pid(pager);
		if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ends[0], server, sizeof(*server)), sizeof(*server));
	close(ends[0]);
	close(ends[1]);
	return keeper;
}

// Both at once: the guard has the descriptors, and starts another server.
static void test_keeper_and_server_are_killed(void **state)
{
	UNLESS_UNUSABLE();
	int (*const tasks[])(void) = {reader, parent, churner, forker};
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	for (unsigned i = 0; i < 12; i++) {
		int status, task_status = -1;
		pid_t server, pid;
		start_folder(0);
		pid_t keeper = start_keeper(&server), task = start_served_task(tasks[i % 4]);
		usleep(500 * i);
		kill(i % 2 ? keeper : server, SIGKILL);
		kill(i % 2 ? server : keeper, SIGKILL);
		// Keeper, servers, guard and task: all are our children now.
		deadline_t deadline = deadline_in_ms(LIMIT_MS);
		while ((pid = waitpid(-1, &status, WNOHANG)) >= 0) {
			assert_false(deadline_passed(deadline));
			if (pid == task)
				task_status = status;
			else if (pid && pid != keeper && pid != server)
				assert_int_equal(status, 0);
			else if (!pid)
				usleep(500);
		}
		assert_int_equal(task_status, 0);
		assert_int_equal(fdio_remove_tree(AT_FDCWD, folder, NULL), 0);
	}
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

// Nothing is answered out of a store that lacks a page: the server says so and ends.
static void test_short_store(void **state)
{
	UNLESS_UNUSABLE();
	struct pager_progress progress;
	int status;
	start_pager(1);
	pid_t pid = start_task(reader);
	assert_int_equal(waitpid(pager_pid(pager), &status, 0), pager_pid(pager));
	pager_ended(pager);
	assert_int_equal(WEXITSTATUS(status), 1);
	pager_progress(pager, &progress);
	assert_non_null(strstr(progress.broken, "behind the end of the store"));
	assert_int_equal(pager_start(pager, NULL), -1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	end_pager();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_on_demand),
		cmocka_unit_test(test_while_it_fills),
		cmocka_unit_test(test_store_shrinks),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_guards_while_it_fills),
		cmocka_unit_test(test_short_store),
		cmocka_unit_test(test_keeper_dies_early),
		cmocka_unit_test(test_keeper_and_server_are_killed),
		cmocka_unit_test(test_server_is_killed),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
