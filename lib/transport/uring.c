// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/uring.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define ENTRIES 16
// Where the parent maps the buffers to register them. Operations name buffers by that address; a
// fixed one tells the mover nothing about the parent's memory. Links may be opened at once by
// several threads.
#define REGISTERED_AT   0x200000000000ull
#define REGISTERED_STEP 0x1000000ull
#define REGISTERED_MANY 256

struct shared {
	struct io_uring_params params;
	uint64_t address; // of the buffers when they were registered
	bool registered;
};

#define SHARED_AT (URING_BUFFERS * URING_BUFFER_SIZE)

_Static_assert(SHARED_AT + sizeof(struct shared) <= URING_MEMORY, "it has room");

// liburing declares functions for these two and does not always export them (2.3).
static int do_register(int fd, unsigned what, const void *arg, unsigned count)
{
	return syscall(__NR_io_uring_register, fd, what, arg, count) < 0 ? -errno : 0;
}

// ---- the parent's half --------------------------------------------------------------------------

static int open_ring(struct io_uring *ring, struct io_uring_params *params)
{
	// The one who turns it on is the single issuer: the mover.
	*params = (struct io_uring_params){.flags = IORING_SETUP_R_DISABLED |
						    IORING_SETUP_SINGLE_ISSUER |
						    IORING_SETUP_DEFER_TASKRUN};
	int failed = io_uring_queue_init_params(ENTRIES, ring, params);
	if (failed != -EINVAL)
		return failed;
	*params = (struct io_uring_params){.flags = IORING_SETUP_R_DISABLED}; // before Linux 6.1
	return io_uring_queue_init_params(ENTRIES, ring, params);
}

static int register_buffers(struct io_uring *ring, uint8_t *memory)
{
	struct iovec buffers[URING_BUFFERS];
	for (unsigned i = 0; i < URING_BUFFERS; i++)
		buffers[i] = (struct iovec){memory + i * URING_BUFFER_SIZE, URING_BUFFER_SIZE};
	return io_uring_register_buffers(ring, buffers, URING_BUFFERS);
}

static int restrict_ring(struct io_uring *ring, bool registered)
{
	struct io_uring_restriction only[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP,
		 .sqe_op = registered ? IORING_OP_READ_FIXED : IORING_OP_READ},
		{.opcode = IORING_RESTRICTION_SQE_OP,
		 .sqe_op = registered ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_POLL_ADD},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
	};
	return do_register(ring->ring_fd, IORING_REGISTER_RESTRICTIONS, only, ARRAY_SIZE(only));
}

static int prepare(struct io_uring *ring, struct shared *shared, uint8_t *memory,
		   const int files[URING_FILES], struct error *err)
{
	int failed = register_buffers(ring, memory);
	shared->address = (uint64_t)memory;
	shared->registered = !failed;
	if (failed == -ENOMEM)
		log_debug("RLIMIT_MEMLOCK is too small to register buffers");
	else if (failed)
		return error_sys(err, ERR_SYSTEM, -failed, "cannot register buffers with io_uring");
	failed = io_uring_register_files(ring, files, URING_FILES);
	if (!failed)
		failed = restrict_ring(ring, shared->registered);
	return failed ? error_sys(err, ERR_SYSTEM, -failed, "cannot restrict io_uring") : 0;
}

static int make_in(uint8_t *memory, const int files[URING_FILES], struct error *err)
{
	struct shared *shared = (struct shared *)(memory + SHARED_AT);
	struct io_uring ring;
	int failed = open_ring(&ring, &shared->params);
	if (failed)
		return error_sys(err, ERR_SYSTEM, -failed, "io_uring is not available");
	int fd = -1;
	if (prepare(&ring, shared, memory, files, err) == 0 &&
	    (fd = fcntl(ring.ring_fd, F_DUPFD_CLOEXEC, 0)) < 0)
		error_sys(err, ERR_SYSTEM, errno, "cannot keep io_uring");
	io_uring_queue_exit(&ring);
	return fd;
}

static void *map_fixed(int memory, off_t at)
{
	void *mapped = MAP_FAILED;
	for (uint64_t i = 0; i < REGISTERED_MANY && mapped == MAP_FAILED; i++)
		mapped = mmap((void *)(REGISTERED_AT + i * REGISTERED_STEP), URING_MEMORY,
			      PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_POPULATE | MAP_FIXED_NOREPLACE, memory, at);
	return mapped;
}

int uring_make(int memory, off_t at, const int files[URING_FILES], struct error *err)
{
	void *mapped = map_fixed(memory, at);
	if (mapped == MAP_FAILED)
		return error_sys(err, ERR_NOMEM, errno, "no memory for socket buffers");
	int fd = make_in(mapped, files, err);
	munmap(mapped, URING_MEMORY);
	return fd;
}

// ---- the mover's half ---------------------------------------------------------------------------

int uring_take(struct uring *uring, int fd, int memory, off_t at, struct error *err)
{
	*uring = (struct uring){.ring.ring_fd = -1};
	void *mapped = mmap(NULL, URING_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			    memory, at);
	if (mapped == MAP_FAILED)
		return error_sys(err, ERR_NOMEM, errno, "no memory for socket buffers");
	uring->memory = mapped;
	struct shared *shared = (struct shared *)(uring->memory + SHARED_AT);
	uring->registered = shared->registered ? (uint8_t *)shared->address : NULL;
	int failed = io_uring_queue_mmap(fd, &shared->params, &uring->ring);
	if (failed) {
		uring->ring.ring_fd = -1;
		return error_sys(err, ERR_SYSTEM, -failed, "cannot map io_uring");
	}
	// Not every liburing does that here: 2.9 leaves descriptor 0 in it.
	uring->ring.ring_fd = uring->ring.enter_ring_fd = fd;
	uring->ring.flags = shared->params.flags;
	uring->ring.features = shared->params.features;
	failed = do_register(fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return failed ? error_sys(err, ERR_SYSTEM, -failed, "cannot turn io_uring on") : 0;
}

void uring_close(struct uring *uring)
{
	if (uring->ring.ring_fd >= 0)
		io_uring_queue_exit(&uring->ring);
	if (uring->memory)
		munmap(uring->memory, URING_MEMORY);
	*uring = (struct uring){.ring.ring_fd = -1};
}

static struct io_uring_sqe *begin(struct uring *uring, enum uring_tag tag, struct error *err)
{
	struct io_uring_sqe *sqe = uring->busy[tag] ? NULL : io_uring_get_sqe(&uring->ring);
	if (!sqe)
		error_set(err, ERR_INTERNAL, "two operations of one kind on io_uring");
	return sqe;
}

static int queue(struct uring *uring, struct io_uring_sqe *sqe, enum uring_tag tag)
{
	io_uring_sqe_set_data64(sqe, tag);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	uring->busy[tag] = true;
	return 0;
}

int uring_read(struct uring *uring, unsigned buffer, size_t at, struct error *err)
{
	struct io_uring_sqe *sqe = begin(uring, URING_READ, err);
	if (!sqe)
		return -1;
	if (uring->registered)
		io_uring_prep_read_fixed(sqe, URING_SOCKET,
					 uring->registered + buffer * URING_BUFFER_SIZE + at,
					 (unsigned)(URING_BUFFER_SIZE - at), 0, (int)buffer);
	else
		io_uring_prep_read(sqe, URING_SOCKET, uring_buffer(uring, buffer) + at,
				   (unsigned)(URING_BUFFER_SIZE - at), 0);
	return queue(uring, sqe, URING_READ);
}

int uring_write(struct uring *uring, unsigned buffer, size_t at, size_t length, struct error *err)
{
	struct io_uring_sqe *sqe = begin(uring, URING_WRITE, err);
	if (!sqe)
		return -1;
	if (uring->registered)
		io_uring_prep_write_fixed(sqe, URING_SOCKET,
					  uring->registered + buffer * URING_BUFFER_SIZE + at,
					  (unsigned)length, 0, (int)buffer);
	else
		io_uring_prep_write(sqe, URING_SOCKET, uring_buffer(uring, buffer) + at,
				    (unsigned)length, 0);
	return queue(uring, sqe, URING_WRITE);
}

int uring_poll(struct uring *uring, enum uring_tag tag, struct error *err)
{
	struct io_uring_sqe *sqe = begin(uring, tag, err);
	if (!sqe)
		return -1;
	io_uring_prep_poll_add(sqe, URING_CHANNEL, tag == URING_CHANNEL_OUT ? POLLOUT : POLLIN);
	return queue(uring, sqe, tag);
}

int uring_run(struct uring *uring, uring_done *done, void *argument, struct error *err)
{
	int failed = io_uring_submit_and_wait(&uring->ring, 1);
	if (failed < 0 && failed != -EINTR)
		return error_sys(err, ERR_SYSTEM, -failed, "io_uring failed");
	struct io_uring_cqe *cqe;
	while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		enum uring_tag tag = (enum uring_tag)io_uring_cqe_get_data64(cqe);
		int result = cqe->res;
		io_uring_cqe_seen(&uring->ring, cqe);
		uring->busy[tag] = false;
		if (done(argument, tag, result, err) < 0)
			return -1;
	}
	return 0;
}
