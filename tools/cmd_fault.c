// SPDX-License-Identifier: GPL-2.0
/* hmmctl fault */
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
/*
 * One call does at most this much, and takes at most this long, so that progress can be
 * shown.
 */
#define BYTES_PER_CALL		(256ULL << 20)
#define TIME_PER_CALL		(NANOSECONDS_PER_SECOND / 4)

struct fault {
	struct target target;
	struct address_range range;
	bool write;
	bool show_progress;
	bool as_json;
	/* 0: none */
	__u64 timeout_ms;
	__u64 deadline;
	struct progress progress;

	/* Everything below it is done */
	__u64 done;
	__u64 nr_calls;
	__u64 nr_faults;
	__u64 nr_walks;
	__u64 nr_restarts;
	__u64 nr_slots;
	__u64 nanoseconds;
	struct tally tally;
	struct hmm_mirror_extent_info extents[EXTENTS_PER_CALL];

	/* What went wrong; 0 if nothing did */
	int error;
	/* Where, and in which mapping if any; only if the error is about an address */
	bool has_address;
	__u64 address;
	char *mapping;
	const char *reason;
};

/* 0 or a negative errno; then ->fault_addr in @arguments says where */
static int fault_once(struct fault *fault, struct hmm_mirror_range_args *arguments)
{
	__u64 chunk_end = (fault->done / BYTES_PER_CALL + 1) * BYTES_PER_CALL;
	__u64 now = now_nanoseconds();
	__u64 left = TIME_PER_CALL;
	__u64 begun_at = fault->done;
	int error;

	*arguments = (struct hmm_mirror_range_args){
		.flags = HMM_MIRROR_RANGE_FAULT | (fault->write ? HMM_MIRROR_RANGE_WRITE : 0),
		.start = fault->done,
		.end = chunk_end < fault->range.end ? chunk_end : fault->range.end,
		.extents = (__u64)(uintptr_t)fault->extents,
		.nr_extents = EXTENTS_PER_CALL,
	};
	if (interruption())
		return -interruption();
	if (fault->deadline && now >= fault->deadline)
		return -ETIMEDOUT;
	if (fault->deadline && fault->deadline - now < left)
		left = fault->deadline - now;
	arguments->timeout_ms = (__u32)((left + NANOSECONDS_PER_MILLISECOND - 1) /
					NANOSECONDS_PER_MILLISECOND);

	error = device_range(&fault->target.device, arguments);

	/*
	 * They are written on failure too; a call that failed before it began left them
	 * as they were.
	 */
	fault->nr_calls++;
	fault->nr_faults += arguments->nr_faults;
	fault->nr_walks += arguments->nr_walks;
	fault->nr_restarts += arguments->nr_restarts;
	fault->nr_slots += arguments->nr_slots;
	fault->nanoseconds += arguments->nanoseconds;
	if (arguments->next > fault->done) {
		for (__u32 i = 0; i < arguments->nr_extents; i++)
			tally_add(&fault->tally, &fault->extents[i],
				  fault->target.device.info.page_size);
		fault->done = arguments->next;
	}
	/*
	 * The call's time is up, not ours; or it was woken by a signal that is not meant
	 * to end us.
	 */
	if (error == -ETIMEDOUT || error == -EINTR)
		return 0;
	if (!error && fault->done == begun_at)
		return -EIO;
	return error;
}

static char *mapping_name(const struct fault *fault, __u64 address, bool *writable)
{
	struct vma_list list = { 0 };
	char *name = NULL;

	*writable = false;
	if (!vma_list_read(&list, &fault->target.process, NULL)) {
		size_t index = vma_list_find(&list, address);

		if (index < list.nr && list.vmas[index].start <= address) {
			name = duplicate_string(vma_name(&list.vmas[index]));
			*writable = list.vmas[index].permissions[1] == 'w';
		}
	}
	vma_list_free(&list);
	return name;
}

static const char *address_reason(const struct fault *fault, bool writable_mapping)
{
	struct hmm_mirror_extent_info extent;

	switch (fault->error) {
	case EPERM:
		return writable_mapping ? "write to a shadow stack, which only the CPU writes" :
					  "write to a read-only mapping";
	case EHWPOISON:
		return "the page has a hardware memory error";
	case ENOMEM:
		return "no memory for the page";
	default:
		/* What is there tells why; the errno alone does not. */
		if (device_read_page(&fault->target.device, fault->address, &extent))
			return kind_refusal(extent.kind);
		return "the address cannot be mirrored";
	}
}

static const char *general_reason(int error)
{
	switch (error) {
	case EINVAL:
		return "the module refuses the range";
	case EPERM:
		return "the open file belongs to another process";
	case ENOMEM:
		return "out of memory";
	case EINTR:
		return "interrupted";
	case ETIMEDOUT:
		return "timed out";
	case ESRCH:
		return "the process has exited or called execve()";
	case EFAULT:
	case EHWPOISON:
		return "the module does not say at which address";
	case EIO:
		return "the module does not get on with this range";
	default:
		return strerror(error);
	}
}

static void explain(struct fault *fault, __u64 fault_addr)
{
	bool writable;

	/* 0 if nothing failed at an address, unless 0 was asked for. */
	switch (fault->error) {
	case EFAULT:
	case EHWPOISON:
		fault->has_address = fault_addr >= fault->range.start &&
				     fault_addr < fault->range.end;
		break;
	case EPERM:
	case ENOMEM:
		fault->has_address = fault_addr >= fault->range.start &&
				     fault_addr < fault->range.end && fault_addr;
		break;
	}
	/* For example, memory that is taken from a process that is being killed */
	if (fault->error != EINTR && fault->error != ETIMEDOUT && target_check(&fault->target)) {
		fault->has_address = false;
		fault->error = ESRCH;
	}
	if (!fault->has_address) {
		fault->reason = general_reason(fault->error);
		return;
	}

	fault->address = fault_addr;
	fault->mapping = mapping_name(fault, fault_addr, &writable);
	fault->reason = address_reason(fault, writable);
}

static void fault_all(struct fault *fault)
{
	__u64 length = fault->range.end - fault->range.start;
	struct hmm_mirror_range_args arguments = { 0 };
	int error = 0;

	progress_begin(&fault->progress, "faulting", fault->show_progress);
	while (!error && fault->done < fault->range.end) {
		error = fault_once(fault, &arguments);
		progress_bytes(&fault->progress, fault->done - fault->range.start, length);
	}
	progress_end(&fault->progress);
	if (!error)
		error = target_check(&fault->target);
	if (error) {
		fault->error = -error;
		explain(fault, arguments.fault_addr);
	}
}

static void print_result(const struct fault *fault)
{
	unsigned int page_size = fault->target.device.info.page_size;
	__u64 length = fault->range.end - fault->range.start;
	__u64 done = fault->done - fault->range.start;
	struct table table = { 0 };

	printf("process %d (%s)\n\n", fault->target.process.pid,
	       fault->target.process.printable_name);
	printf("range     0x%llx-0x%llx, %s, for %s\n", fault->range.start, fault->range.end,
	       format_size(length).text, fault->write ? "writing" : "reading");
	if (fault->has_address)
		printf("failed    at 0x%llx, %s from the start\n", fault->address,
		       format_size(fault->address - fault->range.start).text);
	else if (done < length)
		printf("complete  up to 0x%llx, %s\n", fault->done, format_size(done).text);
	printf("time      %s", format_duration(fault->nanoseconds).text);
	if (done == length)
		printf(", %s/s",
		       format_size((__u64)rate_per_second(done, fault->nanoseconds)).text);
	putchar('\n');
	printf("faults    %llu\n", fault->nr_faults);
	printf("walks     %llu\n", fault->nr_walks);
	printf("restarts  %llu\n", fault->nr_restarts);
	printf("slots     %llu\n", fault->nr_slots);
	if (!fault->tally.nr)
		return;

	putchar('\n');
	table_column(&table, "KIND", TABLE_LEFT);
	table_column(&table, "MAPPED IN", TABLE_RIGHT);
	table_column(&table, "BYTES", TABLE_RIGHT);
	table_column(&table, "WRITE", TABLE_RIGHT);
	table_column(&table, "NODE", TABLE_RIGHT);
	for (size_t i = 0; i < fault->tally.nr; i++) {
		const struct tally_entry *entry = &fault->tally.entries[i];

		table_cell(&table, "%s", kind_name(entry->kind));
		table_cell(&table, "%s", entry->valid ?
			   format_order(page_size, entry->order).text : "-");
		table_cell(&table, "%s", format_size_short(entry->bytes).text);
		table_cell(&table, "%s", format_size_short(entry->writable_bytes).text);
		if (entry->node < 0)
			table_cell(&table, "-");
		else
			table_cell(&table, "%d", entry->node);
	}
	table_print(&table, stdout, 0);
}

static void print_json(const struct fault *fault)
{
	struct json json;

	json_init(&json, stdout, 2);
	json_object_begin(&json, NULL);
	json_signed(&json, "pid", fault->target.process.pid);
	json_string(&json, "name", fault->target.process.name);
	json_address(&json, "start", fault->range.start);
	json_address(&json, "end", fault->range.end);
	json_boolean(&json, "write", fault->write);
	json_address(&json, "next", fault->done);
	json_unsigned(&json, "calls", fault->nr_calls);
	json_unsigned(&json, "faults", fault->nr_faults);
	json_unsigned(&json, "walks", fault->nr_walks);
	json_unsigned(&json, "restarts", fault->nr_restarts);
	json_unsigned(&json, "slots", fault->nr_slots);
	json_seconds(&json, "seconds", fault->nanoseconds);
	tally_json(&fault->tally, &json, "amounts");
	if (fault->error) {
		json_object_begin(&json, "error");
		json_string(&json, "errno", error_name(fault->error));
		if (fault->has_address)
			json_address(&json, "address", fault->address);
		else
			json_null(&json, "address");
		if (fault->mapping)
			json_string(&json, "mapping", fault->mapping);
		else
			json_null(&json, "mapping");
		json_string(&json, "reason", fault->reason);
		json_object_end(&json);
	} else {
		json_null(&json, "error");
	}
	json_object_end(&json);
}

static void complain_fault(struct fault *fault)
{
	if (fault->has_address)
		complain("0x%llx%s%s%s: %s (%s)", fault->address, fault->mapping ? " (" : "",
			 fault->mapping ? fault->mapping : "", fault->mapping ? ")" : "",
			 fault->reason, error_name(fault->error));
	else if (fault->error == EINTR || fault->error == ETIMEDOUT || fault->error == ESRCH)
		complain("%s; %s of %s is complete, up to 0x%llx (%s)", fault->reason,
			 format_size(fault->done - fault->range.start).text,
			 format_size(fault->range.end - fault->range.start).text, fault->done,
			 error_name(fault->error));
	else
		complain("0x%llx-0x%llx: %s (%s)", fault->range.start, fault->range.end,
			 fault->reason, error_name(fault->error));
}

static int report(struct fault *fault)
{
	tally_sort(&fault->tally);
	if (fault->as_json)
		print_json(fault);
	else
		print_result(fault);
	if (!fault->error)
		return EXIT_STATUS_OK;

	complain_fault(fault);
	free(fault->mapping);
	return EXIT_STATUS_FAILED;
}

/* The call into the kernel does not return: what it has done so far is unknown. */
static int finish(void *data, int error)
{
	struct fault *fault = data;

	progress_end(&fault->progress);
	fault->error = error;
	fault->reason = general_reason(error);
	return report(fault);
}

static int run(struct fault *fault, pid_t pid)
{
	if (!target_open(&fault->target, pid) || !target_check_range(&fault->target, &fault->range))
		return EXIT_STATUS_FAILED;

	fault->done = fault->range.start;
	if (fault->timeout_ms)
		fault->deadline = now_nanoseconds() +
				  fault->timeout_ms * NANOSECONDS_PER_MILLISECOND;
	if (!interruption_begin(true, fault->deadline, finish, fault))
		return EXIT_STATUS_FAILED;
	fault_all(fault);
	interruption_end();
	return report(fault);
}

static void print_help(void)
{
	fputs("Usage: hmmctl fault --pid PID START LENGTH [OPTION]...\n"
	      "  or:  hmmctl fault --pid PID START-END [OPTION]...\n"
	      "Fault in a range of addresses as a device's driver does, and show the outcome.\n"
	      "If it is interrupted or fails, it shows the outcome until then.\n"
	      "\n"
	      "Addresses are hexadecimal: START with 0x; START-END, as in /proc/PID/maps, also\n"
	      "without. LENGTH is decimal, or hexadecimal with 0x, and may end in K, M, G or T.\n"
	      "\n"
	      "  -p, --pid PID     in the address space of process PID\n"
	      "  -w, --write       for writing: breaks copy-on-write\n"
	      "  -t, --timeout MS  give up after MS milliseconds (0, the default: never)\n"
	      "      --progress    show progress even if standard error is not a terminal\n"
	      "  -j, --json        print a JSON document\n"
	      "  -h, --help        this text\n", stdout);
}

/* START-END, or START and LENGTH; NULL, or why not */
static char *parse_arguments(int nr, char **words, struct address_range *range)
{
	if (nr == 1)
		return parse_range(words[0], range);
	if (nr == 2)
		return parse_start_and_length(words[0], words[1], range);
	return duplicate_string("a range is needed: START LENGTH or START-END");
}

int cmd_fault(int argc, char **argv)
{
	enum { OPTION_PROGRESS = CHAR_MAX + 1 };
	static const struct option options[] = {
		{ "pid", required_argument, NULL, 'p' },
		{ "write", no_argument, NULL, 'w' },
		{ "timeout", required_argument, NULL, 't' },
		{ "progress", no_argument, NULL, OPTION_PROGRESS },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	static struct fault fault;
	char *error;
	pid_t pid = 0;
	int option;
	int status;

	while ((option = getopt_long(argc, argv, "p:wt:jh", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			error = parse_pid(optarg, &pid);
			if (error)
				return usage_error_free(error);
			break;
		case 'w':
			fault.write = true;
			break;
		case 't':
			if (!parse_number(optarg, &fault.timeout_ms) ||
			    fault.timeout_ms > UINT_MAX)
				return usage_error("'%s' is not a number of milliseconds", optarg);
			break;
		case OPTION_PROGRESS:
			fault.show_progress = true;
			break;
		case 'j':
			fault.as_json = true;
			break;
		case 'h':
			print_help();
			return EXIT_STATUS_OK;
		default:
			return usage_hint();
		}
	}
	error = parse_arguments(argc - optind, argv + optind, &fault.range);
	if (error)
		return usage_error_free(error);
	if (!pid)
		return usage_error("a process is needed: --pid PID");

	status = run(&fault, pid);
	tally_free(&fault.tally);
	return status;
}
