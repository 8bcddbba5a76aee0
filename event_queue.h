/* SPDX-License-Identifier: GPL-2.0 */
/* A bounded queue of invalidation events. */
#ifndef HMM_MIRROR_EVENT_QUEUE_H
#define HMM_MIRROR_EVENT_QUEUE_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "uapi/linux/hmm_mirror.h"

/**
 * struct event_queue - events on their way from notifier callbacks to a reader
 * @lock: protects all below; taken in callbacks that must not sleep
 * @ring: the events, oldest at @head
 * @capacity: elements of @ring
 * @head: index of the oldest event
 * @nr: events in @ring
 * @lost: events dropped since @ring became full
 * @wait: readers that wait for an event
 *
 * While @lost is not 0 nothing is added: the reader gets what was queued before
 * the loss, then one event that tells how many are missing, then what came
 * after. So the loss appears in the right place of the stream.
 */
struct event_queue {
	spinlock_t lock; /* ring, head, nr, lost */
	struct hmm_mirror_event *ring;
	unsigned int capacity;
	unsigned int head;
	unsigned int nr;
	u64 lost;
	wait_queue_head_t wait;
};

void event_queue_init(struct event_queue *queue);
int event_queue_allocate(struct event_queue *queue, unsigned int capacity);
void event_queue_destroy(struct event_queue *queue);
void event_queue_add(struct event_queue *queue,
		     const struct hmm_mirror_event *event, const bool *closed);
void event_queue_close(struct event_queue *queue, bool *closed);
unsigned int event_queue_peek(struct event_queue *queue,
			      struct hmm_mirror_event *events, unsigned int nr);
void event_queue_consume(struct event_queue *queue,
			 const struct hmm_mirror_event *events, unsigned int nr);
bool event_queue_empty(struct event_queue *queue);

#endif /* HMM_MIRROR_EVENT_QUEUE_H */
