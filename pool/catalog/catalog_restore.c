/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The catalog again from the copies on one drive: the newest base that can be read, and its logs as
 * far as they are whole and follow one another. All of it may be hostile (I9): names, lengths,
 * lines and their number are bounded, and the statements are meta_restore's to take or refuse.
 *
 * Crash argument: meta/restore.c's. The catalog gets its name when it is whole, checked and
 * durable; nothing else in the pool's folder is touched.
 */
#include "pool/catalog/catalog_format.h"
#include "pool/drive/drive.h"
#include "pool/stripe/gzip.h"

#include "base/text.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define RESTORE_PIECE (256 << 10)
#define RESTORE_FILE_MOST (UINT64_C(64) << 30)
#define RESTORE_RATIO                                                                              \
    100 /* text beyond so many bytes for each of the file is no copy of ours: they have 5 to 25 */
#define RESTORE_HEAD_LINES 4096

struct restoring {
    struct drv *drv;
    const char *catalog; /* the path it will have */
    struct meta_restore *to;
    struct mrmr_uuid pool;
    bool pool_known;
    int64_t sequence; /* as far as it is restored */
    struct pool_catalog_name name[POOL_CATALOG_ENTRIES];
    size_t n;
};

/* One file, line by line. */
struct reading {
    struct restoring *to;
    struct pool_catalog_name name;
    struct mrmr_bytes line;           /* the beginning of one that goes on in the next piece */
    unsigned lines;                   /* of the head */
    bool kind, pool, sequence, after; /* said by the head */
    bool body, ended;
};

/* --- The head --- */

static mrmr_err head_bad(const char *what)
{
    return mrmr_fail(MRMR_FORMAT, "it is not a copy of a catalog: %s", what);
}

static mrmr_err head_magic(const char *line)
{
    uint64_t format;
    size_t size = strlen(POOL_CATALOG_MAGIC);
    if (strncmp(line, POOL_CATALOG_MAGIC, size) != 0 || !mrmr_text_u64(line + size, &format))
        return head_bad("its first line does not say so");
    if (format != POOL_CATALOG_FORMAT)
        return mrmr_fail(MRMR_NEWER,
            "it is a copy of a catalog in format %llu, and this program "
            "knows format %d",
            (unsigned long long)format, POOL_CATALOG_FORMAT);
    return MRMR_OK;
}

static mrmr_err head_pool(struct reading *in, const char *value)
{
    struct mrmr_uuid pool;
    if (!mrmr_uuid_parse(value, &pool))
        return head_bad("its pool is no uuid");
    if (in->to->pool_known && !mrmr_uuid_equal(&pool, &in->to->pool))
        return mrmr_fail(MRMR_CORRUPT, "it is of another pool (%s)", value);
    in->to->pool = pool;
    in->to->pool_known = in->pool = true;
    return MRMR_OK;
}

static mrmr_err head_line(struct reading *in, const char *line)
{
    int64_t number;
    if (in->lines++ == 0)
        return head_magic(line);
    if (in->lines > RESTORE_HEAD_LINES)
        return head_bad("its head does not end");
    if (strncmp(line, "-- kind ", 8) == 0) {
        in->kind = true;
        return strcmp(line + 8, in->name.log ? "log" : "base") == 0
                   ? MRMR_OK
                   : head_bad("its name says another kind");
    }
    if (strncmp(line, "-- pool ", 8) == 0)
        return head_pool(in, line + 8);
    if (strncmp(line, "-- sequence ", 12) == 0) {
        in->sequence = true;
        return mrmr_text_i64(line + 12, &number) && number == in->name.sequence
                   ? MRMR_OK
                   : head_bad("its name says another sequence");
    }
    if (strncmp(line, "-- after ", 9) == 0) {
        in->after = true;
        return mrmr_text_i64(line + 9, &number) && number == in->to->sequence
                   ? MRMR_OK
                   : mrmr_fail(MRMR_CORRUPT, "a copy between %lld and it is missing",
                         (long long)in->to->sequence);
    }
    return MRMR_OK;
}

static mrmr_err head_end(struct reading *in)
{
    if (!in->kind || !in->pool || !in->sequence || in->after != in->name.log)
        return head_bad("its head is not complete");
    in->body = true;
    return meta_restore_begin(in->to->to, !in->name.log);
}

/* --- Lines --- */

static mrmr_err take_end(struct reading *in, const char *line)
{
    int64_t number;
    if (!mrmr_text_i64(line + 7, &number) || number != in->name.sequence)
        return head_bad("its end is that of another");
    in->ended = true;
    return MRMR_OK;
}

/* NUL-terminated. */
static mrmr_err take_line(struct reading *in, const char *line, size_t size)
{
    if (in->ended)
        return head_bad("there is more behind its end");
    if (in->body && strncmp(line, "-- end ", 7) == 0)
        return take_end(in, line);
    if (!in->body && strncmp(line, "-- ", 3) == 0)
        return head_line(in, line);
    if (!in->body)
        MRMR_TRY(head_end(in));
    return meta_restore_line(in->to->to, line, size);
}

static mrmr_err take_text(const char *text, size_t size, bool *ret_enough, void *arg)
{
    struct reading *in = arg;
    (void)ret_enough;
    while (size) {
        const char *end = memchr(text, '\n', size);
        size_t part = end ? (size_t)(end - text) : size;
        if (in->line.size + part > META_RESTORE_LINE)
            return head_bad("it has a line without an end");
        MRMR_TRY(mrmr_bytes_add(&in->line, text, part));
        if (!end)
            return MRMR_OK;
        MRMR_TRY(take_line(in, in->line.data, in->line.size));
        mrmr_bytes_clear(&in->line);
        text = end + 1;
        size -= part + 1;
    }
    return MRMR_OK;
}

/* --- Files --- */

static mrmr_err file_feed(struct drv_file *file, struct pool_gunzip *gunzip)
{
    mrmr_autofree char *buf = malloc(RESTORE_PIECE);
    if (!buf)
        return mrmr_nomem();
    for (uint64_t at = 0;;) {
        size_t got = 0;
        MRMR_TRY(drv_file_read(file, at, buf, RESTORE_PIECE, &got));
        if (!got)
            return pool_gunzip_finish(gunzip);
        MRMR_TRY(pool_gunzip_feed(gunzip, buf, got));
        at += got;
    }
}

static mrmr_err file_read(struct reading *in, struct drv_file *file)
{
    struct drv_stat stat;
    struct pool_gunzip *gunzip = NULL;
    MRMR_TRY(drv_file_stat(file, &stat));
    if (stat.size > RESTORE_FILE_MOST)
        return mrmr_fail(MRMR_FORMAT, "it is larger than any copy of a catalog");
    MRMR_TRY(
        pool_gunzip_create(RESTORE_RATIO * stat.size + META_RESTORE_LINE, take_text, in, &gunzip));
    mrmr_err err = file_feed(file, gunzip);
    pool_gunzip_destroy(gunzip);
    return err;
}

/* A copy counts only when its gzip is whole, its checksum right, and its end marked. */
static mrmr_err copy_read(struct restoring *r, const struct pool_catalog_name *name)
{
    char path[POOL_CATALOG_PATH];
    struct reading in = {.to = r, .name = *name};
    struct drv_file *file = NULL;
    pool_catalog_name_print(name, path);
    mrmr_err err = drv_file_open(r->drv, path, DRV_OPEN_READ, 0, &file);
    if (!err)
        err = file_read(&in, file);
    if (!err && (!in.ended || in.line.size))
        err = mrmr_fail(MRMR_TRUNCATED, "it breaks off");
    if (!err)
        err = meta_restore_end(r->to);
    if (!err)
        r->sequence = name->sequence;
    mrmr_bytes_free(&in.line);
    drv_file_close(file);
    return mrmr_err_path(err, path);
}

/* What the drive holds is wrong or cannot be read; anything else is trouble of our own. */
static bool copy_is_bad(mrmr_err err)
{
    switch (mrmr_class_of(err)) {
    case MRMR_CLASS_ABSENT:
    case MRMR_CLASS_UNAVAILABLE:
    case MRMR_CLASS_CORRUPT:
    case MRMR_CLASS_INVALID:
    case MRMR_CLASS_UNSUPPORTED:
        return true;
    default:
        return false;
    }
}

/* --- The chain --- */

static mrmr_err chain_add(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct restoring *r = arg;
    (void)err;
    if (stat && stat->type == DRV_REG && r->n < POOL_CATALOG_ENTRIES &&
        pool_catalog_name_parse(name, &r->name[r->n]))
        r->n++;
    return MRMR_OK;
}

static int chain_compare(const void *a, const void *b)
{
    const struct pool_catalog_name *x = a, *y = b;
    return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

static mrmr_err chain_list(struct restoring *r)
{
    mrmr_err err = drv_list(r->drv, POOL_CATALOG, chain_add, r);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    qsort(r->name, r->n, sizeof *r->name, chain_compare);
    return MRMR_OK;
}

/* The newest base before `below` that can be read. *ret_err: why a newer one could not. */
static mrmr_err chain_base(struct restoring *r, struct mrmr_story *ret_story)
{
    for (size_t i = r->n; i > 0; i--) {
        if (r->name[i - 1].log)
            continue;
        meta_restore_destroy(mrmr_steal(r->to));
        MRMR_TRY(meta_restore_create(r->catalog, &r->to));
        mrmr_err err = copy_read(r, &r->name[i - 1]);
        if (!err)
            return MRMR_OK;
        if (!copy_is_bad(err))
            return err;
        mrmr_log_story(MRMR_LOG_WARN, "a base of the catalog is of no use");
        if (!ret_story->err)
            mrmr_story_save(ret_story);
    }
    if (ret_story->err)
        return mrmr_story_restore(ret_story);
    mrmr_fail(MRMR_ABSENT, "it has no copy of the catalog");
    return mrmr_err_hint(MRMR_ABSENT, "try another drive of the pool");
}

static mrmr_err chain_logs(struct restoring *r, struct mrmr_story *ret_story)
{
    int64_t base = r->sequence;
    for (size_t i = 0; i < r->n; i++) {
        if (!r->name[i].log || r->name[i].base != base)
            continue;
        mrmr_err err = copy_read(r, &r->name[i]);
        if (!err)
            continue;
        if (!copy_is_bad(err))
            return err;
        mrmr_story_save(ret_story);
        meta_restore_undo(r->to);
        return MRMR_OK;
    }
    return MRMR_OK;
}

/* Said where `mrmr events` shows it, too: what came after is not in this catalog. */
static mrmr_err chain_finish(struct restoring *r, const struct mrmr_story *bad)
{
    char text[1200], cause[900];
    if (!bad->err)
        return meta_restore_finish(r->to, NULL);
    snprintf(text, sizeof text,
        "the catalog was restored as of copy %lld; what changed after it is not in it: %s",
        (long long)r->sequence, mrmr_story_print(bad, cause, sizeof cause));
    mrmr_log(MRMR_LOG_WARN, "%s", text);
    return meta_restore_finish(r->to, text);
}

/* Who can write to a drive cannot have a program run by that (I9). */
static mrmr_err chain_runs_nothing(struct restoring *r)
{
    bool had;
    MRMR_TRY(meta_restore_unset(r->to, POOL_ON_EVENT, &had));
    if (had)
        mrmr_log(MRMR_LOG_WARN, "the setting %s is not taken over from a drive: set it again",
            POOL_ON_EVENT);
    return MRMR_OK;
}

static mrmr_err restore_from(struct restoring *r)
{
    struct pool_identity identity;
    struct mrmr_story bad = {0};
    /* A drive that lost its identity may still have its copies; they say themselves whose they are.
     */
    if (pool_identity_read(r->drv, &identity) == MRMR_OK) {
        r->pool = identity.pool;
        r->pool_known = true;
    }
    MRMR_TRY(chain_list(r));
    MRMR_TRY(chain_base(r, &bad));
    MRMR_TRY(chain_logs(r, &bad));
    MRMR_TRY(chain_runs_nothing(r));
    return chain_finish(r, &bad);
}

/* The pool's folder: made if it is missing, without a catalog, and nobody else restores into it. */
static mrmr_err home_take(const char *dir, const char *catalog, int *ret_fd)
{
    struct stat st;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return mrmr_fail_errno(errno, "make folder", dir);
    mrmr_autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open pool", dir);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return mrmr_fail(MRMR_BUSY, "another process is restoring a catalog into %s", dir);
    if (lstat(catalog, &st) == 0) {
        mrmr_fail(MRMR_EXISTS, "there is a catalog in %s already", dir);
        return mrmr_err_hint(MRMR_EXISTS, "set it aside, or name another folder with --pool");
    }
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

mrmr_err pool_catalog_restore(const char *pool_dir, const char *drive_uri)
{
    mrmr_autobytes struct mrmr_bytes catalog = MRMR_BYTES_INIT;
    mrmr_autoclose int home = -1;
    MRMR_TRY(mrmr_bytes_fmt(&catalog, "%s/%s", pool_dir, POOL_CATALOG_NAME));
    mrmr_autofree struct restoring *r = calloc(1, sizeof *r);
    if (!r)
        return mrmr_nomem();
    r->catalog = catalog.data;
    MRMR_TRY(drv_open(drive_uri, &r->drv));
    mrmr_err err = home_take(pool_dir, catalog.data, &home);
    if (!err)
        err = pool_place_check_home(pool_dir);
    if (!err) {
        err = restore_from(r);
        mrmr_err_drive(err, drive_uri);
    }
    struct mrmr_story story;
    mrmr_story_save(&story);
    meta_restore_destroy(r->to);
    drv_close(r->drv);
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}
