/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What has been exposed for too long. The text has no figures: it is the same each time, so that it is told once a day (told.h),
 * whatever else becomes as old meanwhile.
 */
#include "pool/drive/drive.h"

#include "base/text.h"

mrmr_err pool_exposed_alarm(struct pool *pool, const struct pool_status *status)
{
    char duration[MRMR_TEXT_SHORT];
    uint64_t seconds;
    MRMR_TRY(pool_setting_u64(pool, "exposed-alarm", &seconds));
    const int64_t age = mrmr_clock_real() - status->exposed_oldest;
    if (!seconds || !status->exposed_oldest || age <= (int64_t)seconds * MRMR_NS_PER_S)
        return MRMR_OK;
    pool_tell(pool, NULL, true, "exposed-long", NULL,
        "something has been exposed for longer than %s: it would be lost with its drive; see: mrmr "
        "status",
        mrmr_text_print_duration(seconds, duration));
    return MRMR_OK;
}
