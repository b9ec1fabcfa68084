// SPDX-License-Identifier: Apache-2.0
// Draws what gapmeter measured as SVG: the client's latency over time on a log scale, the moves
// shaded and labelled, and below it the moment of each switchover enlarged.
//
// latplot METER.json MOVES.json OUT.svg, where MOVES is a list of
// {from, to, begin_realtime_ms, end_realtime_ms, client_gap_ms, downtime_ms}.
// Exit codes: 0 done, 1 a file cannot be read or written, 2 usage.
#include "lib/base/cleanup.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define WIDTH      1200
#define HEIGHT     720
#define FLOOR_MS   0.01 // bottom of the scale
#define MAX_PANELS 2    // enlarged moves

struct panel {
	double left, top, width, height;
	double begin_ms, end_ms; // since the start of the measurement
	double ceiling_ms;       // top of the scale, a power of ten
};

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static double item(const json_t *row, size_t i)
{
	return json_number_value(json_array_get(row, i));
}

static double x_of(const struct panel *p, double ms)
{
	double share = (ms - p->begin_ms) / (p->end_ms - p->begin_ms);

	return p->left + p->width * fmin(fmax(share, 0), 1);
}

static double y_of(const struct panel *p, double wait_ms)
{
	double share = log10(fmax(wait_ms, FLOOR_MS) / FLOOR_MS) / log10(p->ceiling_ms / FLOOR_MS);

	return p->top + p->height * (1 - fmin(share, 1));
}

static void duration(char text[32], double ms)
{
	if (ms >= 1000)
		snprintf(text, 32, "%.4g s", ms / 1000);
	else
		snprintf(text, 32, "%.3g ms", ms);
}

static void text(FILE *f, double x, double y, const char *class, const char *anchor, const char *s)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">", x, y, class,
		anchor);
	for (; *s; s++) {
		if (*s == '<' || *s == '&')
			fprintf(f, "&#%d;", *s);
		else
			fputc(*s, f);
	}
	fputs("</text>\n", f);
}

static void rect(FILE *f, const char *class, double x0, double y0, double x1, double y1)
{
	fprintf(f, "<rect class=\"%s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"/>\n",
		class, x0, y0, x1 - x0, y1 - y0);
}

static void line(FILE *f, const char *class, double x0, double y0, double x1, double y1)
{
	fprintf(f, "<line class=\"%s\" x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\"/>\n", class,
		x0, y0, x1, y1);
}

static void draw_scale(FILE *f, const struct panel *p)
{
	char label[32];

	for (double v = FLOOR_MS; v <= p->ceiling_ms * 1.01; v *= 10) {
		line(f, "grid", p->left, y_of(p, v), p->left + p->width, y_of(p, v));
		duration(label, v);
		text(f, p->left - 8, y_of(p, v) + 4, "axis", "end", label);
	}
}

// A step of 1, 2 or 5 times a power of ten that gives about ten marks.
static double nice_step(double span)
{
	double unit = pow(10, floor(log10(span / 10)));
	double share = span / 10 / unit;

	return unit * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
}

// Marks count from zero_ms.
static void draw_times(FILE *f, const struct panel *p, double zero_ms, bool in_ms)
{
	double step = nice_step(p->end_ms - p->begin_ms);
	double bottom = p->top + p->height;
	char label[32];

	for (double t = ceil((p->begin_ms - zero_ms) / step) * step; zero_ms + t <= p->end_ms;
	     t += step) {
		double x = x_of(p, zero_ms + t);

		line(f, "tick", x, bottom, x, bottom + 5);
		snprintf(label, sizeof(label), in_ms ? "%g ms" : "%g s",
			 in_ms ? round(t) : t / 1000);
		text(f, x, bottom + 19, "axis", "middle", label);
	}
	line(f, "tick", p->left, bottom, p->left + p->width, bottom);
}

// Regular replies: the longest wait of each bucket, as a bar; draw_slow() has the others.
static void draw_buckets(FILE *f, const struct panel *p, const json_t *meter)
{
	double width = number(meter, "bucket_ms"), bottom = p->top + p->height;
	double last_x = 0, highest = 0, slow = number(meter, "slow_from_ms");
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(meter, "buckets"), i, row) {
		double at = item(row, 0), wait = item(row, 1), x = x_of(p, at);

		if (at + width < p->begin_ms || at > p->end_ms || wait >= slow)
			continue;
		// several buckets on one pixel: the highest of them is enough
		highest = x < last_x + 0.5 ? fmax(highest, wait) : wait;
		if (x >= last_x + 0.5 || wait == highest)
			rect(f, "bar", x, y_of(p, highest), fmax(x_of(p, at + width), x + 0.6),
			     bottom);
		if (x >= last_x + 0.5)
			last_x = x;
	}
}

// Long waits: from the moment of sending to that of the reply.
static void draw_slow(FILE *f, const struct panel *p, const json_t *meter, double label_from_ms)
{
	const json_t *row;
	char label[32];
	size_t i;

	json_array_foreach (json_object_get(meter, "slow"), i, row) {
		double at = item(row, 0), wait = item(row, 1);
		double x0 = x_of(p, at), x1 = x_of(p, at + wait);

		if (at + wait < p->begin_ms || at > p->end_ms)
			continue;
		rect(f, "slow", x0, y_of(p, wait), fmax(x1, x0 + 1.2), p->top + p->height);
		if (wait < label_from_ms)
			continue;
		snprintf(label, sizeof(label), "%.1f ms", wait);
		text(f, (x0 + x1) / 2, y_of(p, wait) - 6, "gap", "middle", label);
	}
}

static double since_start(const json_t *meter, double realtime_ms)
{
	return realtime_ms - number(json_object_get(meter, "started"), "realtime_ms");
}

static void move_title(char title[160], const json_t *move)
{
	snprintf(title, 160, "%s \xe2\x86\x92 %s", json_string_value(json_object_get(move, "from")),
		 json_string_value(json_object_get(move, "to")));
}

static void draw_moves(FILE *f, const struct panel *p, const json_t *meter, const json_t *moves)
{
	const json_t *move;
	char label[160];
	size_t i;

	json_array_foreach (moves, i, move) {
		double x0 = x_of(p, since_start(meter, number(move, "begin_realtime_ms")));
		double x1 = x_of(p, since_start(meter, number(move, "end_realtime_ms")));

		rect(f, "move", x0, p->top, fmax(x1, x0 + 2), p->top + p->height);
		if (json_array_size(moves) > 4)
			continue;
		move_title(label, move);
		text(f, (x0 + x1) / 2, p->top - 20, "label", "middle", label);
		snprintf(label, sizeof(label), "gap %.1f ms, downtime %.1f ms",
			 number(move, "client_gap_ms"), number(move, "downtime_ms"));
		text(f, (x0 + x1) / 2, p->top - 5, "small", "middle", label);
	}
}

// The longest wait that began or ended within the move; NULL: none was long.
static const json_t *longest_in(const json_t *meter, const json_t *move)
{
	double begin = since_start(meter, number(move, "begin_realtime_ms"));
	double end = since_start(meter, number(move, "end_realtime_ms"));
	const json_t *row, *best = NULL;
	size_t i;

	json_array_foreach (json_object_get(meter, "slow"), i, row) {
		if (item(row, 0) + item(row, 1) < begin || item(row, 0) > end)
			continue;
		if (!best || item(row, 1) > item(best, 1))
			best = row;
	}
	return best;
}

static void draw_enlarged(FILE *f, struct panel p, const json_t *meter, const json_t *move)
{
	const json_t *gap = longest_in(meter, move);
	double at = gap ? item(gap, 0) : since_start(meter, number(move, "begin_realtime_ms"));
	double wait = gap ? item(gap, 1) : 50;
	char title[160], label[224];

	p.begin_ms = at - fmax(wait, 50);
	p.end_ms = at + wait + fmax(wait, 50);
	draw_scale(f, &p);
	draw_buckets(f, &p, meter);
	draw_slow(f, &p, meter, wait);
	draw_times(f, &p, at, true);
	move_title(title, move);
	snprintf(label, sizeof(label), "%s, enlarged; 0 ms: the longest waiting request is sent",
		 title);
	text(f, p.left, p.top - 12, "label", "start", label);
}

static void draw_style(FILE *f)
{
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
		"viewBox=\"0 0 %d %d\">\n"
		"<style>text{font-family:sans-serif;fill:#222}"
		".title{font-size:19px;font-weight:bold}.label{font-size:13px;font-weight:bold}"
		".small,.axis{font-size:12px;fill:#555}.gap{font-size:13px;font-weight:bold;"
		"fill:#b3261e}.grid{stroke:#ddd}.tick{stroke:#888}.bar{fill:#3b6ea5}"
		".slow{fill:#d9534f}.move{fill:#f3c74f;fill-opacity:.3}</style>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT);
}

static void draw_heading(FILE *f, const json_t *meter)
{
	const json_t *latency = json_object_get(meter, "latency_ms");
	char label[256];

	text(f, 80, 34, "title", "start",
	     "One TCP connection to a Redis that moves between hosts: latency of each request");
	snprintf(label, sizeof(label),
		 "%lld requests, a millisecond apart; median %.3g ms, 99 %% under %.3g ms, longest "
		 "%.1f ms; %lld errors, %lld reconnects. Log scale.",
		 (long long)json_integer_value(json_object_get(meter, "sent")),
		 number(latency, "p50"), number(latency, "p99"), number(latency, "max"),
		 (long long)json_integer_value(json_object_get(meter, "errors")),
		 (long long)json_integer_value(json_object_get(meter, "reconnects")));
	text(f, 80, 56, "small", "start", label);
}

static void draw(FILE *f, const json_t *meter, const json_t *moves)
{
	double longest = number(json_object_get(meter, "latency_ms"), "max");
	double end = since_start(meter, number(json_object_get(meter, "ended"), "realtime_ms"));
	double ceiling = pow(10, ceil(log10(fmax(longest * 1.5, 10))));
	struct panel all = {80, 110, WIDTH - 100, 250, 0, end, ceiling};
	size_t panels = json_array_size(moves);

	draw_style(f);
	draw_heading(f, meter);
	draw_moves(f, &all, meter, moves);
	draw_scale(f, &all);
	draw_buckets(f, &all, meter);
	draw_slow(f, &all, meter, INFINITY);
	draw_times(f, &all, 0, false);
	panels = panels > MAX_PANELS ? MAX_PANELS : panels;
	for (size_t i = 0; i < panels; i++) {
		double width = (WIDTH - 20.0) / (double)panels;
		struct panel p = {80 + width * (double)i, 440, width - 80, 220, 0, 0, ceiling};

		draw_enlarged(f, p, meter, json_array_get(moves, i));
	}
	fputs("</svg>\n", f);
}

static json_t *load(const char *path)
{
	json_error_t why;
	json_t *json = json_load_file(path, 0, &why);

	if (!json)
		fprintf(stderr, "latplot: %s: %s\n", path, why.text);
	return json;
}

int main(int argc, char **argv)
{
	_cleanup_json_ json_t *meter = NULL, *moves = NULL;
	_cleanup_fclose_ FILE *f = NULL;

	if (argc != 4) {
		fprintf(stderr, "usage: latplot METER.json MOVES.json OUT.svg\n");
		return 2;
	}
	meter = load(argv[1]);
	moves = load(argv[2]);
	if (!meter || !moves)
		return 1;
	f = fopen(argv[3], "we");
	if (!f) {
		perror(argv[3]);
		return 1;
	}
	draw(f, meter, moves);
	if (fflush(f) || ferror(f)) {
		perror(argv[3]);
		return 1;
	}
	return 0;
}
