/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Text: names that are any bytes, percent-encoded for files that people read; numbers parsed
 * without surprises; sizes and durations for people; JSON strings. Pure; any thread.
 */
#ifndef MRMR_BASE_TEXT_H
#define MRMR_BASE_TEXT_H

#include "base/bytes.h"

/* Append s percent-encoded (RFC 3986 form): bytes outside 0x21–0x7e, and '%' itself, become %XX.
 * The result has no white space and is pure ASCII; '/' stays. */
mrmr_err mrmr_text_encode(struct mrmr_bytes *b, const char *s, size_t size);

/* Decode such text, appending to b. MRMR_FORMAT for a bad escape, a NUL (%00) or an unescaped byte
 * that encode would have escaped. */
mrmr_err mrmr_text_decode(struct mrmr_bytes *b, const char *s, size_t size);

/* Lower-case hex. hex needs 2·size+1 bytes. unhex takes exactly 2·size digits, either case. */
void mrmr_text_hex(const void *data, size_t size, char *hex);
bool mrmr_text_unhex(const char *hex, size_t size, void *ret_data);

/* A decimal number that fills the whole string, without sign, space or overflow. */
bool mrmr_text_u64(const char *s, uint64_t *ret_value);
bool mrmr_text_i64(const char *s, int64_t *ret_value);

/* "4096", "100K", "1.5GiB", "20T": binary units; false if it makes no sense or overflows. */
bool mrmr_text_size(const char *s, uint64_t *ret_bytes);

/* "90s", "15m", "12h", "30d", "2w"; a bare number is seconds. */
bool mrmr_text_duration(const char *s, uint64_t *ret_seconds);
/* "18:00-23:30", also over midnight: minutes of the day; the second may be "24:00". */
bool mrmr_text_hours(const char *s, unsigned *ret_from, unsigned *ret_to);

/* For people: "1.5 GiB", "2 h 5 min". Return buf. */
#define MRMR_TEXT_SHORT 32
const char *mrmr_text_print_size(uint64_t bytes, char buf[MRMR_TEXT_SHORT]);
const char *mrmr_text_print_duration(uint64_t seconds, char buf[MRMR_TEXT_SHORT]);

/* Append s as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD: callers that
 * need the exact name add the percent-encoded form as a second field. */
mrmr_err mrmr_text_json(struct mrmr_bytes *b, const char *s, size_t size);

/* Append s for a terminal: control characters and bytes that are not UTF-8 as \xHH, backslash
 * doubled. */
mrmr_err mrmr_text_print(struct mrmr_bytes *b, const char *s, size_t size);

/* Control characters become '?', in place: a name cannot begin a line of its own, nor speak to a terminal. */
void mrmr_text_one_line(char *s, size_t size);

/* Append s as one word of a shell's command line: as it is, or in single quotes. */
mrmr_err mrmr_text_shell(struct mrmr_bytes *b, const char *s);

/* True if the bytes are valid UTF-8 without surrogates or overlong forms. */
bool mrmr_text_is_utf8(const char *s, size_t size);

#endif
