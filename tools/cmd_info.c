// SPDX-License-Identifier: GPL-2.0
/* hmmctl info */
#include <getopt.h>
#include <stdio.h>

#include "device.h"
#include "format.h"
#include "hmmctl.h"
#include "json.h"
#include "message.h"
#include "names.h"
#include "table.h"
#include "takeover.h"

static __u64 unknown_features(const struct hmm_mirror_info *info)
{
	__u64 unknown = info->features;

	for (unsigned int i = 0; i < nr_feature_descriptions; i++)
		unknown &= ~feature_descriptions[i].bit;
	return unknown;
}

static void print_json(const struct hmm_mirror_info *info)
{
	struct json json;

	json_init(&json, stdout, 2);
	json_object_begin(&json, NULL);
	json_unsigned(&json, "abi_version", info->abi_version);
	json_unsigned(&json, "page_size", info->page_size);
	json_unsigned(&json, "pmd_order", info->pmd_order);
	json_unsigned(&json, "pud_order", info->pud_order);
	json_address(&json, "task_size", info->task_size);
	json_unsigned(&json, "max_watches", info->max_watches);
	json_unsigned(&json, "max_events", info->max_events);
	json_unsigned(&json, "max_watches_per_user", info->max_watches_per_user);
	json_unsigned(&json, "max_events_per_user", info->max_events_per_user);
	json_string(&json, "takeover", takeover_state());
	json_object_begin(&json, "features");
	for (unsigned int i = 0; i < nr_feature_descriptions; i++)
		json_boolean(&json, feature_descriptions[i].name,
			     info->features & feature_descriptions[i].bit);
	json_object_end(&json);
	json_address(&json, "unknown_features", unknown_features(info));
	json_object_end(&json);
}

static void print_huge_mappings(const struct hmm_mirror_info *info)
{
	const char *separator = "";

	printf("huge mappings     ");
	if (!info->pmd_order && !info->pud_order)
		printf("none");
	if (info->pmd_order) {
		printf("%s (PMD, order %u)",
		       format_size((__u64)info->page_size << info->pmd_order).text,
		       info->pmd_order);
		separator = ", ";
	}
	if (info->pud_order)
		printf("%s%s (PUD, order %u)", separator,
		       format_size((__u64)info->page_size << info->pud_order).text,
		       info->pud_order);
	putchar('\n');
}

static void print_text(const struct hmm_mirror_info *info)
{
	__u64 unknown = unknown_features(info);
	struct table table = { 0 };

	printf("ABI version       %u\n", info->abi_version);
	printf("page size         %s\n", format_size(info->page_size).text);
	print_huge_mappings(info);
	printf("address space     0x0-0x%llx\n", info->task_size);
	printf("watches per file  %u\n", info->max_watches);
	printf("events per file   %u queued, what does not fit is counted as lost\n",
	       info->max_events);
	/* A module that does not report a limit has none. */
	if (info->max_watches_per_user)
		printf("limits per user   %u watches, %u events queued\n",
		       info->max_watches_per_user, info->max_events_per_user);
	printf("takeover          %s\n\n", takeover_state());

	table_column(&table, "FEATURE", TABLE_LEFT);
	table_column(&table, "HERE", TABLE_LEFT);
	table_column(&table, "WHICH MEANS", TABLE_LEFT);
	for (unsigned int i = 0; i < nr_feature_descriptions; i++) {
		const struct feature_description *feature = &feature_descriptions[i];
		bool present = info->features & feature->bit;

		table_cell(&table, "%s", feature->name);
		table_cell(&table, "%s", present ? "yes" : "no");
		table_cell(&table, "%s", present ? feature->present : feature->absent);
	}
	table_print(&table, stdout, 0);
	if (unknown)
		printf("\nThis hmmctl does not know the features 0x%llx.\n", unknown);
}

static void print_help(void)
{
	fputs("Usage: hmmctl info [--json]\n"
	      "Show what the loaded module and this kernel can do.\n"
	      "\n"
	      "  -j, --json  print a JSON document\n"
	      "  -h, --help  this text\n", stdout);
}

int cmd_info(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	struct device device;
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = true;
			break;
		case 'h':
			print_help();
			return EXIT_STATUS_OK;
		default:
			return usage_hint();
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument '%s'", argv[optind]);

	if (!device_open(&device))
		return EXIT_STATUS_FAILED;
	if (json)
		print_json(&device.info);
	else
		print_text(&device.info);
	return EXIT_STATUS_OK;
}
