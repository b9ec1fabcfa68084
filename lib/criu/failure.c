// SPDX-License-Identifier: Apache-2.0
#include "lib/criu/failure.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LOG_TAIL = 64 * 1024 };

// Complaints that come with every run in a sandbox and are never the cause.
static const char *const harmless[] = {
	"RLIMIT_NOFILE",
	"Can't set rlimit",
	"rlimit: RLIMIT_NOFILE unlimited for self",
	"Unable to set SO_RCVBUFFORCE",
	"Unable to set SO_SNDBUFFORCE",
	"bfd: ",
};

// What CRIU says, and what that means to the owner of the partition.
static const struct known {
	const char *words;
	enum error_id id;
	const char *meaning;
} known[] = {
	{"[io_uring]", ERR_IO_URING, "a program uses io_uring, which CRIU cannot checkpoint"},
	// Kernels from 6.7 on do not let an io_uring descriptor be passed on (SCM_RIGHTS: EINVAL).
	{"send_fds failed (-22)", ERR_IO_URING,
	 "a program holds a descriptor that cannot be taken over, most likely of io_uring"},
	{"[userfaultfd]", ERR_UNDUMPABLE, "a program uses userfaultfd"},
	{"[perf_event]", ERR_UNDUMPABLE, "a program uses perf events"},
	{"bpf-prog", ERR_UNDUMPABLE, "a program holds a BPF program"},
	{"path=/secretmem", ERR_UNDUMPABLE, "a program uses secret memory (memfd_secret)"},
	{"Can't dump file", ERR_UNDUMPABLE,
	 "a program has a file open that CRIU cannot checkpoint"},
	{"Can't dump half of stream unix connection", ERR_UNDUMPABLE,
	 "a program has a unix socket connection to a process outside the partition"},
	{"External socket is used", ERR_UNDUMPABLE,
	 "a program uses a unix socket of a process outside the partition"},
	{"In-flight connection", ERR_UNDUMPABLE,
	 "a listening socket has connections that the program has not accepted yet"},
	{"Can't dump nested", ERR_UNDUMPABLE, "a program made a namespace of its own"},
	{"is traced by", ERR_UNDUMPABLE, "a task is being traced by a debugger"},
	{"doesn't have a proper root mount", ERR_UNDUMPABLE,
	 "a mount comes from outside the partition and is not declared"},
	{"Can't lookup mount", ERR_UNDUMPABLE,
	 "an open file lies on a mount that the partition cannot see"},
	{"Can't get 1:16 opt", ERR_CRIU_UNABLE, "this CRIU cannot dump sockets on this kernel"},
	{"Can't get sockinfo", ERR_CRIU_UNABLE, "this CRIU cannot dump sockets on this kernel"},
	{"Failed to fill self vdso symtable", ERR_CRIU_UNABLE,
	 "this CRIU is too old for this kernel"},
	{"has bad size", ERR_NONE, "a file of the partition is not the same on the destination"},
	{"has bad build-ID", ERR_NONE,
	 "a program file of the partition is not the same on the destination"},
	{"in victim: Too many open files", ERR_UNDUMPABLE,
	 "a process has as many files open as its limit allows, and CRIU needs one more"},
	{"Can't get rlimit", ERR_CRIU_UNABLE,
	 "relocd lacks CAP_SYS_RESOURCE and criu-preload.so is not in use"},
	{"Can't bind inet socket", ERR_NONE, "an address of the partition is not there"},
};

static bool is_harmless(const char *line, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
		if (memmem(line, length, harmless[i], strlen(harmless[i])))
			return true;
	return false;
}

static const struct known *find_known(const char *line, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (memmem(line, length, known[i].words, strlen(known[i].words)))
			return &known[i];
	return NULL;
}

// "(00.012) 1234: Error (criu/x.c:12): text" -> "text"; NULL if it is no error line.
static const char *error_part(const char *line, size_t *length)
{
	static const char mark[] = "Error (";
	const char *end = line + *length;
	const char *p = memmem(line, *length, mark, sizeof(mark) - 1);

	if (!p)
		return NULL;
	p = memmem(p, (size_t)(end - p), "): ", 3);
	if (!p)
		return NULL;
	*length = (size_t)(end - p) - 3;
	return p + 3;
}

static void describe(struct criu_failure *out, const struct known *k, const char *line,
		     size_t length)
{
	// The log comes from beneath a root process, but file names in it are the partition's.
	char said[240];
	size_t n = 0;

	for (size_t i = 0; i < length && n < sizeof(said) - 1; i++)
		said[n++] = line[i] >= ' ' && line[i] != 127 ? line[i] : '?';
	said[n] = 0;
	out->id = k ? k->id : ERR_NONE;
	if (k)
		snprintf(out->text, sizeof(out->text), "%s (CRIU: %s)", k->meaning, said);
	else
		snprintf(out->text, sizeof(out->text), "%s", said);
}

// A known failure wins wherever it stands; else the first error that is not a harmless one.
void criu_failure_of_text(const char *log, struct criu_failure *out)
{
	bool found = false;

	*out = (struct criu_failure){0};
	for (const char *line = log; *line;) {
		size_t whole = strcspn(line, "\n"), length = whole;
		const char *said = error_part(line, &length);
		const struct known *k = said ? find_known(said, length) : NULL;

		if (k) {
			describe(out, k, said, length);
			return;
		}
		if (said && !found && !is_harmless(said, length)) {
			describe(out, NULL, said, length);
			found = true;
		}
		line += whole + (line[whole] == '\n');
	}
}

static char *read_tail(int dirfd, const char *name)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_free_ char *text = calloc(1, LOG_TAIL + 1);
	struct stat st;
	off_t at;

	if (fd < 0 || !text || fstat(fd, &st) < 0)
		return NULL;
	at = st.st_size > LOG_TAIL ? st.st_size - LOG_TAIL : 0;
	if (pread(fd, text, LOG_TAIL, at) < 0)
		return NULL;
	return take_ptr(text);
}

void criu_failure_of_log(int dirfd, const char *name, struct criu_failure *out)
{
	_cleanup_free_ char *text = read_tail(dirfd, name);

	criu_failure_of_text(text ? text : "", out);
}

int criu_failure_error(struct error *err, enum error_id id, const char *what, int dirfd,
		       const char *log, const char *message)
{
	struct criu_failure f;

	criu_failure_of_log(dirfd, log, &f);
	if (!f.text[0] && message)
		criu_failure_of_text(message, &f);
	return error_set(err, f.id ? f.id : id, "%s: %s", what,
			 f.text[0] ? f.text : "CRIU gives no reason");
}
