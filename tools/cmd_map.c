// SPDX-License-Identifier: GPL-2.0
/* hmmctl map */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "hmmctl.h"
#include "interruption.h"
#include "json.h"
#include "maps.h"
#include "memory.h"
#include "message.h"
#include "names.h"
#include "parse.h"
#include "progress.h"
#include "table.h"
#include "tally.h"
#include "target.h"

#define EXTENTS_PER_CALL	1024
#define NR_ORDERS		64

struct map {
	struct target target;
	struct range_list ranges;
	bool as_json;
	bool show_extents;
	/* 0: none */
	__u64 timeout_ms;
	__u64 deadline;
	struct progress progress;
	struct json json;
	/* In JSON: the object of the mapping that is being read has been begun. */
	bool in_mapping;

	struct vma_list list;
	/* One for each mapping of the list, filled as the list is read */
	struct tally *tallies;
	size_t nr_read;
	__u64 failed_at;
	__u64 total_size;
	struct tally total;
	struct hmm_mirror_extent_info extents[EXTENTS_PER_CALL];
};

static void print_extent_titles(const struct map *map)
{
	printf("%29s  %10s  %5s  %-6s  %-16s  %4s%s\n", "ADDRESS          ", "PAGES", "ORDER",
	       "ACCESS", "KIND", "NODE",
	       map->target.device.info.features & HMM_MIRROR_FEATURE_PFNS_VISIBLE ? "  PFN" : "");
}

static void print_extent(const struct map *map, const struct hmm_mirror_extent_info *extent)
{
	__u64 end = extent->addr + extent->npages * map->target.device.info.page_size;
	const char *access = "-";
	char order[8] = "-";
	char node[12] = "-";

	if (extent->flags & HMM_MIRROR_EXTENT_ERROR)
		access = "error";
	else if (extent->flags & HMM_MIRROR_EXTENT_WRITE)
		access = "rw";
	else if (extent->flags & HMM_MIRROR_EXTENT_VALID)
		access = "r";
	if (extent->flags & HMM_MIRROR_EXTENT_VALID)
		snprintf(order, sizeof(order), "%u", extent->order);
	if (extent->node >= 0)
		snprintf(node, sizeof(node), "%d", extent->node);

	printf("    %12llx-%-12llx  %10llu  %5s  %-6s  %-16s  %4s", extent->addr, end,
	       extent->npages, order, access, kind_name(extent->kind), node);
	if (extent->pfn)
		printf("  %llx", extent->pfn);
	putchar('\n');
}

static void json_extent(struct map *map, const struct hmm_mirror_extent_info *extent)
{
	struct json *json = &map->json;

	json_object_begin(json, NULL);
	json_address(json, "start", extent->addr);
	json_unsigned(json, "pages", extent->npages);
	if (extent->pfn)
		json_address(json, "pfn", extent->pfn);
	else
		json_null(json, "pfn");
	json_boolean(json, "valid", extent->flags & HMM_MIRROR_EXTENT_VALID);
	json_boolean(json, "write", extent->flags & HMM_MIRROR_EXTENT_WRITE);
	json_boolean(json, "error", extent->flags & HMM_MIRROR_EXTENT_ERROR);
	json_string(json, "kind", kind_name(extent->kind));
	json_unsigned(json, "order", extent->order);
	json_signed(json, "node", extent->node);
	json_object_end(json);
}

/* How long a call may take; false if the time is up. */
static bool set_timeout(const struct map *map, struct hmm_mirror_range_args *arguments)
{
	__u64 now = now_nanoseconds();

	if (!map->deadline)
		return true;
	if (now >= map->deadline)
		return false;
	arguments->timeout_ms = (__u32)((map->deadline - now + NANOSECONDS_PER_MILLISECOND - 1) /
					NANOSECONDS_PER_MILLISECOND);
	return true;
}

/* Snapshots one mapping; 0 or a negative errno, with what was found until then. */
static int read_vma(struct map *map, const struct vma *vma, struct tally *tally)
{
	unsigned int page_size = map->target.device.info.page_size;
	__u64 address = vma->start;

	while (address < vma->end) {
		struct hmm_mirror_range_args arguments = {
			.start = address,
			.end = vma->end,
			.extents = (__u64)(uintptr_t)map->extents,
			.nr_extents = EXTENTS_PER_CALL,
		};
		int error = -ETIMEDOUT;

		if (!interruption() && set_timeout(map, &arguments))
			error = device_range(&map->target.device, &arguments);
		/* A signal that is not meant to end us */
		if (error == -EINTR)
			continue;
		if (error) {
			map->failed_at = address;
			return error;
		}
		for (__u32 i = 0; i < arguments.nr_extents; i++) {
			tally_add(tally, &map->extents[i], page_size);
			if (!map->show_extents)
				continue;
			if (map->as_json)
				json_extent(map, &map->extents[i]);
			else
				print_extent(map, &map->extents[i]);
		}
		address = arguments.next;
	}
	return 0;
}

static void json_amounts(struct json *json, const struct tally *tally)
{
	json_unsigned(json, "mapped", tally_mapped(tally));
	json_unsigned(json, "writable", tally_writable(tally));
	json_unsigned(json, "swapped", tally_kind(tally, HMM_MIRROR_KIND_SWAP));
	json_unsigned(json, "hole", tally_kind(tally, HMM_MIRROR_KIND_NONE));
	tally_json(tally, json, "amounts");
}

static void json_vma_begin(struct json *json, const struct vma *vma)
{
	json_object_begin(json, NULL);
	json_address(json, "start", vma->start);
	json_address(json, "end", vma->end);
	json_unsigned(json, "size", vma->end - vma->start);
	json_string(json, "permissions", vma->permissions);
	json_string(json, "name", vma_name(vma));
	json_boolean(json, "hugetlb", vma->hugetlb);
}

static void begin_vma(struct map *map, const struct vma *vma)
{
	if (map->as_json) {
		map->in_mapping = true;
		json_vma_begin(&map->json, vma);
		if (map->show_extents)
			json_array_begin(&map->json, "extents");
	} else if (map->show_extents) {
		printf("%llx-%llx %s ", vma->start, vma->end, vma->permissions);
		print_printable(stdout, vma_name(vma));
		puts(vma->hugetlb ? " (hugetlb)" : "");
	}
}

static void end_vma(struct map *map, struct tally *tally)
{
	tally_sort(tally);
	if (map->as_json && map->in_mapping) {
		if (map->show_extents)
			json_array_end(&map->json);
		json_amounts(&map->json, tally);
		json_object_end(&map->json);
		map->in_mapping = false;
	}
}

/* If it failed, what was found until then counts. */
static void count_vma(struct map *map, int error)
{
	const struct vma *vma = &map->list.vmas[map->nr_read];
	struct tally *tally = &map->tallies[map->nr_read];

	end_vma(map, tally);
	if (error && !tally->nr)
		return;
	tally_add_all(&map->total, tally);
	map->total_size += vma->end - vma->start;
	map->nr_read++;
}

static int read_all(struct map *map)
{
	__u64 total = vma_list_size(&map->list);
	int error = 0;

	/* Extents are progress enough. */
	progress_begin(&map->progress, "reading page tables", false);
	if (map->show_extents && !map->as_json)
		map->progress.enabled = false;

	while (map->nr_read < map->list.nr && !error) {
		const struct vma *vma = &map->list.vmas[map->nr_read];

		begin_vma(map, vma);
		error = read_vma(map, vma, &map->tallies[map->nr_read]);
		count_vma(map, error);
		progress_bytes(&map->progress, map->total_size, total);
	}
	progress_end(&map->progress);
	return error ? error : target_check(&map->target);
}

/* The columns of the table besides those for each order that occurs */
enum amount {
	AMOUNT_HUGETLB,
	AMOUNT_ZERO,
	AMOUNT_SWAP,
	AMOUNT_MIGRATION,
	AMOUNT_DEVICE,
	AMOUNT_HINT,
	AMOUNT_POISON,
	AMOUNT_ERROR,
	AMOUNT_GONE,
	AMOUNT_HOLE,
	AMOUNT_WRITE,
	NR_AMOUNTS,
};

static const char * const amount_titles[NR_AMOUNTS] = {
	[AMOUNT_HUGETLB] = "HUGETLB",
	[AMOUNT_ZERO] = "ZERO",
	[AMOUNT_SWAP] = "SWAP",
	[AMOUNT_MIGRATION] = "MIGR",
	[AMOUNT_DEVICE] = "DEVICE",
	[AMOUNT_HINT] = "HINT",
	[AMOUNT_POISON] = "POISON",
	[AMOUNT_ERROR] = "ERROR",
	[AMOUNT_GONE] = "GONE",
	[AMOUNT_HOLE] = "HOLE",
	[AMOUNT_WRITE] = "WRITE",
};

struct amounts {
	__u64 mapped[NR_ORDERS];
	__u64 other[NR_AMOUNTS];
};

static __u64 *amount_of(struct amounts *amounts, const struct tally_entry *entry, bool hugetlb)
{
	switch (entry->kind) {
	case HMM_MIRROR_KIND_ZERO:
		return &amounts->other[AMOUNT_ZERO];
	case HMM_MIRROR_KIND_SWAP:
		return &amounts->other[AMOUNT_SWAP];
	case HMM_MIRROR_KIND_MIGRATION:
		return &amounts->other[AMOUNT_MIGRATION];
	case HMM_MIRROR_KIND_DEVICE_PRIVATE:
	case HMM_MIRROR_KIND_DEVICE_EXCLUSIVE:
		return &amounts->other[AMOUNT_DEVICE];
	case HMM_MIRROR_KIND_PROT_NONE:
		return &amounts->other[AMOUNT_HINT];
	case HMM_MIRROR_KIND_HWPOISON:
	case HMM_MIRROR_KIND_POISON:
		return &amounts->other[AMOUNT_POISON];
	case HMM_MIRROR_KIND_NO_VMA:
		return &amounts->other[AMOUNT_GONE];
	}
	if (entry->error)
		return &amounts->other[AMOUNT_ERROR];
	if (!entry->valid)
		return &amounts->other[AMOUNT_HOLE];
	if (hugetlb)
		return &amounts->other[AMOUNT_HUGETLB];
	return &amounts->mapped[entry->order < NR_ORDERS ? entry->order : 0];
}

static void add_amounts(struct amounts *amounts, const struct tally *tally, bool hugetlb)
{
	for (size_t i = 0; i < tally->nr; i++)
		*amount_of(amounts, &tally->entries[i], hugetlb) += tally->entries[i].bytes;
	amounts->other[AMOUNT_WRITE] += tally_writable(tally);
}

/* Why the mirror refuses all or part of the mapping, where permissions do not say it */
static const char *refusal(const struct tally *tally)
{
	static const struct {
		unsigned int kind;
		const char *text;
	} refusals[] = {
		{ HMM_MIRROR_KIND_IO, " (io)" },
		{ HMM_MIRROR_KIND_SECRETMEM, " (secretmem)" },
		{ HMM_MIRROR_KIND_GUARD, " (guard)" },
		{ HMM_MIRROR_KIND_SPECIAL, " (special)" },
		{ HMM_MIRROR_KIND_BAD, " (CORRUPT)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		if (tally_kind(tally, refusals[i].kind))
			return refusals[i].text;
	return "";
}

/* Which columns there are: those that are not empty, and some always. */
static bool shows_order(const struct amounts *total, unsigned int order)
{
	return !order || total->mapped[order];
}

static bool shows_amount(const struct amounts *total, unsigned int amount)
{
	return amount == AMOUNT_HOLE || amount == AMOUNT_WRITE || total->other[amount];
}

static void add_row(struct table *table, const struct amounts *total, const struct tally *tally,
		    const struct amounts *amounts, bool show_nodes)
{
	for (unsigned int i = 0; i < NR_ORDERS; i++)
		if (shows_order(total, i))
			table_cell(table, "%s", format_size_short(amounts->mapped[i]).text);
	for (unsigned int i = 0; i < NR_AMOUNTS; i++)
		if (shows_amount(total, i))
			table_cell(table, "%s", format_size_short(amounts->other[i]).text);
	if (show_nodes) {
		char *nodes = tally_nodes(tally);

		table_cell(table, "%s", nodes);
		free(nodes);
	}
}

/* A machine without other nodes has only "0" and "-". */
static bool has_many_nodes(const struct tally *total)
{
	char *nodes = tally_nodes(total);
	bool many = strcmp(nodes, "-") && strcmp(nodes, "0");

	free(nodes);
	return many;
}

static void print_table(const struct map *map)
{
	unsigned int page_size = map->target.device.info.page_size;
	bool show_nodes = has_many_nodes(&map->total);
	struct text order_titles[NR_ORDERS];
	struct amounts total = { 0 };
	struct table table = { 0 };

	for (size_t i = 0; i < map->nr_read; i++)
		add_amounts(&total, &map->tallies[i], map->list.vmas[i].hugetlb);

	table_column(&table, "ADDRESS", TABLE_RIGHT);
	table_column(&table, "PERM", TABLE_LEFT);
	table_column(&table, "SIZE", TABLE_RIGHT);
	for (unsigned int i = 0; i < NR_ORDERS; i++) {
		if (!shows_order(&total, i))
			continue;
		order_titles[i] = format_order(page_size, i);
		table_column(&table, order_titles[i].text, TABLE_RIGHT);
	}
	for (unsigned int i = 0; i < NR_AMOUNTS; i++)
		if (shows_amount(&total, i))
			table_column(&table, amount_titles[i], TABLE_RIGHT);
	if (show_nodes)
		table_column(&table, "NODE", TABLE_RIGHT);
	table_column(&table, "NAME", TABLE_LEFT);

	for (size_t i = 0; i < map->nr_read; i++) {
		const struct vma *vma = &map->list.vmas[i];
		struct amounts amounts = { 0 };

		add_amounts(&amounts, &map->tallies[i], vma->hugetlb);
		table_cell(&table, "%llx-%llx", vma->start, vma->end);
		table_cell(&table, "%s", vma->permissions);
		table_cell(&table, "%s", format_size_short(vma->end - vma->start).text);
		add_row(&table, &total, &map->tallies[i], &amounts, show_nodes);
		table_cell(&table, "%s%s", vma_name(vma), refusal(&map->tallies[i]));
	}

	table_cell(&table, "total");
	table_cell(&table, "%s", "");
	table_cell(&table, "%s", format_size_short(map->total_size).text);
	add_row(&table, &total, &map->total, &total, show_nodes);
	table_cell(&table, "%zu mapping%s", map->nr_read, map->nr_read == 1 ? "" : "s");
	table_print(&table, stdout, terminal_width(stdout));
}

static size_t count_changed(const struct map *map)
{
	size_t changed = 0;

	for (size_t i = 0; i < map->nr_read; i++)
		changed += tally_kind(&map->tallies[i], HMM_MIRROR_KIND_NO_VMA) != 0;
	return changed;
}

/* Only what the mirror can be asked for and the user asked for; then nothing is removed. */
static void clip_list(struct map *map)
{
	size_t nr = 0;

	/* The vsyscall page is listed, but it is the kernel's. */
	vma_list_remove(&map->list, map->target.device.info.task_size, ULLONG_MAX);
	vma_list_cut(&map->list, &map->ranges);
	for (size_t i = 0; i < map->list.nr; i++) {
		struct vma *vma = &map->list.vmas[i];

		if (vma->start < vma->end)
			map->list.vmas[nr++] = *vma;
	}
	map->list.nr = nr;
}

static bool read_list(struct map *map)
{
	struct target *target = &map->target;
	bool hugetlb = target->device.info.features & HMM_MIRROR_FEATURE_HUGETLB;
	int error = vma_list_read(&map->list, &target->process, &map->ranges);

	if (!error && hugetlb)
		error = vma_list_find_hugetlb(&map->list, &target->process, &map->ranges);
	/* A list that is short because the process went away in the meantime is useless. */
	if (!error)
		error = target_check(target);
	if (error == -ESRCH) {
		complain("process %d exited or called execve() while it was read (ESRCH)",
			 target->process.pid);
		return false;
	}
	if (error) {
		complain("cannot read /proc/%d/maps: %s (%s)", target->process.pid,
			 strerror(-error), error_name(-error));
		return false;
	}
	clip_list(map);
	if (!map->list.nr)
		return true;

	map->tallies = calloc(map->list.nr, sizeof(*map->tallies));
	if (!map->tallies)
		complain("out of memory");
	return map->tallies;
}

static void complain_read(const struct map *map, int error)
{
	switch (error) {
	case ESRCH:
		complain("process %d exited or called execve() while it was read (ESRCH): this is not all of it",
			 map->target.process.pid);
		break;
	case ETIMEDOUT:
		complain("timed out at 0x%llx (ETIMEDOUT): this is not all of it", map->failed_at);
		break;
	case EPERM:
		complain("the open file belongs to another process (EPERM)");
		break;
	case EIO:
		complain("0x%llx: the module does not get on with this mapping", map->failed_at);
		break;
	default:
		complain("0x%llx: cannot read this mapping: %s (%s)", map->failed_at,
			 strerror(error), error_name(error));
	}
}

static void print_nothing(const struct map *map)
{
	for (size_t i = 0; i < map->ranges.nr; i++)
		printf("nothing is mapped in 0x%llx-0x%llx\n", map->ranges.ranges[i].start,
		       map->ranges.ranges[i].end);
}

/* The ranges in which nothing is mapped, if others have something */
static void print_empty_ranges(const struct map *map)
{
	bool any = false;

	for (size_t i = 0; i < map->ranges.nr; i++) {
		const struct address_range *range = &map->ranges.ranges[i];
		size_t index = vma_list_find(&map->list, range->start);

		if (index < map->list.nr && map->list.vmas[index].start < range->end)
			continue;
		printf("%snothing is mapped in 0x%llx-0x%llx\n", any ? "" : "\n", range->start,
		       range->end);
		any = true;
	}
}

static void begin_report(struct map *map)
{
	const struct hmm_mirror_info *info = &map->target.device.info;
	const struct process *process = &map->target.process;
	struct json *json = &map->json;

	if (!map->as_json) {
		printf("process %d (%s)\n\n", process->pid, process->printable_name);
		if (map->show_extents && map->list.nr)
			print_extent_titles(map);
		return;
	}
	/* A line for each mapping, or for each extent */
	json_init(json, stdout, map->show_extents ? 4 : 2);
	json_object_begin(json, NULL);
	json_signed(json, "pid", process->pid);
	json_string(json, "name", process->name);
	json_unsigned(json, "page_size", info->page_size);
	json_boolean(json, "pfns_visible", info->features & HMM_MIRROR_FEATURE_PFNS_VISIBLE);
	json_array_begin(json, "mappings");
}

static void end_report_text(const struct map *map)
{
	size_t changed = count_changed(map);

	if (!map->list.nr) {
		print_nothing(map);
		return;
	}
	if (!map->show_extents && map->nr_read)
		print_table(map);
	print_empty_ranges(map);
	if (changed)
		printf("\n%zu mapping%s changed while the table was made: what is gone is not an error.\n",
		       changed, changed == 1 ? "" : "s");
}

static void end_report_json(struct map *map, int error)
{
	struct json *json = &map->json;

	json_array_end(json);
	json_object_begin(json, "total");
	json_unsigned(json, "size", map->total_size);
	json_amounts(json, &map->total);
	json_object_end(json);
	json_unsigned(json, "changed_mappings", count_changed(map));
	json_boolean(json, "complete", !error);
	json_object_end(json);
}

static int end_report(struct map *map, int error)
{
	tally_sort(&map->total);
	if (map->as_json)
		end_report_json(map, error);
	else
		end_report_text(map);
	if (!error)
		return EXIT_STATUS_OK;
	complain_read(map, -error);
	return EXIT_STATUS_FAILED;
}

/* A call into the kernel does not return. */
static int finish(void *data, int error)
{
	struct map *map = data;

	progress_end(&map->progress);
	if (!map->tallies) {
		complain("process %d: its list of mappings cannot be read in time (%s)",
			 map->target.process.pid, error_name(error));
		return EXIT_STATUS_FAILED;
	}
	if (map->nr_read < map->list.nr) {
		map->failed_at = map->list.vmas[map->nr_read].start;
		count_vma(map, -error);
	}
	return end_report(map, -error);
}

static int run(struct map *map, pid_t pid)
{
	int error;

	if (!target_open(&map->target, pid) || !target_check_ranges(&map->target, &map->ranges))
		return EXIT_STATUS_FAILED;
	if (map->timeout_ms)
		map->deadline = now_nanoseconds() + map->timeout_ms * NANOSECONDS_PER_MILLISECOND;
	if (!interruption_begin(false, map->deadline, finish, map))
		return EXIT_STATUS_FAILED;
	if (!read_list(map))
		return EXIT_STATUS_FAILED;

	begin_report(map);
	error = read_all(map);
	interruption_end();
	return end_report(map, error);
}

static void print_help(void)
{
	fputs("Usage: hmmctl map [PID] [--range RANGE]... [--extents] [--timeout MS] [--json]\n"
	      "Show the address space of process PID, or of hmmctl itself, as a device's mirror\n"
	      "sees it: how much of each mapping is mapped in pages of which size, and what the\n"
	      "rest is. Nothing is faulted in.\n"
	      "\n"
	      "  -p, --pid PID      the same as PID alone\n"
	      "  -r, --range RANGE  only START-END (hexadecimal, as in /proc/PID/maps) or\n"
	      "                     0xSTART+LENGTH; may be given several times\n"
	      "  -e, --extents      list every extent, instead of the table\n"
	      "  -t, --timeout MS   give up after MS milliseconds (0, the default: never)\n"
	      "  -j, --json         print a JSON document\n"
	      "  -h, --help         this text\n"
	      "\n"
	      "Columns; empty ones are left out, except the first one, HOLE and WRITE:\n"
	      "  4K 2M 1G  memory mapped in pages of this size\n"
	      "  HUGETLB   memory of hugetlbfs\n"
	      "  ZERO      the zero page\n"
	      "  SWAP      swapped out\n"
	      "  MIGR      being migrated\n"
	      "  DEVICE    in a device's own memory, or in its exclusive use\n"
	      "  HINT      in memory, unmapped by NUMA balancing\n"
	      "  POISON    hardware memory error, poison marker\n"
	      "  ERROR     can never be mirrored; NAME says why: not readable if nothing else\n"
	      "  GONE      unmapped while the address space was read\n"
	      "  HOLE      nothing there yet\n"
	      "  WRITE     how much of this is mapped writable\n"
	      "  NODE      NUMA nodes of the memory; left out if all of it is on node 0\n", stdout);
}

int cmd_map(int argc, char **argv)
{
	static const struct option options[] = {
		{ "pid", required_argument, NULL, 'p' },
		{ "range", required_argument, NULL, 'r' },
		{ "timeout", required_argument, NULL, 't' },
		{ "extents", no_argument, NULL, 'e' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	/* Too large for the stack, and it should not be seen growing in our own map. */
	static struct map map;
	char *error;
	pid_t pid = 0;
	int option;

	while ((option = getopt_long(argc, argv, "p:r:t:ejh", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			error = range_list_parse(&map.ranges, optarg);
			if (error)
				return usage_error_free(error);
			break;
		case 'p':
			error = parse_pid(optarg, &pid);
			if (error)
				return usage_error_free(error);
			break;
		case 't':
			if (!parse_number(optarg, &map.timeout_ms) || map.timeout_ms > UINT_MAX)
				return usage_error("'%s' is not a number of milliseconds", optarg);
			break;
		case 'e':
			map.show_extents = true;
			break;
		case 'j':
			map.as_json = true;
			break;
		case 'h':
			print_help();
			return EXIT_STATUS_OK;
		default:
			return usage_hint();
		}
	}
	if (optind < argc && !pid) {
		error = parse_pid(argv[optind++], &pid);
		if (error)
			return usage_error_free(error);
	}
	if (optind < argc)
		return usage_error("unexpected argument '%s'", argv[optind]);

	return run(&map, pid);
}
