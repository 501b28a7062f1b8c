/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/drive/identity.h"

#include "base/cleanup.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

enum identity_key {
    IDENTITY_FORMAT,
    IDENTITY_POOL,
    IDENTITY_UUID,
    IDENTITY_NAME,
    IDENTITY_SLOT,
    IDENTITY_SESSION,
    IDENTITY_TOKEN,
    IDENTITY_KEYS,
};

static const char *const identity_names[IDENTITY_KEYS] = {
    "format", "pool", "uuid", "name", "slot", "session", "token"};

static mrmr_err identity_bad(const char *why)
{
    mrmr_fail(MRMR_FORMAT, "the drive's identity file is malformed: %s", why);
    mrmr_err_path(MRMR_FORMAT, POOL_IDENTITY_PATH);
    return mrmr_err_hint(MRMR_FORMAT,
        "check the drive's file system; if the file cannot be restored, treat the drive as lost");
}

static bool identity_name(const char *value, char name[64])
{
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    if (mrmr_text_decode(&b, value, strlen(value)) || b.size == 0 || b.size >= 64)
        return false;
    memcpy(name, b.data, b.size + 1);
    return true;
}

/* The value of one key; the format itself was looked at before. */
static bool identity_take(enum identity_key key, const char *value, struct pool_identity *id)
{
    uint64_t n;
    switch (key) {
    case IDENTITY_FORMAT:
        return true;
    case IDENTITY_POOL:
        return mrmr_uuid_parse(value, &id->pool);
    case IDENTITY_UUID:
        return mrmr_uuid_parse(value, &id->uuid);
    case IDENTITY_NAME:
        return identity_name(value, id->name);
    case IDENTITY_SLOT:
        if (!mrmr_text_u64(value, &n) || n >= META_SLOTS_MAX)
            return false;
        id->slot = (uint8_t)n;
        return true;
    case IDENTITY_SESSION:
        return mrmr_text_u64(value, &id->session.number) && id->session.number > 0 &&
               id->session.number < INT64_MAX;
    case IDENTITY_TOKEN:
        return strlen(value) == 2 * sizeof id->session.token &&
               mrmr_text_unhex(value, sizeof id->session.token, id->session.token);
    case IDENTITY_KEYS:
        break;
    }
    return false;
}

/* The lines as an array of values by key, inside copy, which is cut up. */
static mrmr_err identity_split(char *copy, size_t size, const char *values[IDENTITY_KEYS])
{
    if (size == 0 || copy[size - 1] != '\n' || memchr(copy, '\0', size))
        return identity_bad("it is empty, cut off or not text");
    for (char *line = copy, *end; line < copy + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(copy + size - line));
        *end = '\0';
        char *equal = strchr(line, '=');
        if (!equal)
            return identity_bad("a line without '='");
        *equal = '\0';
        int key = 0;
        while (key < IDENTITY_KEYS && strcmp(identity_names[key], line) != 0)
            key++;
        /* A newer format may have other keys: the format line decides, wherever it stands. */
        if (key == IDENTITY_KEYS)
            continue;
        if (values[key])
            return identity_bad("a key stands there twice");
        values[key] = equal + 1;
    }
    return MRMR_OK;
}

static size_t identity_count_lines(const char *text, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        n += text[i] == '\n';
    return n;
}

static mrmr_err identity_check_format(const char *value)
{
    uint64_t format;
    if (!value || !mrmr_text_u64(value, &format) || format == 0)
        return identity_bad("it has no format number");
    if (format == 1)
        return MRMR_OK;
    mrmr_fail(MRMR_NEWER,
        "the drive was written by a newer version (identity format %llu, this program knows 1)",
        (unsigned long long)format);
    mrmr_err_path(MRMR_NEWER, POOL_IDENTITY_PATH);
    return mrmr_err_hint(MRMR_NEWER, "use the newer version of mrmr for this drive");
}

mrmr_err pool_identity_parse(const char *text, size_t size, struct pool_identity *ret_identity)
{
    if (size > POOL_IDENTITY_MAX)
        return identity_bad("it is too long");
    char copy[POOL_IDENTITY_MAX + 1];
    memcpy(copy, text, size);
    copy[size] = '\0';
    const char *values[IDENTITY_KEYS] = {NULL};
    MRMR_TRY(identity_split(copy, size, values));
    MRMR_TRY(identity_check_format(values[IDENTITY_FORMAT]));
    if (identity_count_lines(text, size) != IDENTITY_KEYS)
        return identity_bad("it has a key that format 1 does not know, or lacks one");
    struct pool_identity id = {0};
    for (int key = 0; key < IDENTITY_KEYS; key++) {
        if (!values[key] || !identity_take(key, values[key], &id)) {
            char why[64];
            snprintf(why, sizeof why, "bad or missing value of '%s'", identity_names[key]);
            return identity_bad(why);
        }
    }
    *ret_identity = id;
    return MRMR_OK;
}

mrmr_err pool_identity_print(const struct pool_identity *id, struct mrmr_bytes *text)
{
    char pool[MRMR_UUID_TEXT], uuid[MRMR_UUID_TEXT], token[2 * sizeof id->session.token + 1];
    mrmr_autobytes struct mrmr_bytes name = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_text_encode(&name, id->name, strlen(id->name)));
    mrmr_text_hex(id->session.token, sizeof id->session.token, token);
    return mrmr_bytes_fmt(text,
        "format=1\npool=%s\nuuid=%s\nname=%s\nslot=%u\nsession=%llu\ntoken=%s\n",
        mrmr_uuid_print(&id->pool, pool), mrmr_uuid_print(&id->uuid, uuid), name.data, id->slot,
        (unsigned long long)id->session.number, token);
}

mrmr_err pool_identity_read(struct drv *drv, struct pool_identity *ret_identity)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    mrmr_err err = drv_read_all(drv, POOL_IDENTITY_PATH, POOL_IDENTITY_MAX, &text);
    if (err == MRMR_SPACE)
        return identity_bad("it is too long");
    if (err == MRMR_NOT_DIR)
        return mrmr_err_path(
            mrmr_fail(MRMR_ABSENT, "there is no folder " POOL_IDENTITY_PATH " could be in"),
            POOL_IDENTITY_PATH);
    /* A folder or a symlink where the file should be is no identity either; that is not the drive's
     * word that there is none. */
    if (mrmr_class_of(err) == MRMR_CLASS_INVALID)
        return identity_bad("it is not a regular file");
    if (err)
        return err;
    return pool_identity_parse(text.data ? text.data : "", text.size, ret_identity);
}

mrmr_err pool_identity_write(struct drv *drv, const struct pool_identity *identity)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(pool_identity_print(identity, &text));
    return drv_replace(drv, POOL_IDENTITY_PATH, text.data, text.size, 0644);
}

bool pool_session_equal(const struct meta_session *a, const struct meta_session *b)
{
    return a->number == b->number && memcmp(a->token, b->token, sizeof a->token) == 0;
}
