/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the backends of this folder share and nobody else sees.
 */
#ifndef MRMR_DRIVERS_DRIVER_INTERNAL_H
#define MRMR_DRIVERS_DRIVER_INTERNAL_H

#include "drivers/driver.h"

extern const struct drv_ops drv_local_ops;
extern const struct drv_ops drv_mem_ops;

/* The text after "scheme://" if the URI has that scheme, else NULL. */
const char *drv_uri_rest(const char *uri, const char *scheme);

#endif
