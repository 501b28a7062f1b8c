/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ls, where, cat: the pool's files.
 */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "tools/mrmr_print.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- One entry --- */

/* How safe it is, in words. */
static const char *entry_safety(const struct pool_entry *e, char buf[64])
{
    if (e->type != POOL_FILE)
        return e->present ? "-" : "away";
    if (e->survives < 0)
        return "lost now";
    int n = snprintf(buf, 64, "%s", e->degraded ? "degraded, " : "");
    if (e->exposed_bytes)
        snprintf(buf + n, 64 - (size_t)n, "exposed");
    else if (e->survives == 0)
        snprintf(buf + n, 64 - (size_t)n, "survives no loss");
    else
        snprintf(buf + n, 64 - (size_t)n, "survives %d", e->survives);
    return buf;
}

static const char *entry_mode(const struct pool_entry *e, char buf[16])
{
    static const char type[] = {
        [POOL_FILE] = '-', [POOL_FOLDER] = 'd', [POOL_SYMLINK] = 'l', [POOL_OTHER] = '?'};
    static const char letters[] = "rwxrwxrwx";
    buf[0] = type[e->type];
    for (unsigned i = 0; i < 9; i++)
        buf[1 + i] = e->mode & (0400u >> i) ? letters[i] : '-';
    if (e->mode & 04000)
        buf[3] = e->mode & 0100 ? 's' : 'S';
    if (e->mode & 02000)
        buf[6] = e->mode & 010 ? 's' : 'S';
    if (e->mode & 01000)
        buf[9] = e->mode & 01 ? 't' : 'T';
    buf[10] = '\0';
    return buf;
}

/* All of an entry but its name. */
static void entry_json(struct mrmr_json *json, const struct pool_entry *e)
{
    char mode[16];
    snprintf(mode, sizeof mode, "%04o", e->mode & 07777);
    mrmr_json_name(json, "drive", e->drive);
    mrmr_json_text(json, "type", mrmr_print_type(e->type));
    mrmr_json_text(json, "mode", mode);
    mrmr_json_number(json, "uid", e->uid);
    mrmr_json_number(json, "gid", e->gid);
    mrmr_json_number(json, "size", e->size);
    mrmr_json_time(json, "mtime", e->mtime);
    mrmr_json_number(json, "version", e->version);
    mrmr_json_number(json, "exposed_size", e->exposed_bytes);
    mrmr_json_signed(json, "survives", e->survives);
    mrmr_json_bool(json, "present", e->present);
    mrmr_json_bool(json, "degraded", e->degraded);
}

/* A document that begins with the first entry: if there is nothing to list, nothing is printed. */
struct listing {
    const char *path, *key;
    struct mrmr_json json;
    struct mrmr_table table; /* or */
    bool begun;
};

static void listing_begin(struct listing *listing)
{
    if (listing->begun)
        return;
    listing->begun = true;
    mrmr_json_begin(&listing->json, stdout);
    mrmr_json_name(&listing->json, "path", listing->path);
    mrmr_json_open(&listing->json, listing->key, '[');
}

static mrmr_err listing_end(struct listing *listing, mrmr_err err)
{
    if (err && !listing->begun)
        return err;
    listing_begin(listing);
    mrmr_err shown = mrmr_json_end(&listing->json);
    return err ? err : shown;
}

/* A listing stops when nobody reads it. */
static mrmr_err listing_goes_on(void)
{
    return ferror(stdout) ? mrmr_fail(MRMR_IO, "standard output cannot be written") : MRMR_OK;
}

/* --- ls --- */

static mrmr_err ls_json(const struct pool_entry *e, void *arg)
{
    struct listing *listing = arg;
    struct mrmr_json *json = &listing->json;
    listing_begin(listing);
    mrmr_json_open(json, NULL, '{');
    mrmr_json_name(json, "name", e->name);
    entry_json(json, e);
    mrmr_json_close(json);
    return json->err ? json->err : listing_goes_on();
}

static mrmr_err ls_short(const struct pool_entry *e, void *arg)
{
    (void)arg;
    mrmr_print_name(stdout, e->name);
    puts(e->type == POOL_FOLDER ? "/" : "");
    return listing_goes_on();
}

static mrmr_err ls_long(const struct pool_entry *e, void *arg)
{
    char mode[16], size[MRMR_TEXT_SHORT], time[MRMR_PRINT_TIME], safety[64];
    mrmr_autofree char *drive = mrmr_print_escaped(e->drive);
    (void)arg;
    size_t width = drive ? mrmr_print_width(drive) : 0;
    printf("%s %10s  %s  %s%*s  %-16s  ", entry_mode(e, mode),
        e->type == POOL_FILE ? mrmr_text_print_size(e->size, size) : "",
        mrmr_print_time_local(e->mtime, time), drive ? drive : "",
        width < 10 ? (int)(10 - width) : 0, "", entry_safety(e, safety));
    return ls_short(e, NULL);
}

static mrmr_err ls_in(struct cmd_call *call, struct pool *pool)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    MRMR_TRY(cmd_pool_path(pool, call->args ? call->arg[0] : "", &path));
    struct listing listing = {.path = path.data, .key = "entries"};
    if (!call->json)
        return pool_ls(pool, path.data, cmd_flag(call, "long") ? ls_long : ls_short, NULL);
    return listing_end(&listing, pool_ls(pool, path.data, ls_json, &listing));
}

static mrmr_err ls_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_LOOK, ls_in);
}

const struct cmd cmd_ls = {
    .name = "ls",
    .args = "[PATH]",
    .summary = "list a folder of the pool, all drives together",
    .text = "Lists a folder of the pool, all drives together, as the last sync saw it; what was "
            "renamed "
            "or\nremoved through the mount since has its new name, or none.\n"
            "In the long form: mode, size, time, drive, and how many further lost drives it "
            "survives.\n" CMD_PATH_TEXT,
    .most = 1,
    .options = {{"long", 'l', NULL, "with mode, size, time, drive and protection"}},
    .run = ls_run,
};

/* --- where --- */

/* As user.mrmr.protection says it, and how much is exposed. */
static const char *where_safety(const struct pool_entry *e, char buf[96])
{
    char size[MRMR_TEXT_SHORT];
    if (e->type != POOL_FILE)
        return entry_safety(e, buf);
    if (e->survives < 0)
        return "lost now";
    int n = snprintf(buf, 96, "%s", e->degraded ? "degraded, " : "");
    if (e->survives == 0)
        n += snprintf(buf + n, 96 - (size_t)n, "survives no loss");
    else
        n += snprintf(buf + n, 96 - (size_t)n, "survives %d lost drive%s", e->survives,
            e->survives == 1 ? "" : "s");
    if (e->exposed_bytes)
        snprintf(
            buf + n, 96 - (size_t)n, ", %s exposed", mrmr_text_print_size(e->exposed_bytes, size));
    return buf;
}

static const char *where_version(const struct pool_entry *e, char buf[40])
{
    if (e->type != POOL_FILE)
        return "";
    snprintf(buf, 40, e->version ? "version %" PRIu64 : "no sync has seen it", e->version);
    return buf;
}

static mrmr_err where_json(const struct pool_entry *e, void *arg)
{
    struct listing *listing = arg;
    listing_begin(listing);
    mrmr_json_open(&listing->json, NULL, '{');
    entry_json(&listing->json, e);
    mrmr_json_close(&listing->json);
    return listing->json.err;
}

static mrmr_err where_row(const struct pool_entry *e, void *arg)
{
    struct mrmr_table *table = &((struct listing *)arg)->table;
    char size[MRMR_TEXT_SHORT], time[MRMR_PRINT_TIME], safety[96], version[40];
    mrmr_table_cell(table, "%s", e->drive);
    mrmr_table_cell(table, "%s", e->present ? "present" : "not there");
    mrmr_table_cell(table, "%s",
        e->type == POOL_FILE ? mrmr_text_print_size(e->size, size) : mrmr_print_type(e->type));
    mrmr_table_cell(table, "%s", mrmr_print_time_local(e->mtime, time));
    mrmr_table_cell(table, "%s", where_safety(e, safety));
    mrmr_table_cell(table, "%s", where_version(e, version));
    return table->err;
}

static mrmr_err where_in(struct cmd_call *call, struct pool *pool)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    MRMR_TRY(cmd_pool_path(pool, call->arg[0], &path));
    struct listing listing = {.path = path.data, .key = "copies", .table = {.columns = "llrlll"}};
    if (call->json)
        return listing_end(&listing, pool_where(pool, path.data, where_json, &listing));
    mrmr_err err = pool_where(pool, path.data, where_row, &listing);
    mrmr_err shown = mrmr_table_print(&listing.table, stdout, 0);
    return err ? err : shown;
}

static mrmr_err where_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_LOOK, where_in);
}

const struct cmd cmd_where = {
    .name = "where",
    .args = "PATH",
    .summary = "show which drives have a file, and how safe it is",
    .text = "Shows each copy of a path, newest first: its drive, how many further lost drives it "
            "survives, how\nmuch of it is exposed, and the version of its content; also of what is "
            "new or changed since the\nlast sync.\n" CMD_PATH_TEXT,
    .least = 1,
    .most = 1,
    .run = where_run,
};

/* --- cat --- */

enum { CAT_BUFFER = 1 << 20 };

MRMR_DEFINE_AUTO(struct pool_file, pool_file_close);

static mrmr_err cat_in(struct cmd_call *call, struct pool *pool)
{
    MRMR_AUTO(pool_file_close) struct pool_file *file = NULL;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    mrmr_autofree char *buf = malloc(CAT_BUFFER);
    size_t got;
    if (!buf)
        return mrmr_nomem();
    MRMR_TRY(cmd_pool_path(pool, call->arg[0], &path));
    MRMR_TRY(pool_file_open(pool, path.data, POOL_READ_VERIFY, &file));
    uint64_t size = pool_file_size(file);
    for (uint64_t at = 0; at < size; at += got) {
        MRMR_TRY(mrmr_err_path(pool_file_read(file, at, buf, CAT_BUFFER, &got), path.data));
        if (!got)
            return mrmr_err_path(mrmr_fail(MRMR_TRUNCATED, "it ended too early"), path.data);
        if (fwrite(buf, 1, got, stdout) != got)
            return listing_goes_on();
    }
    return MRMR_OK;
}

static mrmr_err cat_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_LOOK, cat_in);
}

const struct cmd cmd_cat = {
    .name = "cat",
    .args = "PATH",
    .summary = "write a file's bytes to standard output, verified",
    .text = "Writes the bytes of a file to standard output, each verified before it is written, "
            "and made from\nparity where its drive is away or its bytes are wrong. If that fails "
            "in the middle, the exit code is 1.\n" CMD_PATH_TEXT,
    .least = 1,
    .most = 1,
    .run = cat_run,
};
