// SPDX-License-Identifier: Apache-2.0
// How wparctl speaks: sentences and tables for people, envelopes for programs, errors for both.
#ifndef WPARCTL_OUTPUT_H
#define WPARCTL_OUTPUT_H

#include "wparctl/client.h"
#include "wparctl/table.h"

#define EXIT_DETACHED 130

struct ctl {
	struct wpar *wpar;
	bool json, quiet;
	bool terminal;    // standard output is one that can be written to in place
	bool colour;      // and it wants colours
	unsigned columns; // of the terminal; 0: no terminal
};

// SGR numbers for table cells and outcomes.
enum colour {
	COLOUR_NONE = 0,
	COLOUR_RED = 31,
	COLOUR_GREEN = 32,
	COLOUR_YELLOW = 33,
};

// Looks at standard output, NO_COLOR and TERM.
void ctl_init(struct ctl *ctl);
// The width now; it may have changed. 0: no terminal.
unsigned ctl_columns(const struct ctl *ctl);

// A sentence on standard output, unless --json or --quiet.
void out_say(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A remark on standard error, unless --quiet.
void out_note(const struct ctl *ctl, const char *text);
// The sentences of an answer's "notes"; they are part of the answer with --json.
void out_notes(const struct ctl *ctl, const json_t *answer);
// One line {"schema":1,"data":data}; takes ownership.
void out_data(json_t *data);
// As out_data, with a copy of the list of warnings beside it unless that is NULL.
void out_data_with(json_t *data, const json_t *warnings);
// A list of all hosts: its data with --json (takes ownership), and which hosts it is without.
void out_gathered(const struct ctl *ctl, json_t *data);
// One line {"schema":1,"errors":[error]}; takes ownership.
void out_json_error(json_t *error);
// Prints the error ("wparctl: NAME: message (CODE)", hint below; or JSON) and returns the exit
// code.
int out_error(const struct ctl *ctl, const char *name, const struct error *err);
// The form of both lines for people, as text that the caller frees.
char *out_error_text(const char *name, const struct error *err);
// A name alone on a line, as --quiet wants lists.
void out_name(const char *name);
// Prints, unless --json or --quiet, and frees.
void out_table(const struct ctl *ctl, struct table *table);

// "Active" is green and so on.
enum colour colour_of_state(const char *state);

// ---- several names, a result for each -----------------------------------------------------------

// The exit code of several acts: 0; 11 when some failed; else the failures' code when they agree,
// or 1.
struct tally {
	size_t good, bad;
	int code;
};
void tally_add(struct tally *tally, int code); // 0: went well
int tally_code(const struct tally *tally);

struct results {
	const struct ctl *ctl;
	json_t *done, *errors;
	struct tally tally;
};

void results_begin(struct results *results, const struct ctl *ctl);
// `said` ("started") is printed for people; `data` (taken over, may be NULL) for programs.
void results_good(struct results *results, const char *name, const char *said, json_t *data);
void results_bad(struct results *results, const char *name, const struct error *err);
// Prints the envelope where --json asks for it; returns the exit code.
int results_end(struct results *results);

// ---- reading answers ----------------------------------------------------------------------------

// The text at a key, "" when absent or not text.
const char *json_text(const json_t *object, const char *key);
// What an error at a key says, an object or a sentence; "" when absent.
const char *json_sentence(const json_t *object, const char *key);
// Numbers as they come (integer or real), 0 when absent.
double json_amount(const json_t *object, const char *key);
// A list of texts joined by ", ", into text. Returns text.
char *json_joined(const json_t *list, char *text, size_t size);

#endif
