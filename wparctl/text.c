// SPDX-License-Identifier: Apache-2.0
#include "wparctl/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BAD UINT32_MAX

// The character at *at, which goes on to the next; BAD: a byte that is not part of UTF-8.
static uint32_t next_char(const char **at)
{
	const unsigned char *s = (const unsigned char *)*at;
	size_t more = s[0] < 0x80 ? 0 : s[0] < 0xc2 ? 4 : s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	*at += 1;
	if (more == 0)
		return s[0];
	if (more == 4 || s[0] > 0xf4)
		return BAD;
	uint32_t c = s[0] & (0x3fu >> more);
	for (size_t i = 1; i <= more; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return BAD;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return BAD;
	*at += more;
	return c;
}

struct range {
	uint32_t first, last;
};

static bool is_in(const struct range *ranges, size_t count, uint32_t c)
{
	for (size_t i = 0; i < count; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

#define IS_IN(ranges, c) is_in(ranges, sizeof(ranges) / sizeof((ranges)[0]), c)

// C0, DEL, C1; marks, embeddings and isolates that change the direction (Unicode, UAX 9); line and
// paragraph separators.
static const struct range unsafe[] = {{0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},
				      {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069},
				      {0xfeff, 0xfeff}};

// Combining marks, joiners and selectors of variants.
static const struct range combining[] = {
	{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},   {0x64b, 0x65f},
	{0x200b, 0x200d}, {0x20d0, 0x20f0}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef}};

// East Asian wide characters (Unicode, UAX 11) and emoji, in whole blocks.
static const struct range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
				    {0xa960, 0xa97c},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
				    {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
				    {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
				    {0x20000, 0x3fffd}};

char *text_plain(const char *text)
{
	char *plain = malloc(strlen(text) + 1), *to = plain;
	while (plain && *text) {
		const char *from = text;
		uint32_t c = next_char(&text);
		if (c == BAD || IS_IN(unsafe, c))
			*to++ = '?';
		else
			to = mempcpy(to, from, (size_t)(text - from));
	}
	if (plain)
		*to = 0;
	return plain;
}

static size_t width_of(uint32_t c)
{
	return IS_IN(combining, c) ? 0 : c != BAD && IS_IN(wide, c) ? 2 : 1;
}

size_t text_width(const char *text)
{
	size_t width = 0;
	while (*text)
		width += width_of(next_char(&text));
	return width;
}

size_t text_fit(const char *text, size_t columns)
{
	const char *at = text, *end = text;
	while (*at) {
		size_t width = width_of(next_char(&at));
		if (width > columns)
			break;
		columns -= width;
		end = at;
	}
	return (size_t)(end - text);
}
