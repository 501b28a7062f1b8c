/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A catalog from the text of its copies, which may be hostile (I9): line.c takes statements of our
 * own forms and nothing else. CREATE lines are for people with sqlite3; here the schema is made by
 * schema.c.
 *
 * Crash argument. All is done to path~, without any sync; it is synced, checked and then renamed to
 * path, which must not be there. A cut before leaves path~, which the next attempt starts anew.
 */
#include "meta/line.h"
#include "meta/schema.h"
#include "meta/transaction.h"

#include "base/clock.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum restore_phase {
    RESTORE_IDLE,
    RESTORE_BEGIN,  /* "BEGIN;" is next */
    RESTORE_LABEL,  /* of a base: the version */
    RESTORE_ROWS,   /* statements, then "COMMIT;" */
    RESTORE_WHOLE,  /* nothing more */
    RESTORE_BROKEN, /* undo or destroy */
};

struct meta_restore {
    char *path;
    struct meta meta; /* its path is path~; only db and cached statements are used */
    struct meta_line line;
    bool base, labelled, finished;
    enum restore_phase phase;
};

/* --- A copy, line by line --- */

static mrmr_err restore_exec(struct meta_restore *r, const char *sql)
{
    return meta_sqlite_fail(&r->meta, sqlite3_exec(r->meta.db, sql, NULL, NULL, NULL));
}

static mrmr_err take_version(struct meta_restore *r)
{
    int64_t version;
    if (!meta_line_take(&r->line, "PRAGMA user_version="))
        return meta_line_bad(&r->line, "no version");
    MRMR_TRY(meta_line_integer(&r->line, &version));
    if (!meta_line_is(&r->line, ";") || version < 1)
        return meta_line_bad(&r->line, "no version");
    if (version > META_SCHEMA) {
        mrmr_fail(MRMR_NEWER,
            "its catalog has schema version %lld, and this program knows versions up to %d",
            (long long)version, META_SCHEMA);
        return mrmr_err_hint(MRMR_NEWER, "use the mrmr that made it, or a newer one");
    }
    MRMR_TRY(meta_schema_make(&r->meta, (int)version));
    MRMR_TRY(meta_tables_load(&r->meta, r->meta.db, r->line.tables));
    r->phase = RESTORE_ROWS;
    return MRMR_OK;
}

/* The first lines of a base: application and version; then the schema can be made. */
static mrmr_err take_label(struct meta_restore *r)
{
    char ours[48];
    snprintf(ours, sizeof ours, "PRAGMA application_id=%d;", META_APPLICATION);
    if (r->labelled)
        return take_version(r);
    if (!meta_line_is(&r->line, ours))
        return meta_line_bad(&r->line, "not a catalog of mrmr");
    r->labelled = true;
    return MRMR_OK;
}

static mrmr_err take_row(struct meta_restore *r)
{
    bool known;
    MRMR_TRY(meta_line_statement(&r->line, &known));
    if (known || (r->base && meta_line_take(&r->line, "CREATE ")))
        return MRMR_OK;
    if (!meta_line_is(&r->line, "COMMIT;"))
        return meta_line_bad(&r->line, "an unknown statement");
    r->phase = RESTORE_WHOLE;
    return MRMR_OK;
}

static mrmr_err take_line(struct meta_restore *r)
{
    switch (r->phase) {
    case RESTORE_BEGIN:
        if (!meta_line_is(&r->line, "BEGIN;"))
            return meta_line_bad(&r->line, "no begin");
        r->phase = r->base ? RESTORE_LABEL : RESTORE_ROWS;
        return MRMR_OK;
    case RESTORE_LABEL:
        return take_label(r);
    case RESTORE_ROWS:
        return take_row(r);
    default:
        return meta_line_bad(&r->line, "more behind its end");
    }
}

mrmr_err meta_restore_line(struct meta_restore *r, const char *line, size_t size)
{
    if (r->phase == RESTORE_BROKEN || r->phase == RESTORE_IDLE)
        return mrmr_fail(MRMR_INTERNAL, "no copy of a catalog is being restored");
    meta_line_set(&r->line, line, size);
    mrmr_err err;
    if (size > META_RESTORE_LINE || memchr(line, '\0', size))
        err = meta_line_bad(&r->line, "too long, or with a NUL byte");
    else
        err = take_line(r);
    if (err)
        r->phase = RESTORE_BROKEN;
    return err;
}

mrmr_err meta_restore_begin(struct meta_restore *r, bool base)
{
    if (r->phase != RESTORE_IDLE || base == r->labelled)
        return mrmr_fail(MRMR_INTERNAL, "a catalog is restored from one base, then its logs");
    MRMR_TRY(restore_exec(r, "BEGIN"));
    r->base = base;
    r->phase = RESTORE_BEGIN;
    return MRMR_OK;
}

mrmr_err meta_restore_end(struct meta_restore *r)
{
    mrmr_err err = MRMR_OK;
    if (r->phase != RESTORE_WHOLE)
        err = mrmr_fail(MRMR_TRUNCATED, "it breaks off");
    if (!err)
        err = restore_exec(r, "COMMIT");
    r->phase = err ? RESTORE_BROKEN : RESTORE_IDLE;
    return err;
}

void meta_restore_undo(struct meta_restore *r)
{
    struct mrmr_story story;
    if (r->phase == RESTORE_IDLE)
        return;
    mrmr_story_save(&story);
    if (sqlite3_get_autocommit(r->meta.db) || restore_exec(r, "ROLLBACK"))
        r->phase = RESTORE_BROKEN;
    else
        r->phase = r->base ? RESTORE_BROKEN : RESTORE_IDLE;
    mrmr_story_restore(&story);
}

mrmr_err meta_restore_unset(struct meta_restore *r, const char *key, bool *ret_had)
{
    if (r->phase != RESTORE_IDLE || !r->labelled)
        return mrmr_fail(MRMR_INTERNAL, "no whole copy of a catalog was restored");
    const int before = sqlite3_total_changes(r->meta.db);
    MRMR_TRY(meta_run(&r->meta, "DELETE FROM setting WHERE key = ?", META_ARGS(META_TEXT(key))));
    *ret_had = sqlite3_total_changes(r->meta.db) != before;
    return MRMR_OK;
}

/* --- The file --- */

static void restore_close(struct meta_restore *r)
{
    meta_line_close(&r->line);
    for (size_t i = 0; i < META_CACHED; i++)
        sqlite3_finalize(r->meta.cached[i].stmt);
    memset(r->meta.cached, 0, sizeof r->meta.cached);
    sqlite3_close(r->meta.db);
    r->meta.db = NULL;
}

static void restore_unlink(const struct meta_restore *r)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        mrmr_autobytes struct mrmr_bytes name = MRMR_BYTES_INIT;
        if (!mrmr_bytes_fmt(&name, "%s%s", r->meta.path, suffixes[i]))
            unlink(name.data);
    }
}

void meta_restore_destroy(struct meta_restore *r)
{
    if (!r)
        return;
    restore_close(r);
    if (!r->finished && r->meta.path)
        restore_unlink(r);
    free(r->meta.path);
    free(r->path);
    free(r);
}

static mrmr_err restore_open(struct meta_restore *r)
{
    restore_unlink(r);
    mrmr_autoclose int fd =
        open(r->meta.path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "create", r->meta.path);
    int rc = sqlite3_open_v2(
        r->meta.path, &r->meta.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    MRMR_TRY(meta_sqlite_fail(&r->meta, rc));
    sqlite3_extended_result_codes(r->meta.db, 1);
    sqlite3_limit(r->meta.db, SQLITE_LIMIT_LENGTH, META_RESTORE_LINE);
    sqlite3_limit(r->meta.db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_db_config(r->meta.db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return restore_exec(r, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF;"
                           "PRAGMA foreign_keys = OFF; PRAGMA temp_store = FILE;"
                           "PRAGMA cache_size = -32768");
}

/* Absolute or with a slash, so that SQLite sees neither ":memory:" nor "file:". */
mrmr_err meta_restore_create(const char *path, struct meta_restore **ret_restore)
{
    struct meta_restore *r = calloc(1, sizeof *r);
    mrmr_autobytes struct mrmr_bytes temp = MRMR_BYTES_INIT;
    if (!r)
        return mrmr_nomem();
    r->line.meta = &r->meta;
    mrmr_err err = mrmr_bytes_fmt(&temp, "%s%s~", path[0] == '/' ? "" : "./", path);
    if (!err && !(r->path = strdup(path)))
        err = mrmr_nomem();
    if (!err) {
        r->meta.path = mrmr_steal(temp.data);
        err = restore_open(r);
    }
    if (err) {
        meta_restore_destroy(r);
        return err;
    }
    *ret_restore = r;
    return MRMR_OK;
}

/* Opened as a catalog it is brought up to this program's schema first. */
static mrmr_err restore_note(struct meta *meta, const char *warning)
{
    struct meta_event event = {.time = mrmr_clock_real(), .kind = "catalog-restored"};
    MRMR_TRY(meta_write(meta,
        "INSERT INTO counter (name, value) VALUES ('copy.open', 1) "
        "ON CONFLICT (name) DO UPDATE SET value = 1",
        NULL));
    if (!warning)
        return MRMR_OK;
    mrmr_autofree char *text = strdup(warning);
    if (!text)
        return mrmr_nomem();
    event.warning = true;
    event.text = text;
    return meta_event_add(meta, &event);
}

static mrmr_err restore_check(const char *path, const char *warning)
{
    struct meta *meta = NULL;
    MRMR_TRY(meta_open(path, 0, &meta));
    mrmr_err err = restore_note(meta, warning);
    if (!err)
        err = meta_check(meta);
    struct mrmr_story story;
    mrmr_story_save(&story);
    meta_close(meta);
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}

static mrmr_err restore_name(struct meta_restore *r)
{
    mrmr_autoclose int fd = open(r->meta.path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        return mrmr_fail_errno(errno, "sync", r->meta.path);
    if (renameat2(AT_FDCWD, r->meta.path, AT_FDCWD, r->path, RENAME_NOREPLACE))
        return mrmr_fail_errno(errno, "rename", r->path);
    r->finished = true;
    const char *slash = strrchr(r->path, '/');
    mrmr_autofree char *folder =
        slash ? strndup(r->path, slash == r->path ? 1 : (size_t)(slash - r->path)) : strdup(".");
    if (!folder)
        return mrmr_nomem();
    mrmr_autoclose int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir))
        return mrmr_fail_errno(errno, "sync", folder);
    return MRMR_OK;
}

mrmr_err meta_restore_finish(struct meta_restore *r, const char *warning)
{
    if (r->phase != RESTORE_IDLE || !r->labelled)
        return mrmr_fail(MRMR_INTERNAL, "no whole copy of a catalog was restored");
    restore_close(r);
    MRMR_TRY(restore_check(r->meta.path, warning));
    return restore_name(r);
}
