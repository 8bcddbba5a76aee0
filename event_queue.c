// SPDX-License-Identifier: GPL-2.0
/* A bounded queue of invalidation events, see struct event_queue. */
#include <linux/mm.h>
#include <linux/poll.h>

#include "event_queue.h"
#include "internal.h"

void event_queue_init(struct event_queue *queue)
{
	spin_lock_init(&queue->lock);
	init_waitqueue_head(&queue->wait);
}

/*
 * Memory for @capacity events, charged to the caller. Done once, before the
 * first event_queue_add(). Returns 0 or -ENOMEM.
 */
int event_queue_allocate(struct event_queue *queue, unsigned int capacity)
{
	/* How many is the administrator's choice: no warning if it is too many. */
	queue->ring = kvcalloc(capacity, sizeof(*queue->ring),
			       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!queue->ring)
		return -ENOMEM;
	queue->capacity = capacity;
	return 0;
}

void event_queue_destroy(struct event_queue *queue)
{
	kvfree(queue->ring);
}

/* Never sleeps and never fails: what finds no room is counted. */
void event_queue_add(struct event_queue *queue,
		     const struct hmm_mirror_event *event)
{
	spin_lock(&queue->lock);
	if (queue->lost || queue->nr == queue->capacity) {
		queue->lost++;
		hmm_mirror_count(events_lost, 1);
	} else {
		queue->ring[(queue->head + queue->nr) % queue->capacity] =
			*event;
		queue->nr++;
		hmm_mirror_count(events, 1);
	}
	spin_unlock(&queue->lock);
	wake_up_interruptible_poll(&queue->wait, EPOLLIN | EPOLLRDNORM);
}

/*
 * Copies up to @nr of the oldest events to @events and returns how many. They
 * stay queued until event_queue_consume(): a reader whose memory turns out to be
 * bad loses nothing. Readers exclude each other.
 */
unsigned int event_queue_peek(struct event_queue *queue,
			      struct hmm_mirror_event *events, unsigned int nr)
{
	unsigned int i;

	spin_lock(&queue->lock);
	for (i = 0; i < nr && i < queue->nr; i++)
		events[i] = queue->ring[(queue->head + i) % queue->capacity];
	if (i < nr && queue->lost)
		events[i++] = (struct hmm_mirror_event){
			.kind = HMM_MIRROR_EVENT_LOST,
			.lost = queue->lost,
		};
	spin_unlock(&queue->lock);
	return i;
}

/* Removes the @nr events that event_queue_peek() gave. */
void event_queue_consume(struct event_queue *queue,
			 const struct hmm_mirror_event *events, unsigned int nr)
{
	unsigned int i;

	spin_lock(&queue->lock);
	for (i = 0; i < nr; i++) {
		if (events[i].kind == HMM_MIRROR_EVENT_LOST) {
			/* More can have been lost meanwhile. */
			queue->lost -= events[i].lost;
			continue;
		}
		queue->head = (queue->head + 1) % queue->capacity;
		queue->nr--;
	}
	spin_unlock(&queue->lock);
}

bool event_queue_empty(struct event_queue *queue)
{
	bool empty;

	spin_lock(&queue->lock);
	empty = !queue->nr && !queue->lost;
	spin_unlock(&queue->lock);
	return empty;
}
