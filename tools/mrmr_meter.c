/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/mrmr_meter.h"

#include "base/clock.h"

/* Rates over less than this are noise. */
#define METER_LEAST (MRMR_NS_PER_S / 20)

void mrmr_meter_start(struct mrmr_meter *meter)
{
    *meter = (struct mrmr_meter){.first = 0};
}

void mrmr_meter_add(struct mrmr_meter *meter, int64_t now, uint64_t done)
{
    meter->at = now;
    meter->done = done;
    unsigned last = (meter->first + meter->n + MRMR_METER_SAMPLES - 1) % MRMR_METER_SAMPLES;
    if (meter->n && now - meter->sample[last].at < MRMR_NS_PER_S)
        return;
    if (meter->n == MRMR_METER_SAMPLES) {
        meter->first = (meter->first + 1) % MRMR_METER_SAMPLES;
        meter->n--;
    }
    unsigned next = (meter->first + meter->n) % MRMR_METER_SAMPLES;
    meter->sample[next].at = now;
    meter->sample[next].done = done;
    meter->n++;
}

uint64_t mrmr_meter_rate(const struct mrmr_meter *meter)
{
    if (!meter->n)
        return 0;
    int64_t span = meter->at - meter->sample[meter->first].at;
    uint64_t from = meter->sample[meter->first].done;
    if (span < METER_LEAST || meter->done <= from)
        return 0;
    return (uint64_t)((double)(meter->done - from) * (double)MRMR_NS_PER_S / (double)span);
}

bool mrmr_meter_eta(const struct mrmr_meter *meter, uint64_t left, uint64_t *ret_seconds)
{
    uint64_t rate = mrmr_meter_rate(meter);
    if (!rate)
        return false;
    *ret_seconds = left / rate + (left % rate != 0);
    return true;
}
