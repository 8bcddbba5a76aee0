/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints: /sys/kernel/tracing/events/hmm_mirror/ */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hmm_mirror

#if !defined(HMM_MIRROR_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define HMM_MIRROR_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(hmm_mirror_range,

	TP_PROTO(const struct hmm_mirror_range *range, int err),

	TP_ARGS(range, err),

	TP_STRUCT__entry(
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned long, default_flags)
		__field(unsigned long, nr_faults)
		__field(unsigned long, nr_walks)
		__field(unsigned long, nr_restarts)
		__field(unsigned long, nr_slots)
		__field(unsigned long, fault_addr)
		__field(int, err)
	),

	TP_fast_assign(
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->default_flags = range->default_flags;
		__entry->nr_faults = range->nr_faults;
		__entry->nr_walks = range->nr_walks;
		__entry->nr_restarts = range->nr_restarts;
		__entry->nr_slots = range->nr_slots;
		__entry->fault_addr = range->fault_addr;
		__entry->err = err;
	),

	TP_printk("[%#lx, %#lx) flags %#lx: err %d fault_addr %#lx faults %lu walks %lu restarts %lu slots %lu",
		  __entry->start, __entry->end, __entry->default_flags,
		  __entry->err, __entry->fault_addr, __entry->nr_faults,
		  __entry->nr_walks, __entry->nr_restarts, __entry->nr_slots)
);

TRACE_EVENT(hmm_mirror_fault,

	TP_PROTO(unsigned long addr, bool write, unsigned int result),

	TP_ARGS(addr, write, result),

	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned int, result)
		__field(bool, write)
	),

	TP_fast_assign(
		__entry->addr = addr;
		__entry->result = result;
		__entry->write = write;
	),

	TP_printk("%#lx %s: vm_fault_t %#x", __entry->addr,
		  __entry->write ? "write" : "read", __entry->result)
);

TRACE_EVENT(hmm_mirror_invalidate,

	TP_PROTO(const struct hmm_mirror *mirror,
		 const struct mmu_notifier_range *range),

	TP_ARGS(mirror, range),

	TP_STRUCT__entry(
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned long, sequence)
		__field(unsigned int, event)
	),

	TP_fast_assign(
		__entry->start = hmm_mirror_invalid_start(mirror, range);
		__entry->end = hmm_mirror_invalid_end(mirror, range);
		__entry->sequence = mirror->notifier.invalidate_seq;
		__entry->event = range->event;
	),

	TP_printk("[%#lx, %#lx) %s sequence %lu", __entry->start,
		  __entry->end,
		  __print_symbolic(__entry->event,
				   { MMU_NOTIFY_UNMAP, "unmap" },
				   { MMU_NOTIFY_CLEAR, "clear" },
				   { MMU_NOTIFY_PROTECTION_VMA, "protection-vma" },
				   { MMU_NOTIFY_PROTECTION_PAGE, "protection-page" },
				   { MMU_NOTIFY_SOFT_DIRTY, "soft-dirty" },
				   { MMU_NOTIFY_RELEASE, "release" },
				   { MMU_NOTIFY_MIGRATE, "migrate" },
				   { MMU_NOTIFY_EXCLUSIVE, "exclusive" }),
		  __entry->sequence)
);

#endif /* HMM_MIRROR_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
