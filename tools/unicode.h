/* SPDX-License-Identifier: GPL-2.0 */
/* Characters in names that others have chosen. */
#ifndef HMMCTL_UNICODE_H
#define HMMCTL_UNICODE_H

#include <linux/types.h>
#include <stdbool.h>

/*
 * The length of the UTF-8 sequence with which @text begins, and its character; 0 if it is
 * none: too long, a surrogate, beyond U+10FFFF or truncated.
 */
unsigned int utf8_read(const char *text, __u32 *character);

/*
 * Whether the character does something to a terminal, or to the order or the looks of
 * other characters, instead of being visible itself: control characters (C0, C1, DEL),
 * line separators, bidirectional and other invisible formatting.
 */
bool is_control(__u32 character);

#endif /* HMMCTL_UNICODE_H */
