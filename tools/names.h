/* SPDX-License-Identifier: GPL-2.0 */
/* The numbers of the ioctl ABI in words. */
#ifndef HMMCTL_NAMES_H
#define HMMCTL_NAMES_H

#include <linux/hmm_mirror.h>

/* "present"; "unknown" for what this hmmctl does not know */
const char *kind_name(unsigned int kind);

/* Why a page fault for a page of this kind fails with EFAULT */
const char *kind_refusal(unsigned int kind);

/* Events of other kinds than these are counted as HMM_MIRROR_EVENT_OTHER. */
#define NR_EVENT_KINDS	(HMM_MIRROR_EVENT_OTHER + 1)

unsigned int event_kind_index(__u32 kind);
/* "protection-page" */
const char *event_kind_name(unsigned int index);
/* "prot-page" for columns */
const char *event_kind_short_name(unsigned int index);
/* What user space or the kernel did to make the event */
const char *event_kind_cause(unsigned int index);

/* What a bit of hmm_mirror_info.features means if it is set, and if not */
struct feature_description {
	__u64 bit;
	const char *name;
	const char *present;
	const char *absent;
};

extern const struct feature_description feature_descriptions[];
extern const unsigned int nr_feature_descriptions;

#endif /* HMMCTL_NAMES_H */
