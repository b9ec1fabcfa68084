// SPDX-License-Identifier: Apache-2.0
#include "lib/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct code {
	const char *code;
	enum error_class class;
	const char *hint;
};

static const struct code codes[ERR_COUNT] = {
	[ERR_NONE] = {"", ERROR_CLASS_FAILED, ""},
#define ERROR_CODE(id, code, class, hint) [id] = {code, ERROR_CLASS_##class, hint},
#include "lib/base/error_codes.def"
#undef ERROR_CODE
};

static const struct {
	enum error_class class;
	const char *name;
} class_names[] = {
	{ERROR_CLASS_FAILED, "failed"},       {ERROR_CLASS_USAGE, "usage"},
	{ERROR_CLASS_NOT_FOUND, "not-found"}, {ERROR_CLASS_REFUSED, "refused"},
	{ERROR_CLASS_BUSY, "busy"},           {ERROR_CLASS_UNREACHABLE, "unreachable"},
	{ERROR_CLASS_DEADLINE, "deadline"},   {ERROR_CLASS_CANCELLED, "cancelled"},
	{ERROR_CLASS_IN_DOUBT, "in-doubt"},   {ERROR_CLASS_PARTLY, "partly"},
	{ERROR_CLASS_DENIED, "denied"},       {ERROR_CLASS_LOST, "lost"},
};

static const char *class_name(enum error_class class)
{
	for (size_t i = 0; i < sizeof(class_names) / sizeof(class_names[0]); i++)
		if (class_names[i].class == class)
			return class_names[i].name;
	return "failed";
}

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static int set(struct error *err, enum error_id id, int sys, const char *format, va_list args)
{
	if (!err)
		return -1;
	memset(err, 0, sizeof(*err));
	err->id = id;
	err->sys = sys;
	int length = vsnprintf(err->message, sizeof(err->message), format, args);
	if (sys && length >= 0 && (size_t)length < sizeof(err->message))
		snprintf(err->message + length, sizeof(err->message) - (size_t)length, ": %s",
			 strerror(sys));
	return -1;
}

int error_set(struct error *err, enum error_id id, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	set(err, id, 0, format, args);
	va_end(args);
	return -1;
}

int error_sys(struct error *err, enum error_id id, int sys, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	set(err, id, sys, format, args);
	va_end(args);
	return -1;
}

int error_wrap(struct error *err, const char *format, ...)
{
	if (!err)
		return -1;
	char context[256], whole[sizeof(err->message)];
	va_list args;
	va_start(args, format);
	vsnprintf(context, sizeof(context), format, args);
	va_end(args);
	int n = snprintf(whole, sizeof(whole), "%s: ", context);
	snprintf(whole + n, sizeof(whole) - (size_t)n, "%s", err->message);
	copy(err->message, sizeof(err->message), whole);
	return -1;
}

int error_hint(struct error *err, const char *format, ...)
{
	if (!err)
		return -1;
	va_list args;
	va_start(args, format);
	vsnprintf(err->hint, sizeof(err->hint), format, args);
	va_end(args);
	return -1;
}

void error_at(struct error *err, const char *host, const char *partition, const char *phase)
{
	if (!err)
		return;
	if (host && !err->host[0])
		copy(err->host, sizeof(err->host), host);
	if (partition && !err->partition[0])
		copy(err->partition, sizeof(err->partition), partition);
	if (phase && !err->phase[0])
		copy(err->phase, sizeof(err->phase), phase);
}

void error_clear(struct error *err)
{
	if (err)
		memset(err, 0, sizeof(*err));
}

bool error_is_set(const struct error *err)
{
	return err->id != ERR_NONE;
}

const char *error_code(const struct error *err)
{
	return codes[err->id].code;
}

enum error_class error_class_of(const struct error *err)
{
	return codes[err->id].class;
}

const char *error_hint_of(const struct error *err)
{
	return err->hint[0] ? err->hint : codes[err->id].hint;
}

bool error_nth(unsigned n, const char **code, enum error_class *class, const char **hint)
{
	if (n + 1 >= ERR_COUNT)
		return false;
	*code = codes[n + 1].code;
	*class = codes[n + 1].class;
	*hint = codes[n + 1].hint;
	return true;
}

static void set_text(json_t *object, const char *key, const char *value)
{
	json_object_set_new(object, key, value && value[0] ? json_string(value) : json_null());
}

json_t *error_to_json(const struct error *err)
{
	enum error_class class = error_class_of(err);
	json_t *object = json_object();
	set_text(object, "code", error_code(err));
	set_text(object, "class", class_name(class));
	set_text(object, "phase", err->phase);
	set_text(object, "partition", err->partition);
	set_text(object, "host", err->host);
	set_text(object, "message", err->message);
	set_text(object, "hint", error_hint_of(err));
	json_object_set_new(object, "retryable",
			    json_boolean(class == ERROR_CLASS_BUSY ||
					 class == ERROR_CLASS_UNREACHABLE ||
					 class == ERROR_CLASS_DEADLINE));
	json_object_set_new(object, "details", json_null());
	return object;
}

enum error_id error_id_of(const char *code)
{
	for (unsigned i = 1; code && i < ERR_COUNT; i++)
		if (!strcmp(codes[i].code, code))
			return (enum error_id)i;
	return ERR_INTERNAL;
}

int error_from_json(struct error *err, const json_t *json)
{
	const char *message = json_string_value(json_object_get(json, "message"));
	error_set(err, error_id_of(json_string_value(json_object_get(json, "code"))), "%s",
		  message ? message : "an error without a message");
	if (!err)
		return -1;
	copy(err->hint, sizeof(err->hint), json_string_value(json_object_get(json, "hint")));
	error_at(err, json_string_value(json_object_get(json, "host")),
		 json_string_value(json_object_get(json, "partition")),
		 json_string_value(json_object_get(json, "phase")));
	return -1;
}
