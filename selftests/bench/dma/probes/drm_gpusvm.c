// SPDX-License-Identifier: GPL-2.0
/*
 * DRM's helpers for GPUs, v6.16, as they are since v7.3: the driver has pages in a structure
 * of their own.
 */
#include <drm/drm_drv.h>
#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>

int probe(struct drm_gpusvm *gpusvm, struct drm_gpusvm_pages *pages,
	  struct drm_device *drm, struct mmu_interval_notifier *notifier,
	  const struct drm_gpusvm_ctx *ctx);
int probe(struct drm_gpusvm *gpusvm, struct drm_gpusvm_pages *pages,
	  struct drm_device *drm, struct mmu_interval_notifier *notifier,
	  const struct drm_gpusvm_ctx *ctx)
{
	drm_gpusvm_init_pages(pages, drm);
	return drm_gpusvm_get_pages(gpusvm, pages, gpusvm->mm, notifier, 0,
				    PAGE_SIZE, ctx);
}
