// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/seccomp.h"

#include "lib/base/cleanup.h"
#include "lib/partition/jsonread.h"
#include "lib/partition/seccomp_default.h"
#include "lib/partition/strv.h"

#include <ctype.h>
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ARGS_MAX 6

static void cleanup_filter(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}
#define _cleanup_filter_ __attribute__((cleanup(cleanup_filter)))

static int failed(struct error *err, int negative_errno, const char *what)
{
	return error_sys(err, ERR_DEFINITION, -negative_errno, "%s", what);
}

// ---- the default profile -----------------------------------------------------------------------

// Other ABIs of the same kernel, so that 32-bit programs run under the same rules.
static void add_compat(scmp_filter_ctx filter)
{
#if defined(__x86_64__)
	seccomp_arch_add(filter, SCMP_ARCH_X86);
	seccomp_arch_add(filter, SCMP_ARCH_X32);
#elif defined(__aarch64__)
	seccomp_arch_add(filter, SCMP_ARCH_ARM);
#else
	(void)filter;
#endif
}

static scmp_filter_ctx build_default(uint64_t capabilities, struct error *err)
{
	_cleanup_filter_ scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!filter) {
		error_set(err, ERR_NOMEM, "no memory for a system call filter");
		return NULL;
	}
	add_compat(filter);
	int rc = seccomp_default_fill(filter, capabilities);
	if (rc < 0) {
		failed(err, rc, "cannot build the default system call filter");
		return NULL;
	}
	return take_ptr(filter);
}

// ---- a profile of a bundle ---------------------------------------------------------------------

// The action called `key` of an object; errnoRet is beside it.
static int read_action(const struct jsonread *r, const char *key, const char *errno_key,
		       uint32_t *action, struct error *err)
{
	static const struct {
		const char *name;
		uint32_t action;
	} actions[] = {
		{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
		{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
		{"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
		{"SCMP_ACT_LOG", SCMP_ACT_LOG},
	};
	_cleanup_free_ char *name = NULL;
	uint64_t number = EPERM;
	int there = jsonread_string(r, key, &name, err);
	if (there < 0 || jsonread_u64(r, errno_key, 4095, &number, err) < 0)
		return -1;
	if (there && !strcmp(name, "SCMP_ACT_ERRNO")) {
		*action = SCMP_ACT_ERRNO((uint32_t)number);
		return 0;
	}
	for (size_t i = 0; there && i < ARRAY_SIZE(actions); i++) {
		if (!strcmp(actions[i].name, name)) {
			*action = actions[i].action;
			return 0;
		}
	}
	return jsonread_wrong(r, key, err, "\"%s\" is not an action that is honoured",
			      there ? name : "");
}

static int read_arg(const struct jsonread *r, struct scmp_arg_cmp *arg, struct error *err)
{
	static const char *const keys[] = {"index", "value", "valueTwo", "op", NULL};
	static const char *const ops[] = {
		[SCMP_CMP_NE] = "SCMP_CMP_NE",
		[SCMP_CMP_LT] = "SCMP_CMP_LT",
		[SCMP_CMP_LE] = "SCMP_CMP_LE",
		[SCMP_CMP_EQ] = "SCMP_CMP_EQ",
		[SCMP_CMP_GE] = "SCMP_CMP_GE",
		[SCMP_CMP_GT] = "SCMP_CMP_GT",
		[SCMP_CMP_MASKED_EQ] = "SCMP_CMP_MASKED_EQ",
	};
	_cleanup_free_ char *op = NULL;
	uint64_t index = ARGS_MAX, value = 0, value_two = 0;
	if (jsonread_only(r, keys, err) < 0 ||
	    jsonread_u64(r, "index", ARGS_MAX - 1, &index, err) < 0 ||
	    jsonread_u64(r, "value", INT64_MAX, &value, err) < 0 ||
	    jsonread_u64(r, "valueTwo", INT64_MAX, &value_two, err) < 0 ||
	    jsonread_string(r, "op", &op, err) < 0)
		return -1;
	if (index == ARGS_MAX)
		return jsonread_wrong(r, "index", err, "is missing");
	for (unsigned i = 0; op && i < ARRAY_SIZE(ops); i++) {
		if (!ops[i] || strcmp(ops[i], op))
			continue;
		*arg = (struct scmp_arg_cmp){.arg = (unsigned)index,
					     .op = (enum scmp_compare)i,
					     .datum_a = value,
					     .datum_b = value_two};
		return 0;
	}
	return jsonread_wrong(r, "op", err, "\"%s\" is not an operator", op ? op : "");
}

static int read_args(const struct jsonread *r, struct scmp_arg_cmp args[ARGS_MAX], unsigned *count,
		     struct error *err)
{
	const json_t *array;
	int there = jsonread_array(r, "args", &array, err);
	*count = 0;
	if (there <= 0)
		return there;
	if (json_array_size(array) > ARGS_MAX)
		return jsonread_wrong(r, "args", err, "has more than %d items", ARGS_MAX);
	for (; *count < json_array_size(array); ++*count) {
		struct jsonread item;
		if (jsonread_item(r, "args", array, *count, &item, err) < 0 ||
		    read_arg(&item, &args[*count], err) < 0)
			return -1;
	}
	return 0;
}

static bool same_argument_twice(const struct scmp_arg_cmp *args, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < i; k++)
			if (args[i].arg == args[k].arg)
				return true;
	return false;
}

static int add_rule(scmp_filter_ctx filter, uint32_t action, int number,
		    const struct scmp_arg_cmp *args, unsigned count)
{
	int rc = 0;
	// libseccomp takes one comparison per argument; more of them are alternatives, as in runc.
	if (same_argument_twice(args, count)) {
		for (unsigned i = 0; i < count && !rc; i++)
			rc = seccomp_rule_add_array(filter, action, number, 1, &args[i]);
	} else {
		rc = seccomp_rule_add_array(filter, action, number, count, args);
	}
	return rc == -EEXIST || rc == -EDOM ? 0 : rc;
}

static int add_entry(scmp_filter_ctx filter, uint32_t otherwise, const struct jsonread *r,
		     struct error *err)
{
	static const char *const keys[] = {"names", "action", "errnoRet", "args", NULL};
	struct scmp_arg_cmp args[ARGS_MAX];
	unsigned count;
	uint32_t action;
	const json_t *names, *item;
	size_t i;
	if (jsonread_only(r, keys, err) < 0 ||
	    read_action(r, "action", "errnoRet", &action, err) < 0 ||
	    read_args(r, args, &count, err) < 0)
		return -1;
	int there = jsonread_array(r, "names", &names, err);
	if (there <= 0)
		return there < 0 ? -1 : jsonread_wrong(r, "names", err, "is missing");
	json_array_foreach (names, i, item) {
		const char *name = json_string_value(item);
		if (!name)
			return jsonread_wrong(r, "names", err, "must be a list of strings");
		int number = seccomp_syscall_resolve_name(name);
		// A call this host has never heard of gets the default action anyway.
		if (number == __NR_SCMP_ERROR || action == otherwise)
			continue;
		int rc = add_rule(filter, action, number, args, count);
		if (rc < 0)
			return error_sys(err, r->wrong, -rc, "%s: cannot add a rule for %s",
					 r->path, name);
	}
	return 0;
}

static int add_architectures(scmp_filter_ctx filter, const struct jsonread *r, struct error *err)
{
	char **list = NULL;
	int rc = jsonread_strings(r, "architectures", &list, err);
	for (char **name = list; rc > 0 && *name; name++) {
		char lower[32];
		size_t n = 0;
		bool prefixed = !strncmp(*name, "SCMP_ARCH_", 10);
		for (const char *c = *name + (prefixed ? 10 : 0); *c && n < sizeof(lower) - 1; c++)
			lower[n++] = (char)tolower((unsigned char)*c);
		lower[n] = 0;
		uint32_t arch = seccomp_arch_resolve_name(lower);
		int added = prefixed && arch ? seccomp_arch_add(filter, arch) : -EINVAL;
		if (added < 0 && added != -EEXIST && added != -EDOM)
			rc = jsonread_wrong(r, "architectures", err, "\"%.40s\" is not known here",
					    *name);
	}
	strv_free(list);
	return rc < 0 ? -1 : 0;
}

static int add_flags(scmp_filter_ctx filter, const struct jsonread *r, struct error *err)
{
	char **list = NULL;
	int rc = jsonread_strings(r, "flags", &list, err);
	for (char **flag = list; rc > 0 && *flag; flag++) {
		if (!strcmp(*flag, "SECCOMP_FILTER_FLAG_LOG"))
			seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
		else if (!strcmp(*flag, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
		else if (strcmp(*flag, "SECCOMP_FILTER_FLAG_TSYNC")) // one thread is always in step
			rc = jsonread_wrong(r, "flags", err, "\"%.40s\" is not honoured", *flag);
	}
	strv_free(list);
	return rc < 0 ? -1 : 0;
}

static scmp_filter_ctx build_from_object(const json_t *profile, struct error *err)
{
	static const char *const keys[] = {"defaultAction", "defaultErrnoRet", "architectures",
					   "flags",         "syscalls",        NULL};
	struct jsonread r;
	uint32_t otherwise;
	const json_t *entries = NULL;
	if (jsonread_open(&r, profile, ERR_DEFINITION, ERR_DEFINITION, err) < 0 ||
	    jsonread_only(&r, keys, err) < 0 ||
	    read_action(&r, "defaultAction", "defaultErrnoRet", &otherwise, err) < 0 ||
	    jsonread_array(&r, "syscalls", &entries, err) < 0)
		return NULL;
	_cleanup_filter_ scmp_filter_ctx filter = seccomp_init(otherwise);
	if (!filter) {
		error_set(err, ERR_NOMEM, "no memory for a system call filter");
		return NULL;
	}
	if (add_architectures(filter, &r, err) < 0 || add_flags(filter, &r, err) < 0)
		return NULL;
	for (size_t i = 0; i < json_array_size(entries); i++) {
		struct jsonread item;
		if (jsonread_item(&r, "syscalls", entries, i, &item, err) < 0 ||
		    add_entry(filter, otherwise, &item, err) < 0)
			return NULL;
	}
	return take_ptr(filter);
}

// ---- entry points ------------------------------------------------------------------------------

static bool is_word(const json_t *profile, const char *word)
{
	return json_is_string(profile) && !strcmp(json_string_value(profile), word);
}

int seccomp_check(const json_t *profile, uint64_t capabilities, struct error *err)
{
	(void)capabilities;
	if (is_word(profile, "default") || is_word(profile, "unconfined"))
		return 0;
	if (json_is_string(profile))
		return error_set(err, ERR_DEFINITION, "\"%.40s\" is neither default nor unconfined",
				 json_string_value(profile));
	_cleanup_filter_ scmp_filter_ctx filter = build_from_object(profile, err);
	return filter ? 0 : -1;
}

int seccomp_apply(const json_t *profile, uint64_t capabilities, struct error *err)
{
	if (is_word(profile, "unconfined"))
		return 0;
	_cleanup_filter_ scmp_filter_ctx filter = is_word(profile, "default")
							  ? build_default(capabilities, err)
							  : build_from_object(profile, err);
	if (!filter)
		return -1;
	// no_new_privs is the definition's affair; the binary tree makes long lists cheap.
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	int rc = seccomp_load(filter);
	return rc < 0 ? error_sys(err, ERR_LAUNCH, -rc, "cannot load the system call filter") : 0;
}
