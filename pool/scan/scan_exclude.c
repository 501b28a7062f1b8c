/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/scan/scan.h"

#include <fnmatch.h>
#include <string.h>

/* What file systems, desktops and NAS systems keep for themselves. */
static const char *const exclude_always[] = {
    ".Trash-*",
    "System Volume Information",
    "$RECYCLE.BIN",
    "@eaDir",
};

static mrmr_err excludes_split(struct pool_scan_excludes *excludes)
{
    size_t most = 1;
    for (const char *c = excludes->text; *c; c++)
        most += *c == ':' || *c == '\n';
    excludes->pattern = calloc(most, sizeof *excludes->pattern);
    if (!excludes->pattern)
        return mrmr_nomem();
    char *rest = excludes->text;
    for (char *pattern; (pattern = strsep(&rest, ":\n"));)
        if (*pattern)
            excludes->pattern[excludes->n++] = pattern;
    return MRMR_OK;
}

mrmr_err pool_scan_excludes_load(struct pool *pool, struct pool_scan_excludes *ret_excludes)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct pool_scan_excludes excludes = {.n = 0};
    mrmr_err err = meta_get(pool->meta, "exclude", &text);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    if (text.size) {
        excludes.text = mrmr_steal(text.data);
        err = excludes_split(&excludes);
        if (err) {
            pool_scan_excludes_free(&excludes);
            return err;
        }
    }
    *ret_excludes = excludes;
    return MRMR_OK;
}

void pool_scan_excludes_free(struct pool_scan_excludes *excludes)
{
    free(excludes->text);
    free(excludes->pattern);
    *excludes = (struct pool_scan_excludes){.n = 0};
}

/* pattern against "folder/name". */
static bool exclude_path(const char *pattern, const char *folder, const char *name)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (*pattern == '/')
        pattern++;
    if (mrmr_bytes_fmt(&path, "%s%s%s", folder, *folder ? "/" : "", name))
        return false;
    return fnmatch(pattern, path.data, FNM_PATHNAME) == 0;
}

bool pool_scan_excluded(
    const struct pool_scan_excludes *excludes, const char *folder, const char *name)
{
    if (!*folder && (!strcasecmp(name, POOL_DOT) || !strcmp(name, "lost+found")))
        return true;
    for (size_t i = 0; i < sizeof exclude_always / sizeof *exclude_always; i++)
        if (fnmatch(exclude_always[i], name, 0) == 0)
            return true;
    for (size_t i = 0; i < excludes->n; i++) {
        const char *pattern = excludes->pattern[i];
        if (strchr(pattern, '/') ? exclude_path(pattern, folder, name)
                                 : fnmatch(pattern, name, 0) == 0)
            return true;
    }
    return false;
}
