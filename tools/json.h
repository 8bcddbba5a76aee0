/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A JSON writer: it takes care of commas, quoting and line breaks, the caller of nesting.
 * @name is the member's name inside an object, NULL in an array.
 */
#ifndef HMMCTL_JSON_H
#define HMMCTL_JSON_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>

struct json {
	FILE *out;
	unsigned int depth;
	/* Values up to this depth get a line each; deeper ones share one. */
	unsigned int line_depth;
	/* Bit N: the container at depth N already has a value. */
	unsigned int not_empty;
};

void json_init(struct json *json, FILE *out, unsigned int line_depth);

void json_object_begin(struct json *json, const char *name);
void json_object_end(struct json *json);
void json_array_begin(struct json *json, const char *name);
void json_array_end(struct json *json);

void json_string(struct json *json, const char *name, const char *value);
void json_unsigned(struct json *json, const char *name, __u64 value);
void json_signed(struct json *json, const char *name, __s64 value);
void json_boolean(struct json *json, const char *name, bool value);
void json_null(struct json *json, const char *name);

/* A string "0x7f0000000000" */
void json_address(struct json *json, const char *name, __u64 value);
/* A number of seconds with all the nanoseconds */
void json_seconds(struct json *json, const char *name, __u64 nanoseconds);
/* A number with one decimal */
void json_rate(struct json *json, const char *name, double value);

#endif /* HMMCTL_JSON_H */
