// SPDX-License-Identifier: GPL-2.0
/* Counters and tracepoints: observing the module at work. */
#include <linux/cpumask.h>
#include <linux/percpu.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

atomic_long_t hmm_mirror_open_files;
atomic_long_t hmm_mirror_subscriptions;
DEFINE_PER_CPU(struct hmm_mirror_counters, hmm_mirror_counters);

/**
 * hmm_mirror_sum_counters() - add up the counters of all CPUs
 * @sum: result
 *
 * Other CPUs go on counting. Counters only grow, so each figure was right at some
 * moment during the call.
 */
void hmm_mirror_sum_counters(struct hmm_mirror_counters *sum)
{
	int cpu;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu) {
		const struct hmm_mirror_counters *counters =
			per_cpu_ptr(&hmm_mirror_counters, cpu);

		/* Pairs with the this_cpu_add() of hmm_mirror_count(). */
		sum->range_calls += READ_ONCE(counters->range_calls);
		sum->range_errors += READ_ONCE(counters->range_errors);
		sum->faults += READ_ONCE(counters->faults);
		sum->walks += READ_ONCE(counters->walks);
		sum->restarts += READ_ONCE(counters->restarts);
		sum->invalidations += READ_ONCE(counters->invalidations);
		sum->events += READ_ONCE(counters->events);
		sum->events_lost += READ_ONCE(counters->events_lost);
		sum->dma_maps += READ_ONCE(counters->dma_maps);
		sum->dma_unmaps += READ_ONCE(counters->dma_unmaps);
		sum->dma_bytes += READ_ONCE(counters->dma_bytes);
	}
}
