/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/catalog/catalog_format.h"
#include "pool/stripe/gzip.h"

#define CHECK_PIECE (256 << 10)

/* What is remembered of a copy's text: its first line, and its end. */
struct checking {
    char first[64];
    char last[64];
    size_t nfirst, nlast;
};

static mrmr_err check_text(const char *text, size_t size, bool *ret_enough, void *arg)
{
    struct checking *c = arg;
    (void)ret_enough;
    size_t head = sizeof c->first - c->nfirst;
    head = size < head ? size : head;
    memcpy(c->first + c->nfirst, text, head);
    c->nfirst += head;
    size_t tail = size < sizeof c->last ? size : sizeof c->last;
    size_t keep = c->nlast < sizeof c->last - tail ? c->nlast : sizeof c->last - tail;
    memmove(c->last, c->last + (c->nlast - keep), keep);
    memcpy(c->last + keep, text + size - tail, tail);
    c->nlast = keep + tail;
    return MRMR_OK;
}

static mrmr_err check_feed(struct drv_file *file, struct pool_gunzip *gunzip)
{
    mrmr_autofree char *buf = malloc(CHECK_PIECE);
    if (!buf)
        return mrmr_nomem();
    for (uint64_t at = 0;;) {
        size_t got = 0;
        MRMR_TRY(drv_file_read(file, at, buf, CHECK_PIECE, &got));
        if (!got)
            return pool_gunzip_finish(gunzip);
        MRMR_TRY(pool_gunzip_feed(gunzip, buf, got));
        at += got;
    }
}

/* It begins as a copy of this format does, and ends with its own sequence. */
static mrmr_err check_ends(const struct checking *c, const struct pool_catalog_name *name)
{
    char first[64], last[64];
    int nfirst = snprintf(first, sizeof first, POOL_CATALOG_MAGIC "%d\n", POOL_CATALOG_FORMAT);
    int nlast = snprintf(last, sizeof last, "\n-- end %lld\n", (long long)name->sequence);
    if (c->nfirst < (size_t)nfirst || memcmp(c->first, first, (size_t)nfirst) != 0)
        return mrmr_fail(MRMR_FORMAT, "it is not a copy of a catalog");
    if (c->nlast < (size_t)nlast || memcmp(c->last + c->nlast - nlast, last, (size_t)nlast) != 0)
        return mrmr_fail(MRMR_TRUNCATED, "it breaks off");
    return MRMR_OK;
}

mrmr_err pool_catalog_file_check(struct drv *drv, const struct pool_catalog_name *name)
{
    char path[POOL_CATALOG_PATH];
    struct checking c = {.nfirst = 0};
    struct drv_file *file = NULL;
    struct pool_gunzip *gunzip = NULL;
    pool_catalog_name_print(name, path);
    mrmr_err err = drv_file_open(drv, path, DRV_OPEN_READ, 0, &file);
    if (!err)
        err = pool_gunzip_create(UINT64_MAX, check_text, &c, &gunzip);
    if (!err)
        err = check_feed(file, gunzip);
    if (!err)
        err = check_ends(&c, name);
    pool_gunzip_destroy(gunzip);
    drv_file_close(file);
    return mrmr_err_path(err, path);
}
