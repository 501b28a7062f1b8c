/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Copies of the catalog onto the drives (I8): a base, and logs since. What a drive has is what its
 * folder lists; nothing about it is kept elsewhere.
 *
 * A new base: where there is none; where the drive's copies do not end at the last sequence that
 * was cut (it was away, or full, or something broke off); where the journal knows of changes that
 * nobody recorded; where logs are many or large beside their base. Else a log. All drives of one
 * round get the same bytes. A sequence is never used twice, also not after a catalog was restored
 * from an older copy: it is at least the time in seconds, and above all that the drives at hand
 * have.
 *
 * Crash argument. A copy is written under its name and "~", synced, and renamed; then the folder is
 * synced; then, if it is a base, what came before is removed.
 *
 * 1. Before the rename: a temp, which counts for nothing; the next round with a base removes it.
 * The catalog has moved on to a sequence that this drive does not have, so it gets a base.
 * 2. After the rename, before the folders are synced: the name is there or not. If not, as 1; if it
 * is, it is whole, because its bytes were synced before.
 * 3. After that, while old copies are removed: some of them are left, of a smaller sequence;
 * reading starts at the newest base, and a log counts only with its own base and the sequence
 * before it. The next base removes them.
 *
 * At each point the drive has one complete chain, the old or the new one. Where names cannot be
 * made durable, the chain before the new one stays as well. The session token is read again before
 * the rename, so a drive that another catalog has taken keeps its copies.
 *
 * No failure here is one of the job: the drive keeps its older copies, and a notice says so.
 */
#include "pool/catalog/catalog_format.h"

#include "base/text.h"
#include <inttypes.h>
#include <time.h>
#include <zlib.h>

#define COPY_LOGS_MOST 64
#define COPY_LOGS_LEAST_BYTES (64 << 10) /* logs up to that size are no reason for a base */
#define COPY_OUT (256 << 10)
#define COPY_MODE 0600
#define COPY_FOLDER_MODE 0700
/* Measured on the catalog of 40,000 files (zlib 1.2.13): see docs/FORMAT.md. */
#define COPY_LEVEL 1

struct target {
    struct pool_drive *drive;
    /* As the folder lists it. */
    int64_t base, upto, newest, before; /* 0: none; before: the newest base when the round began */
    uint64_t base_bytes, log_bytes;
    unsigned logs;

    bool damaged; /* the chain has a hole */
    bool full, wanted, failed;
    /* The file being written. */
    struct drv_file *file;
    struct pool_catalog_name name;
    char path[POOL_CATALOG_PATH], temp[POOL_CATALOG_PATH + 1];
    uint64_t at;
};

struct round {
    struct pool *pool;
    const struct pool_job *job;
    enum pool_copies copies;
    uint64_t damaged;
    struct meta_copy_state state;
    struct target *target;
    size_t n;
    int64_t newest; /* on any drive */
};

/* --- What the drives have ------------------------------------------------------------------------
 */

struct listing {
    struct pool_catalog_name name[POOL_CATALOG_ENTRIES];
    uint64_t size[POOL_CATALOG_ENTRIES];
    bool temp[POOL_CATALOG_ENTRIES];
    size_t n;
};

static mrmr_err listing_add(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct listing *list = arg;
    char plain[64];
    size_t size = strlen(name);
    (void)err;
    if (!stat || stat->type != DRV_REG || list->n == POOL_CATALOG_ENTRIES || size >= sizeof plain)
        return MRMR_OK;
    memcpy(plain, name, size + 1);
    bool temp = size && plain[size - 1] == '~';
    if (temp)
        plain[size - 1] = '\0';
    if (!pool_catalog_name_parse(plain, &list->name[list->n]))
        return MRMR_OK;
    list->size[list->n] = stat->size;
    list->temp[list->n++] = temp;
    return MRMR_OK;
}

static mrmr_err listing_get(struct pool_drive *drive, struct listing **ret_list)
{
    mrmr_autofree struct listing *list = calloc(1, sizeof *list);
    if (!list)
        return mrmr_nomem();
    mrmr_err err = drv_list(drive->drv, POOL_CATALOG, listing_add, list);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return mrmr_err_drive(err, drive->meta.name);
    *ret_list = mrmr_steal(list);
    return MRMR_OK;
}

/* A copy that is damaged does not count: the drive is behind then, and gets a base; the damaged one
 * goes like all that came before it, when that is durable. */
static mrmr_err target_verify(struct round *round, struct target *t, struct listing *list)
{
    for (size_t i = 0; i < list->n; i++) {
        if (list->temp[i])
            continue;
        MRMR_TRY(pool_job_poll(round->job));
        mrmr_err err = pool_catalog_file_check(t->drive->drv, &list->name[i]);
        if (!err)
            continue;
        mrmr_err_drive(err, t->drive->meta.name);
        if (err != MRMR_FORMAT && err != MRMR_TRUNCATED && !mrmr_of_one_thing(err))
            return err;
        round->damaged++;
        pool_tell_story(round->pool, round->job, true, "damage-found", t->drive,
            "a copy of the catalog is damaged; a new one is made");
        t->damaged = list->temp[i] = true;
    }
    return MRMR_OK;
}

static mrmr_err target_look(struct round *round, struct target *t)
{
    mrmr_autofree struct listing *list = NULL;
    MRMR_TRY(listing_get(t->drive, &list));
    if (round->copies == POOL_COPIES_VERIFIED)
        MRMR_TRY(target_verify(round, t, list));
    for (size_t i = 0; i < list->n; i++) {
        if (list->temp[i])
            continue;
        if (list->name[i].sequence > t->newest &&
            list->name[i].sequence <= POOL_CATALOG_SEQUENCE_MOST)
            t->newest = list->name[i].sequence;
        if (!list->name[i].log && list->name[i].sequence > t->base) {
            t->base = list->name[i].sequence;
            t->base_bytes = list->size[i];
        }
    }
    t->upto = t->before = t->base;
    for (size_t i = 0; i < list->n; i++) {
        if (list->temp[i] || !list->name[i].log || list->name[i].base != t->base)
            continue;
        t->logs++;
        t->log_bytes += list->size[i];
        if (list->name[i].sequence > t->upto)
            t->upto = list->name[i].sequence;
    }
    return MRMR_OK;
}

static void target_fail(struct round *round, struct target *t)
{
    char what[160];
    snprintf(what, sizeof what,
        "the drive '%s' keeps its older copy of the catalog, and no newer one",
        t->drive->meta.name);
    pool_tell_story(round->pool, round->job, true, "catalog-copy", t->drive, what);
    t->failed = true;
}

static bool drive_takes_part(const struct round *round, struct pool_drive *drive)
{
    if (!pool_drive_writable(drive) || drive->meta.role == META_ROLE_READONLY)
        return false;
    mrmr_locked(&drive->lock);
    return round->copies != POOL_COPIES_ATTACHED || drive->attached;
}

static mrmr_err round_look(struct round *round)
{
    round->target = calloc(round->pool->ndrives + 1, sizeof *round->target);
    if (!round->target)
        return mrmr_nomem();
    for (size_t i = 0; i < round->pool->ndrives; i++) {
        if (!drive_takes_part(round, round->pool->drives[i]))
            continue;
        struct target *t = &round->target[round->n++];
        t->drive = round->pool->drives[i];
        if (target_look(round, t))
            target_fail(round, t);
        else if (t->newest > round->newest)
            round->newest = t->newest;
    }
    return MRMR_OK;
}

/* What each drive needs. A drive that has more than the catalog ever cut has it from a catalog that
 * is lost: everyone gets a newer copy then. */
static bool round_decide(struct round *round)
{
    bool any = false;
    if (round->newest > round->state.sequence || round->state.sequence == 0)
        round->state.changed = true;
    for (size_t i = 0; i < round->n; i++) {
        struct target *t = &round->target[i];
        bool behind = !t->base || t->damaged || t->upto != round->state.sequence;
        bool large = t->logs >= COPY_LOGS_MOST ||
                     (t->log_bytes > COPY_LOGS_LEAST_BYTES && t->log_bytes > t->base_bytes / 2);
        t->full = behind || large || !round->state.whole;
        t->wanted = !t->failed && (behind || round->state.changed);
        any = any || t->wanted;
    }
    return any;
}

/* --- Writing --- */

static mrmr_err file_create(struct target *t)
{
    unsigned flags = DRV_OPEN_WRITE | DRV_OPEN_CREATE;
    mrmr_err err = drv_file_open(t->drive->drv, t->temp, flags, COPY_MODE, &t->file);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
        MRMR_TRY(drv_mkdirs(t->drive->drv, POOL_CATALOG, COPY_FOLDER_MODE));
        err = drv_file_open(t->drive->drv, t->temp, flags, COPY_MODE, &t->file);
    }
    if (err == MRMR_EXISTS) { /* cut point 1 of an earlier round */
        MRMR_TRY(drv_unlink(t->drive->drv, t->temp));
        err = drv_file_open(t->drive->drv, t->temp, flags, COPY_MODE, &t->file);
    }
    return err;
}

static mrmr_err file_begin(struct target *t, int64_t sequence)
{
    t->name = (struct pool_catalog_name){
        .log = !t->full, .base = t->full ? sequence : t->base, .sequence = sequence};
    pool_catalog_name_print(&t->name, t->path);
    snprintf(t->temp, sizeof t->temp, "%s~", t->path);
    t->at = 0;
    return mrmr_err_drive(file_create(t), t->drive->meta.name);
}

static void file_discard(struct target *t)
{
    struct mrmr_story story;
    if (!t->file)
        return;
    mrmr_story_save(&story);
    drv_file_close(mrmr_steal(t->file));
    drv_unlink(t->drive->drv, t->temp);
    mrmr_story_restore(&story);
}

static mrmr_err file_finish(struct pool *pool, struct target *t)
{
    struct drv *drv = t->drive->drv;
    MRMR_TRY(drv_file_sync(t->file));
    MRMR_TRY(pool_drive_still_ours(pool, t->drive));
    drv_file_close(mrmr_steal(t->file));
    mrmr_err err = drv_rename(drv, t->temp, t->path, DRV_RENAME_REPLACE);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_unlink(drv, t->temp);
        return mrmr_story_restore(&story);
    }
    MRMR_TRY(drv_dir_sync(drv, POOL_CATALOG));
    return drv_dir_sync(drv, POOL_DOT);
}

/* Behind a new base: all other chains, but where names are not durable the one before it; and
 * temps. */
static mrmr_err file_clean(struct target *t)
{
    mrmr_autofree struct listing *list = NULL;
    MRMR_TRY(listing_get(t->drive, &list));
    bool durable = t->drive->info.caps & DRV_CAP_DURABLE_NAMES;
    for (size_t i = 0; i < list->n; i++) {
        char path[POOL_CATALOG_PATH], temp[POOL_CATALOG_PATH + 1];
        bool kept =
            list->name[i].base == t->name.base || (!durable && list->name[i].base == t->before);
        if (kept && !list->temp[i])
            continue;
        pool_catalog_name_print(&list->name[i], path);
        snprintf(temp, sizeof temp, "%s~", path);
        MRMR_TRY(drv_unlink(t->drive->drv, list->temp[i] ? temp : path));
    }
    return MRMR_OK;
}

static void target_finish(struct round *round, struct target *t)
{
    mrmr_err err = file_finish(round->pool, t);
    if (err) {
        mrmr_err_drive(err, t->drive->meta.name);
        file_discard(t);
        target_fail(round, t);
        return;
    }
    if (t->full && file_clean(t))
        mrmr_log_story(MRMR_LOG_INFO, "older copies of the catalog stay on a drive");
}

/* --- One text to all who want it -----------------------------------------------------------------
 */

struct stream {
    struct round *round;
    bool full; /* to the drives that get a base; else to those that get a log */
    z_stream z;
    Bytef out[COPY_OUT];
};

static bool stream_has(const struct stream *s, const struct target *t)
{
    return t->wanted && !t->failed && t->full == s->full;
}

/* MRMR_CANCELLED where nobody is left to write to. */
static mrmr_err stream_out(struct stream *s)
{
    size_t size = COPY_OUT - s->z.avail_out;
    bool any = false;
    MRMR_TRY(pool_job_poll(s->round->job));
    for (size_t i = 0; i < s->round->n; i++) {
        struct target *t = &s->round->target[i];
        if (!stream_has(s, t))
            continue;
        mrmr_err err = drv_file_write(t->file, t->at, s->out, size);
        if (err) {
            mrmr_err_drive(err, t->drive->meta.name);
            file_discard(t);
            target_fail(s->round, t);
            continue;
        }
        t->at += size;
        any = true;
    }
    s->z.next_out = s->out;
    s->z.avail_out = COPY_OUT;
    return any ? MRMR_OK : mrmr_fail(MRMR_CANCELLED, "no drive takes the copy");
}

static mrmr_err stream_deflate(struct stream *s, int flush)
{
    for (;;) {
        int status = deflate(&s->z, flush);
        if (status == Z_STREAM_ERROR)
            return mrmr_fail(MRMR_INTERNAL, "zlib refuses its own state");
        if (s->z.avail_out == 0 || status == Z_STREAM_END)
            MRMR_TRY(stream_out(s));
        else if (flush == Z_NO_FLUSH && s->z.avail_in == 0)
            return MRMR_OK;
        if (status == Z_STREAM_END)
            return MRMR_OK;
    }
}

static mrmr_err stream_text(const char *data, size_t size, void *arg)
{
    struct stream *s = arg;
    s->z.next_in = (Bytef *)(uintptr_t)data;
    s->z.avail_in = (uInt)size;
    return stream_deflate(s, Z_NO_FLUSH);
}

static mrmr_err header_drives(struct pool *pool, struct mrmr_bytes *text)
{
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        char uuid[MRMR_UUID_TEXT];
        mrmr_locked(&drive->lock);
        MRMR_TRY(mrmr_bytes_fmt(text, "-- drive %s session %" PRIu64 " name ",
            mrmr_uuid_print(&drive->meta.uuid, uuid), drive->meta.session.number));
        MRMR_TRY(mrmr_text_encode(text, drive->meta.name, strlen(drive->meta.name)));
        MRMR_TRY(mrmr_bytes_str(text, "\n"));
    }
    return MRMR_OK;
}

static mrmr_err header_print(
    struct round *round, bool full, int64_t sequence, struct mrmr_bytes *text)
{
    char uuid[MRMR_UUID_TEXT], day[32] = "";
    time_t now = (time_t)(mrmr_clock_real() / MRMR_NS_PER_S);
    struct tm tm;
    if (gmtime_r(&now, &tm))
        strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S UTC", &tm);
    MRMR_TRY(mrmr_bytes_fmt(text, POOL_CATALOG_MAGIC "%d\n", POOL_CATALOG_FORMAT));
    MRMR_TRY(
        mrmr_bytes_str(text, "-- The catalog again, without mrmr, from the newest base and its "
                             "logs: zcat base-N.sql.gz log-N-*.sql.gz | sqlite3 -bail "
                             "catalog.sqlite\n"));
    MRMR_TRY(mrmr_bytes_fmt(text, "-- kind %s\n-- pool %s\n-- sequence %lld\n",
        full ? "base" : "log", mrmr_uuid_print(&round->pool->uuid, uuid), (long long)sequence));
    if (!full)
        MRMR_TRY(mrmr_bytes_fmt(text, "-- after %lld\n", (long long)round->state.sequence));
    MRMR_TRY(mrmr_bytes_fmt(text, "-- time %s\n", day));
    return header_drives(round->pool, text);
}

static mrmr_err stream_run(struct stream *s, struct meta_text *text, int64_t sequence)
{
    mrmr_autobytes struct mrmr_bytes line = MRMR_BYTES_INIT;
    MRMR_TRY(header_print(s->round, s->full, sequence, &line));
    MRMR_TRY(stream_text(line.data, line.size, s));
    MRMR_TRY(meta_text_read(text, stream_text, s));
    mrmr_bytes_clear(&line);
    MRMR_TRY(mrmr_bytes_fmt(&line, "-- end %lld\n", (long long)sequence));
    MRMR_TRY(stream_text(line.data, line.size, s));
    return stream_deflate(s, Z_FINISH);
}

static mrmr_err stream_write(
    struct round *round, bool full, struct meta_text *text, int64_t sequence)
{
    mrmr_autofree struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return mrmr_nomem();
    s->round = round;
    s->full = full;
    if (deflateInit2(&s->z, COPY_LEVEL, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return mrmr_nomem();
    s->z.next_out = s->out;
    s->z.avail_out = COPY_OUT;
    for (size_t i = 0; i < round->n; i++)
        if (stream_has(s, &round->target[i]) && file_begin(&round->target[i], sequence))
            target_fail(round, &round->target[i]);
    mrmr_err err = stream_run(s, text, sequence);
    deflateEnd(&s->z);
    for (size_t i = 0; i < round->n; i++) {
        if (!stream_has(s, &round->target[i]))
            continue;
        if (err)
            file_discard(&round->target[i]);
        else
            target_finish(round, &round->target[i]);
    }
    return err == MRMR_CANCELLED ? MRMR_OK : err;
}

/* --- A round --- */

static int64_t next_sequence(const struct round *round)
{
    int64_t now = mrmr_clock_real() / MRMR_NS_PER_S;
    int64_t last = round->newest > round->state.sequence ? round->newest : round->state.sequence;
    return now > last ? now : last + 1;
}

static bool round_wants(const struct round *round, bool full)
{
    for (size_t i = 0; i < round->n; i++)
        if (round->target[i].wanted && !round->target[i].failed && round->target[i].full == full)
            return true;
    return false;
}

/* The drives that are to be written get a session (I5) before the cut, which then holds it. */
static void round_attach(struct round *round)
{
    for (size_t i = 0; i < round->n; i++) {
        struct target *t = &round->target[i];
        if (t->wanted && !t->failed && pool_drive_attach(round->pool, t->drive))
            target_fail(round, t);
    }
}

static mrmr_err round_cut(
    struct round *round, int64_t sequence, struct meta_text **ret_log, struct meta_text **ret_base)
{
    bool log = round_wants(round, false), base = round_wants(round, true);
    mrmr_err err =
        meta_copy_cut(round->pool->meta, sequence, log ? ret_log : NULL, base ? ret_base : NULL);
    if (err ==
        MRMR_CHANGED) { /* by another thread; the drives that are behind wait for the next round */
        mrmr_log_story(MRMR_LOG_INFO, "copying the catalog");
        return MRMR_OK;
    }
    if (!err || !log)
        return err;
    mrmr_log_story(MRMR_LOG_WARN, "no log of the catalog can be made, so whole copies are");
    for (size_t i = 0; i < round->n; i++)
        round->target[i].full = true;
    return meta_copy_cut(round->pool->meta, sequence, NULL, ret_base);
}

static mrmr_err round_run(struct round *round)
{
    struct meta_text *log = NULL, *base = NULL;
    round_attach(round);
    if (!round_wants(round, false) && !round_wants(round, true))
        return MRMR_OK;
    int64_t sequence = round->state.changed ? next_sequence(round) : round->state.sequence;
    MRMR_TRY(round_cut(round, sequence, &log, &base));
    mrmr_err err = log ? stream_write(round, false, log, sequence) : MRMR_OK;
    if (!err && base)
        err = stream_write(round, true, base, sequence);
    meta_text_free(log);
    meta_text_free(base);
    return err;
}

mrmr_err pool_catalog_copy(
    struct pool *pool, const struct pool_job *job, enum pool_copies copies, uint64_t *ret_damaged)
{
    struct round round = {.pool = pool, .job = job, .copies = copies};
    if (pool->access != POOL_OWN || pool_job_poll(job))
        return MRMR_OK;
    MRMR_TRY(meta_copy_state(pool->meta, &round.state));
    if (copies == POOL_COPIES_ATTACHED && !round.state.changed)
        return MRMR_OK;
    mrmr_err err = round_look(&round);
    if (!err && round_decide(&round))
        err = round_run(&round);
    free(round.target);
    if (ret_damaged)
        *ret_damaged = round.damaged;
    return err;
}
