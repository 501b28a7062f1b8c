/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "tools/daemon_task.h"
#include "tools/mrmr_job.h"
#include "tools/mrmr_print.h"
#include "tools/mrmr_screen.h"
#include <inttypes.h>
#include <stdio.h>

/* What is still wrong. */
static mrmr_err look_scrub(
    struct cmd_call *call, struct pool *pool, bool repair, const struct pool_scrub_report *r)
{
    struct pool_status status = {0};
    char size[MRMR_TEXT_SHORT], count[48];
    if (repair && r->damaged)
        MRMR_TRY(pool_status(pool, &status));
    uint64_t damaged = repair ? status.damaged_bytes : r->damaged_bytes;
    if (damaged || (!repair && r->damaged))
        MRMR_TRY(cmd_look(call, "%s of files are rotten; see: mrmr events%s",
            mrmr_text_print_size(damaged, size),
            repair ? "" : "; put them right with: mrmr scrub --repair"));
    if (r->rows_damaged > r->rows_repaired)
        MRMR_TRY(cmd_look(call, "%s damaged; %s",
            mrmr_print_count(r->rows_damaged - r->rows_repaired, "parity row is", "parity rows are",
                count, sizeof count),
            repair ? "see: mrmr events" : "the next sync makes them again"));
    if (r->lost)
        MRMR_TRY(cmd_look(call, "%s could not be repaired; see: mrmr events",
            mrmr_print_count(r->lost, "file", "files", count, sizeof count)));
    if (r->unreadable)
        MRMR_TRY(cmd_look(call, "%s could not be looked at in full; see: mrmr drives",
            mrmr_print_count(r->unreadable, "stripe", "stripes", count, sizeof count)));
    return MRMR_OK;
}

static mrmr_err scrub_json(struct cmd_call *call, const struct pool_scrub_report *r, bool completed)
{
    struct mrmr_json json;
    mrmr_json_begin(&json, stdout);
    mrmr_json_bool(&json, "completed", completed);
    mrmr_json_number(&json, "stripes", r->stripes);
    mrmr_json_number(&json, "stripes_total", r->stripes_total);
    mrmr_json_number(&json, "size", r->bytes);
    mrmr_json_number(&json, "edited", r->edited);
    mrmr_json_number(&json, "damaged", r->damaged);
    mrmr_json_number(&json, "damaged_size", r->damaged_bytes);
    mrmr_json_number(&json, "rows_damaged", r->rows_damaged);
    mrmr_json_number(&json, "copies_damaged", r->copies_damaged);
    mrmr_json_number(&json, "repaired", r->repaired);
    mrmr_json_number(&json, "rows_repaired", r->rows_repaired);
    mrmr_json_number(&json, "lost", r->lost);
    mrmr_json_number(&json, "unreadable", r->unreadable);
    cmd_json_looks(call, &json);
    return mrmr_json_end(&json);
}

static void scrub_print(struct cmd_call *call, const struct pool_scrub_report *r, bool completed)
{
    char size[MRMR_TEXT_SHORT], count[48];
    if (call->quiet && !cmd_has_looks(call))
        return;
    printf("Scrubbed %s, %s.\n",
        mrmr_print_count(r->stripes, "stripe", "stripes", count, sizeof count),
        mrmr_text_print_size(r->bytes, size));
    if (r->damaged)
        printf("Rot: %s (%s) of files.\n",
            mrmr_print_count(r->damaged, "leaf", "leaves", count, sizeof count),
            mrmr_text_print_size(r->damaged_bytes, size));
    if (r->repaired || r->rows_repaired)
        printf("Repaired: %" PRIu64 " files, %" PRIu64 " parity rows. The bad copies are in "
               ".mrmr/quarantine of their drives.\n",
            r->repaired, r->rows_repaired);
    if (r->copies_damaged)
        printf("%s found damaged on a drive; a new one takes its place; see: mrmr events\n",
            mrmr_print_count(r->copies_damaged, "copy of the catalog was",
                "copies of the catalog were", count, sizeof count));
    if (r->edited)
        printf("%s edited since the last sync, which is no damage; the next sync takes %s in.\n",
            mrmr_print_count(r->edited, "file was", "files were", count, sizeof count),
            r->edited == 1 ? "it" : "them");
    if (completed && !cmd_has_looks(call))
        printf("All that was read is as it should be%s.\n",
            r->damaged || r->rows_damaged || r->copies_damaged ? " now" : "");
    cmd_print_looks(call);
}

static mrmr_err scrub_options(struct cmd_call *call, struct pool_scrub_options *options)
{
    uint64_t percent = 100;
    MRMR_TRY(cmd_value_number(call, "percent", 1, 100, &percent));
    MRMR_TRY(cmd_value_duration(call, "older-than", &options->older_than));
    MRMR_TRY(cmd_value_number(call, "done", 0, UINT64_MAX, &options->done));
    options->percent = (unsigned)percent;
    options->repair = cmd_flag(call, "repair");
    return MRMR_OK;
}

static mrmr_err scrub_in(struct cmd_call *call, struct pool *pool)
{
    struct pool_scrub_options options = {0};
    struct pool_scrub_report report = {0};
    MRMR_TRY(scrub_options(call, &options));
    const struct pool_job *job = mrmr_job_start(call);
    mrmr_err err = mrmr_job_pace(call, pool);
    if (!err)
        err = pool_scrub(pool, job, &options, &report);
    if (cmd_flag(call, "background")) { /* for the daemon (daemon_task.h) */
        mrmr_screen_line("mrmr: scrubbed: %" PRIu64 " stripes", report.stripes);
        if (!err) /* said while a signal ends nothing: from here on one does, though all is done and told of */
            mrmr_screen_line("mrmr: %s", DAEMON_SCRUBBED_ALL);
    }
    MRMR_TRY(mrmr_job_end(call, err,
        options.repair ? "mrmr scrub --repair --older-than 1d" : "mrmr scrub --older-than 1d"));
    MRMR_TRY(look_scrub(call, pool, options.repair && !err, &report));
    if (call->json)
        return scrub_json(call, &report, !err);
    scrub_print(call, &report, !err);
    return MRMR_OK;
}

static mrmr_err scrub_run(struct cmd_call *call)
{
    struct pool_scrub_options options;
    MRMR_TRY(scrub_options(call, &options)); /* before the pool is opened */
    if (cmd_flag(call, "background"))
        mrmr_job_low();
    return cmd_with_pool(call, POOL_OWN, scrub_in);
}

const struct cmd cmd_scrub = {
    .name = "scrub",
    .args = "",
    .summary = "read everything and compare it with its digests and its parity",
    .text =
        "Reads files and parity, those not scrubbed for longest first, and compares them with "
        "their digests\nand with each other. A file that was edited is no damage. With --repair, "
        "what is rotten is made\nagain, and the bad copy kept in .mrmr/quarantine on its drive.",
    .options = {{"percent", 0, "N", "read N percent of the stripes; else all"},
        {"older-than", 0, "AGE", "only what was not scrubbed for so long: 12h, 30d, 2w"},
        {"done", 0, "N", "N stripes of that were read before the scrub was cut short"},
        {"repair", 0, NULL, "put right what is rotten"},
        {"background", 0, NULL, "give way to whoever else uses the drives"}},
    .run = scrub_run,
    .owns = true,
};
