// SPDX-License-Identifier: GPL-2.0
#include <string.h>

#include "format.h"
#include "json.h"

void json_init(struct json *json, FILE *out, unsigned int line_depth)
{
	*json = (struct json){ .out = out, .line_depth = line_depth };
}

/*
 * The length of the UTF-8 sequence @text begins with, 0 where it is none: too
 * long, a surrogate, beyond U+10FFFF or cut off.
 */
static unsigned int utf8_length(const unsigned char *text)
{
	unsigned char second_min = 0x80;
	unsigned char second_max = 0xbf;
	unsigned int length;

	if (text[0] < 0x80)
		return 1;
	if (text[0] >= 0xc2 && text[0] <= 0xdf)
		length = 2;
	else if ((text[0] & 0xf0) == 0xe0)
		length = 3;
	else if (text[0] >= 0xf0 && text[0] <= 0xf4)
		length = 4;
	else
		return 0;

	if (text[0] == 0xe0)
		second_min = 0xa0;
	else if (text[0] == 0xed)
		second_max = 0x9f;
	else if (text[0] == 0xf0)
		second_min = 0x90;
	else if (text[0] == 0xf4)
		second_max = 0x8f;

	if (text[1] < second_min || text[1] > second_max)
		return 0;
	for (unsigned int i = 2; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

/* File names are bytes, JSON is UTF-8: what is none becomes U+FFFD. */
static void put_string(FILE *out, const char *value)
{
	const unsigned char *text = (const unsigned char *)value;

	fputc('"', out);
	while (*text) {
		unsigned int length = utf8_length(text);

		if (!length) {
			fputs("\\ufffd", out);
			length = 1;
		} else if (*text == '"' || *text == '\\') {
			fprintf(out, "\\%c", *text);
		} else if (*text < 0x20 || *text == 0x7f) {
			fprintf(out, "\\u%04x", *text);
		} else {
			fwrite(text, length, 1, out);
		}
		text += length;
	}
	fputc('"', out);
}

static void line_break(struct json *json)
{
	fputc('\n', json->out);
	for (unsigned int i = 0; i < json->depth; i++)
		fputc('\t', json->out);
}

/* Everything that stands before a value. */
static void begin_value(struct json *json, const char *name)
{
	unsigned int bit = 1U << json->depth;
	bool own_line = json->depth && json->depth <= json->line_depth;

	if (json->not_empty & bit)
		fputs(own_line ? "," : ", ", json->out);
	json->not_empty |= bit;
	if (own_line)
		line_break(json);

	if (name) {
		put_string(json->out, name);
		fputs(": ", json->out);
	}
}

static void begin_container(struct json *json, const char *name, char bracket)
{
	begin_value(json, name);
	fputc(bracket, json->out);
	json->depth++;
	json->not_empty &= ~(1U << json->depth);
}

static void end_container(struct json *json, char bracket)
{
	bool has_lines = json->depth <= json->line_depth && json->not_empty & (1U << json->depth);

	json->depth--;
	if (has_lines)
		line_break(json);
	fputc(bracket, json->out);

	if (!json->depth) {
		fputc('\n', json->out);
		json->not_empty = 0;
	}
}

void json_object_begin(struct json *json, const char *name)
{
	begin_container(json, name, '{');
}

void json_object_end(struct json *json)
{
	end_container(json, '}');
}

void json_array_begin(struct json *json, const char *name)
{
	begin_container(json, name, '[');
}

void json_array_end(struct json *json)
{
	end_container(json, ']');
}

void json_string(struct json *json, const char *name, const char *value)
{
	begin_value(json, name);
	put_string(json->out, value);
}

void json_unsigned(struct json *json, const char *name, __u64 value)
{
	begin_value(json, name);
	fprintf(json->out, "%llu", value);
}

void json_signed(struct json *json, const char *name, __s64 value)
{
	begin_value(json, name);
	fprintf(json->out, "%lld", value);
}

void json_boolean(struct json *json, const char *name, bool value)
{
	begin_value(json, name);
	fputs(value ? "true" : "false", json->out);
}

void json_null(struct json *json, const char *name)
{
	begin_value(json, name);
	fputs("null", json->out);
}

void json_address(struct json *json, const char *name, __u64 value)
{
	begin_value(json, name);
	fprintf(json->out, "\"0x%llx\"", value);
}

void json_seconds(struct json *json, const char *name, __u64 nanoseconds)
{
	begin_value(json, name);
	fprintf(json->out, "%llu.%09llu", nanoseconds / NANOSECONDS_PER_SECOND,
		nanoseconds % NANOSECONDS_PER_SECOND);
}

void json_rate(struct json *json, const char *name, double value)
{
	begin_value(json, name);
	fprintf(json->out, "%.1f", value);
}
