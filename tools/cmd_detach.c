/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * detach and attach: a drive that is to be unplugged, and one that is back.
 */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "tools/cmd_drive.h"
#include "tools/mrmr_job.h"
#include "tools/mrmr_print.h"
#include "tools/mrmr_screen.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The drive of this name; NULL: it has left. */
static const struct pool_drive_view *view_of(
    const struct pool_drive_view *views, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(views[i].name, name) == 0)
            return &views[i];
    return NULL;
}

static mrmr_err show_json(const struct pool_drive_view *view)
{
    struct mrmr_json json;
    mrmr_json_begin(&json, stdout);
    if (view)
        cmd_drive_json(&json, view);
    return mrmr_json_end(&json);
}

/* --- detach --- */

/* What nobody can read until it is back: it lies on no other drive, in no form. */
static void warn_exposed(const struct pool_detach_report *report)
{
    char size[MRMR_TEXT_SHORT], count[48];
    if (report->exposed_files || report->exposed_bytes)
        mrmr_screen_line("mrmr: warning: %s in %s on it exist nowhere else, and cannot be read "
                         "until it is back",
            mrmr_text_print_size(report->exposed_bytes, size),
            mrmr_print_count(report->exposed_files, "file", "files", count, sizeof count));
}

static void warn_lost(const struct pool_status *status, uint64_t before)
{
    char count[48];
    if (status->lost_stripes > before)
        mrmr_screen_line("mrmr: warning: with it detached %s more than can be made again, until "
                         "it, or another drive, is back",
            mrmr_print_count(status->lost_stripes - before, "stripe misses", "stripes miss", count,
                sizeof count));
}

static void detach_print(
    const struct pool_drive_view *view, const struct pool_detach_report *report)
{
    mrmr_print_name(stdout, view->name);
    if (report->away) {
        printf(" is marked as detached. It was away: nothing was done on it.\n");
        return;
    }
    printf(" is detached, and nothing uses ");
    mrmr_print_name(stdout, view->uri);
    printf(" any more: it can be unmounted. Back again: mrmr attach ");
    mrmr_print_name(stdout, view->name);
    putchar('\n');
}

static mrmr_err detach_in(struct cmd_call *call, struct pool *pool)
{
    const char *name = call->arg[0];
    struct pool_detach_report report;
    struct pool_status before, after;
    mrmr_autofree struct pool_drive_view *views = NULL;
    size_t n = 0;
    MRMR_TRY(pool_status(pool, &before));
    const struct pool_job *job = mrmr_job_start(call);
    mrmr_err err = pool_detach(pool, job, name, &report);
    const bool stopped = err == MRMR_CANCELLED;
    MRMR_TRY(mrmr_job_end(call, err, "mrmr detach DRIVE; it is in service"));
    if (stopped)
        return MRMR_OK;
    MRMR_TRY(pool_status(pool, &after));
    warn_exposed(&report);
    warn_lost(&after, before.lost_stripes);
    MRMR_TRY(pool_drives(pool, &views, &n));
    const struct pool_drive_view *view = view_of(views, n, name);
    if (call->json)
        return show_json(view);
    if (view && !call->quiet)
        detach_print(view, &report);
    return MRMR_OK;
}

static mrmr_err detach_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_OWN, detach_in);
}

const struct cmd cmd_detach = {
    .name = "detach",
    .args = "DRIVE",
    .summary = "make a drive safe to unmount and unplug",
    .text = "Takes a drive out of service, also while the pool is mounted: all that was written to "
            "it is on it, and\nnothing uses it any more when the command returns. Its files are "
            "read by reconstruction until it is\nback. It fails, and the drive stays in service, "
            "while a file on it is open for writing in the mount.\n\nThe drive is used again after "
            "`mrmr attach`, or by itself when it was unplugged and is back.",
    .least = 1,
    .most = 1,
    .run = detach_run,
    .owns = true,
};

/* --- attach --- */

/* As the pool knows places: what is of this computer as an absolute path. NULL: none was given. free(). */
static mrmr_err attach_place(const struct cmd_call *call, char **ret_place)
{
    const char *given = call->args > 1 ? call->arg[1] : NULL;
    if (!given || strstr(given, "://")) {
        *ret_place = given ? strdup(given) : NULL;
        return given && !*ret_place ? mrmr_nomem() : MRMR_OK;
    }
    *ret_place = realpath(given, NULL);
    return *ret_place ? MRMR_OK
                      : mrmr_err_hint(mrmr_fail_errno(errno, "attach drive at", given),
                            "mount the drive there first");
}

static mrmr_err attach_in(struct cmd_call *call, struct pool *pool)
{
    const char *name = call->arg[0];
    mrmr_autofree char *place = NULL;
    mrmr_autofree struct pool_drive_view *views = NULL;
    size_t n = 0;
    MRMR_TRY(attach_place(call, &place));
    MRMR_TRY(pool_attach(pool, name, place));
    MRMR_TRY(pool_drives(pool, &views, &n));
    const struct pool_drive_view *view = view_of(views, n, name);
    if (call->json)
        return show_json(view);
    if (!view || call->quiet)
        return MRMR_OK;
    mrmr_print_name(stdout, view->name);
    printf(" is in service, at ");
    mrmr_print_name(stdout, view->uri);
    printf(". Next: mrmr sync\n");
    return MRMR_OK;
}

static mrmr_err attach_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_OWN, attach_in);
}

const struct cmd cmd_attach = {
    .name = "attach",
    .args = "DRIVE [PLACE]",
    .summary = "use a drive again that was detached, or failed",
    .text = "Takes a drive back into service that was detached, or taken out for its errors, if it "
            "is this drive, in\nthe state in which it was left. PLACE says where it is mounted "
            "now. A mount uses it again within a\nfew seconds, after what was changed of its "
            "files meanwhile is done on it.",
    .least = 1,
    .most = 2,
    .run = attach_run,
    .owns = true,
};
