/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/cmd.h"

#include "tools/mrmr_print.h"
#include <stdio.h>

struct findings {
    struct mrmr_json *json; /* NULL: for people */
    uint64_t n;
};

static void check_finding(const char *finding, void *arg)
{
    struct findings *findings = arg;
    findings->n++;
    if (findings->json) {
        mrmr_json_name(findings->json, NULL, finding);
        return;
    }
    fputs("  ! ", stdout);
    mrmr_print_name(stdout, finding);
    putchar('\n');
}

static mrmr_err check_in(struct cmd_call *call, struct pool *pool)
{
    struct mrmr_json json;
    bool deep = cmd_flag(call, "deep");
    struct findings findings = {.json = call->json ? &json : NULL};
    if (call->json) {
        mrmr_json_begin(&json, stdout);
        mrmr_json_bool(&json, "deep", deep);
        mrmr_json_open(&json, "findings", '[');
    }
    mrmr_err err = pool_check(pool, deep, check_finding, &findings);
    mrmr_err shown = call->json ? mrmr_json_end(&json) : MRMR_OK;
    if (findings.n)
        call->exit = CMD_LOOK;
    if (err && !findings.n)
        return err;
    if (!call->json && !call->quiet && !findings.n)
        printf("Catalog and drives agree%s.\n", deep ? ", every byte of it" : "");
    return shown;
}

static mrmr_err check_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_OWN, check_in);
}

const struct cmd cmd_check = {
    .name = "check",
    .args = "",
    .summary = "check that catalog and drives agree",
    .text = "Checks what MRMR relies on against catalog and drives, and changes nothing. Findings "
            "that a sync or\na scrub --repair does not make go away are worth a bug report.",
    .options = {{"deep", 0, NULL, "read and verify every byte"}},
    .run = check_run,
    .owns = true,
};
