// SPDX-License-Identifier: Apache-2.0
// PRECOPY: memory is copied in rounds while the partition runs, until so little is left that the
// wanted downtime can be kept (lib/memory/converge.h), or until that proves to be impossible.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/partition/undumpable.h"
#include "relocd/move/priority.h"
#include "relocd/move/talk.h"
#include "relocd/move/throttle.h"

#include <string.h>

#define ROUND_MS  30000 // until the peer has stored what the link still holds of a round
#define CPU_LEAST 10    // thousandths of a processor: less cannot be told to the kernel
#define MIB       1048576.0

static int list_tasks(void *arg, pid_t **pids, size_t *count, struct error *err)
{
	struct departure *d = arg;
	return cgroup_pids(d->cgroup, pids, count, err);
}

int departure_open_memory(struct departure *d, struct error *err)
{
	struct memory_sink sink = departure_sink(d);
	const struct memory_subject subject = {
		.init = d->status.pid, .tasks = list_tasks, .arg = d};
	d->expected_bytes = d->memory_bytes;
	d->squeeze = squeeze_new(&sink, d->compress, err);
	if (!d->squeeze)
		return -1;
	sink = squeeze_sink(d->squeeze);
	d->memory = d->engine->begin(&subject, &sink, err);
	return d->memory ? 0 : -1;
}

// ---- slowing it down ----------------------------------------------------------------------------

// What it uses when nothing slows it down, in thousandths of a processor.
static void note_usage(struct departure *d, int64_t used_us, double ms)
{
	int64_t now = cgroup_cpu_used_us(d->cgroup, NULL);
	if (d->cpu_percent == 100 && now >= used_us && used_us >= 0 && ms > 1)
		d->cpu_used = (uint64_t)((double)(now - used_us) / ms);
}

static int slow_down(struct departure *d, unsigned percent, struct error *err)
{
	uint64_t millis = d->cpu_used * percent / 100;
	if (millis < CPU_LEAST)
		millis = CPU_LEAST;
	if (d->def->cpu_millis && millis > d->def->cpu_millis)
		millis = d->def->cpu_millis;
	if (throttle_set(d->cgroup, d->move, d->def->cpu_millis, millis, err) < 0)
		return error_wrap(err, "cannot slow the partition down");
	log_info("it writes faster than it can be copied: limited to %llu/1000 of a processor, "
		 "%u %% of what it used",
		 (unsigned long long)millis, percent);
	d->cpu_percent = percent;
	return 0;
}

void departure_speed_up(struct departure *d)
{
	struct error err;
	if (d->cpu_percent == 100 || !d->cgroup)
		return;
	if (throttle_end(d->cgroup, d->move, &err) < 0)
		log_error_of(&err, "giving the partition its processors back");
	else
		d->cpu_percent = 100;
}

// ---- rounds -------------------------------------------------------------------------------------

// The peer has stored all of it when it answers.
static int end_round(struct departure *d, unsigned number, struct error *err)
{
	struct link_message message;
	if (departure_listen(d, err) < 0)
		return -1;
	departure_sink_idle(d);
	if (channels_mark(&d->channels, err) < 0 ||
	    talk_round(d->link, WIRE_ROUND, d->move, d->epoch, number, err) < 0 ||
	    departure_wait(d, WIRE_ROUND_ACK, deadline_in_ms(ROUND_MS), &message, err) < 0)
		return -1;
	int done = talk_check_round(&message, d->move, d->epoch, number, err);
	link_done(d->link, &message);
	return done;
}

static void tell_round(struct departure *d, const struct converge_round *r,
		       const struct memory_round *m)
{
	json_t *figures = json_pack(
		"{s:i, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:i}", "round",
		(int)r->number, "ms", r->ms, "scan_ms", r->scan_ms, "paused_ms", r->paused_ms,
		"bytes", (json_int_t)r->bytes, "zero_bytes", (json_int_t)r->zero_bytes,
		"dirty_bytes", (json_int_t)r->dirty_bytes, "dirty_rate_bytes",
		(json_int_t)r->dirty_rate, "link_rate_bytes", (json_int_t)r->link_rate,
		"compare_ms", r->frozen_ms, "memory_ms", r->memory_ms, "predicted_ms",
		r->downtime_ms, "cpu_percent", (int)r->cpu_percent);
	json_array_append(d->rounds, figures);
	json_t *event = json_copy(figures);
	json_object_set_new(event, "event", json_string("round"));
	json_decref(figures);
	report_event(&d->report, event);
	d->report.round = (struct report_round){.number = r->number,
						.dirty_rate = (uint64_t)r->dirty_rate,
						.downtime_ms = r->downtime_ms};
	log_info("round %u: %llu KiB in %.1f ms (%.1f scanning), %llu KiB written meanwhile, "
		 "longest stop of a thread %.2f ms",
		 r->number, (unsigned long long)(r->bytes >> 10), r->ms, r->scan_ms,
		 (unsigned long long)(r->dirty_bytes >> 10), m->stop_ms);
	if (m->unarmed)
		log_warn("%zu processes are copied while frozen: %s", m->unarmed, m->unarmed_why);
}

// Of the round that the host's other work went before.
static uint64_t take_plain(struct departure *d, double *ms)
{
	uint64_t bytes = d->plain_bytes;
	*ms = (double)d->plain_ns / 1e6;
	d->plain_bytes = 0;
	return bytes;
}

static int one_round(struct departure *d, struct converge_round *r, struct error *err)
{
	struct memory_round m = {0};
	int64_t began = clock_now_ns(), used_us = cgroup_cpu_used_us(d->cgroup, NULL);
	d->paused_ns = d->idle_ns = 0;
	d->handed_ns = d->round_ns = began;
	d->round_from = departure_taken(d);
	d->report.round.number = r->number;
	int done = d->engine->round(d->memory, &m, err);
	priority_resume();
	squeeze_hold(d->squeeze, false);
	if (done < 0 || end_round(d, r->number, err) < 0)
		return -1;
	r->ms = clock_ms_since(began);
	r->paused_ms = (double)d->paused_ns / 1e6;
	r->idle_ms = (double)d->idle_ns / 1e6;
	r->plain_bytes = take_plain(d, &r->plain_ms);
	r->scan_ms = m.scan_ms;
	r->frozen_ms = m.frozen_ms;
	r->bytes = m.bytes;
	r->zero_bytes = m.zero_bytes;
	r->cpu_percent = d->cpu_percent;
	note_usage(d, used_us, r->ms);
	int64_t looked = clock_now_ns();
	if (d->engine->dirty(d->memory, &r->dirty_bytes, err) < 0)
		return -1;
	r->look_ms = clock_ms_since(looked);
	d->last_round = m;
	d->expected_bytes = d->sent_bytes + r->dirty_bytes;
	return 0;
}

// What CRIU cannot checkpoint may have come since VALIDATE. A userfaultfd must be there for two
// rounds: a child that is forked in the wrong moment has one of ours (lib/memory/arm.h) until then.
// 1: look again after another round.
static int check_again(struct departure *d, bool *suspect, struct error *err)
{
	struct error why;
	if (undumpable_check(d->cgroup, d->status.pid, d->end_exec, &why) == 0) {
		*suspect = false;
		return 0;
	}
	if (why.id == ERR_UNDUMPABLE && !*suspect) {
		*suspect = true;
		return 1;
	}
	*err = why;
	return -1;
}

static int give_up(struct departure *d, const struct converge_round *r, struct error *err)
{
	error_set(
		err, ERR_DIVERGES,
		"it writes %.0f MiB/s to its memory%s and %.0f MiB/s can be copied: a downtime of "
		"%.0f ms cannot be kept",
		r->dirty_rate / MIB, r->cpu_percent < 100 ? " though it is slowed down" : "",
		r->link_rate / MIB, d->max_downtime_ms);
	return -1;
}

static void explain(struct departure *d, const struct converge *c, const struct converge_round *r)
{
	char *text = d->limited_by;
	size_t size = sizeof(d->limited_by);
	const struct departure_prediction *p = &d->prediction;
	if (c->diverged) {
		snprintf(text, size,
			 "writing: %.0f MiB/s were written while %.0f MiB/s could be copied%s",
			 r->dirty_rate / MIB, r->link_rate / MIB,
			 r->cpu_percent < 100 ? ", so it was slowed down" : "");
		d->advice = "a faster link, a quieter hour, or a longer --max-downtime";
	} else if (p->restore_ms > p->fixed_ms && p->restore_ms > r->memory_ms) {
		snprintf(text, size,
			 "the restore: %s memory is there before it runs, which takes about "
			 "%.0f ms",
			 d->on_demand ? "shared" : "all", p->restore_ms);
		d->advice = d->on_demand ? "less shared memory; copying cannot shorten this"
					 : "a restore on demand, where it is possible (--restore)";
	} else if (r->frozen_ms > p->fixed_ms && r->frozen_ms > r->send_ms) {
		snprintf(text, size,
			 "shared memory: comparing it with what was sent takes about %.0f ms",
			 r->frozen_ms);
		d->advice = "less shared memory; copying cannot shorten this";
	} else if (p->fixed_ms >= r->memory_ms) {
		snprintf(text, size,
			 "the fixed part of the downtime (processes, descriptors, mounts), about "
			 "%.0f ms; memory adds %.0f ms",
			 p->fixed_ms, r->memory_ms);
		d->advice = "fewer processes in the partition; copying cannot shorten this";
	} else {
		snprintf(text, size, "the link: %.0f MiB/s, for the last %.1f MiB of memory",
			 r->link_rate / MIB, (double)r->dirty_bytes / MIB);
		d->advice = "a faster link, or a shorter --max-downtime for more rounds";
	}
}

// Longer than wanted it is no fault of the rounds: they have done what they can.
static int check_downtime(struct departure *d, const struct converge_round *r, struct error *err)
{
	if (r->downtime_ms <= d->max_downtime_ms)
		return 0;
	if (d->strict_downtime)
		return error_set(err, ERR_DOWNTIME,
				 "after %u rounds about %.0f ms of downtime are predicted, %.0f ms "
				 "are wanted; limited by %s",
				 r->number, r->downtime_ms, d->max_downtime_ms, d->limited_by);
	log_warn("about %.0f ms of downtime are predicted, %.0f ms are wanted; limited by %s",
		 r->downtime_ms, d->max_downtime_ms, d->limited_by);
	return 0;
}

// Of its files as of its memory: what is left to the freeze shall be little.
static int catch_up(struct departure *d, struct converge *c, struct error *err)
{
	double before_ms = d->upper_ms;
	if (departure_copy_upper_again(d, err) < 0)
		return -1;
	c->goal.fixed_ms += d->upper_ms - before_ms;
	return 0;
}

static int rounds(struct departure *d, struct converge *c, struct error *err)
{
	bool suspect = false;
	for (unsigned number = 1;; number++) {
		struct converge_round r = {.number = number};
		int again = 0;
		if (one_round(d, &r, err) < 0 || (again = check_again(d, &suspect, err)) < 0)
			return -1;
		enum converge_next next = converge_after(c, &r);
		tell_round(d, &r, &d->last_round);
		explain(d, c, &r);
		bool enough = next == CONVERGE_FREEZE && !again;
		if (enough && !departure_upper_is_old(d))
			return check_downtime(d, &r, err);
		if (enough && catch_up(d, c, err) < 0)
			return -1;
		if (next == CONVERGE_GIVE_UP)
			return give_up(d, &r, err);
		if (next == CONVERGE_THROTTLE && slow_down(d, c->cpu_percent, err) < 0)
			return -1;
	}
}

int departure_copy(struct departure *d, struct error *err)
{
	struct converge c;
	if (d->def->image && departure_copy_upper(d, err) < 0)
		return -1;
	if (!d->engine->round)
		return 0;
	departure_predict(d, &d->prediction);
	converge_begin(&c, &(struct converge_goal){.max_downtime_ms = d->max_downtime_ms,
						   .fixed_ms = d->prediction.total_ms,
						   .policy = d->on_diverge});
	return rounds(d, &c, err);
}
