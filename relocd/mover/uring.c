// SPDX-License-Identifier: Apache-2.0
#include "relocd/mover/uring.h"

#include "lib/base/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#define ENTRIES 16

static int open_ring(struct io_uring *ring)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
						  IORING_SETUP_DEFER_TASKRUN};
	int failed = io_uring_queue_init_params(ENTRIES, ring, &params);
	if (failed != -EINVAL)
		return failed;
	params = (struct io_uring_params){0}; // a kernel before 6.1
	return io_uring_queue_init_params(ENTRIES, ring, &params);
}

static int register_buffers(struct uring *uring, struct error *err)
{
	struct iovec buffers[URING_BUFFERS];
	for (unsigned i = 0; i < URING_BUFFERS; i++)
		buffers[i] = (struct iovec){uring_buffer(uring, i), URING_BUFFER_SIZE};
	int failed = io_uring_register_buffers(&uring->ring, buffers, URING_BUFFERS);
	uring->registered = !failed;
	if (failed == -ENOMEM)
		log_debug("RLIMIT_MEMLOCK is too small to register buffers");
	else if (failed)
		return error_sys(err, ERR_SYSTEM, -failed, "cannot register buffers with io_uring");
	return 0;
}

int uring_open(struct uring *uring, struct error *err)
{
	*uring = (struct uring){.ring.ring_fd = -1};
	int failed = open_ring(&uring->ring);
	if (failed) {
		uring->ring.ring_fd = -1;
		return error_sys(err, ERR_SYSTEM, -failed, "io_uring is not available");
	}
	void *memory = mmap(NULL, URING_BUFFERS * URING_BUFFER_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		return error_sys(err, ERR_NOMEM, errno, "no memory for socket buffers");
	uring->memory = memory;
	return register_buffers(uring, err);
}

void uring_close(struct uring *uring)
{
	if (uring->ring.ring_fd >= 0)
		io_uring_queue_exit(&uring->ring);
	if (uring->memory)
		munmap(uring->memory, URING_BUFFERS * URING_BUFFER_SIZE);
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
	uring->busy[tag] = true;
	return 0;
}

int uring_read(struct uring *uring, int fd, unsigned buffer, struct error *err)
{
	struct io_uring_sqe *sqe = begin(uring, URING_READ, err);
	if (!sqe)
		return -1;
	uint8_t *bytes = uring_buffer(uring, buffer);
	if (uring->registered)
		io_uring_prep_read_fixed(sqe, fd, bytes, URING_BUFFER_SIZE, 0, (int)buffer);
	else
		io_uring_prep_read(sqe, fd, bytes, URING_BUFFER_SIZE, 0);
	return queue(uring, sqe, URING_READ);
}

int uring_write(struct uring *uring, int fd, unsigned buffer, size_t at, size_t length,
		struct error *err)
{
	struct io_uring_sqe *sqe = begin(uring, URING_WRITE, err);
	if (!sqe)
		return -1;
	const uint8_t *bytes = uring_buffer(uring, buffer) + at;
	if (uring->registered)
		io_uring_prep_write_fixed(sqe, fd, bytes, (unsigned)length, 0, (int)buffer);
	else
		io_uring_prep_write(sqe, fd, bytes, (unsigned)length, 0);
	return queue(uring, sqe, URING_WRITE);
}

int uring_poll(struct uring *uring, int fd, enum uring_tag tag, struct error *err)
{
	struct io_uring_sqe *sqe = begin(uring, tag, err);
	if (!sqe)
		return -1;
	io_uring_prep_poll_add(sqe, fd, tag == URING_CHANNEL_OUT ? POLLOUT : POLLIN);
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
