/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What has been exposed for too long, as scans have found it; and what was changed through a mount so long ago, and no scan has
 * looked at since, as while the worker rests, or has taken in, as on a drive that is held. The texts have no figures: each is the same each time, so that it is told once a day
 * (told.h), whatever else becomes as old meanwhile.
 */
#include "pool/drive/drive.h"

#include "base/text.h"

/* Never: of a time to come, the clock was wrong. */
static bool is_older(int64_t oldest, uint64_t seconds)
{
    return oldest && mrmr_clock_real() - oldest > (int64_t)seconds * MRMR_NS_PER_S;
}

mrmr_err pool_exposed_alarm(struct pool *pool, const struct pool_status *status)
{
    char duration[MRMR_TEXT_SHORT];
    uint64_t seconds;
    MRMR_TRY(pool_setting_u64(pool, "exposed-alarm", &seconds));
    if (!seconds)
        return MRMR_OK;
    mrmr_text_print_duration(seconds, duration);
    if (is_older(status->exposed_oldest, seconds))
        pool_tell(pool, NULL, true, "exposed-long", NULL,
            "something has been exposed for longer than %s: it would be lost with its drive; see: "
            "mrmr status",
            duration);
    if (is_older(status->touched_oldest, seconds))
        pool_tell(pool, NULL, true, "exposed-long", NULL,
            "what was changed through a mount more than %s ago was not looked at since, or is on a "
            "drive that is held, so what is "
            "new of it is exposed: it would be lost with its drive; see: mrmr status",
            duration);
    return MRMR_OK;
}
