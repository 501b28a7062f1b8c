/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/pace.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <time.h>

/* What was not used a moment ago may be used now, or a stall would be lost for good. */
static const int64_t burst = MRMR_NS_PER_S / 10;
/* How soon a cancel is seen. */
static const int64_t slice = MRMR_NS_PER_S / 20;

static struct {
    _Atomic uint64_t rate;
    struct mrmr_cancel *cancel;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    int64_t paid; /* monotonic: until then the bucket is empty */
} pace = {.lock = PTHREAD_MUTEX_INITIALIZER};

void drv_pace_set(uint64_t rate, struct mrmr_cancel *cancel)
{
    mrmr_locked(&pace.lock);
    pace.cancel = cancel;
    pace.paid = 0;
    pace.rate = rate;
}

/* When whoever moved them may go on. */
static int64_t take(uint64_t bytes, uint64_t rate, int64_t now)
{
    mrmr_locked(&pace.lock);
    const int64_t from = pace.paid > now - burst ? pace.paid : now - burst;
    pace.paid = from + (int64_t)((double)bytes * (double)MRMR_NS_PER_S / (double)rate);
    return pace.paid;
}

void drv_pace_take(uint64_t bytes)
{
    const uint64_t rate = pace.rate;
    if (!rate || bytes < PACE_FREE)
        return;
    int64_t now = mrmr_clock_monotonic();
    const int64_t until = take(bytes, rate, now);
    while (now < until && !(pace.cancel && mrmr_cancelled(pace.cancel))) {
        const struct timespec ts =
            mrmr_clock_to_timespec(until - now < slice ? until - now : slice);
        nanosleep(&ts, NULL);
        now = mrmr_clock_monotonic();
    }
}
