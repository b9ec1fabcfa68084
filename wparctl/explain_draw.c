// SPDX-License-Identifier: Apache-2.0
// The picture of a move. Over one axis of time: its phases, its rounds, how fast it wrote and how
// fast that could be copied, and when it was slowed down; below that the downtime enlarged.
#include "wparctl/explain.h"

#include "lib/base/units.h"
#include "wparctl/progress.h"

#include <string.h>

#define WIDTH      1000.0
#define LEFT       80.0
#define RIGHT      950.0
#define ROW_Y      92.0
#define HIGH       46.0
#define ROUNDS_Y   142.0
#define ROUND_H    16.0
#define CHART_Y    176.0
#define CHART_H    150.0
#define ENLARGED   422.0 // the second row, below the chart; without rounds it moves up
#define LIFT       (ENLARGED - 216.0)
#define HEIGHT     520.0
#define TEXT_W(t)  (6.6 * (double)strlen(t)) // about
#define TICKS      8
#define NUMBER_MAX 1e15
#define GRID       5
#define LINK       "#2f6db3"
#define DIRTY      "#d9822b"
#define THROTTLED  "#9b59b6"
#define DOWN       "#d1495b"

struct bar {
	const char *phase;
	double begin_ms, ms;
};

struct drawing {
	FILE *f;
	const json_t *result, *rounds;
	struct bar bars[16];
	size_t count;
	double total_ms, down_begin_ms, down_end_ms;
	double rounds_ms; // when the first one began; below 0: there are none
};

// A stretch of time over the whole width.
struct axis {
	double begin_ms, end_ms;
};

static double at(const struct axis *a, double ms)
{
	double length = a->end_ms - a->begin_ms > 0 ? a->end_ms - a->begin_ms : 1;
	return LEFT + (ms - a->begin_ms) * (RIGHT - LEFT) / length;
}

// What a host says is not always sensible.
static double sensible(const json_t *value)
{
	double number = json_number_value(value);
	return number > 0 ? (number < NUMBER_MAX ? number : NUMBER_MAX) : 0;
}

static double number(const json_t *object, const char *key)
{
	return sensible(json_object_get(object, key));
}

// ---- pieces -------------------------------------------------------------------------------------

static const char *colour(const char *phase)
{
	static const char *const colours[][2] = {
		{"validate", "#b8c4ce"}, {"prepare", "#8fa3b3"}, {"precopy", "#7bb274"},
		{"freeze", "#f2a65a"},   {"final", "#e07a5f"},   {"restore", "#e3a1aa"},
		{"commit", "#c9808a"},   {"switch", "#d9a066"},  {"release", "#c9d6df"}};
	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
		if (!strcmp(colours[i][0], phase))
			return colours[i][1];
	return "#999999";
}

static void put(FILE *f, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '&':
			fputs("&amp;", f);
			break;
		default:
			fputc((unsigned char)*text < ' ' ? ' ' : *text, f);
		}
}

// `style`: further attributes.
static void label(FILE *f, double x, double y, const char *anchor, const char *style,
		  const char *text)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>", x, y, anchor, style);
	put(f, text);
	fputs("</text>\n", f);
}

static void box(FILE *f, double x, double y, double width, double height, const char *fill,
		const char *title)
{
	fprintf(f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\">", x, y,
		width < 0.5 ? 0.5 : width, height, fill);
	fputs("<title>", f);
	put(f, title);
	fputs("</title></rect>\n", f);
}

static bool fits(const char *text, double width)
{
	return TEXT_W(text) + 4 < width;
}

// The least of 1, 2, 5, 10 ... that is not below.
static double round_number(double value)
{
	double power = 0.001;
	while (power * 10 < value)
		power *= 10;
	return power * (value <= power ? 1 : value <= 2 * power ? 2 : value <= 5 * power ? 5 : 10);
}

// ---- what there is ------------------------------------------------------------------------------

static void read_bars(struct drawing *d)
{
	static const char *const frozen[] = {"freeze", "final", "restore", "commit", "switch"};
	const char *phase;
	json_t *ms;
	json_object_foreach (json_object_get(d->result, "phases"), phase, ms) {
		double length = sensible(ms);
		if (d->count == sizeof(d->bars) / sizeof(d->bars[0]) || length <= 0)
			continue;
		d->bars[d->count++] = (struct bar){phase, d->total_ms, length};
		for (size_t i = 0; i < sizeof(frozen) / sizeof(frozen[0]); i++)
			if (!strcmp(frozen[i], phase)) {
				d->down_begin_ms = d->down_end_ms ? d->down_begin_ms : d->total_ms;
				d->down_end_ms = d->total_ms + length;
			}
		d->total_ms += length;
	}
}

// They are the last of pre-copy: files may have gone before.
static void read_rounds(struct drawing *d)
{
	size_t i;
	json_t *r;
	d->rounds = json_object_get(d->result, "rounds");
	d->rounds_ms = -1;
	for (size_t k = 0; json_array_size(d->rounds) && k < d->count; k++)
		if (!strcmp(d->bars[k].phase, "precopy"))
			d->rounds_ms = d->bars[k].begin_ms + d->bars[k].ms;
	if (d->rounds_ms < 0)
		return;
	json_array_foreach (d->rounds, i, r)
		d->rounds_ms -= number(r, "ms");
	if (d->rounds_ms < 0)
		d->rounds_ms = 0;
}

// ---- phases -------------------------------------------------------------------------------------

static void draw_ticks(const struct drawing *d, const struct axis *a, double y, double bottom)
{
	double span = a->end_ms - a->begin_ms, step = round_number(span / TICKS);
	for (double ms = 0; ms <= span; ms += step) {
		char text[UNITS_TEXT_MAX];
		double x = at(a, a->begin_ms + ms);
		fprintf(d->f,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
			"stroke=\"#e4e7ea\"/>\n",
			x, y, x, bottom);
		units_format_ms(text, ms);
		label(d->f, x, bottom + 14, "middle", "fill=\"#666\" font-size=\"11\"", text);
	}
}

static void draw_bar(const struct drawing *d, const struct bar *b, const struct axis *a, double y)
{
	double x = at(a, b->begin_ms), width = at(a, b->begin_ms + b->ms) - x;
	char time[UNITS_TEXT_MAX], title[96];
	const char *name = progress_phase(b->phase);
	units_format_ms(time, b->ms);
	snprintf(title, sizeof(title), "%s %s", name, time);
	box(d->f, x, y, width, HIGH, colour(b->phase), title);
	if (fits(name, width))
		label(d->f, x + width / 2, y + 20, "middle", "", name);
	if (fits(time, width))
		label(d->f, x + width / 2, y + 37, "middle", "", time);
}

// Those of the bars that begin in the stretch.
static void draw_bars(const struct drawing *d, const struct axis *a, double y)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->bars[i].begin_ms >= a->begin_ms - 1e-6 && d->bars[i].begin_ms < a->end_ms)
			draw_bar(d, &d->bars[i], a, y);
}

// Behind all else, and its length above.
static void draw_downtime(const struct drawing *d, const struct axis *a, double bottom)
{
	char time[UNITS_TEXT_MAX], text[64];
	double x = at(a, d->down_begin_ms), width = at(a, d->down_end_ms) - x;
	if (d->down_end_ms <= 0)
		return;
	units_format_ms(time, number(d->result, "downtime_ms"));
	snprintf(text, sizeof(text), "downtime %s", time);
	fprintf(d->f,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"" DOWN
		"\" fill-opacity=\"0.15\"/>\n",
		x, ROW_Y - 8, width < 1 ? 1 : width, bottom - ROW_Y + 8);
	bool late = x + width / 2 > (LEFT + RIGHT) / 2;
	label(d->f, late ? x + width : x, ROW_Y - 13, late ? "end" : "start",
	      "fill=\"" DOWN "\" font-weight=\"bold\"", text);
}

// ---- rounds -------------------------------------------------------------------------------------

static void draw_rounds(const struct drawing *d, const struct axis *a)
{
	double from = d->rounds_ms;
	size_t i;
	json_t *r;
	label(d->f, LEFT - 8, ROUNDS_Y + 12, "end", "fill=\"#666\"", "rounds");
	json_array_foreach (d->rounds, i, r) {
		double ms = number(r, "ms"), x = at(a, from), width = at(a, from + ms) - x;
		unsigned cpu = (unsigned)number(r, "cpu_percent");
		char text[16], time[UNITS_TEXT_MAX], sent[UNITS_TEXT_MAX], title[128];
		units_format_ms(time, ms);
		units_format_size(sent, (uint64_t)number(r, "bytes"));
		snprintf(title, sizeof(title), "round %zu: %s in %s, processors at %u %%", i + 1,
			 sent, time, cpu);
		box(d->f, x, ROUNDS_Y, width, ROUND_H, i % 2 ? "#a9cda3" : "#8fbf87", title);
		snprintf(text, sizeof(text), "%zu", i + 1);
		if (fits(text, width))
			label(d->f, x + width / 2, ROUNDS_Y + 12, "middle", "font-size=\"11\"",
			      text);
		from += ms;
	}
}

static double highest_rate(const struct drawing *d)
{
	double highest = 1;
	size_t i;
	json_t *r;
	json_array_foreach (d->rounds, i, r) {
		double link = number(r, "link_rate_bytes"), dirty = number(r, "dirty_rate_bytes");
		double higher = link > dirty ? link : dirty;
		highest = higher > highest ? higher : highest;
	}
	return highest;
}

// A power of two of bytes a second times 1, 2 or 5, so that the text is a round one.
static double top_of(double rate)
{
	double unit = 1;
	while (unit * 1024 <= rate)
		unit *= 1024;
	return unit * round_number(rate / unit);
}

static void draw_grid(const struct drawing *d, double top)
{
	for (int i = 0; i <= GRID; i++) {
		char text[UNITS_TEXT_MAX + 2];
		double y = CHART_Y + CHART_H - CHART_H * i / GRID;
		fprintf(d->f,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
			"stroke=\"#e4e7ea\"/>\n",
			LEFT, y, RIGHT, y);
		strcat(units_format_size(text, (uint64_t)(top * i / GRID)), "/s");
		label(d->f, LEFT - 8, y + 4, "end", "fill=\"#666\" font-size=\"11\"", text);
	}
}

// A line with a step for each round.
static void draw_rate(const struct drawing *d, const struct axis *a, const char *key, double top,
		      const char *stroke)
{
	double from = d->rounds_ms;
	size_t i;
	json_t *r;
	fprintf(d->f, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", stroke);
	json_array_foreach (d->rounds, i, r) {
		double y = CHART_Y + CHART_H - number(r, key) * CHART_H / top;
		double x = at(a, from), end = at(a, from += number(r, "ms"));
		fprintf(d->f, "%s%.1f,%.1f L%.1f,%.1f ", i ? "L" : "M", x, y, end, y);
	}
	fputs("\"/>\n", d->f);
}

// Where it had only a part of the processors that it used: a shade, and how much.
static void draw_throttle(const struct drawing *d, const struct axis *a)
{
	double from = d->rounds_ms, free = LEFT;
	unsigned before = 100;
	size_t i;
	json_t *r;
	json_array_foreach (d->rounds, i, r) {
		double x = at(a, from), end = at(a, from += number(r, "ms"));
		unsigned cpu = (unsigned)number(r, "cpu_percent");
		char text[32];
		if (cpu && cpu < 100)
			fprintf(d->f,
				"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
				"fill=\"" THROTTLED "\" fill-opacity=\"%.2f\"/>\n",
				x, CHART_Y, end - x, CHART_H, 0.05 + 0.002 * (100 - cpu));
		snprintf(text, sizeof(text), "cpu %u%%", cpu);
		bool shown = cpu != before && x >= free && x + 2 + TEXT_W(text) < RIGHT;
		if (shown)
			label(d->f, x + 2, CHART_Y + 12, "start",
			      "fill=\"" THROTTLED "\" font-size=\"10\"", text);
		free = shown ? x + 2 + TEXT_W(text) : free;
		before = cpu;
	}
}

static void draw_legend(const struct drawing *d)
{
	static const struct {
		const char *fill, *text;
		double x;
	} entries[] = {{LINK, "the link", LEFT},
		       {DIRTY, "written meanwhile", LEFT + 90},
		       {THROTTLED, "slowed down", LEFT + 235},
		       {DOWN, "downtime", LEFT + 345}};
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		double y = CHART_Y + CHART_H + 36;
		box(d->f, entries[i].x, y - 9, 10, 10, entries[i].fill, entries[i].text);
		label(d->f, entries[i].x + 15, y, "start", "fill=\"#444\"", entries[i].text);
	}
}

static void draw_chart(const struct drawing *d, const struct axis *a)
{
	double top = top_of(highest_rate(d));
	draw_grid(d, top);
	draw_throttle(d, a);
	draw_rate(d, a, "link_rate_bytes", top, LINK);
	draw_rate(d, a, "dirty_rate_bytes", top, DIRTY);
	draw_rounds(d, a);
	draw_legend(d);
}

// All phases of it by name: most are too short for a bar with one.
static void draw_enlarged(const struct drawing *d, double y)
{
	const struct axis down = {d->down_begin_ms, d->down_end_ms};
	char text[256] = "";
	size_t used = 0;
	for (size_t i = 0; i < d->count && used < sizeof(text); i++) {
		const struct bar *b = &d->bars[i];
		char time[UNITS_TEXT_MAX];
		if (b->begin_ms >= down.begin_ms - 1e-6 && b->begin_ms < down.end_ms)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %s",
						 used ? ", " : "", progress_phase(b->phase),
						 units_format_ms(time, b->ms));
	}
	label(d->f, LEFT, y - 28, "start", "font-weight=\"bold\"", "From freeze to resume");
	label(d->f, LEFT, y - 10, "start", "fill=\"#444\"", text);
	draw_ticks(d, &down, y + HIGH, y + HIGH + 4);
	draw_bars(d, &down, y);
}

// ---- all of it ----------------------------------------------------------------------------------

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

static void draw_title(const struct drawing *d, const json_t *move)
{
	char text[320], total[UNITS_TEXT_MAX], sent[UNITS_TEXT_MAX];
	snprintf(text, sizeof(text), "%s from %s to %s", text_of(move, "partition"),
		 text_of(move, "from"), text_of(move, "to"));
	label(d->f, LEFT, 28, "start", "font-size=\"16\" font-weight=\"bold\"", text);
	snprintf(text, sizeof(text), "%s, %s: %s in all, %s sent, engine %s", text_of(move, "id"),
		 text_of(move, "state"), units_format_ms(total, number(d->result, "total_ms")),
		 units_format_size(sent, (uint64_t)number(d->result, "transferred_bytes")),
		 text_of(d->result, "engine"));
	label(d->f, LEFT, 48, "start", "fill=\"#444\"", text);
	if (!text_of(d->result, "limited_by")[0])
		return;
	snprintf(text, sizeof(text), "limited by %s", text_of(d->result, "limited_by"));
	label(d->f, LEFT, 65, "start", "fill=\"#444\"", text);
}

void explain_draw(FILE *f, const json_t *move)
{
	struct drawing d = {.f = f, .result = json_object_get(move, "result")};
	read_bars(&d);
	read_rounds(&d);
	bool rounds = d.rounds_ms >= 0, frozen = d.down_end_ms > 0;
	double enlarged = rounds ? ENLARGED : ENLARGED - LIFT;
	double bottom = rounds ? CHART_Y + CHART_H : ROW_Y + HIGH;
	double height = HEIGHT - (rounds ? 0 : LIFT) - (frozen ? 0 : HEIGHT - ENLARGED + 24);
	struct axis all = {0, d.total_ms};
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		"viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
		WIDTH, height, WIDTH, height);
	draw_title(&d, move);
	draw_ticks(&d, &all, ROW_Y + HIGH, bottom);
	draw_downtime(&d, &all, bottom);
	draw_bars(&d, &all, ROW_Y);
	if (rounds)
		draw_chart(&d, &all);
	if (frozen)
		draw_enlarged(&d, enlarged);
	fputs("</svg>\n", f);
}
