/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rate and time left of work in progress, from what was done in the last half minute or so: a
 * figure over the whole run would be slow to tell that a drive got slow. Pure; one thread.
 */
#ifndef MRMR_TOOLS_MRMR_METER_H
#define MRMR_TOOLS_MRMR_METER_H

#include <stdbool.h>
#include <stdint.h>

enum { MRMR_METER_SAMPLES = 32 };

struct mrmr_meter {
    struct {
        int64_t at; /* monotonic ns */
        uint64_t done;
    } sample[MRMR_METER_SAMPLES]; /* a ring, a second apart at least */
    unsigned first, n;
    int64_t at;
    uint64_t done;
};

void mrmr_meter_start(struct mrmr_meter *meter);
void mrmr_meter_add(struct mrmr_meter *meter, int64_t now, uint64_t done);
/* A second; 0 if nothing can be said yet. */
uint64_t mrmr_meter_rate(const struct mrmr_meter *meter);
/* Seconds for what is left, rounded up; false if nothing can be said. */
bool mrmr_meter_eta(const struct mrmr_meter *meter, uint64_t left, uint64_t *ret_seconds);

#endif
