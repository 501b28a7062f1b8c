/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * UUIDs (RFC 9562, version 4) and random tokens, from getrandom(2). Any thread.
 */
#ifndef MRMR_BASE_UUID_H
#define MRMR_BASE_UUID_H

#include "base/err.h"

#define MRMR_UUID_SIZE 16
#define MRMR_UUID_TEXT 37 /* 36 characters and a NUL */

struct mrmr_uuid {
    uint8_t bytes[MRMR_UUID_SIZE];
};

mrmr_err mrmr_random(void *data, size_t size);
mrmr_err mrmr_uuid_make(struct mrmr_uuid *ret_uuid);
bool mrmr_uuid_equal(const struct mrmr_uuid *a, const struct mrmr_uuid *b);

/* 8-4-4-4-12 lower-case hex; returns buf. parse takes exactly that form. */
const char *mrmr_uuid_print(const struct mrmr_uuid *uuid, char buf[MRMR_UUID_TEXT]);
bool mrmr_uuid_parse(const char *text, struct mrmr_uuid *ret_uuid);

#endif
