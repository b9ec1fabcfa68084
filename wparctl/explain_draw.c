// SPDX-License-Identifier: Apache-2.0
// The picture of a move. Two rows over one axis of time: all of it, and the downtime enlarged.
#include "wparctl/explain.h"
#include "wparctl/progress.h"

#include <string.h>

#define WIDTH  1000.0
#define LEFT   20.0
#define ROW_Y  70.0
#define ROW_2  230.0
#define HIGH   50.0
#define NARROW 42.0 // below that a bar has no room for its name

struct bar {
	const char *phase;
	double begin_ms, ms;
};

struct drawing {
	FILE *f;
	struct bar bars[16];
	size_t count;
	double total_ms, down_begin_ms, down_end_ms;
};

static const char *colour(const char *phase)
{
	static const char *const colours[][2] = {
		{"validate", "#b8c4ce"}, {"prepare", "#8fa3b3"}, {"precopy", "#7bb274"},
		{"freeze", "#f2a65a"},   {"final", "#e07a5f"},   {"restore", "#d1495b"},
		{"commit", "#8e3b46"},   {"switch", "#b5651d"},  {"release", "#c9d6df"}};
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

static void label(FILE *f, double x, double y, const char *anchor, const char *text)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
	put(f, text);
	fputs("</text>\n", f);
}

static void read_bars(struct drawing *d, const json_t *result)
{
	static const char *const frozen[] = {"freeze", "final", "restore", "commit", "switch"};
	const char *phase;
	json_t *ms;
	json_object_foreach (json_object_get(result, "phases"), phase, ms) {
		double length = json_number_value(ms);
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

// The bars between two moments, over the whole width.
static void draw_row(const struct drawing *d, double y, double begin_ms, double end_ms)
{
	double scale = (WIDTH - 2 * LEFT) / (end_ms - begin_ms > 0 ? end_ms - begin_ms : 1);
	for (size_t i = 0; i < d->count; i++) {
		const struct bar *b = &d->bars[i];
		double x = LEFT + (b->begin_ms - begin_ms) * scale, width = b->ms * scale;
		char text[64];
		if (b->begin_ms < begin_ms - 1e-6 || b->begin_ms >= end_ms)
			continue;
		fprintf(d->f,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\">"
			"<title>%s %.1f ms</title></rect>\n",
			x, y, width, HIGH, colour(b->phase), progress_phase(b->phase), b->ms);
		if (width < NARROW)
			continue;
		label(d->f, x + width / 2, y + 22, "middle", progress_phase(b->phase));
		snprintf(text, sizeof(text), "%.1f ms", b->ms);
		label(d->f, x + width / 2, y + 40, "middle", text);
	}
}

// Below pre-copy: a line for the end of each round, and its number where there is room.
static void draw_rounds(const struct drawing *d, const json_t *rounds)
{
	double scale = (WIDTH - 2 * LEFT) / (d->total_ms > 0 ? d->total_ms : 1), at = -1, shown = 0;
	size_t i;
	json_t *r;
	// They are the last of pre-copy: files may have gone before.
	for (size_t k = 0; k < d->count; k++)
		if (!strcmp(d->bars[k].phase, "precopy"))
			at = d->bars[k].begin_ms + d->bars[k].ms;
	if (at < 0)
		return;
	json_array_foreach (rounds, i, r)
		at -= json_number_value(json_object_get(r, "ms"));
	json_array_foreach (rounds, i, r) {
		char text[32];
		double ms = json_number_value(json_object_get(r, "ms"));
		double x = LEFT + at * scale, end = LEFT + (at + ms) * scale;
		fprintf(d->f,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#333\"/>\n",
			end, ROW_Y + HIGH - 8, end, ROW_Y + HIGH + 8);
		snprintf(text, sizeof(text), "%zu", i + 1);
		if (end - x > 10 || (x + end) / 2 - shown > 12)
			label(d->f, shown = (x + end) / 2, ROW_Y + HIGH + 20, "middle", text);
		at += ms;
	}
}

static void draw_title(const struct drawing *d, const json_t *move)
{
	char text[256];
	const json_t *result = json_object_get(move, "result");
	snprintf(text, sizeof(text), "%s: %s, %s to %s",
		 json_string_value(json_object_get(move, "id")) ?: "",
		 json_string_value(json_object_get(move, "partition")) ?: "",
		 json_string_value(json_object_get(move, "from")) ?: "",
		 json_string_value(json_object_get(move, "to")) ?: "");
	label(d->f, LEFT, 30, "start", text);
	snprintf(text, sizeof(text), "total %.1f ms, downtime %.1f ms; numbers: rounds of pre-copy",
		 json_number_value(json_object_get(result, "total_ms")),
		 json_number_value(json_object_get(result, "downtime_ms")));
	label(d->f, LEFT, 52, "start", text);
}

void explain_draw(FILE *f, const json_t *move)
{
	struct drawing d = {.f = f};
	const json_t *result = json_object_get(move, "result");
	read_bars(&d, result);
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"320\" "
		"viewBox=\"0 0 %.0f 320\" font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
		WIDTH, WIDTH);
	draw_title(&d, move);
	draw_row(&d, ROW_Y, 0, d.total_ms);
	draw_rounds(&d, json_object_get(result, "rounds"));
	if (d.down_end_ms > 0) {
		label(f, LEFT, ROW_2 - 12, "start", "from freeze to resume, enlarged");
		draw_row(&d, ROW_2, d.down_begin_ms, d.down_end_ms);
	}
	fputs("</svg>\n", f);
}
