// SPDX-License-Identifier: GPL-2.0
/* hmmctl - look at address spaces through /dev/hmm_mirror */
#include <errno.h>
#include <linux/hmm_mirror.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "hmmctl.h"
#include "memory.h"
#include "message.h"

#define HMMCTL_VERSION	"1.0"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "info", cmd_info, "what the module and this kernel can do" },
	{ "map", cmd_map, "a process's address space as a device's mirror sees it" },
	{ "fault", cmd_fault, "fault in a range of addresses" },
	{ "watch", cmd_watch, "what invalidates a process's memory, live" },
	{ "stats", cmd_stats, "the module's counters" },
};

static void print_help(FILE *out)
{
	fputs("Usage: hmmctl COMMAND [OPTION]... [ARGUMENT]...\n"
	      "Look at the address spaces of processes through /dev/hmm_mirror.\n"
	      "\n"
	      "Commands:\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-6s  %s\n", commands[i].name, commands[i].summary);
	fputs("\n"
	      "  -h, --help     this text; 'hmmctl help COMMAND' for the command's own\n"
	      "  -V, --version  version of hmmctl and of the ABI it speaks\n"
	      "\n"
	      "Every command takes --json. Exit status: 0 ok, 1 failed, 2 usage error.\n"
	      "See hmmctl(1).\n", out);
}

static int run_command(const char *name, int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(name, commands[i].name)) {
			message_set_command(name);
			/* getopt's messages begin with it. */
			argv[0] = format_string("hmmctl %s", name);
			return commands[i].run(argc, argv);
		}
	}
	if (name[0] == '-')
		return usage_error("unknown option '%s'", name);
	return usage_error("unknown command '%s'", name);
}

static int explain(int argc, char **argv)
{
	char *arguments[3] = { NULL };

	if (argc > 1)
		return usage_error("unexpected argument '%s'", argv[1]);
	if (argc) {
		arguments[1] = duplicate_string("--help");
		return run_command(argv[0], 2, arguments);
	}
	print_help(stdout);
	return EXIT_STATUS_OK;
}

static int run(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		print_help(stderr);
		return EXIT_STATUS_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))
		return explain(argc - 2, argv + 2);
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("hmmctl %s, hmm_mirror ABI version %d\n", HMMCTL_VERSION,
		       HMM_MIRROR_ABI_VERSION);
		return EXIT_STATUS_OK;
	}
	return run_command(name, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int status = run(argc, argv);
	bool failed_before = ferror(stdout);

	/* Output may not have arrived: a full disk is reported only now. */
	errno = 0;
	if (fclose(stdout) || failed_before) {
		complain("cannot write the output: %s", errno ? strerror(errno) : "I/O error");
		return EXIT_STATUS_FAILED;
	}
	return status;
}
