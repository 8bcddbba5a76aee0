// SPDX-License-Identifier: GPL-2.0
#include <linux/timer.h>

void probe(struct timer_list *timer);
void probe(struct timer_list *timer)
{
	timer_destroy_on_stack(timer);
}
