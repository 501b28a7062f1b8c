/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sync, and set-redundancy, which is a sync with another number of rows.
 */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "tools/cmd_drive.h"
#include "tools/daemon_task.h"
#include "tools/mrmr_job.h"
#include "tools/mrmr_print.h"
#include "tools/mrmr_screen.h"
#include <inttypes.h>
#include <stdio.h>

/* --- What it did --- */

static mrmr_err look_files(struct cmd_call *call, const struct pool_sync_report *r)
{
    char count[48];
    if (r->held)
        MRMR_TRY(cmd_look(call,
            "%s vanished or changed in a way that is held, see: mrmr events; if that is right: "
            "mrmr sync --accept-changes",
            mrmr_print_count(r->held, "file", "files", count, sizeof count)));
    if (r->unreadable)
        MRMR_TRY(cmd_look(call, "%s could not be looked at; see: mrmr events",
            mrmr_print_count(
                r->unreadable, "file or folder", "files or folders", count, sizeof count)));
    if (r->skipped)
        MRMR_TRY(cmd_look(call,
            "%s skipped: changed while being read, or unreadable; the next sync tries again",
            mrmr_print_count(r->skipped, "file was", "files were", count, sizeof count)));
    return MRMR_OK;
}

/* Each drive that took no part, by name and with the reason. */
static mrmr_err look_drives(struct cmd_call *call, struct pool *pool)
{
    mrmr_autofree struct pool_drive_view *views = NULL;
    size_t n = 0;
    MRMR_TRY(pool_drives_known(pool, &views, &n));
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(cmd_look_presence(call, &views[i]));
    return MRMR_OK;
}

/* What was left with fewer rows than it should have, for whatever reason. */
static mrmr_err look_stripes(struct cmd_call *call, const struct pool_status *status)
{
    uint64_t under = 0;
    char count[48];
    for (unsigned i = 0; i < status->redundancy; i++)
        under += status->margin[i];
    under -= status->detached_stripes;
    if (!under)
        return MRMR_OK;
    return cmd_look(call,
        "%s of %" PRIu64 " survive%s fewer than %u further losses; see: mrmr status",
        mrmr_print_count(under, "stripe", "stripes", count, sizeof count), status->stripes,
        under == 1 ? "s" : "", status->redundancy);
}

/* Those that do not wait; at least one, since a file may wait in part. */
static uint64_t exposed_files(const struct pool_sync_report *r)
{
    return r->exposed_files > r->waiting_files ? r->exposed_files - r->waiting_files : 1;
}

/* What is out of service may give it back yet. */
static mrmr_err look_lost(struct cmd_call *call, const struct pool_status *status, uint64_t bytes)
{
    const bool away = status->drives_present + status->drives_detached < status->drives;
    char size[MRMR_TEXT_SHORT];
    mrmr_text_print_size(bytes, size);
    if (!away && !status->drives_detached)
        return cmd_look(
            call, "%s can be made from nothing that is left now; see: mrmr events", size);
    return cmd_look(call,
        "%s cannot be made from what is in service now; bring back the drive that is %s", size,
        away ? "away" : "detached (mrmr attach)");
}

static mrmr_err look_sync(
    struct cmd_call *call, struct pool *pool, const struct pool_sync_report *r, bool *ret_detached)
{
    struct pool_status status;
    char size[MRMR_TEXT_SHORT], count[48];
    MRMR_TRY(look_drives(call, pool));
    if (r->drives_held)
        MRMR_TRY(cmd_look(call,
            "%s held as it was, because much vanished or changed at once; look after it, and if "
            "that is right: mrmr sync --accept-changes",
            mrmr_print_count(r->drives_held, "drive is", "drives are", count, sizeof count)));
    MRMR_TRY(look_files(call, r));
    MRMR_TRY(pool_status(pool, &status));
    *ret_detached = status.drives_detached > 0;
    MRMR_TRY(look_stripes(call, &status));
    if (r->lost_bytes)
        MRMR_TRY(look_lost(call, &status, r->lost_bytes));
    if (r->exposed_bytes > r->waiting_bytes)
        MRMR_TRY(cmd_look(call, "%s in %s still exposed%s",
            mrmr_text_print_size(r->exposed_bytes - r->waiting_bytes, size),
            mrmr_print_count(exposed_files(r), "file is", "files are", count, sizeof count),
            status.storable_bytes ? ""
                                  : ": there is no room for more parity; free some, or: mrmr "
                                    "add-drive"));
    return MRMR_OK;
}

static mrmr_err sync_json(
    struct cmd_call *call, const struct pool_sync_report *r, unsigned redundancy, bool completed)
{
    struct mrmr_json json;
    mrmr_json_begin(&json, stdout);
    mrmr_json_bool(&json, "completed", completed);
    mrmr_json_number(&json, "redundancy", redundancy);
    mrmr_json_number(&json, "files", r->files);
    mrmr_json_number(&json, "added", r->added);
    mrmr_json_number(&json, "changed", r->changed);
    mrmr_json_number(&json, "moved", r->moved);
    mrmr_json_number(&json, "vanished", r->vanished);
    mrmr_json_number(&json, "unreadable", r->unreadable);
    mrmr_json_number(&json, "held", r->held);
    mrmr_json_number(&json, "drives_held", r->drives_held);
    mrmr_json_number(&json, "drives_away", r->drives_away);
    mrmr_json_number(&json, "protected_files", r->protected_files);
    mrmr_json_number(&json, "protected_size", r->protected_bytes);
    mrmr_json_number(&json, "stripes_made", r->stripes_made);
    mrmr_json_number(&json, "stripes_changed", r->stripes_changed);
    mrmr_json_number(&json, "rows_made", r->rows_made);
    mrmr_json_number(&json, "rows_dropped", r->rows_dropped);
    mrmr_json_number(&json, "skipped", r->skipped);
    mrmr_json_number(&json, "exposed_files", r->exposed_files);
    mrmr_json_number(&json, "exposed_size", r->exposed_bytes);
    mrmr_json_number(&json, "waiting_files", r->waiting_files);
    mrmr_json_number(&json, "waiting_size", r->waiting_bytes);
    mrmr_json_time_or_null(&json, "settles", r->settles);
    mrmr_json_number(&json, "lost_size", r->lost_bytes);
    cmd_json_looks(call, &json);
    return mrmr_json_end(&json);
}

static void print_waiting(const struct pool_sync_report *r)
{
    char size[MRMR_TEXT_SHORT], quiet[MRMR_TEXT_SHORT], count[48];
    bool one = r->waiting_files == 1;
    printf("%s, %s, %s been quiet for %s.\n",
        mrmr_print_count(r->waiting_files, "file", "files", count, sizeof count),
        mrmr_text_print_size(r->waiting_bytes, size),
        one ? "waits until it has" : "wait until they have",
        mrmr_text_print_duration(r->settle, quiet));
}

/* besides: "else ", or nothing. */
static void print_all(unsigned redundancy, bool detached, const char *besides)
{
    if (detached)
        printf("All %sis protected that can be while a drive is detached.\n", besides);
    else
        printf("All %sis protected against the loss of any %u drive%s.\n", besides, redundancy,
            redundancy == 1 ? "" : "s");
}

static void sync_print(struct cmd_call *call, const struct pool_sync_report *r, unsigned redundancy,
    bool completed, bool detached)
{
    char size[MRMR_TEXT_SHORT], count[48];
    if (call->quiet && !cmd_has_looks(call))
        return;
    printf("%s", mrmr_print_count(r->files, "file", "files", count, sizeof count));
    if (r->added || r->changed || r->moved || r->vanished)
        printf("; with folders and links: %" PRIu64 " added, %" PRIu64 " changed, %" PRIu64
               " moved, %" PRIu64 " vanished.\n",
            r->added, r->changed, r->moved, r->vanished);
    else
        printf("; nothing added, changed or vanished.\n");
    if (r->protected_bytes || r->protected_files)
        printf("Protected %s in %s.\n", mrmr_text_print_size(r->protected_bytes, size),
            mrmr_print_count(r->protected_files, "file", "files", count, sizeof count));
    if (r->rows_made || r->rows_dropped)
        printf(
            "Parity rows: %" PRIu64 " made, %" PRIu64 " dropped.\n", r->rows_made, r->rows_dropped);
    if (r->waiting_files)
        print_waiting(r);
    if (completed && !cmd_has_looks(call) && r->files)
        print_all(redundancy, detached, r->waiting_files ? "else " : "");
    cmd_print_looks(call);
}

mrmr_err cmd_tell_sync(
    struct cmd_call *call, struct pool *pool, mrmr_err err, const struct pool_sync_report *report)
{
    unsigned redundancy = pool_redundancy(pool);
    bool completed = err != MRMR_CANCELLED, detached = false;
    /* What is left when it was cut short says nothing. */
    if (completed)
        MRMR_TRY(look_sync(call, pool, report, &detached));
    if (call->json)
        return sync_json(call, report, redundancy, completed);
    sync_print(call, report, redundancy, completed, detached);
    return MRMR_OK;
}

/* --- sync --release --- */

static mrmr_err release_json(
    struct cmd_call *call, const struct pool_sync_report *r, bool completed)
{
    struct mrmr_json json;
    mrmr_json_begin(&json, stdout);
    mrmr_json_bool(&json, "completed", completed);
    mrmr_json_number(&json, "released_size", r->released_bytes);
    mrmr_json_number(&json, "stripes_changed", r->stripes_changed);
    mrmr_json_number(&json, "rows_made", r->rows_made);
    mrmr_json_number(&json, "rows_dropped", r->rows_dropped);
    mrmr_json_number(&json, "stripes_waiting", r->release_waits);
    mrmr_json_text(&json, "waiting_cause", r->release_waits ? r->release_cause : NULL);
    mrmr_json_number(&json, "exposed_files", r->exposed_files);
    mrmr_json_number(&json, "exposed_size", r->exposed_bytes);
    cmd_json_looks(call, &json);
    return mrmr_json_end(&json);
}

static void release_print(struct cmd_call *call, const struct pool_sync_report *r, bool completed)
{
    char size[MRMR_TEXT_SHORT], count[48];
    if (call->quiet && !cmd_has_looks(call))
        return;
    if (r->released_bytes || r->stripes_changed || r->rows_dropped)
        printf("Released %s; %s made anew.\n", mrmr_text_print_size(r->released_bytes, size),
            mrmr_print_count(
                r->rows_made, "parity row was", "parity rows were", count, sizeof count));
    else if (completed && !r->release_waits)
        printf("Nothing is kept that can be released.\n");
    cmd_print_looks(call);
}

static mrmr_err release_now(struct cmd_call *call, struct pool *pool)
{
    const struct pool_sync_options options = {.release = true};
    struct pool_sync_report report = {0};
    char count[48];
    mrmr_err err = pool_sync(pool, mrmr_job_start(call), &options, &report);
    const bool completed = err != MRMR_CANCELLED;
    MRMR_TRY(mrmr_job_end(call, err, "mrmr sync --release"));
    if (cmd_flag(call, "background") && completed && !report.release_waits &&
        !report.release_left_out) /* for the daemon (daemon_task.h) */
        mrmr_screen_line("mrmr: " DAEMON_LET_GO);
    if (report.release_waits)
        MRMR_TRY(cmd_look(call, "old bytes of %s stay for now: %s",
            mrmr_print_count(report.release_waits, "stripe", "stripes", count, sizeof count),
            report.release_cause));
    if (call->json)
        return release_json(call, &report, completed);
    release_print(call, &report, completed);
    return MRMR_OK;
}

/* --- sync --- */

static mrmr_err sync_now(
    struct cmd_call *call, struct pool *pool, const struct pool_sync_options *options)
{
    struct pool_sync_report report = {0};
    const struct pool_job *job = mrmr_job_start(call);
    mrmr_err err = mrmr_job_pace(call, pool);
    if (!err)
        err = pool_sync(pool, job, options, &report);
    MRMR_TRY(mrmr_job_end(call, err, "mrmr sync"));
    if (cmd_flag(call, "background")) /* for the daemon (daemon_task.h) */
        mrmr_screen_line("mrmr: looking: %" PRId64 " ms", report.looking / 1000000);
    return cmd_tell_sync(call, pool, err, &report);
}

static mrmr_err sync_in(struct cmd_call *call, struct pool *pool)
{
    struct pool_sync_options options = {.accept_changes = cmd_flag(call, "accept-changes")};
    if (cmd_flag(call, "release")) {
        if (options.accept_changes || cmd_value(call, "settle"))
            return cmd_usage(call, "--release protects nothing: it takes no --accept-changes and "
                                   "no --settle");
        return release_now(call, pool);
    }
    MRMR_TRY(cmd_value_duration(call, "settle", &options.settle));
    return sync_now(call, pool, &options);
}

static mrmr_err sync_run(struct cmd_call *call)
{
    if (cmd_flag(call, "background"))
        mrmr_job_low();
    return cmd_with_pool(call, POOL_OWN, sync_in);
}

const struct cmd cmd_sync = {
    .name = "sync",
    .args = "",
    .summary = "find what is new or changed, and protect it",
    .text =
        "Looks all present drives through, and makes or changes parity until everything is "
        "protected;\nof each drive, what has been exposed for longest comes first.\n"
        "Interrupted, it keeps what it has done and goes on from there the next time.\n"
        "Where much vanished or changed at once, or a file changed in a way that users do not, the "
        "old\nstate is held and can still be brought back (mrmr rebuild DRIVE) until "
        "--accept-changes.\n"
        "With --settle, what changed less than so long ago is left for another time.\n"
        "With --release, nothing is looked for and nothing protected: what was deleted or "
        "overwritten\nthrough a mount is taken out of parity, and the room that it was kept in "
        "comes "
        "free; also while\ndrives are held, full or away.",
    .options = {{"accept-changes", 0, NULL, "what is held is right: take the drives as they are"},
        {"settle", 0, "DURATION", "leave what is not quiet for so long yet: 60s, 10m, 2h"},
        {"release", 0, NULL, "only give room back: let go of what was deleted or overwritten"},
        {"background", 0, NULL, "give way to whoever else uses the drives"}},
    .run = sync_run,
    .owns = true,
};

/* --- set-redundancy --- */

static mrmr_err redundancy_in(struct cmd_call *call, struct pool *pool)
{
    struct pool_status status;
    uint64_t rows;
    if (!mrmr_text_u64(call->arg[0], &rows) || rows < 1 || rows > POOL_REDUNDANCY_MAX)
        return cmd_usage(call, "the redundancy is a number from 1 to %d", POOL_REDUNDANCY_MAX);
    MRMR_TRY(pool_set_redundancy(pool, (unsigned)rows));
    MRMR_TRY(pool_status(pool, &status));
    if (status.stripes)
        return sync_now(call, pool, &(struct pool_sync_options){0});
    /* Nothing is protected yet, so there are no rows to add or drop. */
    if (call->json)
        return cmd_tell_sync(call, pool, MRMR_OK, &(struct pool_sync_report){0});
    if (!call->quiet)
        printf("The redundancy is %u. Next: mrmr sync\n", (unsigned)rows);
    return MRMR_OK;
}

static mrmr_err redundancy_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_OWN, redundancy_in);
}

const struct cmd cmd_set_redundancy = {
    .name = "set-redundancy",
    .args = "N",
    .summary = "how many drives may be lost at once",
    .text = "Sets how many drives may be lost at once without losing a protected byte, and adds or "
            "drops\nparity rows accordingly, as a sync; the rows that stay are not touched.",
    .least = 1,
    .most = 1,
    .run = redundancy_run,
    .owns = true,
};
