/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/transaction.h"

#include <string.h>

#define DRIVE_COLUMNS                                                                              \
    "id, uuid, name, uri, domain, role, state, slot, reserve, max_usage, session, session_token, " \
    "intended, intended_token, boot, fs_id, total, avail, present, seen, scanned, root, hold, "    \
    "replaces"

void meta_drive_free(struct meta_drive *drive)
{
    free(drive->uri);
    drive->uri = NULL;
}

void meta_drives_free(struct meta_drive *drives, size_t n)
{
    for (size_t i = 0; i < n; i++)
        meta_drive_free(&drives[i]);
    free(drives);
}

static mrmr_err drive_read(struct meta_query *q, struct meta_drive *ret_drive)
{
    mrmr_err err = MRMR_OK;
    struct meta_drive d = {.id = meta_col_id(q, 0)};
    meta_col_fixed(q, 1, d.uuid.bytes, sizeof d.uuid.bytes);
    meta_col_text(q, 2, d.name, sizeof d.name);
    meta_col_text(q, 4, d.domain, sizeof d.domain);
    d.role = (enum meta_role)meta_col_range(q, 5, META_ROLE_DATA, META_ROLE_READONLY);
    d.state = (enum meta_drive_state)meta_col_range(q, 6, META_DRIVE_ACTIVE, META_DRIVE_RETIRED);
    d.slot = (uint8_t)meta_col_range(q, 7, 0, META_SLOTS_MAX - 1);
    d.reserve = meta_col_u64(q, 8);
    d.max_usage = meta_col_u64(q, 9);
    d.session.number = meta_col_u64(q, 10);
    meta_col_fixed(q, 11, d.session.token, sizeof d.session.token);
    d.intended.number = meta_col_u64(q, 12);
    meta_col_fixed(q, 13, d.intended.token, sizeof d.intended.token);
    meta_col_text(q, 14, d.boot, sizeof d.boot);
    meta_col_text(q, 15, d.fs_id, sizeof d.fs_id);
    d.total = meta_col_u64(q, 16);
    d.avail = meta_col_u64(q, 17);
    d.present = meta_col_range(q, 18, 0, 1);
    d.seen = meta_col_int(q, 19);
    d.scanned = meta_col_int(q, 20);
    d.root = meta_col_id(q, 21);
    meta_col_text(q, 22, d.hold, sizeof d.hold);
    meta_col_fixed(q, 23, d.replaces.bytes, sizeof d.replaces.bytes);
    d.uri = meta_col_dup(q, 3, &err);
    if (!err)
        err = meta_query_sound(q);
    if (err) {
        meta_drive_free(&d);
        return err;
    }
    *ret_drive = d;
    return MRMR_OK;
}

struct drive_list {
    struct meta_drive *drives;
    size_t n, room;
};

static void drive_list_end(struct drive_list *list)
{
    meta_drives_free(list->drives, list->n);
}

static mrmr_err drive_list_add(struct drive_list *list, struct meta_query *q)
{
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        struct meta_drive *grown = realloc(list->drives, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        list->drives = grown;
        list->room = room;
    }
    MRMR_TRY(drive_read(q, &list->drives[list->n]));
    list->n++;
    return MRMR_OK;
}

mrmr_err meta_drives(struct meta *meta, struct meta_drive **ret_drives, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    __attribute__((cleanup(drive_list_end))) struct drive_list list = {NULL, 0, 0};
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, "SELECT " DRIVE_COLUMNS " FROM drive ORDER BY id", NULL));
    for (;;) {
        bool row;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            break;
        MRMR_TRY(drive_list_add(&list, &q));
    }
    *ret_n = list.n;
    list.n = 0;
    *ret_drives = mrmr_steal(list.drives);
    return MRMR_OK;
}

static mrmr_err drive_sane(const struct meta_drive *d)
{
    if (d->slot >= META_SLOTS_MAX)
        return mrmr_fail(MRMR_INVALID, "slot %u is beyond the last one", d->slot);
    if ((unsigned)d->role > META_ROLE_READONLY || (unsigned)d->state > META_DRIVE_RETIRED)
        return mrmr_fail(MRMR_INVALID, "drive '%s' has an unknown role or state", d->name);
    if (!meta_fits(d->reserve) || !meta_fits(d->max_usage) || !meta_fits(d->total) ||
        !meta_fits(d->avail) || !meta_fits(d->session.number) || !meta_fits(d->intended.number))
        return mrmr_fail(MRMR_INVALID, "drive '%s' has a size beyond 8 EiB", d->name);
    return d->uri && d->name[0] ? MRMR_OK
                                : mrmr_fail(MRMR_INVALID, "a drive needs a name and a URI");
}

/* Binds ?1 … ?23 for insert and update; ?24 = id. */
static mrmr_err drive_write(struct meta *meta, const char *sql, const struct meta_drive *d)
{
    mrmr_err err = meta_run(meta, sql,
        META_ARGS(META_BLOB(d->uuid.bytes, sizeof d->uuid.bytes), META_TEXT(d->name),
            META_TEXT(d->uri), META_TEXT(d->domain), META_INT(d->role), META_INT(d->state),
            META_INT(d->slot), META_INT(d->reserve), META_INT(d->max_usage),
            META_INT(d->session.number), META_BLOB(d->session.token, sizeof d->session.token),
            META_INT(d->intended.number), META_BLOB(d->intended.token, sizeof d->intended.token),
            META_TEXT(d->boot), META_TEXT(d->fs_id), META_INT(d->total), META_INT(d->avail),
            META_INT(d->present), META_INT(d->seen), META_INT(d->scanned), META_INT(d->root),
            META_TEXT(d->hold), META_BLOB(d->replaces.bytes, sizeof d->replaces.bytes),
            META_INT(d->id)));
    if (err == MRMR_EXISTS)
        mrmr_fail(err, "drive '%s': its name, uuid or slot %u is taken", d->name, d->slot);
    return err;
}

static mrmr_err drive_exists(struct meta *meta, int64_t id)
{
    bool found;
    int64_t got;
    MRMR_TRY(meta_run_int(
        meta, "SELECT id FROM drive WHERE id = ?", META_ARGS(META_INT(id)), &found, &got));
    return found ? MRMR_OK : mrmr_fail(MRMR_ABSENT, "the catalog has no drive %lld", (long long)id);
}

static mrmr_err slot_remember(struct meta *meta, uint8_t slot)
{
    return meta_run(
        meta, "INSERT OR IGNORE INTO slot_used (slot) VALUES (?)", META_ARGS(META_INT(slot)));
}

static mrmr_err drive_store_locked(struct meta *meta, const struct meta_drive *drive)
{
    MRMR_TRY(drive_sane(drive));
    MRMR_TRY(drive_exists(meta, drive->id));
    MRMR_TRY(drive_write(meta,
        "UPDATE drive SET uuid = ?1, name = ?2, uri = ?3, domain = ?4, role = ?5, state = ?6, "
        "slot = ?7, reserve = ?8, max_usage = ?9, session = ?10, session_token = ?11, "
        "intended = ?12, intended_token = ?13, boot = ?14, fs_id = ?15, total = ?16, "
        "avail = ?17, present = ?18, seen = ?19, scanned = ?20, root = ?21, hold = ?22, "
        "replaces = ?23 WHERE id = ?24",
        drive));
    return slot_remember(meta, drive->slot);
}

mrmr_err meta_drive_store(struct meta *meta, const struct meta_drive *drive)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, drive_store_locked(meta, drive));
}

/* The drive's row names its root node and the node its drive, so the row is written twice. */
static mrmr_err drive_add_locked(
    struct meta *meta, const struct meta_drive *drive, int64_t *ret_id, int64_t *ret_root)
{
    struct meta_drive d = *drive;
    d.root = 0;
    MRMR_TRY(drive_sane(&d));
    MRMR_TRY(drive_write(meta,
        "INSERT INTO drive (uuid, name, uri, domain, role, state, slot, reserve, max_usage, "
        "session, session_token, intended, intended_token, boot, fs_id, total, avail, present, "
        "seen, scanned, root, hold, replaces) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
        "?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
        &d));
    int64_t id = sqlite3_last_insert_rowid(meta->db), sequence;
    MRMR_TRY(meta_sequence_next(meta, false, &sequence));
    MRMR_TRY(meta_run(meta,
        "INSERT INTO node (drive, type, mode, uid, gid, nlink, size, ino, rdev, mtime, ctime, "
        "btime, version, sequence, recheck) "
        "VALUES (?1, ?2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, ?3, 0)",
        META_ARGS(META_INT(id), META_INT(META_DIR), META_INT(sequence))));
    int64_t root = sqlite3_last_insert_rowid(meta->db);
    MRMR_TRY(meta_run(
        meta, "UPDATE drive SET root = ? WHERE id = ?", META_ARGS(META_INT(root), META_INT(id))));
    MRMR_TRY(slot_remember(meta, d.slot));
    *ret_id = id;
    *ret_root = root;
    return MRMR_OK;
}

mrmr_err meta_drive_add(struct meta *meta, struct meta_drive *drive)
{
    mrmr_locked(&meta->lock);
    int64_t id = 0, root = 0;
    MRMR_TRY(meta_write_begin(meta));
    MRMR_TRY(meta_write_end(meta, drive_add_locked(meta, drive, &id, &root)));
    drive->id = id;
    drive->root = root;
    return MRMR_OK;
}

/* MRMR_BUSY, saying what still refers to the drive. */
static mrmr_err drive_unreferenced(struct meta *meta, int64_t id)
{
    static const char *const names[] = {"", "files", "blocks", "rows", "parity files to drop"};
    bool found;
    int64_t which;
    MRMR_TRY(meta_run_int(meta,
        "SELECT CASE"
        " WHEN EXISTS (SELECT 1 FROM node n, drive d WHERE n.drive = ?1 AND d.id = ?1"
        "  AND n.id <> d.root) THEN 1"
        " WHEN EXISTS (SELECT 1 FROM block WHERE drive = ?1) THEN 2"
        " WHEN EXISTS (SELECT 1 FROM row WHERE drive = ?1) THEN 3"
        " WHEN EXISTS (SELECT 1 FROM intent WHERE drive = ?1) THEN 4 ELSE 0 END",
        META_ARGS(META_INT(id)), &found, &which));
    if (which)
        return mrmr_fail(MRMR_BUSY, "the drive cannot be removed: it still has %s", names[which]);
    return MRMR_OK;
}

static mrmr_err drive_remove_locked(struct meta *meta, int64_t id)
{
    MRMR_TRY(drive_exists(meta, id));
    MRMR_TRY(drive_unreferenced(meta, id));
    static const char *const sql[] = {
        "DELETE FROM change WHERE drive = ?",
        "DELETE FROM exposed WHERE drive = ?",
        "DELETE FROM attr WHERE node IN (SELECT root FROM drive WHERE id = ?)",
        "DELETE FROM todo WHERE node IN (SELECT root FROM drive WHERE id = ?)",
        "DELETE FROM node WHERE drive = ?",
        "DELETE FROM drive WHERE id = ?",
    };
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++)
        MRMR_TRY(meta_run(meta, sql[i], META_ARGS(META_INT(id))));
    return MRMR_OK;
}

mrmr_err meta_drive_remove(struct meta *meta, int64_t id)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, drive_remove_locked(meta, id));
}

#define SLOTS                                                                                      \
    "WITH RECURSIVE s (slot) AS (VALUES (0) UNION ALL SELECT slot + 1 FROM s WHERE slot < 247) "

mrmr_err meta_slot_free(struct meta *meta, uint8_t *ret_slot)
{
    mrmr_locked(&meta->lock);
    bool found;
    int64_t slot;
    MRMR_TRY(meta_run_int(meta,
        SLOTS "SELECT slot FROM s WHERE slot NOT IN (SELECT slot FROM slot_used) "
              "AND slot NOT IN (SELECT slot FROM drive) LIMIT 1",
        NULL, &found, &slot));
    if (!found) /* all were used: one that no drive has, and no block (that walks all blocks) */
        MRMR_TRY(meta_run_int(meta,
            SLOTS "SELECT slot FROM s WHERE slot NOT IN (SELECT slot FROM drive) "
                  "AND slot NOT IN (SELECT slot FROM block) LIMIT 1",
            NULL, &found, &slot));
    if (!found || slot < 0 || slot >= META_SLOTS_MAX)
        return mrmr_fail(
            MRMR_SPACE, "all %d slots are taken: no more drives fit into the pool", META_SLOTS_MAX);
    *ret_slot = (uint8_t)slot;
    return MRMR_OK;
}

mrmr_err meta_uuid_retire(struct meta *meta, const struct mrmr_uuid *uuid, const char *name)
{
    return meta_write(meta, "INSERT OR IGNORE INTO retired (uuid, name) VALUES (?, ?)",
        META_ARGS(META_BLOB(uuid->bytes, sizeof uuid->bytes), META_TEXT(name)));
}

mrmr_err meta_uuid_is_retired(struct meta *meta, const struct mrmr_uuid *uuid, bool *ret_retired)
{
    mrmr_locked(&meta->lock);
    bool found;
    int64_t n = 0;
    MRMR_TRY(meta_run_int(meta, "SELECT count(*) FROM retired WHERE uuid = ?",
        META_ARGS(META_BLOB(uuid->bytes, sizeof uuid->bytes)), &found, &n));
    *ret_retired = n > 0;
    return MRMR_OK;
}
