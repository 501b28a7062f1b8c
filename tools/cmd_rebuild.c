/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "tools/mrmr_job.h"
#include "tools/mrmr_print.h"
#include <inttypes.h>
#include <stdio.h>

static mrmr_err look_rebuild(struct cmd_call *call, const struct pool_rebuild_report *r)
{
    char size[MRMR_TEXT_SHORT], count[48];
    if (r->failed)
        MRMR_TRY(cmd_look(call, "%s (%s) could not be brought back; see: mrmr events",
            mrmr_print_count(r->failed, "file", "files", count, sizeof count),
            mrmr_text_print_size(r->failed_bytes, size)));
    if (r->incomplete)
        MRMR_TRY(cmd_look(call,
            "%s not wholly protected (%s missing): what is left lies where it was, under its name "
            "and "
            ".incomplete; see: mrmr events",
            mrmr_print_count(r->incomplete, "file was", "files were", count, sizeof count),
            mrmr_text_print_size(r->missing_bytes, size)));
    if (r->older)
        MRMR_TRY(cmd_look(call,
            "%s written to after the last scan, which went with the drive: what is back is as it "
            "was at that scan; see: mrmr events",
            mrmr_print_count(r->older, "file was", "files were", count, sizeof count)));
    if (r->conflicts)
        MRMR_TRY(cmd_look(call,
            "%s not brought back, because something else is there; see: mrmr "
            "events",
            mrmr_print_count(r->conflicts, "file was", "files were", count, sizeof count)));
    return MRMR_OK;
}

/* What came back is not yet protected, or something else is not. */
static mrmr_err look_protection(struct cmd_call *call, struct pool *pool)
{
    struct pool_status s;
    uint64_t under = 0;
    MRMR_TRY(pool_status(pool, &s));
    for (unsigned i = 0; i < s.redundancy; i++)
        under += s.margin[i];
    return under || s.lost_stripes || s.exposed_files || s.exposed_bytes
               ? cmd_look(call, "not everything is protected as it should be; see: mrmr status")
               : MRMR_OK;
}

static mrmr_err rebuild_json(
    struct cmd_call *call, const struct pool_rebuild_report *r, bool completed)
{
    struct mrmr_json json;
    mrmr_json_begin(&json, stdout);
    mrmr_json_bool(&json, "completed", completed);
    mrmr_json_bool(&json, "not_lost", r->not_lost);
    mrmr_json_number(&json, "files", r->files);
    mrmr_json_number(&json, "folders", r->folders);
    mrmr_json_number(&json, "others", r->others);
    mrmr_json_number(&json, "size", r->bytes);
    mrmr_json_number(&json, "kept", r->kept);
    mrmr_json_number(&json, "conflicts", r->conflicts);
    mrmr_json_number(&json, "rows", r->rows);
    mrmr_json_number(&json, "row_size", r->row_bytes);
    mrmr_json_number(&json, "failed", r->failed);
    mrmr_json_number(&json, "failed_size", r->failed_bytes);
    mrmr_json_number(&json, "incomplete", r->incomplete);
    mrmr_json_number(&json, "missing_size", r->missing_bytes);
    mrmr_json_number(&json, "older", r->older);
    cmd_json_looks(call, &json);
    return mrmr_json_end(&json);
}

static void rebuild_print(struct cmd_call *call, const struct pool_rebuild_report *r)
{
    char size[MRMR_TEXT_SHORT], files[48], folders[48], others[48], rows[48];
    if (call->quiet && !cmd_has_looks(call))
        return;
    if (r->not_lost) {
        printf("Nothing was done: the drive is in service, or back, or something speaks against "
               "giving it up "
               "(mrmr status).\n");
        return;
    }
    printf("Brought back %s (%s), %s and %s; %" PRIu64 " were there already.\n",
        mrmr_print_count(r->files, "file", "files", files, sizeof files),
        mrmr_text_print_size(r->bytes, size),
        mrmr_print_count(r->folders, "folder", "folders", folders, sizeof folders),
        mrmr_print_count(r->others, "other thing", "other things", others, sizeof others), r->kept);
    if (r->rows)
        printf("Made %s again.\n",
            mrmr_print_count(r->rows, "parity row", "parity rows", rows, sizeof rows));
    cmd_print_looks(call);
}

/* Once another drive has taken the place, the work goes by that one's name. */
static mrmr_err rebuild_end(
    struct cmd_call *call, mrmr_err err, const struct pool_rebuild_options *options)
{
    mrmr_autofree char *again = NULL, *name = NULL;
    name = mrmr_print_escaped(options->onto ? options->onto : options->drive);
    if (asprintf(&again, "mrmr rebuild %s%s", name ? name : "DRIVE",
            options->path ? " --path with the same path" : "") < 0)
        again = NULL;
    return mrmr_job_end(call, err, again ? again : "mrmr rebuild DRIVE");
}

static mrmr_err rebuild_in(struct cmd_call *call, struct pool *pool)
{
    struct pool_rebuild_options options = {.drive = call->arg[0],
        .onto = cmd_value(call, "onto"),
        .accept_losses = cmd_flag(call, "accept-losses"),
        .if_lost = cmd_flag(call, "if-lost")};
    struct pool_rebuild_report report = {0};
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    const char *given = cmd_value(call, "path");
    if (given)
        MRMR_TRY(cmd_pool_path(pool, given, &path));
    options.path = given && path.size ? path.data : NULL;
    const struct pool_job *job = mrmr_job_start(call);
    mrmr_err err = pool_rebuild(pool, job, &options, &report);
    MRMR_TRY(rebuild_end(call, err, &options));
    MRMR_TRY(look_rebuild(call, &report));
    if (!err && !report.not_lost)
        MRMR_TRY(look_protection(call, pool));
    if (call->json)
        return rebuild_json(call, &report, !err);
    rebuild_print(call, &report);
    return MRMR_OK;
}

static mrmr_err rebuild_run(struct cmd_call *call)
{
    if (cmd_flag(call, "background"))
        mrmr_job_low();
    return cmd_with_pool(call, POOL_OWN, rebuild_in);
}

const struct cmd cmd_rebuild = {
    .name = "rebuild",
    .args = "DRIVE",
    .summary = "bring back what was on a drive",
    .text =
        "Makes the files of a drive again, with all their attributes, and the parity that lay on "
        "it.\n\nOnto a new drive: add an empty one, then name it with --onto; it takes the lost "
        "one's place for good.\nA drive that is there: what vanished from it or rotted is put "
        "back. Neither: its files go into free\nspace on the other drives, and the drive leaves "
        "the pool for good. What is left of a file that was protected\nin part comes back as "
        "NAME.incomplete. Files that are there already are left alone. Interrupted, it goes on "
        "from there; once a new drive has taken the place, by its name.\n\nWhile others "
        "are away without which some of it cannot be made again, it is not given up without\n"
        "--accept-losses: connect one of them first.",
    .least = 1,
    .most = 1,
    .options = {{"onto", 0, "DRIVE", "the empty drive that takes its place"},
        {"path", 0, "PATH", "only what lies at or below it"},
        {"accept-losses", 0, NULL, "give it up though others are away that are needed for it"},
        {"if-lost", 0, NULL,
            "only if it is lost, and nothing speaks against giving it up; else nothing is done"},
        {"background", 0, NULL, "give way to whoever else uses the drives"}},
    .run = rebuild_run,
    .owns = true,
};
