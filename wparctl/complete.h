// SPDX-License-Identifier: Apache-2.0
// What shells offer when TAB is pressed, from the table of verbs and from relocd.
#ifndef WPARCTL_COMPLETE_H
#define WPARCTL_COMPLETE_H

#include <stdio.h>

// `words` are those after "wparctl" up to the one that is being written, which may be empty. Prints
// a line "WORD<TAB>REMARK" for each that fits, and of these where they apply: ":files", ":dirs"
// (the shell knows them better), ":nospace" (the word goes on). Prints nothing where relocd does
// not answer at once.
void complete_print(FILE *to, int count, char **words);

#endif
