// SPDX-License-Identifier: Apache-2.0
#include "wparctl/help.h"

#include <string.h>

// ---- plain text ---------------------------------------------------------------------------------

// One paragraph, `column` already used on this line, broken at words, further lines indented.
static void print_wrapped(FILE *to, const char *text, size_t length, size_t column, size_t indent)
{
	const char *end = text + length;
	bool first = true;
	while (text < end) {
		size_t word = strcspn(text, " ");
		if (word > (size_t)(end - text))
			word = (size_t)(end - text);
		if (!first && column + 1 + word > HELP_WIDTH) {
			fprintf(to, "\n%*s", (int)indent, "");
			column = indent;
		} else if (!first) {
			fputc(' ', to);
			column++;
		}
		fprintf(to, "%.*s", (int)word, text);
		column += word;
		text += word + (text + word < end);
		first = false;
	}
	fputc('\n', to);
}

static void print_paragraphs(FILE *to, const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");
		print_wrapped(to, text, length, 0, 0);
		text += length + (text[length] == '\n');
	}
}

// Lines, each with this in front.
static void print_lines(FILE *to, const char *text, const char *front)
{
	for (size_t length; *text; text += length + (text[length] == '\n')) {
		length = strcspn(text, "\n");
		fprintf(to, "%s%.*s\n", front, (int)length, text);
	}
}

#define OPTION_COLUMN 26

static void print_options(FILE *to, const struct verb_option *options)
{
	for (const struct verb_option *o = options; o->name; o++) {
		int used = fprintf(to, "  ");
		if (o->letter)
			used += fprintf(to, "-%c, ", o->letter);
		used += fprintf(to, "--%s%s%s", o->name, o->value ? " " : "",
				o->value ? o->value : "");
		if (used > OPTION_COLUMN - 2)
			used = fprintf(to, "\n") - 1;
		fprintf(to, "%*s", OPTION_COLUMN - used, "");
		print_wrapped(to, o->text, strlen(o->text), OPTION_COLUMN, OPTION_COLUMN);
	}
}

static void print_verb(FILE *to, const struct verb *verb)
{
	fprintf(to, "usage: wparctl %s%s%s\n\n", verb->name, verb->form[0] ? " " : "", verb->form);
	print_paragraphs(to, verb->text);
	if (verb->options->name) {
		fputs("\noptions:\n", to);
		print_options(to, verb->options);
	}
	fputs("\noptions of all verbs: --connect, --json, --quiet; see wparctl --help\n", to);
	fputs("\nexample:\n", to);
	print_lines(to, verb->example, "  ");
}

static void print_all(FILE *to)
{
	fputs("usage: wparctl [-c HOST] [--json] [--quiet] VERB ...\n", to);
	for (const struct verb_group *group = verb_groups; group->title; group++) {
		fprintf(to, "\n%s:\n", group->title);
		for (const struct verb *verb = group->verbs; verb->name; verb++)
			fprintf(to, "  %-20s %s\n", verb->name, verb->summary);
	}
	fputs("\noptions:\n", to);
	print_options(to, global_options);
	fputs("\nexit codes:\n", to);
	for (const struct exit_code *e = exit_codes; e->meaning; e++)
		fprintf(to, "  %3d  %s\n", e->code, e->meaning);
	fputs("\n`wparctl VERB --help` tells more and has an example; wpar(7) has the ideas.\n",
	      to);
}

void help_print(FILE *to, const struct verb *verb)
{
	if (verb)
		print_verb(to, verb);
	else
		print_all(to);
}

// ---- mdoc ---------------------------------------------------------------------------------------

// Text of a mdoc line: dashes and backslashes as such, no line begins with a control character.
static void man_text(FILE *to, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (i == 0 && (text[i] == '.' || text[i] == '\''))
			fputs("\\&", to);
		if (text[i] == '\\')
			fputs("\\e", to);
		else if (text[i] == '-')
			fputs("\\-", to);
		else
			fputc(text[i], to);
	}
}

// Sentences begin on new lines, as mdoc wants them.
static void man_sentences(FILE *to, const char *text, size_t length)
{
	while (length) {
		const char *stop = memmem(text, length, ". ", 2);
		size_t part = stop ? (size_t)(stop - text) + 1 : length;
		man_text(to, text, part);
		fputc('\n', to);
		size_t used = part + (stop ? 1 : 0);
		text += used;
		length -= used;
	}
}

static void man_paragraphs(FILE *to, const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");
		man_sentences(to, text, length);
		text += length;
		if (*text++ != '\n')
			break;
		fputs(".Pp\n", to);
	}
}

static void man_lines(FILE *to, const char *front, const char *text)
{
	fputs(".Bd -literal -offset indent\n", to);
	man_text(to, front, strlen(front));
	for (size_t length; *text; text += length + (text[length] == '\n')) {
		length = strcspn(text, "\n");
		man_text(to, text, length);
		fputc('\n', to);
	}
	if (front[0] && !strchr(" ", front[strlen(front) - 1]))
		fputc('\n', to);
	fputs(".Ed\n", to);
}

static void man_options(FILE *to, const struct verb_option *options)
{
	fputs(".Bl -tag -width Ds\n", to);
	for (const struct verb_option *o = options; o->name; o++) {
		fputs(".It ", to);
		if (o->letter)
			fprintf(to, "Fl %c , ", o->letter);
		fprintf(to, "Fl \\-%s", o->name);
		if (o->value)
			fprintf(to, " Ar \"%s\"", o->value);
		fputc('\n', to);
		man_sentences(to, o->text, strlen(o->text));
	}
	fputs(".El\n", to);
}

static void man_verb(FILE *to, const struct verb *verb)
{
	char front[80];
	snprintf(front, sizeof(front), "wparctl %s%s", verb->name, verb->form[0] ? " " : "");
	fprintf(to, ".Ss %s\n", verb->name);
	man_lines(to, front, verb->form);
	fputs(".Pp\n", to);
	man_paragraphs(to, verb->text);
	if (verb->options->name)
		man_options(to, verb->options);
	fputs(".Pp\nExample:\n", to);
	man_lines(to, "", verb->example);
}

void help_print_man(FILE *to)
{
	fputs(".Sh OPTIONS\nThese go with every verb and may stand anywhere before \\-\\-.\n", to);
	man_options(to, global_options);
	fputs(".Sh VERBS\n", to);
	const struct verb *verb;
	for (size_t n = 0; (verb = verb_at(n)); n++)
		man_verb(to, verb);
}
