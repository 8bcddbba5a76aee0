/* SPDX-License-Identifier: GPL-2.0 */
/* How much kernel memory all files that a user has opened may take. */
#ifndef HMM_MIRROR_DEVICE_USER_H
#define HMM_MIRROR_DEVICE_USER_H

#include <linux/types.h>
#include <linux/uidgid.h>

struct device_user;

/* Limits; fixed once device_user_init() has been called. */
extern unsigned int device_user_max_watches;
extern unsigned int device_user_max_events;

void device_user_init(unsigned int events_of_file);
struct device_user *device_user_get(kuid_t uid);
void device_user_put(struct device_user *user, unsigned int nr_events);
bool device_user_charge_watch(struct device_user *user);
void device_user_uncharge_watch(struct device_user *user);
bool device_user_charge_events(struct device_user *user, unsigned int nr);
void device_user_uncharge_events(struct device_user *user, unsigned int nr);

#endif /* HMM_MIRROR_DEVICE_USER_H */
