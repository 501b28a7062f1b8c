/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Crash argument: SQLite's. A transaction's pages go to the write-ahead log, and the record that
 * commits them is synced (synchronous=FULL) before COMMIT returns; a log that ends without it is
 * ignored when the catalog is opened next.
 *
 * node.sequence comes from a mark in the catalog that is raised by META_SEQUENCES at a time, in the
 * same transaction as the first node that uses it; what was reserved and not used is skipped after
 * a restart. No value that was committed is given out again but to those that share it: in one look at the drives, which may
 * be broken off, and goes on with the next (the counter sequence.shared).
 */
#include "meta/transaction.h"

#include "meta/journal.h"

#define META_SEQUENCES 4096

static bool err_is_refusal(mrmr_err err)
{
    switch (mrmr_class_of(err)) {
    case MRMR_CLASS_ABSENT:
    case MRMR_CLASS_INVALID:
        return true;
    case MRMR_CLASS_CONFLICT:
        return true;
    default:
        return false;
    }
}

static mrmr_err transaction_undo(struct meta *meta)
{
    meta->sequence_end = meta->sequence; /* the mark goes back too: raise it again */
    meta->shared = 0;
    if (sqlite3_get_autocommit(meta->db))
        return MRMR_OK; /* SQLite has rolled it back itself */
    return meta_run(meta, "ROLLBACK", NULL);
}

/* Keep err and its story as the transaction's; the first one stays. */
static void transaction_fail(struct meta *meta, mrmr_err err)
{
    if (meta->failed)
        return;
    meta->failed = err;
    mrmr_story_save(&meta->story);
}

static mrmr_err transaction_usable(struct meta *meta)
{
    if (meta->failed)
        return mrmr_story_restore(&meta->story);
    if (!sqlite3_get_autocommit(meta->db))
        return MRMR_OK;
    mrmr_err err = mrmr_fail(MRMR_INTERNAL, "the catalog's transaction was rolled back by SQLite");
    transaction_fail(meta, err);
    return err;
}

mrmr_err meta_write_begin(struct meta *meta)
{
    if (meta->readonly) {
        mrmr_fail(MRMR_READONLY, "the catalog is opened for reading only");
        return mrmr_err_path(MRMR_READONLY, meta->path);
    }
    if (meta->open || meta->depth)
        MRMR_TRY(transaction_usable(meta));
    else
        MRMR_TRY(meta_run(meta, "BEGIN IMMEDIATE", NULL));
    if (meta->depth++ == 0)
        meta->changes = sqlite3_total_changes64(meta->db);
    return MRMR_OK;
}

/* The end of the outermost scope that is a transaction of its own. */
static mrmr_err write_end_alone(struct meta *meta, mrmr_err err)
{
    if (!err && meta->failed)
        err = mrmr_story_restore(&meta->story);
    if (!err)
        err = meta_journal_commit(meta);
    if (!err)
        err = meta_run(meta, "COMMIT", NULL);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        transaction_undo(meta);
        mrmr_story_restore(&story);
    }
    meta->failed = MRMR_OK;
    meta_journal_committed(meta, !err);
    return err;
}

mrmr_err meta_write_end(struct meta *meta, mrmr_err err)
{
    meta->depth--;
    if (err && !err_is_refusal(err))
        transaction_fail(meta, err);
    if (meta->depth)
        return err;
    if (!meta->open)
        return write_end_alone(meta, err);
    if (err && sqlite3_total_changes64(meta->db) != meta->changes)
        transaction_fail(meta, err);
    return err;
}

mrmr_err meta_write(struct meta *meta, const char *sql, const struct meta_arg *args)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, meta_run(meta, sql, args));
}

static mrmr_err misuse(const char *what)
{
    return mrmr_fail(MRMR_INTERNAL, "the catalog: %s", what);
}

static mrmr_err begin_locked(struct meta *meta)
{
    if (meta->open)
        return misuse("a transaction is open already");
    if (meta->callbacks || meta->depth)
        return misuse("a transaction was begun inside a callback");
    if (meta->readonly) {
        mrmr_fail(MRMR_READONLY, "the catalog is opened for reading only");
        return mrmr_err_path(MRMR_READONLY, meta->path);
    }
    MRMR_TRY(meta_run(meta, "BEGIN IMMEDIATE", NULL));
    meta->open = true;
    return MRMR_OK;
}

static mrmr_err commit_locked(struct meta *meta)
{
    if (!meta->open)
        return misuse("there is no transaction to commit");
    if (meta->callbacks || meta->depth)
        return misuse("a transaction was committed inside a callback");
    MRMR_TRY(transaction_usable(meta));
    mrmr_err err = meta_journal_commit(meta);
    if (!err)
        err = meta_run(meta, "COMMIT", NULL);
    if (err) {
        transaction_fail(meta, err);
        return err;
    }
    meta->open = false;
    meta_journal_committed(meta, true);
    return MRMR_OK;
}

static void rollback_locked(struct meta *meta)
{
    if (!meta->open)
        return;
    struct mrmr_story story;
    mrmr_story_save(&story); /* the caller's error is not ours to overwrite */
    transaction_undo(meta);
    mrmr_story_restore(&story);
    meta->open = false;
    meta->failed = MRMR_OK;
    meta_journal_committed(meta, false);
}

mrmr_err meta_begin(struct meta *meta)
{
    mrmr_locked(&meta->lock);
    return begin_locked(meta);
}

mrmr_err meta_commit(struct meta *meta)
{
    mrmr_locked(&meta->lock);
    if (meta->atomic)
        return misuse("a transaction was committed inside of meta_atomically");
    return commit_locked(meta);
}

mrmr_err meta_checkpoint(struct meta *meta)
{
    mrmr_locked(&meta->lock);
    if (meta->atomic)
        return misuse("a transaction was committed inside of meta_atomically");
    MRMR_TRY(commit_locked(meta));
    return begin_locked(meta);
}

void meta_rollback(struct meta *meta)
{
    mrmr_locked(&meta->lock);
    if (meta->atomic)
        transaction_fail(meta, misuse("a transaction was rolled back inside of meta_atomically"));
    else
        rollback_locked(meta);
}

mrmr_err meta_atomically(struct meta *meta, mrmr_err (*fn)(struct meta *meta, void *arg), void *arg)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(begin_locked(meta));
    meta->atomic++;
    mrmr_err err = fn(meta, arg);
    meta->atomic--;
    if (!err)
        err = commit_locked(meta);
    if (err)
        rollback_locked(meta);
    return err;
}

/* So many values that nobody has, the first of them. */
static mrmr_err sequence_take(struct meta *meta, int64_t n, int64_t *ret_first)
{
    if (meta->sequence + n > meta->sequence_end) {
        bool found;
        int64_t mark;
        MRMR_TRY(meta_run_int(meta,
            "INSERT INTO counter (name, value) VALUES ('sequence', ?1 + ?2) "
            "ON CONFLICT (name) DO UPDATE SET value = max(value, ?1) + ?2 RETURNING value",
            META_ARGS(META_INT(meta->sequence), META_INT(META_SEQUENCES)), &found, &mark));
        if (!found || mark < META_SEQUENCES || mark > INT64_MAX / 2)
            return meta_corrupt(meta, "its sequence has an impossible value");
        meta->sequence = mark - META_SEQUENCES;
        meta->sequence_end = mark;
    }
    *ret_first = meta->sequence + 1;
    meta->sequence += n;
    return MRMR_OK;
}

/* That of a look which did not end goes on: what the drives had then is not older than what they have now. */
static mrmr_err sequence_shared(struct meta *meta)
{
    bool found;
    int64_t value;
    if (meta->shared)
        return MRMR_OK;
    MRMR_TRY(meta_run_int(
        meta, "SELECT value FROM counter WHERE name = 'sequence.shared'", NULL, &found, &value));
    if (found && value > 0) {
        meta->shared = value;
        return MRMR_OK;
    }
    MRMR_TRY(sequence_take(meta, 2, &value)); /* the second for what came to its name */
    MRMR_TRY(meta_run(meta,
        "INSERT INTO counter (name, value) VALUES ('sequence.shared', ?1) "
        "ON CONFLICT (name) DO UPDATE SET value = ?1",
        META_ARGS(META_INT(value))));
    meta->shared = value;
    return MRMR_OK;
}

void meta_sequence_share(struct meta *meta)
{
    mrmr_locked(&meta->lock);
    meta->shares = true;
    meta->shared = 0;
}

mrmr_err meta_sequence_shared(struct meta *meta, bool through)
{
    mrmr_locked(&meta->lock);
    meta->shares = false;
    meta->shared = 0;
    return through ? meta_write(meta, "DELETE FROM counter WHERE name = 'sequence.shared'", NULL)
                   : MRMR_OK;
}

mrmr_err meta_sequence_next(struct meta *meta, bool came, int64_t *ret_sequence)
{
    if (!meta->shares)
        return sequence_take(meta, 1, ret_sequence);
    MRMR_TRY(sequence_shared(meta));
    *ret_sequence = meta->shared + came;
    return MRMR_OK;
}
