// SPDX-License-Identifier: Apache-2.0
#include "wparctl/progress.h"

#include "lib/base/units.h"

#include <stdio.h>
#include <string.h>

#define BAR 18

const char *progress_phase(const char *phase)
{
	return strcmp(phase, "precopy") ? phase : "pre-copy";
}

static uint64_t number(const json_t *event, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(event, key));
	return value > 0 ? (uint64_t)value : 0;
}

// From restore on all bytes have arrived, also those that no event told of.
static bool all_copied(const char *phase)
{
	static const char *const after[] = {"restore", "commit", "switch", "release"};
	for (size_t i = 0; i < sizeof(after) / sizeof(after[0]); i++)
		if (!strcmp(phase, after[i]))
			return true;
	return false;
}

static bool begin_phase(struct progress *progress, const char *phase)
{
	if (!phase || !strcmp(progress->phase, phase))
		return false;
	progress->copied = progress->copied || all_copied(phase);
	snprintf(progress->phase, sizeof(progress->phase), "%s", phase);
	return true;
}

// Counters only rise: a late or repeated event must not make the line run backwards.
static void raise_to(uint64_t *counter, uint64_t value)
{
	if (value > *counter)
		*counter = value;
}

bool progress_event(struct progress *progress, const json_t *event)
{
	const char *kind = json_string_value(json_object_get(event, "event"));
	const char *phase = json_string_value(json_object_get(event, "phase"));
	if (!kind)
		return false;
	if (!strcmp(kind, "phase"))
		return begin_phase(progress, phase);
	if (strcmp(kind, "progress"))
		return false;
	raise_to(&progress->bytes, number(event, "bytes"));
	raise_to(&progress->total, number(event, "total_bytes"));
	raise_to(&progress->total, progress->bytes);
	progress->rate = number(event, "rate_bytes");
	progress->round = (unsigned)number(event, "round");
	progress->dirty_rate = number(event, "dirty_rate_bytes");
	progress->predicted_ms = json_number_value(json_object_get(event, "predicted_ms"));
	return begin_phase(progress, phase);
}

// Appends the field unless that makes the line too long; false: it and all after it are left out.
static bool add(char *text, size_t size, unsigned columns, const char *gap, const char *field)
{
	size_t length = strlen(text), more = strlen(gap) + strlen(field);
	if (length + more >= columns || length + more >= size)
		return false;
	sprintf(text + length, "%s%s", gap, field);
	return true;
}

// The total may grow; then the bar waits until the bytes have caught up.
static void draw_bar(struct progress *progress, char bar[BAR + 3])
{
	double part = progress->copied  ? 1
		      : progress->total ? (double)progress->bytes / (double)progress->total
					: 0;
	if (part > progress->shown)
		progress->shown = part;
	int full = (int)(progress->shown * BAR);
	bar[0] = '[';
	memset(bar + 1, '#', (size_t)full);
	memset(bar + 1 + full, '-', (size_t)(BAR - full));
	bar[BAR + 1] = ']';
	bar[BAR + 2] = 0;
}

static void add_bytes(struct progress *progress, unsigned columns, char *text, size_t size,
		      bool *room)
{
	char bar[BAR + 3], field[UNITS_TEXT_MAX + 4];
	draw_bar(progress, bar);
	*room = *room && add(text, size, columns, "   ", bar);
	if (progress->copied)
		return;
	units_format_part(field, progress->bytes, progress->total);
	*room = *room && add(text, size, columns, "  ", field);
	if (!progress->rate)
		return;
	strcat(units_format_size(field, progress->rate), "/s");
	*room = *room && add(text, size, columns, "   ", field);
}

static void add_prediction(const struct progress *progress, unsigned columns, char *text,
			   size_t size, bool *room)
{
	char amount[UNITS_TEXT_MAX], field[UNITS_TEXT_MAX + 16];
	if (progress->dirty_rate) {
		snprintf(field, sizeof(field), "dirty %s/s",
			 units_format_size(amount, progress->dirty_rate));
		*room = *room && add(text, size, columns, "   ", field);
	}
	if (progress->predicted_ms > 0) {
		snprintf(field, sizeof(field), "downtime ~%s",
			 units_format_ms(amount, progress->predicted_ms));
		*room = *room && add(text, size, columns, "   ", field);
	}
}

char *progress_line(struct progress *progress, uint64_t seconds, unsigned columns, char *text,
		    size_t size)
{
	char head[200], clock[UNITS_TEXT_MAX], phase[40];
	snprintf(head, sizeof(head), "%s  %s%s-> %s", progress->partition, progress->from,
		 progress->from[0] ? " " : "", progress->to);
	text[0] = 0;
	// The name alone when even the hosts do not fit.
	bool room = add(text, size, columns, "", head);
	if (!room)
		add(text, size, columns, "", progress->partition);
	snprintf(phase, sizeof(phase), "%s", progress_phase(progress->phase));
	if (progress->round && !strcmp(progress->phase, "precopy"))
		snprintf(phase, sizeof(phase), "pre-copy round %u", progress->round);
	if (phase[0])
		room = room && add(text, size, columns, "   ", phase);
	if (progress->total)
		add_bytes(progress, columns, text, size, &room);
	if (!strcmp(progress->phase, "precopy"))
		add_prediction(progress, columns, text, size, &room);
	units_format_clock(clock, seconds);
	if (room)
		add(text, size, columns, "   ", clock);
	return text;
}
