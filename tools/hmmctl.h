/* SPDX-License-Identifier: GPL-2.0 */
/* The commands of hmmctl; each one gets its own argv and returns the exit status. */
#ifndef HMMCTL_H
#define HMMCTL_H

enum exit_status {
	EXIT_STATUS_OK = 0,
	EXIT_STATUS_FAILED = 1,
	EXIT_STATUS_USAGE = 2,
};

int cmd_fault(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_watch(int argc, char **argv);

#endif /* HMMCTL_H */
