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
 * Allocates memory for @capacity events, charged to the caller. Called once, before the
 * first event_queue_add(). Returns 0 or -ENOMEM.
 */
int event_queue_allocate(struct event_queue *queue, unsigned int capacity)
{
	/* The administrator chooses the size: no warning if it is too large. */
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

/*
 * Never sleeps and never fails: events that find no room are counted. Adds nothing once
 * event_queue_close() has set *@closed.
 */
void event_queue_add(struct event_queue *queue,
		     const struct hmm_mirror_event *event, const bool *closed)
{
	spin_lock(&queue->lock);
	if (*closed) {
		spin_unlock(&queue->lock);
		return;
	}
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

/* When it returns, everybody who adds events with @closed is done, or will add none. */
void event_queue_close(struct event_queue *queue, bool *closed)
{
	spin_lock(&queue->lock);
	*closed = true;
	spin_unlock(&queue->lock);
}

/*
 * Copies up to @nr of the oldest events to @events and returns how many it copied. They
 * stay queued until event_queue_consume(): nothing is lost if the reader's memory turns
 * out to be bad. Only one reader at a time.
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

/* Removes the @nr events that event_queue_peek() returned. */
void event_queue_consume(struct event_queue *queue,
			 const struct hmm_mirror_event *events, unsigned int nr)
{
	unsigned int i;

	spin_lock(&queue->lock);
	for (i = 0; i < nr; i++) {
		if (events[i].kind == HMM_MIRROR_EVENT_LOST) {
			/* More may have been lost in the meantime. */
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
