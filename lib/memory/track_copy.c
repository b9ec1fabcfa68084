// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/track_copy.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#define PAGE ((size_t)PAGEFRAME_PAGE)

bool copy_is_zero(const uint8_t page[PAGEFRAME_PAGE])
{
	const uint64_t *w = (const uint64_t *)page;
	for (size_t i = 0; i < PAGE / sizeof(*w); i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] |
		    w[i + 7])
			return false;
	return true;
}

// ---- places -------------------------------------------------------------------------------------

static int open_place(struct copier *c, struct error *err)
{
	if (c->place)
		return 0;
	int64_t since = clock_now_ns();
	c->place = c->sink.place(c->sink.arg, &c->room, err);
	c->sink_ns += (uint64_t)(clock_now_ns() - since);
	c->used = c->zero_frame = 0;
	c->failed = !c->place;
	return c->place ? 0 : -1;
}

int copy_flush(struct copier *c, struct error *err)
{
	uint8_t *place = take_ptr(c->place);
	if (!place || c->used == 0)
		return 0;
	int64_t since = clock_now_ns();
	int sent = c->sink.send(c->sink.arg, place, c->used, err);
	c->sink_ns += (uint64_t)(clock_now_ns() - since);
	c->failed = sent < 0;
	return sent;
}

void copy_free(struct copier *c)
{
	free(c->lost);
	*c = (struct copier){.failed = true};
}

static bool has_room(const struct copier *c, size_t at)
{
	return c->room - at >= PAGEFRAME_HEADER + PAGE;
}

// Lays out as much of [vaddr, ...) as the place takes behind `*at`; returns the number of pages.
static size_t lay_out(struct copier *c, size_t *at, uint64_t vaddr, uint64_t pages)
{
	if (!has_room(c, *at) || c->page_count == COPY_PAGES)
		return 0;
	size_t fit = (c->room - *at - PAGEFRAME_HEADER) / PAGE;
	if (fit > COPY_PAGES - c->page_count)
		fit = COPY_PAGES - c->page_count;
	if (fit > pages)
		fit = (size_t)pages;
	*at += PAGEFRAME_HEADER;
	c->pieces[c->piece_count++] = (struct copy_piece){vaddr, fit, *at};
	memset(c->fate + c->page_count, COPY_KEEP, fit);
	c->page_count += fit;
	*at += fit * PAGE;
	return fit;
}

// ---- frames -------------------------------------------------------------------------------------

// One more run of pages of one fate: its frame is put where the last one ended, which is never
// behind where its data was read to.
static void put_run(struct copier *c, uint64_t vaddr, size_t data, size_t pages, bool zero)
{
	struct pageframe frame = {c->destination, vaddr, pages,
				  PAGEFRAME_ROUND | (zero ? PAGEFRAME_ZERO : PAGEFRAME_PRESENT)};
	if (zero) {
		c->zero_bytes += pages * PAGE;
		if (c->zero_frame) {
			struct pageframe last;
			pageframe_get(c->place + c->zero_frame - 1, &last);
			if (last.destination == c->destination &&
			    last.vaddr + last.pages * PAGE == vaddr) {
				last.pages += pages;
				pageframe_put(c->place + c->zero_frame - 1, &last);
				return;
			}
		}
		c->zero_frame = c->used + 1;
		pageframe_put(c->place + c->used, &frame);
		c->used += PAGEFRAME_HEADER;
		return;
	}
	c->zero_frame = 0;
	if (data != c->used + PAGEFRAME_HEADER)
		memmove(c->place + c->used + PAGEFRAME_HEADER, c->place + data, pages * PAGE);
	pageframe_put(c->place + c->used, &frame);
	c->used += PAGEFRAME_HEADER + pages * PAGE;
	c->sent_bytes += pages * PAGE;
}

static void put_piece(struct copier *c, const struct copy_piece *p, const uint8_t *fate)
{
	size_t end;
	for (size_t i = 0; i < p->pages; i = end) {
		for (end = i + 1; end < p->pages && fate[end] == fate[i]; end++)
			;
		if (fate[i] != COPY_DROP)
			put_run(c, p->vaddr + i * PAGE, p->at + i * PAGE, end - i,
				fate[i] == COPY_ZERO);
	}
}

// Makes frames of all pieces; hands them over when the place is full.
static int put_all(struct copier *c, struct error *err)
{
	size_t page = 0;
	for (size_t i = 0; i < c->piece_count; i++) {
		put_piece(c, &c->pieces[i], c->fate + page);
		page += c->pieces[i].pages;
	}
	c->piece_count = c->page_count = 0;
	return has_room(c, c->used) ? 0 : copy_flush(c, err);
}

// ---- of a process -------------------------------------------------------------------------------

// A place among the pieces that were laid out.
struct spot {
	size_t piece, page; // page: in the piece
	size_t index;       // of all pages
};

static void advance(const struct copier *c, struct spot *s, size_t pages)
{
	s->index += pages;
	s->page += pages;
	while (s->piece < c->piece_count && s->page >= c->pieces[s->piece].pages)
		s->page -= c->pieces[s->piece++].pages;
}

static int lose(struct copier *c, const struct spot *s, struct error *err)
{
	uint64_t vaddr = c->pieces[s->piece].vaddr + s->page * PAGE;
	c->fate[s->index] = COPY_DROP;
	if (c->lost_count && c->lost[c->lost_count - 1].end == vaddr) {
		c->lost[c->lost_count - 1].end += PAGE;
		return 0;
	}
	if ((c->lost_count & (c->lost_count - 1)) == 0) {
		size_t room = c->lost_count ? c->lost_count * 2 : 1;
		struct scan_range *more = reallocarray(c->lost, room, sizeof(*more));
		c->failed = !more;
		if (!more)
			return error_set(err, ERR_NOMEM, "no memory for a list of pages");
		c->lost = more;
	}
	c->lost[c->lost_count++] = (struct scan_range){vaddr, vaddr + PAGE, 0};
	return 0;
}

// One call for all that is left; the number of pages read.
static ssize_t read_pages(struct copier *c, pid_t pid, const struct spot *from)
{
	struct iovec here[COPY_PAGES], there[COPY_PAGES];
	size_t skip = from->page, n = 0;
	for (size_t i = from->piece; i < c->piece_count; i++, n++, skip = 0) {
		const struct copy_piece *p = &c->pieces[i];
		size_t length = (p->pages - skip) * PAGE;
		here[n] = (struct iovec){c->place + p->at + skip * PAGE, length};
		there[n] = (struct iovec){(void *)(uintptr_t)(p->vaddr + skip * PAGE), length};
	}
	ssize_t got = process_vm_readv(pid, here, n, there, n, 0);
	return got < 0 ? got : got / (ssize_t)PAGE;
}

// What the process may not read itself (PROT_NONE) can be read here, as far as it is there.
static ssize_t read_mem(struct copier *c, int mem, const struct spot *from)
{
	const struct copy_piece *p = &c->pieces[from->piece];
	ssize_t got = pread(mem, c->place + p->at + from->page * PAGE,
			    (p->pages - from->page) * PAGE, (off_t)(p->vaddr + from->page * PAGE));
	return got < 0 ? 0 : got / (ssize_t)PAGE;
}

static int read_task(struct copier *c, const struct copy_task *task, struct error *err)
{
	struct spot at = {0};
	while (at.piece < c->piece_count) {
		ssize_t got = task->shares ? read_mem(c, task->mem, &at) : 0;
		if (got > 0) {
			advance(c, &at, (size_t)got);
			continue;
		}
		got = read_pages(c, task->pid, &at);
		if (got < 0 && errno == ESRCH)
			return error_sys(err, ERR_SYSTEM, ESRCH, "process %d has ended",
					 (int)task->pid);
		if (got > 0)
			advance(c, &at, (size_t)got);
		if (at.piece == c->piece_count)
			return 0;
		got = read_mem(c, task->mem, &at);
		if (got == 0 && lose(c, &at, err) < 0)
			return -1;
		advance(c, &at, got ? (size_t)got : 1);
	}
	return 0;
}

static void find_zeroes(struct copier *c)
{
	size_t page = 0;
	for (size_t i = 0; i < c->piece_count; i++)
		for (size_t k = 0; k < c->pieces[i].pages; k++, page++)
			if (c->fate[page] == COPY_KEEP &&
			    copy_is_zero(c->place + c->pieces[i].at + k * PAGE))
				c->fate[page] = COPY_ZERO;
}

int copy_task(struct copier *c, const struct copy_task *task, uint64_t destination,
	      const struct scan_range *ranges, size_t count, struct error *err)
{
	size_t i = 0;
	uint64_t vaddr = count ? ranges[0].start : 0;
	c->destination = destination;
	while (i < count) {
		if (open_place(c, err) < 0)
			return -1;
		size_t at = c->used, fit;
		while (i < count &&
		       (fit = lay_out(c, &at, vaddr, (ranges[i].end - vaddr) / PAGE))) {
			vaddr += fit * PAGE;
			if (vaddr >= ranges[i].end && ++i < count)
				vaddr = ranges[i].start;
		}
		if (read_task(c, task, err) < 0) {
			c->piece_count = c->page_count = 0;
			return -1;
		}
		find_zeroes(c);
		if (put_all(c, err) < 0)
			return -1;
	}
	return 0;
}

// ---- of a file ----------------------------------------------------------------------------------

// Behind its end a file is zeroes: it may have shrunk.
static int read_file(int fd, uint8_t *to, size_t length, uint64_t at, struct error *err)
{
	while (length) {
		ssize_t n = pread(fd, to, length, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_SYSTEM, errno, "cannot read a shared segment");
		if (n == 0) {
			memset(to, 0, length);
			return 0;
		}
		to += n;
		at += (size_t)n;
		length -= (size_t)n;
	}
	return 0;
}

int copy_file(struct copier *c, int fd, uint64_t destination, uint64_t start, uint64_t end,
	      enum copy_fate (*choose)(void *arg, const uint8_t *bytes, uint64_t page), void *arg,
	      struct error *err)
{
	c->destination = destination;
	while (start < end) {
		if (open_place(c, err) < 0)
			return -1;
		size_t at = c->used;
		size_t fit = lay_out(c, &at, start, (end - start) / PAGE);
		const uint8_t *data = c->place + c->pieces[0].at;
		if (read_file(fd, c->place + c->pieces[0].at, fit * PAGE, start, err) < 0) {
			c->piece_count = c->page_count = 0;
			return -1;
		}
		for (size_t i = 0; i < fit; i++)
			c->fate[i] = choose(arg, data + i * PAGE, start / PAGE + i);
		if (put_all(c, err) < 0)
			return -1;
		start += fit * PAGE;
	}
	return 0;
}
