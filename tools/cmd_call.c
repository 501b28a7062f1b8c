/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/mounts.h"
#include "base/text.h"
#include "tools/mrmr_print.h"
#include "tools/mrmr_screen.h"
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- What was given --- */

const char *cmd_value(const struct cmd_call *call, const char *option)
{
    const struct cmd_option *options = call->cmd->options;
    for (size_t i = 0; options[i].name; i++)
        if (strcmp(options[i].name, option) == 0)
            return call->value[i];
    return NULL;
}

bool cmd_flag(const struct cmd_call *call, const char *option)
{
    return cmd_value(call, option) != NULL;
}

mrmr_err cmd_usage(struct cmd_call *call, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mrmr_screen_line("mrmr: %s: %s; see: mrmr %s --help", call->cmd->name, text, call->cmd->name);
    call->exit = CMD_USAGE;
    return mrmr_fail(MRMR_INVALID, NULL);
}

static mrmr_err value_bad(struct cmd_call *call, const char *option, const char *understood)
{
    mrmr_autofree char *shown = mrmr_print_escaped(cmd_value(call, option));
    return cmd_usage(
        call, "--%s '%s' makes no sense: say %s", option, shown ? shown : "", understood);
}

mrmr_err cmd_value_number(
    struct cmd_call *call, const char *option, uint64_t least, uint64_t most, uint64_t *value)
{
    const char *text = cmd_value(call, option);
    char understood[96];
    uint64_t n;
    if (!text)
        return MRMR_OK;
    if (most == UINT64_MAX)
        snprintf(understood, sizeof understood, "a number from %" PRIu64, least);
    else
        snprintf(
            understood, sizeof understood, "a number from %" PRIu64 " to %" PRIu64, least, most);
    if (!mrmr_text_u64(text, &n) || n < least || n > most)
        return value_bad(call, option, understood);
    *value = n;
    return MRMR_OK;
}

mrmr_err cmd_value_size(struct cmd_call *call, const char *option, uint64_t *value)
{
    const char *text = cmd_value(call, option);
    if (!text || mrmr_text_size(text, value))
        return MRMR_OK;
    return value_bad(call, option, "a size such as 500G or 1.5TiB");
}

mrmr_err cmd_value_duration(struct cmd_call *call, const char *option, uint64_t *seconds)
{
    const char *text = cmd_value(call, option);
    uint64_t got;
    if (!text)
        return MRMR_OK;
    /* Ends well before the nanoseconds of it overflow. */
    if (!mrmr_text_duration(text, &got) || got > UINT64_C(4000000000))
        return value_bad(call, option, "a duration such as 12h, 30d or 2w");
    *seconds = got;
    return MRMR_OK;
}

/* --- The pool --- */

mrmr_err cmd_with_pool(struct cmd_call *call, enum pool_access access, cmd_pool_fn fn)
{
    struct pool *pool = NULL;
    struct mrmr_story story;
    char who[64];
    snprintf(who, sizeof who, "mrmr %s", call->cmd->name);
    MRMR_TRY(pool_open(call->dir, access, who, &pool));
    mrmr_err err = fn(call, pool);
    mrmr_story_save(&story);
    pool_close(pool);
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}

/* Where the path below root begins in path, both absolute; NULL if it is not below it. */
static const char *path_below(const char *path, const char *root)
{
    size_t n = strlen(root);
    while (n && root[n - 1] == '/')
        n--;
    if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return NULL;
    return path + n;
}

static const char *path_below_a_drive(
    const struct pool_drive_view *views, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++) {
        const char *below = views[i].uri[0] == '/' ? path_below(path, views[i].uri) : NULL;
        if (below)
            return below;
    }
    return NULL;
}

struct mounts_pass {
    const char *pool; /* its folder, as a mount names it */
    const char *path, *below;
};

static void mounts_pass(const struct mrmr_mount *mount, void *arg)
{
    struct mounts_pass *pass = arg;
    if (strcmp(mount->type, MRMR_MOUNTS_POOL) != 0 || strcmp(mount->source, pass->pool) != 0)
        return;
    const char *below = path_below(pass->path, mount->point);
    pass->below = below ? below : pass->below;
}

/* Without /proc no mount is known. */
static const char *path_below_a_mount(const struct pool *pool, const char *path)
{
    mrmr_autofree char *folder = realpath(pool_home(pool), NULL);
    struct mounts_pass pass = {.pool = folder, .path = path};
    return folder && !mrmr_mounts_each(mounts_pass, &pass) ? pass.below : NULL;
}

/* The path with the symlinks of its folder resolved; the last name is the entry itself, which may
 * be a link or gone. free(); NULL if there is no such folder. */
static char *path_resolved(const char *path)
{
    mrmr_autofree char *copy = strdup(path);
    char *slash = copy ? strrchr(copy, '/') : NULL, *whole = NULL;
    if (!slash)
        return NULL;
    *slash = '\0';
    mrmr_autofree char *folder = realpath(copy[0] ? copy : "/", NULL);
    if (!folder || asprintf(&whole, "%s/%s", folder, slash + 1) < 0)
        return NULL;
    return whole;
}

static mrmr_err path_normalised(const char *path, struct mrmr_bytes *out)
{
    size_t start = out->size;
    while (*path) {
        size_t n = strcspn(path, "/");
        if (n && !(n == 1 && *path == '.')) {
            if (out->size > start)
                MRMR_TRY(mrmr_bytes_add(out, "/", 1));
            MRMR_TRY(mrmr_bytes_add(out, path, n));
        }
        path += n + (path[n] == '/');
    }
    return mrmr_bytes_add(out, "", 0);
}

mrmr_err cmd_pool_path(struct pool *pool, const char *given, struct mrmr_bytes *path)
{
    mrmr_autofree struct pool_drive_view *views = NULL;
    size_t n = 0;
    if (given[0] != '/')
        return path_normalised(given, path);
    MRMR_TRY(pool_drives_known(pool, &views, &n));
    const char *below = path_below_a_drive(views, n, given);
    if (!below)
        below = path_below_a_mount(pool, given);
    if (below)
        return path_normalised(below, path);
    mrmr_autofree char *resolved = path_resolved(given);
    below = resolved ? path_below_a_drive(views, n, resolved) : NULL;
    if (resolved && !below)
        below = path_below_a_mount(pool, resolved);
    return path_normalised(below ? below : given, path);
}

/* --- Results --- */

mrmr_err cmd_look(struct cmd_call *call, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (call->exit == CMD_DONE)
        call->exit = CMD_LOOK;
    return mrmr_bytes_add(&call->looks, text, strlen(text) + 1);
}

bool cmd_has_looks(const struct cmd_call *call)
{
    return call->looks.size > 0;
}

void cmd_print_looks(const struct cmd_call *call)
{
    if (!cmd_has_looks(call))
        return;
    printf("Needs a look:\n");
    for (size_t at = 0; at < call->looks.size; at += strlen(call->looks.data + at) + 1)
        printf("  ! %s\n", call->looks.data + at);
}

void cmd_json_looks(const struct cmd_call *call, struct mrmr_json *json)
{
    mrmr_json_open(json, "needs_look", '[');
    for (size_t at = 0; at < call->looks.size; at += strlen(call->looks.data + at) + 1)
        mrmr_json_text(json, NULL, call->looks.data + at);
    mrmr_json_close(json);
}
