/* SPDX-License-Identifier: GPL-2.0 */
/* What goes to standard error. */
#ifndef HMMCTL_MESSAGE_H
#define HMMCTL_MESSAGE_H

/* Names the command that messages begin with. */
void message_set_command(const char *name);

void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Points to --help and returns EXIT_STATUS_USAGE, after getopt has complained. */
int usage_hint(void);

/* Complains, points to --help and returns EXIT_STATUS_USAGE. */
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, with a reason that is freed */
int usage_error_free(char *reason);

/* "EFAULT" for EFAULT; only the errors of the ABI have names, others are "error N". */
const char *error_name(int error);

#endif /* HMMCTL_MESSAGE_H */
