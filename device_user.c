// SPDX-License-Identifier: GPL-2.0
/*
 * How much kernel memory all files that a user has opened may take. An open file has
 * limits of its own, but a member of the device's group can open half a million.
 */
#include <linux/hashtable.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "device_user.h"

unsigned int device_user_max_watches = 4096;
module_param_named(max_watches_per_user, device_user_max_watches, uint, 0444);
MODULE_PARM_DESC(max_watches_per_user, "Watches of all files that a user has opened (4096)");

unsigned int device_user_max_events = 128 * 8192;
module_param_named(max_events_per_user, device_user_max_events, uint, 0444);
MODULE_PARM_DESC(max_events_per_user, "Invalidation events that they queue (1048576)");

/**
 * struct device_user - what all open files of a user take
 * @node: in users
 * @uid: the user
 * @nr_files: open files, and closed ones that watches still use
 * @nr_watches: watches, including those that are being removed
 * @nr_events: events that memory was allocated for
 */
struct device_user {
	struct hlist_node node;
	kuid_t uid;
	unsigned long nr_files;
	unsigned int nr_watches;
	unsigned long nr_events;
};

static DEFINE_SPINLOCK(users_lock); /* the table and all that is in it */
static DEFINE_HASHTABLE(users, 6);

/* Called first. @events_of_file is how many events one file queues. */
void device_user_init(unsigned int events_of_file)
{
	/* Otherwise nobody could have a watch. */
	device_user_max_events = max(device_user_max_events, events_of_file);
}

/* Accounts one more file to the user; NULL if there is no memory. */
struct device_user *device_user_get(kuid_t uid)
{
	struct device_user *new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	struct device_user *user;

	if (!new)
		return NULL;
	spin_lock(&users_lock);
	hash_for_each_possible(users, user, node, __kuid_val(uid))
		if (uid_eq(user->uid, uid))
			break;
	if (!user) {
		user = new;
		new = NULL;
		user->uid = uid;
		hash_add(users, &user->node, __kuid_val(uid));
	}
	user->nr_files++;
	spin_unlock(&users_lock);
	kfree(new);
	return user;
}

/* Accounts one file less, and @nr_events that it had memory for. */
void device_user_put(struct device_user *user, unsigned int nr_events)
{
	spin_lock(&users_lock);
	user->nr_events -= nr_events;
	if (--user->nr_files)
		user = NULL;
	else
		hash_del(&user->node);
	spin_unlock(&users_lock);
	kfree(user);
}

/* Returns false if the user already has as many watches as allowed. */
bool device_user_charge_watch(struct device_user *user)
{
	bool fits;

	spin_lock(&users_lock);
	fits = user->nr_watches < device_user_max_watches;
	if (fits)
		user->nr_watches++;
	spin_unlock(&users_lock);
	return fits;
}

void device_user_uncharge_watch(struct device_user *user)
{
	spin_lock(&users_lock);
	user->nr_watches--;
	spin_unlock(&users_lock);
}

/* Returns false if the user may not queue @nr more events. */
bool device_user_charge_events(struct device_user *user, unsigned int nr)
{
	bool fits;

	spin_lock(&users_lock);
	fits = user->nr_events + nr <= device_user_max_events;
	if (fits)
		user->nr_events += nr;
	spin_unlock(&users_lock);
	return fits;
}

void device_user_uncharge_events(struct device_user *user, unsigned int nr)
{
	spin_lock(&users_lock);
	user->nr_events -= nr;
	spin_unlock(&users_lock);
}
