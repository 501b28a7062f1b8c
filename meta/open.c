/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Opening. The file is looked at before anything is changed: what is not a catalog, or a newer one,
 * stays as it is.
 *
 * Limits: a page cache of META_CACHE_KIB, no memory mapping, sorts that outgrow the cache go to
 * temporary files. So memory does not grow with the catalog (figures in docs/CATALOG.md). Triggers
 * and views of the file are never run from here: a hostile catalog may hold any.
 */
#include "meta/journal.h"
#include "meta/schema.h"
#include "meta/transaction.h"

#include "base/clock.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define META_CACHE_KIB 32768
#define META_BUSY_MS 2000
#define META_VALUE_MAX (64 << 20) /* one text or blob; the digests of 2 Mi leaves */

/* What the file system says about the path before SQLite is asked, whose words for these cases are
 * poor. */
static mrmr_err preflight_refuse(
    struct meta *meta, mrmr_err err, const char *text, const char *hint)
{
    mrmr_fail(err, "%s", text);
    mrmr_err_path(err, meta->path);
    return mrmr_err_hint(err, "%s", hint);
}

/* The folder of a path; ret_folder is malloc'ed. */
static mrmr_err folder_of(const char *path, char **ret_folder)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == path ? 1 : (size_t)(slash - path); /* open made sure that there is one */
    char *folder = strndup(path, n);
    if (!folder)
        return mrmr_nomem();
    *ret_folder = folder;
    return MRMR_OK;
}

static mrmr_err folder_sync(const char *path)
{
    mrmr_autofree char *folder = NULL;
    MRMR_TRY(folder_of(path, &folder));
    mrmr_autoclose int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        return mrmr_fail_errno(errno, "sync", folder);
    return MRMR_OK;
}

/* A new catalog is the user's alone: its names are private. */
static mrmr_err preflight_create(struct meta *meta)
{
    mrmr_autoclose int fd = open(meta->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        return folder_sync(meta->path);
    if (errno == EEXIST)
        return MRMR_OK;
    int err = errno;
    if (err == EACCES || err == EROFS)
        return preflight_refuse(meta, MRMR_READONLY, "the folder for the catalog is not writable",
            "make it writable, or choose another with --pool");
    return mrmr_fail_errno(err, "create", meta->path);
}

static mrmr_err preflight_writable(struct meta *meta)
{
    mrmr_autofree char *folder = NULL;
    MRMR_TRY(folder_of(meta->path, &folder));
    if (faccessat(AT_FDCWD, meta->path, W_OK, AT_EACCESS))
        return preflight_refuse(
            meta, MRMR_READONLY, "the catalog is not writable", "make it writable for this user");
    if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS))
        return preflight_refuse(meta, MRMR_READONLY,
            "the folder that holds the catalog is not writable",
            "make it writable for this user: the write-ahead log lies beside the catalog");
    return MRMR_OK;
}

static mrmr_err preflight(struct meta *meta, unsigned flags)
{
    if (flags & META_CREATE)
        MRMR_TRY(preflight_create(meta));
    struct stat st;
    if (stat(meta->path, &st)) {
        mrmr_err err = mrmr_fail_errno(errno, "open", meta->path);
        return err == MRMR_ABSENT ? mrmr_err_hint(err, "make a pool first: mrmr init") : err;
    }
    if (S_ISDIR(st.st_mode))
        return preflight_refuse(
            meta, MRMR_IS_DIR, "a folder lies where the catalog should be", "move it away");
    if (!S_ISREG(st.st_mode))
        return preflight_refuse(meta, MRMR_INVALID,
            "what lies where the catalog should be is not an ordinary file", "move it away");
    if (faccessat(AT_FDCWD, meta->path, R_OK, AT_EACCESS))
        return preflight_refuse(
            meta, MRMR_DENIED, "the catalog is not readable", "make it readable for this user");
    return flags & META_READONLY ? MRMR_OK : preflight_writable(meta);
}

static void connection_limit(sqlite3 *db)
{
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, META_BUSY_MS);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, META_VALUE_MAX);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
}

static mrmr_err connection_open(struct meta *meta, const char *name, int flags)
{
    int rc = sqlite3_open_v2(name, &meta->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc)
        return meta_sqlite_fail(meta, rc);
    connection_limit(meta->db);
    return MRMR_OK;
}

/* file:<path>?immutable=1, with the bytes that mean something in a URI escaped. */
static mrmr_err immutable_uri(const char *path, struct mrmr_bytes *uri)
{
    MRMR_TRY(mrmr_bytes_str(uri, "file:"));
    for (const char *p = path; *p; p++)
        if (strchr("%?#", *p))
            MRMR_TRY(mrmr_bytes_fmt(uri, "%%%02X", (unsigned char)*p));
        else
            MRMR_TRY(mrmr_bytes_add(uri, p, 1));
    return mrmr_bytes_str(uri, "?immutable=1");
}

/* On a read-only file system nobody can write, and SQLite cannot make its shared-memory file
 * either: say that the file does not change. Not if a log lies beside it, whose pages would then be
 * ignored. */
static bool may_be_immutable(const char *path)
{
    struct statvfs fs;
    struct stat st;
    mrmr_autobytes struct mrmr_bytes wal = MRMR_BYTES_INIT;
    if (statvfs(path, &fs) || !(fs.f_flag & ST_RDONLY))
        return false;
    if (mrmr_bytes_fmt(&wal, "%s-wal", path))
        return false;
    return stat(wal.data, &st) || st.st_size == 0;
}

static mrmr_err connection_open_readonly(struct meta *meta)
{
    if (!may_be_immutable(meta->path))
        return connection_open(meta, meta->path, SQLITE_OPEN_READONLY);
    mrmr_autobytes struct mrmr_bytes uri = MRMR_BYTES_INIT;
    MRMR_TRY(immutable_uri(meta->path, &uri));
    return connection_open(meta, uri.data, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
}

static mrmr_err pragma(struct meta *meta, const char *sql)
{
    return meta_sqlite_fail(meta, sqlite3_exec(meta->db, sql, NULL, NULL, NULL));
}

static mrmr_err connection_tune(struct meta *meta)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA cache_size = -%d", META_CACHE_KIB);
    MRMR_TRY(pragma(meta, sql));
    return pragma(meta, "PRAGMA mmap_size = 0;"
                        "PRAGMA temp_store = FILE;"
                        "PRAGMA cell_size_check = ON;"
                        "PRAGMA foreign_keys = ON;"
                        "PRAGMA secure_delete = OFF;"
                        "PRAGMA synchronous = FULL;"
                        "PRAGMA wal_autocheckpoint = 4000;"
                        "PRAGMA journal_size_limit = 67108864");
}

/* A database without a single table: whoever was making it was interrupted. */
static mrmr_err open_unfinished(struct meta *meta)
{
    return mrmr_err_path(mrmr_fail(MRMR_ABSENT, "the catalog was never finished"), meta->path);
}

static mrmr_err open_writing(struct meta *meta, unsigned flags, int version)
{
    if (sqlite3_db_readonly(meta->db, "main") == 1)
        return preflight_refuse(meta, MRMR_READONLY, "the catalog is not writable",
            "make it and its folder writable for this user");
    if (version == 0 && !(flags & META_CREATE))
        return open_unfinished(meta);
    MRMR_TRY(pragma(meta, "PRAGMA journal_mode = WAL"));
    if (version < META_SCHEMA)
        MRMR_TRY(meta_schema_migrate(meta));
    return MRMR_OK;
}

static mrmr_err open_reading(struct meta *meta, int version)
{
    if (version == 0)
        return open_unfinished(meta);
    if (version < META_SCHEMA)
        return preflight_refuse(meta, MRMR_READONLY,
            "the catalog is of an older version and must be brought up to date first",
            "run any mrmr command that writes, for example mrmr sync");
    return MRMR_OK;
}

static mrmr_err open_steps(struct meta *meta, unsigned flags)
{
    MRMR_TRY(preflight(meta, flags));
    MRMR_TRY(meta->readonly ? connection_open_readonly(meta)
                            : connection_open(meta, meta->path, SQLITE_OPEN_READWRITE));
    MRMR_TRY(connection_tune(meta));
    int version;
    MRMR_TRY(meta_schema_probe(meta, &version));
    return meta->readonly ? open_reading(meta, version) : open_writing(meta, flags, version);
}

/* Starting with "/" or "./", so that SQLite sees neither ":memory:" nor "file:". */
static mrmr_err plain_path(const char *path, char **ret_path)
{
    mrmr_autobytes struct mrmr_bytes plain = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_str(&plain, path[0] == '/' ? "" : "./"));
    MRMR_TRY(mrmr_bytes_str(&plain, path));
    *ret_path = mrmr_steal(plain.data);
    return MRMR_OK;
}

static mrmr_err meta_make(const char *path, unsigned flags, struct meta **ret_meta)
{
    struct meta *meta = calloc(1, sizeof *meta);
    if (!meta)
        return mrmr_nomem();
    mrmr_err err = plain_path(path, &meta->path);
    if (err) {
        free(meta);
        return err;
    }
    meta->readonly = flags & META_READONLY;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&meta->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    meta->stored = mrmr_clock_monotonic();
    *ret_meta = meta;
    return MRMR_OK;
}

mrmr_err meta_open(const char *path, unsigned flags, struct meta **ret_meta)
{
    if (!path[0])
        return mrmr_fail(MRMR_INVALID, "the catalog's path is empty");
    if ((flags & META_CREATE) && (flags & META_READONLY))
        return mrmr_fail(MRMR_INVALID, "a catalog cannot be made for reading only");
    struct meta *meta = NULL;
    MRMR_TRY(meta_make(path, flags, &meta));
    mrmr_err err = open_steps(meta, flags);
    if (err) {
        meta_close(meta);
        return err;
    }
    *ret_meta = meta;
    return MRMR_OK;
}

void meta_close(struct meta *meta)
{
    if (!meta)
        return;
    meta_rollback(meta);
    meta_journal_close(meta);
    for (size_t i = 0; i < META_CACHED; i++)
        sqlite3_finalize(meta->cached[i].stmt);
    sqlite3_close(meta->db); /* the last connection to close writes the log back and removes it */
    pthread_mutex_destroy(&meta->lock);
    free(meta->path);
    free(meta);
}

/* --- A copy --- */

static mrmr_err copy_pages(struct meta *meta, sqlite3 *to)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", meta->db, "main");
    if (!backup)
        return mrmr_fail(MRMR_IO, "the catalog's copy: %s", sqlite3_errmsg(to));
    sqlite3_backup_step(backup, -1);
    int rc = sqlite3_backup_finish(backup);
    if (rc == SQLITE_OK) /* one file that stands for itself, without a log beside it */
        rc = sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return MRMR_OK;
    int sys = sqlite3_system_errno(to);
    mrmr_err code = (rc & 0xff) == SQLITE_FULL    ? MRMR_SPACE
                    : (rc & 0xff) == SQLITE_NOMEM ? MRMR_NOMEM
                    : sys                         ? mrmr_err_from_errno(sys)
                                                  : MRMR_IO;
    return mrmr_fail(code, "the catalog's copy: %s", sqlite3_errmsg(to));
}

static mrmr_err copy_into(struct meta *meta, const char *path)
{
    sqlite3 *to = NULL;
    int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    mrmr_err err = rc ? mrmr_fail(MRMR_IO, "the catalog's copy: %s", sqlite3_errstr(rc))
                      : copy_pages(meta, to);
    sqlite3_close(to);
    return mrmr_err_path(err, path);
}

static mrmr_err copy_named(struct meta *meta, const char *temp, const char *path)
{
    MRMR_TRY(copy_into(meta, temp));
    mrmr_autoclose int fd = open(temp, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        return mrmr_fail_errno(errno, "sync", temp);
    if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE))
        return mrmr_fail_errno(errno, "rename", path);
    return folder_sync(path);
}

/* Crash argument: the name appears with the whole content or not at all; a temp is overwritten by
 * the next copy. */
mrmr_err meta_copy_to(struct meta *meta, const char *path)
{
    mrmr_locked(&meta->lock);
    if (meta->open || meta->depth)
        return mrmr_fail(MRMR_BUSY, "the catalog cannot be copied inside a transaction");
    mrmr_autofree char *plain = NULL;
    MRMR_TRY(plain_path(path, &plain));
    if (access(plain, F_OK) == 0)
        return mrmr_fail_errno(EEXIST, "copy catalog", path);
    mrmr_autobytes struct mrmr_bytes temp = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_fmt(&temp, "%s~", plain));
    mrmr_autoclose int fd =
        open(temp.data, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "create", temp.data);
    mrmr_err err = copy_named(meta, temp.data, plain);
    if (err)
        unlink(temp.data);
    return err;
}

/* --- Checking --- */

static mrmr_err check_integrity(struct meta *meta)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, "PRAGMA integrity_check(1)", NULL));
    bool row;
    MRMR_TRY(meta_query_step(&q, &row));
    char finding[256] = "";
    if (row)
        snprintf(finding, sizeof finding, "%s", (const char *)sqlite3_column_text(q.stmt, 0));
    return strcmp(finding, "ok") == 0 ? MRMR_OK : meta_corrupt(meta, "%s", finding);
}

static mrmr_err check_references(struct meta *meta)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, "PRAGMA foreign_key_check", NULL));
    bool row;
    MRMR_TRY(meta_query_step(&q, &row));
    if (!row)
        return MRMR_OK;
    return meta_corrupt(meta, "a row of '%s' refers to a '%s' that is not there",
        (const char *)sqlite3_column_text(q.stmt, 0), (const char *)sqlite3_column_text(q.stmt, 2));
}

/* Facts that no constraint of one table can express; each query gives rows only where one is
 * broken. */
static const struct {
    const char *sql, *finding;
} check_rules[] = {
    {"SELECT stripe FROM block b WHERE (extents, bytes) <> (SELECT count(*), coalesce(sum(bytes), "
     "0)"
     " FROM extent e WHERE e.stripe = b.stripe AND e.drive = b.drive)",
        "a block's totals are not those of its extents"},
    {"SELECT stripe FROM extent e WHERE NOT EXISTS (SELECT 1 FROM block b"
     " WHERE b.stripe = e.stripe AND b.drive = e.drive AND e.place + e.bytes <= b.length)",
        "an extent lies outside of its block"},
    {"SELECT stripe FROM (SELECT stripe, place + bytes AS ends, lead(place)"
     " OVER (PARTITION BY stripe, drive ORDER BY place) AS next FROM extent) WHERE ends > next",
        "two extents of a block overlap"},
    {"SELECT b.stripe FROM block b JOIN stripe s ON s.id = b.stripe WHERE b.length > s.length",
        "a block is longer than its stripe"},
    {"SELECT e.id FROM extent e JOIN node n ON n.id = e.node WHERE n.type <> 0",
        "an extent is of something that is not a file"},
    {"SELECT x.node FROM exposed x LEFT JOIN node n ON n.id = x.node"
     " WHERE n.id IS NULL OR n.drive <> x.drive OR n.type <> 0",
        "an exposed range is of no file of its drive"},
    {"SELECT node FROM (SELECT drive, node, first + leaves AS ends, lead(first)"
     " OVER (PARTITION BY drive, node ORDER BY first) AS next FROM exposed) WHERE ends >= next",
        "exposed ranges of a file overlap or touch"},
    {"SELECT d.id FROM drive d LEFT JOIN node n ON n.id = d.root"
     " WHERE n.id IS NULL OR n.drive <> d.id OR n.type <> 1",
        "a drive has no root folder"},
    {"SELECT x.node FROM name x JOIN node p ON p.id = x.parent JOIN node n ON n.id = x.node"
     " WHERE p.type <> 1 OR p.drive <> n.drive",
        "a name lies in something that is not a folder of its drive"},
};

mrmr_err meta_check(struct meta *meta)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(check_integrity(meta));
    MRMR_TRY(meta_schema_check(meta));
    MRMR_TRY(check_references(meta));
    for (size_t i = 0; i < sizeof check_rules / sizeof *check_rules; i++) {
        bool found;
        int64_t id;
        MRMR_TRY(meta_run_int(meta, check_rules[i].sql, NULL, &found, &id));
        if (found)
            return meta_corrupt(meta, "%s (%lld)", check_rules[i].finding, (long long)id);
    }
    return MRMR_OK;
}
