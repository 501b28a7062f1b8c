/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * status: whether all is well, and if not, what is wrong and what to do.
 */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "tools/cmd_drive.h"
#include "tools/daemon.h"
#include "tools/mrmr_print.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct view {
    struct pool_status status;
    struct pool_drive_view *drives; /* free() */
    size_t n;
    uint64_t
        under; /* stripes that survive fewer losses than wanted, and not for what is detached alone */
    unsigned survives;
    bool served; /* a daemon runs, and this is what it is at */
    struct daemon_state daemon;
};

/* --- What it comes to --- */

static uint64_t never_scanned(const struct view *view)
{
    uint64_t n = 0;
    for (size_t i = 0; i < view->n; i++)
        n += view->drives[i].scanned == 0;
    return n;
}

/* The worst that is the case, in one word. */
static const char *view_state(const struct view *view)
{
    const struct pool_status *s = &view->status;
    if (s->lost_stripes)
        return "lost";
    if (s->damaged_bytes)
        return "damaged";
    if (s->degraded_bytes > s->detached_bytes)
        return "degraded";
    if (s->exposed_files || s->exposed_bytes || s->touched_files || view->under ||
        never_scanned(view))
        return "exposed";
    if (s->drives_detached)
        return "detached";
    return s->files ? "protected" : "empty";
}

/* How many further losses every protected byte survives now. */
static unsigned view_survives(const struct pool_status *status)
{
    if (status->lost_stripes)
        return 0;
    for (unsigned i = 0; i < status->redundancy; i++)
        if (status->margin[i])
            return i;
    return status->redundancy;
}

/* It may be given up, and what is protected of it brought to other drives. */
static bool is_lost(const struct pool_drive_view *drive)
{
    return drive->lost;
}

/* What of lost drives fits into the free space, with its parity, one after another. */
static uint64_t view_reprotectable(const struct view *view)
{
    uint64_t room = view->status.storable_bytes, sum = 0;
    for (size_t i = 0; i < view->n; i++) {
        const uint64_t bytes = is_lost(&view->drives[i]) ? view->drives[i].protected_bytes : 0;
        const uint64_t fits = bytes < room ? bytes : room;
        room -= fits;
        sum += fits;
    }
    return sum;
}

static mrmr_err look_drives(struct cmd_call *call, const struct view *view)
{
    for (size_t i = 0; i < view->n; i++) {
        const struct pool_drive_view *drive = &view->drives[i];
        mrmr_autofree char *name = mrmr_print_escaped(drive->name);
        mrmr_autofree char *hold = mrmr_print_escaped(drive->hold);
        if (!name || !hold)
            return mrmr_nomem();
        MRMR_TRY(cmd_look_presence(call, drive));
        if (hold[0])
            MRMR_TRY(cmd_look(call,
                "drive %s is held: %s; if that is right: mrmr sync --accept-changes", name, hold));
        if (strcmp(drive->state, "rebuilding") == 0)
            MRMR_TRY(cmd_look(
                call, "drive %s is not whole yet; go on with: mrmr rebuild %s", name, name));
        if (drive->presence == POOL_PRESENT && drive->scanned == 0)
            MRMR_TRY(cmd_look(call, "drive %s was never looked through; next: mrmr sync", name));
    }
    return MRMR_OK;
}

static mrmr_err look_damage(struct cmd_call *call, const struct pool_status *s)
{
    char size[MRMR_TEXT_SHORT];
    bool away = s->drives_present + s->drives_detached < s->drives;
    if (s->lost_stripes)
        MRMR_TRY(cmd_look(call, "%" PRIu64 " stripe%s miss%s more than can be made again now; %s",
            s->lost_stripes, s->lost_stripes == 1 ? "" : "s", s->lost_stripes == 1 ? "es" : "",
            away                 ? "bring back a drive that is away"
            : s->drives_detached ? "bring back a drive that is detached"
                                 : "see: mrmr events"));
    if (s->damaged_bytes)
        MRMR_TRY(cmd_look(call,
            "%s of present drives are missing or rotten; put them back with: "
            "mrmr scrub --repair, or mrmr rebuild DRIVE",
            mrmr_text_print_size(s->damaged_bytes, size)));
    if (s->degraded_bytes > s->detached_bytes && away)
        MRMR_TRY(cmd_look(call,
            "%s can only be read by reconstruction; bring the drive back, or: mrmr rebuild DRIVE",
            mrmr_text_print_size(s->degraded_bytes - s->detached_bytes, size)));
    return MRMR_OK;
}

/* What mounts and readers came upon. */
static mrmr_err look_noted(struct cmd_call *call, const struct pool_status *s)
{
    char count[48];
    if (s->noted)
        MRMR_TRY(
            cmd_look(call, "%s found by a mount or a reader since the last sync; see: mrmr events",
                mrmr_print_count(s->noted, "thing was", "things were", count, sizeof count)));
    if (s->suspect_stripes)
        MRMR_TRY(cmd_look(call,
            "%s something damaged, as readers found (mrmr events); look after it with: mrmr scrub "
            "--repair",
            mrmr_print_count(
                s->suspect_stripes, "stripe has", "stripes have", count, sizeof count)));
    return MRMR_OK;
}

/* Who sees to what is not as safe as it should be. */
static const char *next_protects(const struct view *view)
{
    return !view->served         ? "next: mrmr sync"
           : view->daemon.why[0] ? "the daemon rests; next: mrmr sync"
                                 : "the daemon sees to that once it has been quiet (mrmr get "
                                   "settle); at once: mrmr sync";
}

/* Which lost a member, or have no rows as yet: until they are encoded anew they are as safe as with so many rows less. */
static mrmr_err look_under(struct cmd_call *call, const struct view *view)
{
    const struct pool_status *s = &view->status;
    const bool held = s->held_drives || s->held_files;
    unsigned worst = 0;
    char count[48], at_worst[32] = "none";
    while (worst < s->redundancy && !s->margin[worst])
        worst++;
    if (worst)
        snprintf(at_worst, sizeof at_worst, "only %u", worst);
    return cmd_look(call,
        "%s of %" PRIu64 " survive%s fewer than %u further losses, %s at worst, since something of "
        "%s changed, vanished or was never made; %s",
        mrmr_print_count(view->under, "stripe", "stripes", count, sizeof count), s->stripes,
        view->under == 1 ? "s" : "", s->redundancy, at_worst, view->under == 1 ? "it" : "them",
        held ? "next: end the hold, as said above" : next_protects(view));
}

/* For how long that is so. A time to come is none: the clock was another. */
static const char *age_of(int64_t since, char age[MRMR_TEXT_SHORT])
{
    const int64_t ns = since ? mrmr_clock_real() - since : 0;
    return mrmr_text_print_duration((uint64_t)(ns > 0 ? ns : 0) / MRMR_NS_PER_S, age);
}

/* No scan has seen them, so nobody knows how much of them is exposed; a file that was removed is none that is. */
static mrmr_err look_touched(struct cmd_call *call, const struct view *view)
{
    const struct pool_status *s = &view->status;
    char count[48], age[MRMR_TEXT_SHORT], first[64] = "";
    if (s->touched_oldest)
        snprintf(first, sizeof first, ", the first %s ago", age_of(s->touched_oldest, age));
    if (s->touched_files == UINT64_MAX)
        return cmd_look(call,
            "so much was changed through a mount since the last scan%s, that any file may be "
            "exposed; %s",
            first, next_protects(view));
    return cmd_look(call,
        "%s changed, made or removed through a mount since the last scan%s; what is new of that is "
        "exposed; %s",
        mrmr_print_count(s->touched_files, "file was", "files were", count, sizeof count), first,
        next_protects(view));
}

static mrmr_err look_exposed(struct cmd_call *call, const struct view *view)
{
    const struct pool_status *s = &view->status;
    char size[MRMR_TEXT_SHORT], age[MRMR_TEXT_SHORT], count[48];
    return cmd_look(call, "%s in %s %s exposed, for up to %s; %s",
        mrmr_text_print_size(s->exposed_bytes, size),
        mrmr_print_count(s->exposed_files, "file", "files", count, sizeof count),
        s->exposed_files == 1 ? "is" : "are", age_of(s->exposed_oldest, age),
        s->storable_bytes ? next_protects(view)
                          : "there is no room for more parity: free some, or: mrmr add-drive");
}

static mrmr_err look_exposure(struct cmd_call *call, const struct view *view)
{
    const struct pool_status *s = &view->status;
    char count[48];
    if (s->held_files)
        MRMR_TRY(cmd_look(call,
            "%s vanished or changed in a way that is held; if that is right: mrmr sync "
            "--accept-changes",
            mrmr_print_count(s->held_files, "file", "files", count, sizeof count)));
    if (s->exposed_files || s->exposed_bytes)
        MRMR_TRY(look_exposed(call, view));
    if (s->touched_files)
        MRMR_TRY(look_touched(call, view));
    if (view->under && s->drives_present + s->drives_detached == s->drives)
        MRMR_TRY(look_under(call, view));
    if (s->drives && s->drives <= s->redundancy)
        MRMR_TRY(cmd_look(call, "redundancy %u needs at least %u drives; next: mrmr add-drive",
            s->redundancy, s->redundancy + 1));
    return MRMR_OK;
}

static mrmr_err view_load(struct cmd_call *call, struct pool *pool, struct view *view)
{
    MRMR_TRY(pool_status(pool, &view->status));
    MRMR_TRY(pool_drives(pool, &view->drives, &view->n));
    for (unsigned i = 0; i < view->status.redundancy; i++)
        view->under += view->status.margin[i];
    view->under -= view->status.detached_stripes;
    view->survives = view_survives(&view->status);
    view->served = !daemon_ask_state(call->dir, &view->daemon);
    MRMR_TRY(look_drives(call, view));
    MRMR_TRY(look_damage(call, &view->status));
    MRMR_TRY(look_noted(call, &view->status));
    return look_exposure(call, view);
}

/* --- For programs --- */

static mrmr_err status_json(struct cmd_call *call, const struct view *view)
{
    const struct pool_status *s = &view->status;
    struct mrmr_json json;
    mrmr_json_begin(&json, stdout);
    mrmr_json_name(&json, "pool", call->dir);
    mrmr_json_text(&json, "state", view_state(view));
    mrmr_json_number(&json, "redundancy", s->redundancy);
    mrmr_json_number(&json, "survives", view->survives);
    mrmr_json_number(&json, "drives_total", s->drives);
    mrmr_json_number(&json, "drives_present", s->drives_present);
    mrmr_json_number(&json, "drives_detached", s->drives_detached);
    mrmr_json_number(&json, "files", s->files);
    mrmr_json_number(&json, "file_size", s->file_bytes);
    mrmr_json_number(&json, "exposed_files", s->exposed_files);
    mrmr_json_number(&json, "exposed_size", s->exposed_bytes);
    if (s->touched_files == UINT64_MAX)
        mrmr_json_text(&json, "changed_files", NULL);
    else
        mrmr_json_number(&json, "changed_files", s->touched_files);
    mrmr_json_time_or_null(&json, "changed_since", s->touched_oldest);
    mrmr_json_time_or_null(&json, "exposed_since", s->exposed_oldest);
    mrmr_json_number(&json, "parity_size", s->row_bytes);
    mrmr_json_number(&json, "stripes", s->stripes);
    mrmr_json_open(&json, "margin", '[');
    for (size_t i = 0; i <= POOL_REDUNDANCY_MAX; i++)
        mrmr_json_number(&json, NULL, s->margin[i]);
    mrmr_json_close(&json);
    mrmr_json_number(&json, "lost_stripes", s->lost_stripes);
    mrmr_json_number(&json, "degraded_size", s->degraded_bytes);
    mrmr_json_number(&json, "detached_size", s->detached_bytes);
    mrmr_json_number(&json, "damaged_size", s->damaged_bytes);
    mrmr_json_number(&json, "held_files", s->held_files);
    mrmr_json_number(&json, "held_drives", s->held_drives);
    mrmr_json_number(&json, "storable_size", s->storable_bytes);
    mrmr_json_number(&json, "reprotectable_size", view_reprotectable(view));
    mrmr_json_number(&json, "domain_unsafe", s->domain_unsafe);
    mrmr_json_number(&json, "conflicts", s->conflicts);
    mrmr_json_number(&json, "direct_files", s->direct_files);
    mrmr_json_number(&json, "noted", s->noted);
    mrmr_json_number(&json, "suspect_stripes", s->suspect_stripes);
    mrmr_json_open(&json, "daemon", '{');
    mrmr_json_bool(&json, "runs", view->served);
    mrmr_json_text(&json, "does", view->daemon.does);
    mrmr_json_text(&json, "progress", view->daemon.progress);
    mrmr_json_text(&json, "rests", view->daemon.why);
    mrmr_json_close(&json);
    mrmr_json_open(&json, "drives", '[');
    for (size_t i = 0; i < view->n; i++) {
        mrmr_json_open(&json, NULL, '{');
        cmd_drive_json(&json, &view->drives[i]);
        mrmr_json_close(&json);
    }
    mrmr_json_close(&json);
    cmd_json_looks(call, &json);
    return mrmr_json_end(&json);
}

/* --- For people --- */

static void print_detached(const struct view *view)
{
    const char *which = view->status.drives_detached == 1 ? "a drive is" : "drives are";
    if (view->survives)
        printf("DETACHED: nothing is wrong; while %s detached, every file survives the loss of any "
               "%u further drive%s.\n",
            which, view->survives, view->survives == 1 ? "" : "s");
    else
        printf("DETACHED: nothing is wrong; while %s detached, no further drive may be lost.\n",
            which);
}

static void print_head(const struct view *view)
{
    const struct pool_status *s = &view->status;
    const char *state = view_state(view);
    if (strcmp(state, "protected") == 0)
        printf("PROTECTED: every file survives the loss of any %u drive%s.\n", s->redundancy,
            s->redundancy == 1 ? "" : "s");
    else if (strcmp(state, "detached") == 0)
        print_detached(view);
    else if (strcmp(state, "exposed") == 0)
        printf("EXPOSED: not everything is protected as it should be.\n");
    else if (strcmp(state, "degraded") == 0)
        printf("DEGRADED: some files can only be read by reconstruction.\n");
    else if (strcmp(state, "damaged") == 0)
        printf("DAMAGED: bytes of present drives are missing or rotten.\n");
    else if (strcmp(state, "lost") == 0)
        printf("LOST: some bytes cannot be read now.\n");
    else
        printf("The pool is empty.\n");
}

static void print_daemon(const struct view *view)
{
    const struct daemon_state *d = &view->daemon;
    printf("  daemon      ");
    if (!view->served)
        printf("none: what is new is protected by mrmr sync (mrmr daemon does it by "
               "itself)\n");
    else if (d->does[0])
        printf("at work: %s\n", d->progress[0] ? d->progress : d->does);
    else
        printf("%s%s\n", d->why[0] ? "rests: " : "waits for changes", d->why);
}

static void print_figures(const struct view *view)
{
    const struct pool_status *s = &view->status;
    char a[MRMR_TEXT_SHORT], b[MRMR_TEXT_SHORT], since[MRMR_PRINT_TIME], count[48];
    printf("  files       %" PRIu64 ", %s", s->files, mrmr_text_print_size(s->file_bytes, a));
    if (s->exposed_bytes || s->exposed_files)
        printf("; %s in %s exposed, the oldest since %s", mrmr_text_print_size(s->exposed_bytes, b),
            mrmr_print_count(s->exposed_files, "file", "files", count, sizeof count),
            mrmr_print_time_local(s->exposed_oldest, since));
    printf("\n  parity      %s in %" PRIu64 " stripe%s\n", mrmr_text_print_size(s->row_bytes, a),
        s->stripes, s->stripes == 1 ? "" : "s");
    printf("  redundancy  %u", s->redundancy);
    if (s->stripes)
        printf("; what is protected survives %u further loss%s", view->survives,
            view->survives == 1 ? "" : "es");
    printf("\n  room        %s can still be stored and protected\n",
        mrmr_text_print_size(s->storable_bytes, a));
    print_daemon(view);
}

static mrmr_err print_drives(const struct view *view)
{
    struct mrmr_table table = {.columns = "lllrrr"};
    char size[MRMR_TEXT_SHORT], total[MRMR_TEXT_SHORT];
    for (size_t i = 0; i < view->n; i++) {
        const struct pool_drive_view *drive = &view->drives[i];
        mrmr_table_cell(&table, "%s", drive->name);
        mrmr_table_cell(&table, "%s", cmd_drive_word(drive));
        mrmr_table_cell(&table, "%s", drive->role);
        mrmr_table_cell(&table, "%s of files", mrmr_text_print_size(drive->file_bytes, size));
        mrmr_table_cell(&table, "%s of parity", mrmr_text_print_size(drive->row_bytes, size));
        mrmr_table_cell(&table, "%s of %s free", mrmr_text_print_size(drive->avail, size),
            mrmr_text_print_size(drive->total, total));
    }
    if (view->n)
        printf("Drives (%" PRIu64 " of %" PRIu64 " present):\n", view->status.drives_present,
            view->status.drives);
    return mrmr_table_print(&table, stdout, 2);
}

/* What could be done about a drive that is lost. */
static void print_lost(const struct view *view)
{
    uint64_t room = view->status.storable_bytes; /* for one after another */
    char all[MRMR_TEXT_SHORT], part[MRMR_TEXT_SHORT];
    for (size_t i = 0; i < view->n; i++) {
        const struct pool_drive_view *drive = &view->drives[i];
        if (!is_lost(drive) || !drive->protected_bytes)
            continue;
        mrmr_text_print_size(drive->protected_bytes, all);
        printf("Note: ");
        if (drive->protected_bytes <= room)
            printf("all that is protected of drive ");
        else
            printf("%s of %s that are protected of drive ", mrmr_text_print_size(room, part), all);
        mrmr_print_name(stdout, drive->name);
        if (drive->protected_bytes <= room)
            printf(" (%s)", all);
        printf(" could be brought into the free space of the others now, which gives the drive up: "
               "mrmr rebuild ");
        mrmr_print_name(stdout, drive->name);
        if (drive->touched || drive->exposed_bytes)
            printf("; what was written to it and is not protected yet would be lost by that, and "
                   "of a file that is protected in part that part comes back as "
                   "NAME.incomplete\n");
        else
            printf(" (by itself: mrmr set auto-rebuild on)\n");
        room -= drive->protected_bytes < room ? drive->protected_bytes : room;
    }
}

/* Facts that are no alarm. */
static void print_notes(const struct pool_status *s)
{
    char count[48];
    if (s->conflicts)
        printf("Note: %s on several drives; the newest is shown (mrmr where PATH).\n",
            mrmr_print_count(s->conflicts, "path lies", "paths lie", count, sizeof count));
    if (s->direct_files)
        printf("Note: %s in use through the mount's passthrough: sync leaves them out until nobody "
               "uses them so.\n",
            mrmr_print_count(s->direct_files, "file is", "files are", count, sizeof count));
    if (s->domain_unsafe)
        printf("Note: %s more than %u members in one domain: losing all of it would cost bytes.\n",
            mrmr_print_count(s->domain_unsafe, "stripe has", "stripes have", count, sizeof count),
            s->redundancy);
    if (!s->drives)
        printf("Next: mrmr add-drive /path/of/a/drive\n");
}

static mrmr_err status_print(struct cmd_call *call, const struct view *view)
{
    if (call->quiet && !cmd_has_looks(call))
        return MRMR_OK;
    print_head(view);
    print_figures(view);
    MRMR_TRY(print_drives(view));
    print_lost(view);
    print_notes(&view->status);
    cmd_print_looks(call);
    return MRMR_OK;
}

static mrmr_err status_in(struct cmd_call *call, struct pool *pool)
{
    struct view view = {.n = 0};
    mrmr_err err = view_load(call, pool, &view);
    if (!err)
        err = call->json ? status_json(call, &view) : status_print(call, &view);
    free(view.drives);
    return err;
}

static mrmr_err status_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_LOOK, status_in);
}

const struct cmd cmd_status = {
    .name = "status",
    .args = "",
    .summary = "show whether all is well, and what to do if not",
    .text = "Shows what is protected and what is not, the drives, and what needs a look with the "
            "next step.\nThe exit code is 3 if anything needs a look.",
    .run = status_run,
};
