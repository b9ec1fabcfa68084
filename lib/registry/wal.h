// SPDX-License-Identifier: Apache-2.0
// Whether SQLite will leave out of its log (https://www.sqlite.org/fileformat2.html#walformat) what
// was committed: it stops reading at the first frame that does not fit its check sum, and says
// nothing.
#ifndef WPAR_REGISTRY_WAL_H
#define WPAR_REGISTRY_WAL_H

#include <stdbool.h>

// `path`: of the database. To be asked before it is opened, which begins a new log. False also when
// there is none. The last transaction may be one that a loss of power has cut off: that counts.
bool wal_is_damaged(const char *path);

#endif
