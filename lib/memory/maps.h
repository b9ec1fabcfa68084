// SPDX-License-Identifier: Apache-2.0
// /proc/PID/maps: the mappings of an address space, and what each is to the copying of memory.
#ifndef WPAR_MEMORY_MAPS_H
#define WPAR_MEMORY_MAPS_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum vma_kind {
	VMA_ANONYMOUS, // private, without a file: heap, stacks, mmap
	VMA_FILE,      // private mapping of a file: its changed pages are the task's own
	VMA_SEGMENT,   // shared memory without a name: anonymous, memfd, SysV
	VMA_SHARED,    // shared mapping of a file (or huge pages): not memory of the task
	VMA_SPECIAL,   // the kernel's own: vdso, vvar, vsyscall, rings of asynchronous I/O
};

struct vma {
	uint64_t start, end; // bytes
	uint64_t offset;     // in the file
	uint64_t dev, inode; // as stat(2) says; 0: no file
	enum vma_kind kind;
	bool read : 1, write : 1, execute : 1;
	bool huge : 1;   // pages of hugetlbfs
	bool sysv : 1;   // of a VMA_SEGMENT
	bool plain : 1;  // of a VMA_SEGMENT: made by mmap(2), or by CRIU in place of that
	bool locked : 1; // only after maps_add_flags()
};

struct maps {
	struct vma *list;
	size_t count;
	char *text; // the file itself, after maps_read()
};

// The kernel's limit is 65530 unless vm.max_map_count was raised; this is ours.
#define MAPS_LIMIT (1u << 20)

// Reads the text of a maps file. ERR_PROTOCOL for what the kernel would not write: lines of other
// form, ranges that are empty, not of whole pages, not in order or overlapping.
int maps_parse(const char *text, struct maps *maps, struct error *err);

// Takes from the text of a smaps file, or of vmflags.h, which mappings are locked. Mappings that
// are in one of the two only are passed over.
int maps_add_flags(struct maps *maps, const char *smaps, struct error *err);

// Of a process by its open /proc folder. A process that is ending has none.
int maps_read(int proc_folder, struct maps *maps, struct error *err);

void maps_free(struct maps *maps);
#define _cleanup_maps_ __attribute__((cleanup(maps_free)))

#endif
