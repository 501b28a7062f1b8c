/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The lines of `noted` (noted_format.h).
 */
#include "pool/events/noted.h"
#include "pool/events/noted_format.h"

#include "base/text.h"
#include <inttypes.h>
#include <string.h>

static void line_check(const char *line, size_t size, char hex[2 * NOTED_CHECK + 1])
{
    struct mrmr_digest digest = mrmr_digest_of(line, size);
    mrmr_text_hex(digest.bytes, NOTED_CHECK, hex);
}

static mrmr_err field_add(struct mrmr_bytes *line, const char *text)
{
    MRMR_TRY(mrmr_bytes_str(line, " "));
    return *text ? mrmr_text_encode(line, text, strnlen(text, NOTED_TEXT_MOST))
                 : mrmr_bytes_str(line, NOTED_NONE);
}

/* What it is about: the text too, unless it is of a stripe. */
static mrmr_err about_add(const struct pool_note *note, bool text, struct mrmr_bytes *line)
{
    char uuid[MRMR_UUID_TEXT] = "";
    MRMR_TRY(field_add(line, note->kind));
    MRMR_TRY(field_add(line, note->drive));
    MRMR_TRY(field_add(line, note->stripe ? mrmr_uuid_print(note->stripe, uuid) : ""));
    return text ? field_add(line, note->text) : MRMR_OK;
}

mrmr_err noted_may_have(const struct mrmr_bytes *bytes, const struct pool_note *note, bool *ret_may)
{
    mrmr_autobytes struct mrmr_bytes about = MRMR_BYTES_INIT;
    MRMR_TRY(about_add(note, !note->stripe, &about));
    *ret_may = bytes->size && memmem(bytes->data, bytes->size, about.data, about.size);
    return MRMR_OK;
}

mrmr_err noted_line_make(const struct pool_note *note, struct mrmr_bytes *line)
{
    mrmr_autobytes struct mrmr_bytes rest = MRMR_BYTES_INIT;
    char check[2 * NOTED_CHECK + 1];
    MRMR_TRY(mrmr_bytes_fmt(&rest, "%" PRId64 " %c", note->time, note->warning ? '!' : '-'));
    MRMR_TRY(about_add(note, true, &rest));
    line_check(rest.data, rest.size, check);
    return mrmr_bytes_fmt(line, "\n%s %s\n", check, rest.data);
}

/* The next of the fields, decoded; false if it is not right. */
static bool field_next(char **rest, struct mrmr_bytes *field)
{
    const char *text = strsep(rest, " ");
    mrmr_bytes_clear(field);
    return text && *text && !mrmr_bytes_reserve(field, 1) &&
           (strcmp(text, NOTED_NONE) == 0 || !mrmr_text_decode(field, text, strlen(text)));
}

static bool field_copy(char **rest, struct mrmr_bytes *field, char *ret_text, size_t room)
{
    if (!field_next(rest, field) || field->size >= room)
        return false;
    memcpy(ret_text, field->size ? field->data : "", field->size + 1);
    return true;
}

static bool fields_parse(
    char *rest, struct mrmr_bytes *field, struct pool_noted_entry *ret_entry, const char **ret_text)
{
    struct pool_noted_entry entry = {.time = 0};
    char flag[2], uuid[MRMR_UUID_TEXT];
    if (!field_next(&rest, field) || !field->size || !mrmr_text_i64(field->data, &entry.time) ||
        !field_copy(&rest, field, flag, sizeof flag) || !strchr("!-", flag[0]) ||
        !field_copy(&rest, field, entry.kind, sizeof entry.kind) ||
        !field_copy(&rest, field, entry.drive, sizeof entry.drive) ||
        !field_copy(&rest, field, uuid, sizeof uuid) ||
        (uuid[0] && !mrmr_uuid_parse(uuid, &entry.stripe)) || !field_next(&rest, field) || rest ||
        field->size > NOTED_TEXT_MOST)
        return false;
    entry.warning = flag[0] == '!';
    entry.has_stripe = uuid[0];
    *ret_text = field->size ? field->data : "";
    *ret_entry = entry;
    return true;
}

/* False: it is none. *ret_text lies in field. */
static bool line_parse(
    char *line, struct mrmr_bytes *field, struct pool_noted_entry *ret_entry, const char **ret_text)
{
    char check[2 * NOTED_CHECK + 1];
    const size_t size = strlen(line), before = sizeof check; /* with the space */
    if (size <= before || line[before - 1] != ' ')
        return false;
    line_check(line + before, size - before, check);
    return memcmp(line, check, before - 1) == 0 &&
           fields_parse(line + before, field, ret_entry, ret_text);
}

mrmr_err noted_lines_each(struct mrmr_bytes *bytes, noted_line_fn fn, void *arg)
{
    mrmr_autobytes struct mrmr_bytes field = MRMR_BYTES_INIT;
    char *rest = bytes->data;
    for (char *line; (line = strsep(&rest, "\n"));) {
        struct pool_noted_entry entry;
        const char *text;
        if (line_parse(line, &field, &entry, &text))
            MRMR_TRY(fn(&entry, text, arg));
    }
    return MRMR_OK;
}
