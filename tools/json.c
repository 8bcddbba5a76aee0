// SPDX-License-Identifier: GPL-2.0
#include "format.h"
#include "json.h"
#include "unicode.h"

void json_init(struct json *json, FILE *out, unsigned int line_depth)
{
	*json = (struct json){ .out = out, .line_depth = line_depth };
}

/* "\u202e"; beyond U+FFFF a surrogate pair, as JSON wants */
static void put_escaped(FILE *out, __u32 character)
{
	if (character > 0xffff) {
		character -= 0x10000;
		fprintf(out, "\\u%04x\\u%04x", 0xd800 + (character >> 10),
			0xdc00 + (character & 0x3ff));
	} else {
		fprintf(out, "\\u%04x", character);
	}
}

/*
 * File names are bytes, JSON is UTF-8: bytes that are not become U+FFFD. Documents are
 * read on terminals, so characters that would steer one are spelled out.
 */
static void put_string(FILE *out, const char *text)
{
	fputc('"', out);
	while (*text) {
		__u32 character;
		unsigned int length = utf8_read(text, &character);

		if (!length) {
			put_escaped(out, 0xfffd);
			length = 1;
		} else if (character == '"' || character == '\\') {
			fprintf(out, "\\%c", (char)character);
		} else if (is_control(character)) {
			put_escaped(out, character);
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

/* Everything that comes before a value. */
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
