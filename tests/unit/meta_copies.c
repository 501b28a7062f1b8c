/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta_copies.h"

#include "base/cleanup.h"
#include "catalog_same.h"

void copies_free(struct copies *c)
{
    mrmr_bytes_free(&c->base);
    for (size_t i = 0; i < c->logs; i++)
        mrmr_bytes_free(&c->log[i]);
    c->logs = 0;
}

static mrmr_err take(const char *data, size_t size, void *arg)
{
    return mrmr_bytes_add(arg, data, size);
}

void copies_read(struct meta_text *text, struct mrmr_bytes *out)
{
    mrmr_bytes_clear(out);
    assert_ok(meta_text_read(text, take, out));
    meta_text_free(text);
}

struct meta_copy_state copies_state(struct world *w)
{
    struct meta_copy_state s;
    assert_ok(meta_copy_state(w->meta, &s));
    return s;
}

void copies_base(struct world *w, struct copies *c)
{
    struct meta_text *base = NULL;
    copies_free(c);
    c->sequence++;
    assert_ok(meta_copy_cut(w->meta, c->sequence, NULL, &base));
    copies_read(base, &c->base);
}

void copies_log(struct world *w, struct copies *c)
{
    struct meta_text *log = NULL;
    assert_true(copies_state(w).whole);
    assert_true(c->logs < 64);
    c->sequence++;
    assert_ok(meta_copy_cut(w->meta, c->sequence, &log, NULL));
    copies_read(log, &c->log[c->logs++]);
}

void world_file(struct world *w, char path[160], const char *name)
{
    snprintf(path, 160, "%s/%s", w->dir, name);
}

/* As a person would: sqlite3 reads the text. */
static void restore_plain(const struct copies *c, const char *path)
{
    sqlite3 *db;
    char *message = NULL;
    unlink(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, c->base.data, NULL, NULL, &message))
        fail_msg("the base: %s", message);
    for (size_t i = 0; i < c->logs; i++)
        if (sqlite3_exec(db, c->log[i].data, NULL, NULL, &message))
            fail_msg("log %zu: %s\n%s", i, message, c->log[i].data);
    sqlite3_close(db);
}

mrmr_err copies_restore(struct meta_restore *r, const struct mrmr_bytes *text, bool base)
{
    MRMR_TRY(meta_restore_begin(r, base));
    const char *at = text->data, *end = text->data + text->size;
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        assert_non_null(line);
        MRMR_TRY(meta_restore_line(r, at, (size_t)(line - at)));
        at = line + 1;
    }
    return meta_restore_end(r);
}

static void restore_ours(const struct copies *c, const char *path)
{
    struct meta_restore *r = NULL;
    unlink(path);
    assert_ok(meta_restore_create(path, &r));
    assert_ok(copies_restore(r, &c->base, true));
    for (size_t i = 0; i < c->logs; i++)
        assert_ok(copies_restore(r, &c->log[i], false));
    assert_ok(meta_restore_finish(r, NULL));
    meta_restore_destroy(r);
}

void copies_assert_restores(struct world *w, const struct copies *c)
{
    char plain[160], ours[160];
    world_file(w, plain, "plain.sqlite");
    world_file(w, ours, "ours.sqlite");
    restore_plain(c, plain);
    catalog_assert_same(w->path, plain);
    struct meta *meta = NULL;
    assert_ok(meta_open(plain, 0, &meta));
    assert_ok(meta_check(meta));
    meta_close(meta);
    restore_ours(c, ours);
    catalog_assert_same(w->path, ours);
    unlink(plain);
    unlink(ours);
}
