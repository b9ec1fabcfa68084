// SPDX-License-Identifier: Apache-2.0
#include "wparctl/output.h"

#include "lib/base/cleanup.h"
#include "wparctl/text.h"

#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

void ctl_init(struct ctl *ctl)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
	bool tty = isatty(STDOUT_FILENO);
	ctl->terminal = tty && term && strcmp(term, "dumb") != 0;
	ctl->colour = ctl->terminal && !(no_color && no_color[0]);
	ctl->columns = ctl_columns(ctl);
}

unsigned ctl_columns(const struct ctl *ctl)
{
	struct winsize size;
	if (!ctl->terminal)
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return 80;
	return size.ws_col;
}

void out_say(const struct ctl *ctl, const char *format, ...)
{
	if (ctl->json || ctl->quiet)
		return;
	va_list args;
	_cleanup_free_ char *text = NULL;
	va_start(args, format);
	int n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		return;
	}
	_cleanup_free_ char *plain = text_plain(text);
	if (plain)
		puts(plain);
}

void out_note(const struct ctl *ctl, const char *text)
{
	_cleanup_free_ char *plain = text_plain(text);
	if (!ctl->quiet && plain)
		fprintf(stderr, "wparctl: note: %s\n", plain);
}

void out_notes(const struct ctl *ctl, const json_t *answer)
{
	size_t i;
	json_t *note;
	json_array_foreach (json_object_get(answer, "notes"), i, note)
		if (!ctl->json)
			out_note(ctl, json_string_value(note) ?: "");
}

static void print_line(json_t *envelope)
{
	json_dumpf(envelope, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10));
	putchar('\n');
	fflush(stdout);
	json_decref(envelope);
}

void out_data_with(json_t *data, const json_t *warnings)
{
	json_t *envelope = json_pack("{s:i, s:o}", "schema", 1, "data", data ?: json_null());
	if (json_array_size(warnings))
		json_object_set_new(envelope, "warnings", json_deep_copy(warnings));
	print_line(envelope);
}

void out_data(json_t *data)
{
	out_data_with(data, NULL);
}

void out_gathered(const struct ctl *ctl, json_t *data)
{
	const json_t *warnings = wpar_warnings(ctl->wpar);
	size_t i;
	json_t *warning;
	if (ctl->json) {
		out_data_with(data, warnings);
		return;
	}
	json_decref(data);
	json_array_foreach (warnings, i, warning) {
		char text[512];
		snprintf(text, sizeof(text), "without %s: %s", json_text(warning, "host"),
			 json_text(warning, "message"));
		out_note(ctl, text);
	}
}

void out_json_error(json_t *error)
{
	print_line(json_pack("{s:i, s:[o]}", "schema", 1, "errors", error));
}

// The name goes in front unless the sentence begins with it.
static bool says_name(const char *message, const char *name)
{
	size_t length = strlen(name);
	return !strncmp(message, name, length) &&
	       (message[length] == ':' || message[length] == ' ');
}

char *out_error_text(const char *name, const struct error *err)
{
	char *text = NULL;
	if (!name || !name[0])
		name = err->partition;
	_cleanup_free_ char *plain_name = text_plain(name);
	_cleanup_free_ char *message = text_plain(err->message);
	_cleanup_free_ char *hint = text_plain(error_hint_of(err));
	if (!plain_name || !message || !hint)
		return NULL;
	bool front = plain_name[0] && !says_name(message, plain_name);
	if (asprintf(&text, "wparctl: %s%s%s (%s)\n%s%s%s", front ? plain_name : "",
		     front ? ": " : "", message, error_code(err), hint[0] ? "  hint: " : "", hint,
		     hint[0] ? "\n" : "") < 0)
		return NULL;
	return text;
}

int out_error(const struct ctl *ctl, const char *name, const struct error *err)
{
	if (ctl->json) {
		struct error whole = *err;
		error_at(&whole, NULL, name, NULL);
		out_json_error(error_to_json(&whole));
		return (int)error_class_of(err);
	}
	_cleanup_free_ char *text = out_error_text(name, err);
	fflush(stdout);
	fputs(text ? text : "wparctl: no memory\n", stderr);
	return (int)error_class_of(err);
}

void out_name(const char *name)
{
	_cleanup_free_ char *plain = text_plain(name);
	if (plain)
		puts(plain);
}

void out_table(const struct ctl *ctl, struct table *table)
{
	bool wanted = !ctl->json && !ctl->quiet;
	_cleanup_free_ char *text =
		wanted ? table_text(table, ctl_columns(ctl), ctl->colour) : NULL;
	if (text)
		fputs(text, stdout);
	table_free(table);
}

enum colour colour_of_state(const char *state)
{
	static const struct {
		const char *state;
		enum colour colour;
	} colours[] = {
		{"Active", COLOUR_GREEN},    {"Failed", COLOUR_RED},    {"Broken", COLOUR_RED},
		{"In-doubt", COLOUR_RED},    {"Frozen", COLOUR_YELLOW}, {"Moving", COLOUR_YELLOW},
		{"Arriving", COLOUR_YELLOW},
	};
	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
		if (!strcmp(colours[i].state, state))
			return colours[i].colour;
	return COLOUR_NONE;
}

// ---- several names, a result for each -----------------------------------------------------------

void tally_add(struct tally *tally, int code)
{
	if (!code)
		tally->good++;
	else
		tally->code = tally->bad++ && tally->code != code ? (int)ERROR_CLASS_FAILED : code;
}

int tally_code(const struct tally *tally)
{
	return tally->bad && tally->good ? (int)ERROR_CLASS_PARTLY : tally->code;
}

void results_begin(struct results *results, const struct ctl *ctl)
{
	*results = (struct results){.ctl = ctl, .done = json_array(), .errors = json_array()};
}

void results_good(struct results *results, const char *name, const char *said, json_t *data)
{
	tally_add(&results->tally, 0);
	json_t *entry = data ?: json_object();
	if (json_is_object(entry) && !json_object_get(entry, "name"))
		json_object_set_new(entry, "name", json_string(name));
	json_array_append_new(results->done, entry);
	if (said)
		out_say(results->ctl, "%s: %s", name, said);
}

void results_bad(struct results *results, const char *name, const struct error *err)
{
	tally_add(&results->tally, (int)error_class_of(err));
	if (!results->ctl->json) {
		out_error(results->ctl, name, err);
		return;
	}
	struct error whole = *err;
	error_at(&whole, NULL, name, NULL);
	json_array_append_new(results->errors, error_to_json(&whole));
}

int results_end(struct results *results)
{
	json_t *envelope = json_pack("{s:i}", "schema", 1);
	if (results->tally.good || !results->tally.bad)
		json_object_set(envelope, "data", results->done);
	if (results->tally.bad)
		json_object_set(envelope, "errors", results->errors);
	json_decref(results->done);
	json_decref(results->errors);
	if (results->ctl->json)
		print_line(envelope);
	else
		json_decref(envelope);
	return tally_code(&results->tally);
}

// ---- reading answers ----------------------------------------------------------------------------

const char *json_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

const char *json_sentence(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return json_is_object(value) ? json_text(value, "message") : json_text(object, key);
}

double json_amount(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

char *json_joined(const json_t *list, char *text, size_t size)
{
	size_t i, used = 0;
	json_t *item;
	text[0] = 0;
	json_array_foreach (list, i, item) {
		int n = snprintf(text + used, size - used, "%s%s", used ? ", " : "",
				 json_string_value(item) ?: "?");
		if (n < 0 || (size_t)n >= size - used)
			break;
		used += (size_t)n;
	}
	return text;
}
