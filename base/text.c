/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/text.h"

#include "base/cleanup.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char hex_upper[] = "0123456789ABCDEF";
static const char hex_lower[] = "0123456789abcdef";

static bool text_is_plain(unsigned char c)
{
    return c >= 0x21 && c <= 0x7e && c != '%';
}

/* A failed append must leave the buffer as it was. */
static mrmr_err text_undo(struct mrmr_bytes *b, size_t size, mrmr_err err)
{
    b->size = size;
    if (b->data)
        b->data[size] = '\0';
    return err;
}

mrmr_err mrmr_text_encode(struct mrmr_bytes *b, const char *s, size_t size)
{
    size_t escapes = 0;
    for (size_t i = 0; i < size; i++)
        escapes += !text_is_plain((unsigned char)s[i]);
    if (escapes > (SIZE_MAX - size) / 2)
        return mrmr_nomem();
    MRMR_TRY(mrmr_bytes_reserve(b, size + 2 * escapes));
    char *p = b->data + b->size;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)s[i];
        if (text_is_plain(c)) {
            *p++ = (char)c;
            continue;
        }
        *p++ = '%';
        *p++ = hex_upper[c >> 4];
        *p++ = hex_upper[c & 15];
    }
    *p = '\0';
    b->size = (size_t)(p - b->data);
    return MRMR_OK;
}

static int text_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The byte that the text at s stands for and how many characters it takes; 0 characters if it is
 * malformed. */
static size_t text_decode_one(const char *s, size_t size, unsigned char *ret_byte)
{
    if (text_is_plain((unsigned char)*s)) {
        *ret_byte = (unsigned char)*s;
        return 1;
    }
    if (*s != '%' || size < 3)
        return 0;
    int high = text_digit(s[1]), low = text_digit(s[2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0))
        return 0;
    *ret_byte = (unsigned char)(high << 4 | low);
    return 3;
}

mrmr_err mrmr_text_decode(struct mrmr_bytes *b, const char *s, size_t size)
{
    size_t before = b->size;
    MRMR_TRY(mrmr_bytes_reserve(b, size));
    char *p = b->data + b->size;
    for (size_t i = 0; i < size;) {
        unsigned char byte;
        size_t taken = text_decode_one(s + i, size - i, &byte);
        if (!taken)
            return text_undo(
                b, before, mrmr_fail(MRMR_FORMAT, "not percent-encoded text at character %zu", i));
        *p++ = (char)byte;
        i += taken;
    }
    *p = '\0';
    b->size = (size_t)(p - b->data);
    return MRMR_OK;
}

void mrmr_text_hex(const void *data, size_t size, char *hex)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < size; i++) {
        *hex++ = hex_lower[p[i] >> 4];
        *hex++ = hex_lower[p[i] & 15];
    }
    *hex = '\0';
}

bool mrmr_text_unhex(const char *hex, size_t size, void *ret_data)
{
    for (size_t i = 0; i < 2 * size; i++)
        if (text_digit(hex[i]) < 0) /* stops at the NUL of a short string */
            return false;
    unsigned char *p = ret_data;
    for (size_t i = 0; i < size; i++)
        p[i] = (unsigned char)(text_digit(hex[2 * i]) << 4 | text_digit(hex[2 * i + 1]));
    return true;
}

/* Digits at *s, which moves past them. False if there are none or they overflow. */
static bool text_digits(const char **s, uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *p = *s;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return false;
    if (p == *s)
        return false;
    *s = p;
    *ret_value = value;
    return true;
}

bool mrmr_text_u64(const char *s, uint64_t *ret_value)
{
    uint64_t value;
    if (!text_digits(&s, &value) || *s)
        return false;
    *ret_value = value;
    return true;
}

bool mrmr_text_i64(const char *s, int64_t *ret_value)
{
    bool negative = *s == '-';
    uint64_t value;
    if (!mrmr_text_u64(s + negative, &value) || value > (uint64_t)INT64_MAX + negative)
        return false;
    *ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* The unit at s ("", "B", "K", "KB", "KiB", …), which must fill the rest of the string, as a power
 * of two. */
static bool text_unit(const char *s, unsigned *ret_shift)
{
    static const char units[] = "KMGTPE";
    unsigned shift = 0;
    if (*s == ' ' && s[1])
        s++;
    const char *unit = *s ? strchr(units, toupper((unsigned char)*s)) : NULL;
    if (unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        s++;
        if (*s == 'i')
            s++;
    }
    if (*s == 'B' || *s == 'b')
        s++;
    *ret_shift = shift;
    return !*s;
}

bool mrmr_text_size(const char *s, uint64_t *ret_bytes)
{
    uint64_t whole, fraction = 0, scale = 1;
    unsigned shift;
    if (!text_digits(&s, &whole))
        return false;
    bool fractional = *s == '.';
    if (fractional) {
        const char *start = ++s;
        if (!text_digits(&s, &fraction) || s - start > 9)
            return false;
        for (; start < s; start++)
            scale *= 10;
    }
    if (!text_unit(s, &shift) || (fractional && !shift))
        return false;
    unsigned __int128 bytes =
        ((unsigned __int128)whole << shift) + ((unsigned __int128)fraction << shift) / scale;
    if (bytes > UINT64_MAX)
        return false;
    *ret_bytes = (uint64_t)bytes;
    return true;
}

bool mrmr_text_duration(const char *s, uint64_t *ret_seconds)
{
    static const struct {
        char unit;
        uint32_t seconds;
    } units[] = {{'\0', 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    uint64_t value;
    if (!text_digits(&s, &value) || (*s && s[1]))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (units[i].unit == *s) {
            if (__builtin_mul_overflow(value, (uint64_t)units[i].seconds, &value))
                return false;
            *ret_seconds = value;
            return true;
        }
    return false;
}

/* "hh:mm", and what comes behind it. */
static bool text_minute(const char **s, unsigned *ret_minute)
{
    const char *at = *s;
    for (size_t i = 0; i < 5; i++)
        if (i == 2 ? at[i] != ':' : at[i] < '0' || at[i] > '9')
            return false;
    const unsigned hour = (unsigned)(at[0] - '0') * 10 + (unsigned)(at[1] - '0');
    const unsigned minute = (unsigned)(at[3] - '0') * 10 + (unsigned)(at[4] - '0');
    *ret_minute = hour * 60 + minute;
    *s = at + 5;
    return minute < 60 && *ret_minute <= 24 * 60;
}

bool mrmr_text_hours(const char *s, unsigned *ret_from, unsigned *ret_to)
{
    return text_minute(&s, ret_from) && *s++ == '-' && text_minute(&s, ret_to) && !*s &&
           *ret_from < 24 * 60 && *ret_from != *ret_to;
}

const char *mrmr_text_print_size(uint64_t bytes, char buf[MRMR_TEXT_SHORT])
{
    static const char units[] = "KMGTPE";
    if (bytes < 1024) {
        snprintf(buf, MRMR_TEXT_SHORT, "%u B", (unsigned)bytes);
        return buf;
    }
    unsigned unit = 0;
    uint64_t tenths;
    for (;; unit++) {
        unsigned shift = 10 * (unit + 1);
        tenths =
            (uint64_t)((((unsigned __int128)bytes * 10) + (UINT64_C(1) << (shift - 1))) >> shift);
        if (tenths < 10240) /* else rounding has reached the next unit */
            break;
    }
    if (tenths < 1000)
        snprintf(buf, MRMR_TEXT_SHORT, "%u.%u %ciB", (unsigned)(tenths / 10),
            (unsigned)(tenths % 10), units[unit]);
    else
        snprintf(buf, MRMR_TEXT_SHORT, "%u %ciB", (unsigned)(tenths / 10), units[unit]);
    return buf;
}

const char *mrmr_text_print_duration(uint64_t seconds, char buf[MRMR_TEXT_SHORT])
{
    static const struct {
        uint32_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    unsigned i = 0;
    while (i < 3 && seconds < units[i].seconds)
        i++;
    uint64_t first = seconds / units[i].seconds;
    uint64_t second = i < 3 ? seconds % units[i].seconds / units[i + 1].seconds : 0;
    if (second)
        snprintf(buf, MRMR_TEXT_SHORT, "%" PRIu64 " %s %" PRIu64 " %s", first, units[i].name,
            second, units[i + 1].name);
    else
        snprintf(buf, MRMR_TEXT_SHORT, "%" PRIu64 " %s", first, units[i].name);
    return buf;
}

/* The length of the well-formed UTF-8 sequence at s (Unicode table 3-7), 0 if there is none. */
static size_t text_utf8_at(const char *s, size_t size)
{
    const unsigned char *p = (const unsigned char *)s;
    unsigned char low = 0x80, high = 0xbf;
    size_t length;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        length = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        length = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        length = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0; /* below: overlong */
    else if (p[0] == 0xed)
        high = 0x9f; /* above: surrogates */
    else if (p[0] == 0xf0)
        low = 0x90; /* below: overlong */
    else if (p[0] == 0xf4)
        high = 0x8f; /* above: past U+10FFFF */
    if (size < length || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return length;
}

bool mrmr_text_is_utf8(const char *s, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t length = text_utf8_at(s + i, size - i);
        if (!length)
            return false;
        i += length;
    }
    return true;
}

/* One character of a JSON string. */
static mrmr_err text_json_one(struct mrmr_bytes *b, const char *s, size_t length)
{
    static const char named[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    unsigned char c = (unsigned char)*s;
    if (!length)
        return mrmr_bytes_str(b, "\xef\xbf\xbd");
    const char *at = c ? strchr(named, c) : NULL;
    if (at)
        return mrmr_bytes_add(b, (char[]){'\\', letter[at - named]}, 2);
    if (c < 0x20 || c == 0x7f)
        return mrmr_bytes_fmt(b, "\\u%04x", c);
    return mrmr_bytes_add(b, s, length);
}

/* One character for a terminal. U+0080 to U+009F are control characters too. */
static mrmr_err text_print_one(struct mrmr_bytes *b, const char *s, size_t length)
{
    unsigned char c = (unsigned char)*s;
    if (length == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0)
        return mrmr_bytes_fmt(b, "\\x%02x\\x%02x", c, (unsigned char)s[1]);
    if (!length || c < 0x20 || c == 0x7f)
        return mrmr_bytes_fmt(b, "\\x%02x", c);
    if (c == '\\')
        return mrmr_bytes_str(b, "\\\\");
    return mrmr_bytes_add(b, s, length);
}

static mrmr_err text_each(struct mrmr_bytes *b, const char *s, size_t size,
    mrmr_err (*one)(struct mrmr_bytes *b, const char *s, size_t length))
{
    for (size_t i = 0; i < size;) {
        size_t length = text_utf8_at(s + i, size - i);
        MRMR_TRY(one(b, s + i, length));
        i += length ? length : 1;
    }
    return MRMR_OK;
}

mrmr_err mrmr_text_json(struct mrmr_bytes *b, const char *s, size_t size)
{
    size_t before = b->size;
    mrmr_err err = mrmr_bytes_str(b, "\"");
    if (!err)
        err = text_each(b, s, size, text_json_one);
    if (!err)
        err = mrmr_bytes_str(b, "\"");
    return err ? text_undo(b, before, err) : MRMR_OK;
}

void mrmr_text_one_line(char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            s[i] = '?';
}

/* Without any that a shell or a reader takes for something else. */
static bool is_plain_word(const char *s)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,";
    return *s && !s[strspn(s, plain)];
}

mrmr_err mrmr_text_shell(struct mrmr_bytes *b, const char *s)
{
    size_t before = b->size;
    if (is_plain_word(s))
        return mrmr_bytes_str(b, s);
    mrmr_err err = mrmr_bytes_str(b, "'");
    for (; !err && *s; s++)
        err = *s == '\'' ? mrmr_bytes_str(b, "'\\''") : mrmr_bytes_add(b, s, 1);
    if (!err)
        err = mrmr_bytes_str(b, "'");
    return err ? text_undo(b, before, err) : MRMR_OK;
}

mrmr_err mrmr_text_print(struct mrmr_bytes *b, const char *s, size_t size)
{
    size_t before = b->size;
    mrmr_err err = text_each(b, s, size, text_print_one);
    return err ? text_undo(b, before, err) : MRMR_OK;
}
