/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/uuid.h"

#include "base/text.h"
#include <errno.h>
#include <string.h>
#include <sys/random.h>

mrmr_err mrmr_random(void *data, size_t size)
{
    uint8_t *p = data;
    while (size) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mrmr_fail_errno(errno, "getrandom", NULL);
        p += n;
        size -= (size_t)n;
    }
    return MRMR_OK;
}

mrmr_err mrmr_uuid_make(struct mrmr_uuid *ret_uuid)
{
    struct mrmr_uuid uuid;
    mrmr_err err = mrmr_random(&uuid, sizeof uuid);
    if (err)
        return err;
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    *ret_uuid = uuid;
    return MRMR_OK;
}

bool mrmr_uuid_equal(const struct mrmr_uuid *a, const struct mrmr_uuid *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Where the dashes stand: after these many bytes. */
static bool uuid_dash_before(unsigned byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

const char *mrmr_uuid_print(const struct mrmr_uuid *uuid, char buf[MRMR_UUID_TEXT])
{
    char *p = buf;
    for (unsigned i = 0; i < MRMR_UUID_SIZE; i++) {
        if (uuid_dash_before(i))
            *p++ = '-';
        mrmr_text_hex(&uuid->bytes[i], 1, p);
        p += 2;
    }
    return buf;
}

bool mrmr_uuid_parse(const char *text, struct mrmr_uuid *ret_uuid)
{
    struct mrmr_uuid uuid;
    if (strlen(text) != MRMR_UUID_TEXT - 1)
        return false;
    for (unsigned i = 0; i < MRMR_UUID_SIZE; i++) {
        if (uuid_dash_before(i) && *text++ != '-')
            return false;
        if (!mrmr_text_unhex(text, 1, &uuid.bytes[i]))
            return false;
        text += 2;
    }
    *ret_uuid = uuid;
    return true;
}
