// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/devices.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/cgroup_group.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define ANY_MINOR -1

// Character devices; no block device is among them.
static const struct device {
	int major, minor;
} allowed[] = {
	{1, 3},           // null
	{1, 5},           // zero
	{1, 7},           // full
	{1, 8},           // random
	{1, 9},           // urandom
	{5, 0},           // tty
	{5, 2},           // ptmx
	{136, ANY_MINOR}, // pseudo-terminals, of which a partition only has its own
};

// ---- cgroup v1 ---------------------------------------------------------------------------------

static int write_rule(int folder, const char *file, const char *rule, struct error *err)
{
	if (fdio_write_control(folder, file, rule, err) == 0)
		return 0;
	if (err)
		err->id = ERR_CGROUP;
	return error_wrap(err, "cannot limit devices (%s)", rule);
}

int devices_confine_v1(int folder, struct error *err)
{
	struct error why = {0};
	if (write_rule(folder, "devices.deny", "a", err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		char minor[16] = "*", rule[48];
		if (allowed[i].minor != ANY_MINOR)
			snprintf(minor, sizeof(minor), "%d", allowed[i].minor);
		snprintf(rule, sizeof(rule), "c %d:%s rwm", allowed[i].major, minor);
		// EPERM: a group above does not have it either, so it cannot be given on.
		if (write_rule(folder, "devices.allow", rule, &why) < 0 && why.sys != EPERM) {
			if (err)
				*err = why;
			return -1;
		}
	}
	return 0;
}

int devices_check_v1(int folder, struct error *err)
{
	char list[64]; // one line where everything is allowed
	if (group_read(folder, "devices.list", list, sizeof(list), err) < 0)
		return -1;
	if (list[0] == 'a')
		return error_set(err, ERR_CGROUP, "the devices controller allows every device");
	return 0;
}

// ---- cgroup v2 ---------------------------------------------------------------------------------

// bpf_cgroup_dev_ctx: the kind of device in the low half of access_type. Registers of the program:
// r1 the context, r2 kind, r3 major, r4 minor, r0 the answer (1: allowed).
#define LOAD(to, field)                                       \
	((struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W, \
			   .dst_reg = (to),                   \
			   .src_reg = BPF_REG_1,              \
			   .off = offsetof(struct bpf_cgroup_dev_ctx, field)})
#define AND(reg, bits) \
	((struct bpf_insn){.code = BPF_ALU | BPF_AND | BPF_K, .dst_reg = (reg), .imm = (bits)})
#define SKIP_UNLESS(reg, value, count)                        \
	((struct bpf_insn){.code = BPF_JMP | BPF_JNE | BPF_K, \
			   .dst_reg = (reg),                  \
			   .off = (count),                    \
			   .imm = (value)})
#define ANSWER(value)       \
	((struct bpf_insn){ \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = (value)})
#define EXIT ((struct bpf_insn){.code = BPF_JMP | BPF_EXIT})

#define PROGRAM_MAX (8 + 4 * ARRAY_SIZE(allowed))

static size_t write_program(struct bpf_insn *program)
{
	size_t n = 0;
	program[n++] = LOAD(BPF_REG_2, access_type);
	program[n++] = AND(BPF_REG_2, 0xffff);
	program[n++] = LOAD(BPF_REG_3, major);
	program[n++] = LOAD(BPF_REG_4, minor);
	program[n++] = SKIP_UNLESS(BPF_REG_2, BPF_DEVCG_DEV_CHAR, 0);
	size_t to_the_end = n - 1;
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		bool any = allowed[i].minor == ANY_MINOR;
		program[n++] = SKIP_UNLESS(BPF_REG_3, allowed[i].major, any ? 2 : 3);
		if (!any)
			program[n++] = SKIP_UNLESS(BPF_REG_4, allowed[i].minor, 2);
		program[n++] = ANSWER(1);
		program[n++] = EXIT;
	}
	program[to_the_end].off = (int16_t)(n - to_the_end - 1);
	program[n++] = ANSWER(0);
	program[n++] = EXIT;
	return n;
}

static int bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

int devices_confine_v2(int folder, struct error *err)
{
	struct bpf_insn program[PROGRAM_MAX];
	union bpf_attr load, attach;
	memset(&load, 0, sizeof(load)); // the kernel wants zeros in all of it
	memset(&attach, 0, sizeof(attach));
	load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	load.insn_cnt = (uint32_t)write_program(program);
	load.insns = (uintptr_t)program;
	load.license = (uintptr_t) "Apache-2.0";
	snprintf(load.prog_name, sizeof(load.prog_name), "wpar_devices");
	_cleanup_close_ int fd = bpf(BPF_PROG_LOAD, &load); // O_CLOEXEC by the kernel
	if (fd < 0)
		return error_sys(err, ERR_CGROUP, errno, "cannot load a program for devices");
	// Without BPF_F_ALLOW_MULTI: programs of the groups above go on to be asked, and none can
	// be attached inside, where a move would lose it.
	attach.target_fd = (uint32_t)folder;
	attach.attach_bpf_fd = (uint32_t)fd;
	attach.attach_type = BPF_CGROUP_DEVICE;
	if (bpf(BPF_PROG_ATTACH, &attach) < 0)
		return error_sys(err, ERR_CGROUP, errno, "cannot limit devices by a program");
	return 0;
}
