/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/mrmr_json.h"

#include "base/text.h"
#include "tools/mrmr_print.h"
#include <inttypes.h>
#include <string.h>

static void json_string(struct mrmr_json *json, const char *value, size_t size)
{
    mrmr_bytes_clear(&json->scratch);
    mrmr_err err = mrmr_text_json(&json->scratch, value, size);
    if (err)
        json->err = json->err ? json->err : err;
    else
        fwrite(json->scratch.data, 1, json->scratch.size, json->out);
}

/* The comma, the line and the key that come before a value. */
static void json_lead(struct mrmr_json *json, const char *key)
{
    bool *some = &json->some[json->depth];
    if (json->depth && json->line)
        fputs(*some ? ", " : "", json->out);
    else if (json->depth)
        fprintf(json->out, "%s\n%*s", *some ? "," : "", (int)(2 * json->depth), "");
    *some = true;
    if (!key)
        return;
    json_string(json, key, strlen(key));
    fputs(": ", json->out);
}

void mrmr_json_open(struct mrmr_json *json, const char *key, char kind)
{
    json_lead(json, key);
    fputc(kind, json->out);
    if (json->depth + 1 < MRMR_JSON_DEPTH)
        json->depth++;
    else
        json->err = mrmr_fail(MRMR_INTERNAL, "JSON nested too deep");
    json->kind[json->depth] = kind;
    json->some[json->depth] = false;
}

void mrmr_json_close(struct mrmr_json *json)
{
    bool some = json->some[json->depth];
    char kind = json->kind[json->depth];
    json->depth--;
    if (some && !json->line)
        fprintf(json->out, "\n%*s", (int)(2 * json->depth), "");
    fputc(kind == '{' ? '}' : ']', json->out);
}

void mrmr_json_begin(struct mrmr_json *json, FILE *out)
{
    *json = (struct mrmr_json){.out = out};
    mrmr_json_open(json, NULL, '{');
}

void mrmr_json_begin_line(struct mrmr_json *json, FILE *out)
{
    *json = (struct mrmr_json){.out = out, .line = true};
    mrmr_json_open(json, NULL, '{');
}

mrmr_err mrmr_json_end(struct mrmr_json *json)
{
    while (json->depth)
        mrmr_json_close(json);
    fputc('\n', json->out);
    mrmr_bytes_free(&json->scratch);
    return json->err;
}

void mrmr_json_text(struct mrmr_json *json, const char *key, const char *value)
{
    json_lead(json, key);
    if (value)
        json_string(json, value, strlen(value));
    else
        fputs("null", json->out);
}

void mrmr_json_name(struct mrmr_json *json, const char *key, const char *value)
{
    char bytes_key[64];
    size_t size = strlen(value);
    mrmr_json_text(json, key, value);
    if (mrmr_text_is_utf8(value, size))
        return;
    mrmr_autobytes struct mrmr_bytes encoded = MRMR_BYTES_INIT;
    mrmr_err err = mrmr_text_encode(&encoded, value, size);
    if (err) {
        json->err = json->err ? json->err : err;
        return;
    }
    snprintf(bytes_key, sizeof bytes_key, "%s_bytes", key);
    mrmr_json_text(json, bytes_key, encoded.data);
}

void mrmr_json_number(struct mrmr_json *json, const char *key, uint64_t value)
{
    json_lead(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void mrmr_json_signed(struct mrmr_json *json, const char *key, int64_t value)
{
    json_lead(json, key);
    fprintf(json->out, "%" PRId64, value);
}

void mrmr_json_bool(struct mrmr_json *json, const char *key, bool value)
{
    json_lead(json, key);
    fputs(value ? "true" : "false", json->out);
}

void mrmr_json_time(struct mrmr_json *json, const char *key, int64_t ns)
{
    char text[MRMR_PRINT_TIME];
    mrmr_json_text(json, key, mrmr_print_time_utc(ns, text));
}

void mrmr_json_time_or_null(struct mrmr_json *json, const char *key, int64_t ns)
{
    if (ns)
        mrmr_json_time(json, key, ns);
    else
        mrmr_json_text(json, key, NULL);
}
