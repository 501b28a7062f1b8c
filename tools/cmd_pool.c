/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * init, set, get: the pool and its settings.
 */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "tools/mrmr_print.h"
#include <string.h>

/* --- init --- */

static mrmr_err init_run(struct cmd_call *call)
{
    MRMR_TRY(pool_create(call->dir));
    mrmr_autofree char *dir = mrmr_print_escaped(call->dir);
    if (call->json) {
        struct mrmr_json json;
        mrmr_json_begin(&json, stdout);
        mrmr_json_name(&json, "pool", call->dir);
        return mrmr_json_end(&json);
    }
    if (!call->quiet)
        printf("Made a pool in %s. Next: mrmr add-drive /path/of/a/drive\n", dir ? dir : "?");
    return MRMR_OK;
}

const struct cmd cmd_init = {
    .name = "init",
    .args = "",
    .summary = "make a new, empty pool",
    .text = "Makes a new, empty pool in the pool's folder. The folder holds the catalog; it is no "
            "drive.\nThe first add-drive does this by itself.",
    .run = init_run,
};

/* --- set --- */

static mrmr_err pair_json(const char *key, const char *value)
{
    struct mrmr_json json;
    mrmr_json_begin(&json, stdout);
    mrmr_json_name(&json, "key", key);
    mrmr_json_name(&json, "value", value);
    return mrmr_json_end(&json);
}

static mrmr_err set_in(struct cmd_call *call, struct pool *pool)
{
    const char *key = call->arg[0], *value = call->arg[1];
    MRMR_TRY(pool_set(pool, key, value));
    if (call->json)
        return pair_json(key, value);
    if (call->quiet)
        return MRMR_OK;
    mrmr_print_name(stdout, key);
    printf(" is ");
    mrmr_print_name(stdout, value[0] ? value : "empty");
    printf(".%s\n", strcmp(key, "redundancy") == 0 ? " It takes effect with: mrmr sync" : "");
    return MRMR_OK;
}

static mrmr_err set_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_OWN, set_in);
}

const struct cmd cmd_set = {
    .name = "set",
    .args = "KEY VALUE",
    .summary = "change a setting",
    .text =
        "Changes a setting of the pool or of a drive (drive.NAME.KEY). `mrmr get` lists them "
        "all.\nSizes take units: 500G, 1.5TiB; so do durations: 90s, 10m, 12h, 30d, and a number "
        "alone is seconds.",
    .least = 2,
    .most = 2,
    .run = set_run,
    .owns = true,
};

/* --- get --- */

struct settings {
    struct mrmr_json *json; /* or */
    struct mrmr_table *table;
};

static mrmr_err get_each(
    const char *key, const char *value, const char *meaning, bool is_default, void *arg)
{
    struct settings *to = arg;
    if (!to->json) {
        mrmr_table_cell(to->table, "%s", key);
        mrmr_table_cell(to->table, "%s", value);
        mrmr_table_cell(to->table, "%s%s", meaning, is_default ? " (default)" : "");
        return to->table->err;
    }
    mrmr_json_open(to->json, NULL, '{');
    mrmr_json_name(to->json, "key", key);
    mrmr_json_name(to->json, "value", value);
    mrmr_json_text(to->json, "meaning", meaning);
    mrmr_json_bool(to->json, "is_default", is_default);
    mrmr_json_close(to->json);
    return to->json->err;
}

static mrmr_err get_one(struct cmd_call *call, struct pool *pool, const char *key)
{
    mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
    MRMR_TRY(pool_get(pool, key, &value));
    const char *text = value.data ? value.data : "";
    if (call->json)
        return pair_json(key, text);
    mrmr_print_name(stdout, text);
    putchar('\n');
    return MRMR_OK;
}

static mrmr_err get_in(struct cmd_call *call, struct pool *pool)
{
    struct mrmr_json json;
    struct mrmr_table table = {.columns = "lll"};
    struct settings to = {.json = call->json ? &json : NULL, .table = &table};
    if (call->args)
        return get_one(call, pool, call->arg[0]);
    if (call->json) {
        mrmr_json_begin(&json, stdout);
        mrmr_json_open(&json, "settings", '[');
    }
    mrmr_err err = pool_settings(pool, get_each, &to);
    mrmr_err shown = call->json ? mrmr_json_end(&json) : mrmr_table_print(&table, stdout, 0);
    return err ? err : shown;
}

static mrmr_err get_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_LOOK, get_in);
}

const struct cmd cmd_get = {
    .name = "get",
    .args = "[KEY]",
    .summary = "show one setting, or all of them",
    .text = "Shows one setting's value, or all settings with what they mean.",
    .most = 1,
    .run = get_run,
};
