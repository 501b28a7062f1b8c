/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Extended attributes as one blob: for each, sorted by name, the lengths of name and value (u16 and
 * u32, little-endian), the name, the value. The same attributes give the same blob. A blob comes
 * from the catalog, so it is parsed with distrust (I9).
 */
#include "pool/engine.h"

#include <string.h>

enum { ATTRS_HEAD = 6 };

struct attr {
    size_t name, nname, value, nvalue; /* places and lengths in the text below */
};

struct attrs {
    struct mrmr_bytes text;
    struct mrmr_bytes list; /* of struct attr */
};

static mrmr_err attrs_collect(const char *name, const void *value, size_t size, void *arg)
{
    struct attrs *attrs = arg;
    struct attr attr = {.name = attrs->text.size, .nname = strlen(name), .nvalue = size};
    if (attr.nname > UINT16_MAX || size > UINT32_MAX)
        return mrmr_fail(MRMR_SPACE, "an extended attribute is too long");
    MRMR_TRY(mrmr_bytes_add(&attrs->text, name, attr.nname + 1));
    attr.value = attrs->text.size;
    MRMR_TRY(mrmr_bytes_add(&attrs->text, value, size));
    return mrmr_bytes_add(&attrs->list, &attr, sizeof attr);
}

static int attrs_order(const void *a, const void *b, void *text)
{
    return strcmp((char *)text + ((const struct attr *)a)->name,
        (char *)text + ((const struct attr *)b)->name);
}

static mrmr_err attrs_encode(struct attrs *attrs, struct mrmr_bytes *blob)
{
    struct attr *list = (struct attr *)attrs->list.data;
    size_t n = attrs->list.size / sizeof *list;
    if (n)
        qsort_r(list, n, sizeof *list, attrs_order, attrs->text.data);
    for (size_t i = 0; i < n; i++) {
        uint8_t head[ATTRS_HEAD];
        for (int b = 0; b < 2; b++)
            head[b] = (uint8_t)(list[i].nname >> (8 * b));
        for (int b = 0; b < 4; b++)
            head[2 + b] = (uint8_t)(list[i].nvalue >> (8 * b));
        MRMR_TRY(mrmr_bytes_add(blob, head, sizeof head));
        MRMR_TRY(mrmr_bytes_add(blob, attrs->text.data + list[i].name, list[i].nname));
        MRMR_TRY(mrmr_bytes_add(blob, attrs->text.data + list[i].value, list[i].nvalue));
    }
    return MRMR_OK;
}

mrmr_err pool_attrs_read(struct drv *drv, const char *path, struct mrmr_bytes *blob)
{
    struct attrs attrs = {MRMR_BYTES_INIT, MRMR_BYTES_INIT};
    mrmr_autobytes struct mrmr_bytes encoded = MRMR_BYTES_INIT;
    mrmr_err err = drv_xattr_list(drv, path, attrs_collect, &attrs);
    if (!err)
        err = attrs_encode(&attrs, &encoded);
    else if (mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED)
        err = MRMR_OK;
    mrmr_bytes_free(&attrs.text);
    mrmr_bytes_free(&attrs.list);
    if (err || !encoded.size)
        return err;
    return mrmr_bytes_add(blob, encoded.data, encoded.size);
}

/* The next attribute of a blob; name is NUL-terminated in `name`, which has room for UINT16_MAX
 * + 1. */
static bool attrs_next(
    const uint8_t **at, size_t *left, char *name, const uint8_t **ret_value, size_t *ret_size)
{
    if (*left < ATTRS_HEAD)
        return false;
    const uint8_t *p = *at;
    size_t nname = (size_t)(p[0] | p[1] << 8);
    size_t size = p[2] | (size_t)p[3] << 8 | (size_t)p[4] << 16 | (size_t)p[5] << 24;
    if (!nname || nname > *left - ATTRS_HEAD || size > *left - ATTRS_HEAD - nname ||
        memchr(p + ATTRS_HEAD, '\0', nname))
        return false;
    memcpy(name, p + ATTRS_HEAD, nname);
    name[nname] = '\0';
    *ret_value = p + ATTRS_HEAD + nname;
    *ret_size = size;
    *at = *ret_value + size;
    *left -= ATTRS_HEAD + nname + size;
    return true;
}

/* Attributes of the system's own that not everybody may set, and not every file system takes. */
static bool attrs_is_foreign(const char *name)
{
    return strncmp(name, "security.", 9) == 0 || strncmp(name, "trusted.", 8) == 0 ||
           (strncmp(name, "system.", 7) == 0 && strncmp(name, "system.posix_acl_", 17) != 0);
}

mrmr_err pool_attrs_each(const void *blob, size_t size, drv_xattr_fn fn, void *arg)
{
    mrmr_autofree char *name = malloc(UINT16_MAX + 1);
    const uint8_t *at = blob, *value;
    size_t left = size, value_size;
    if (!name)
        return mrmr_nomem();
    while (left) {
        if (!attrs_next(&at, &left, name, &value, &value_size))
            return mrmr_fail(MRMR_FORMAT, "the catalog's extended attributes of it do not parse");
        MRMR_TRY(fn(name, value_size ? (const void *)value : "", value_size, arg));
    }
    return MRMR_OK;
}

struct attrs_changing {
    struct attrs attrs;
    const char *but;
};

static mrmr_err attrs_collect_but(const char *name, const void *value, size_t size, void *arg)
{
    struct attrs_changing *changing = arg;
    return strcmp(name, changing->but) == 0 ? MRMR_OK
                                            : attrs_collect(name, value, size, &changing->attrs);
}

mrmr_err pool_attrs_with(const void *blob, size_t size, const char *name, const void *value,
    size_t value_size, struct mrmr_bytes *ret_blob)
{
    struct attrs_changing changing = {{MRMR_BYTES_INIT, MRMR_BYTES_INIT}, name};
    mrmr_err err = pool_attrs_each(blob, size, attrs_collect_but, &changing);
    if (!err && value)
        err = attrs_collect(name, value, value_size, &changing.attrs);
    if (!err)
        err = attrs_encode(&changing.attrs, ret_blob);
    mrmr_bytes_free(&changing.attrs.text);
    mrmr_bytes_free(&changing.attrs.list);
    return err;
}

struct attrs_writing {
    struct drv *drv;
    const char *path;
    struct mrmr_story first; /* what failed, and was not foreign */
};

static mrmr_err attrs_write_one(const char *name, const void *value, size_t size, void *arg)
{
    struct attrs_writing *writing = arg;
    mrmr_err err = drv_xattr_set(writing->drv, writing->path, name, value, size);
    if (!err)
        return MRMR_OK;
    if (mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE && !mrmr_of_one_thing(err))
        return err;
    if (attrs_is_foreign(name)) {
        mrmr_log_story(MRMR_LOG_WARN, name);
    } else if (!writing->first.err) {
        mrmr_err_op(err, "set an attribute");
        mrmr_story_save(&writing->first);
        writing->first.err = err;
    }
    return MRMR_OK;
}

mrmr_err pool_attrs_write(struct drv *drv, const char *path, const void *blob, size_t size)
{
    struct attrs_writing writing = {.drv = drv, .path = path};
    MRMR_TRY(mrmr_err_path(pool_attrs_each(blob, size, attrs_write_one, &writing), path));
    return writing.first.err ? mrmr_story_restore(&writing.first) : MRMR_OK;
}
