/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Writing one JSON document to a stream, member by member.
 *
 * key is NULL inside an array and at the top. An error (out of memory) is kept and returned by
 * mrmr_json_end(); errors of the stream are the stream's. Times are RFC 3339, UTC. One thread.
 */
#ifndef MRMR_TOOLS_MRMR_JSON_H
#define MRMR_TOOLS_MRMR_JSON_H

#include "base/bytes.h"
#include <stdio.h>

enum { MRMR_JSON_DEPTH = 8 };

struct mrmr_json {
    FILE *out;
    mrmr_err err;
    struct mrmr_bytes scratch;
    unsigned depth;
    bool line; /* all in one */
    char kind[MRMR_JSON_DEPTH];
    bool some[MRMR_JSON_DEPTH]; /* whether a comma is due */
};

/* Starts the document: one object. */
void mrmr_json_begin(struct mrmr_json *json, FILE *out);
/* The same in one line. */
void mrmr_json_begin_line(struct mrmr_json *json, FILE *out);
/* Ends it, whatever is still open, with a line end. */
mrmr_err mrmr_json_end(struct mrmr_json *json);

void mrmr_json_open(struct mrmr_json *json, const char *key, char kind); /* '{' or '[' */
void mrmr_json_close(struct mrmr_json *json);

void mrmr_json_text(struct mrmr_json *json, const char *key, const char *value); /* NULL: null */
/* A name that may be any bytes: where it is not UTF-8, a member KEY_bytes has it percent-encoded.
 */
void mrmr_json_name(struct mrmr_json *json, const char *key, const char *value);
void mrmr_json_number(struct mrmr_json *json, const char *key, uint64_t value);
void mrmr_json_signed(struct mrmr_json *json, const char *key, int64_t value);
void mrmr_json_bool(struct mrmr_json *json, const char *key, bool value);
void mrmr_json_time(struct mrmr_json *json, const char *key, int64_t ns);
/* 0 is null: it never happened. */
void mrmr_json_time_or_null(struct mrmr_json *json, const char *key, int64_t ns);

#endif
