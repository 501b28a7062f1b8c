/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/node.h"
#include "meta/transaction.h"

#include <string.h>

#define DEPTH_MAX 65536 /* folders in folders; a hostile catalog may hold a circle */

static bool name_is_dot(const char *name, size_t n)
{
    return (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.');
}

mrmr_err meta_name_sane(const char *name)
{
    size_t n = strlen(name);
    if (n > META_NAME_MAX)
        return mrmr_err_path(mrmr_fail(MRMR_NAME_TOO_LONG, "a name has %zu bytes", n), name);
    if (!n || strchr(name, '/') || name_is_dot(name, n))
        return mrmr_err_path(mrmr_fail(MRMR_INVALID, "this cannot be a file's name"), name);
    return MRMR_OK;
}

void meta_name_read(struct meta_query *q, int col, char *buf)
{
    meta_col_text(q, col, buf, META_NAME_MAX + 1);
    if (!buf[0] || strchr(buf, '/') || name_is_dot(buf, strlen(buf)))
        meta_col_bad(q, col);
}

static mrmr_err name_absent(int64_t parent, const char *name)
{
    return mrmr_err_path(
        mrmr_fail(MRMR_ABSENT, "the catalog has no such name in folder %lld", (long long)parent),
        name);
}

static mrmr_err name_exists(mrmr_err err, const char *name)
{
    if (err == MRMR_EXISTS)
        mrmr_err_path(mrmr_fail(err, "the catalog has this name already"), name);
    return err;
}

static mrmr_err name_add_locked(struct meta *meta, int64_t parent, const char *name, int64_t node)
{
    MRMR_TRY(meta_name_sane(name));
    return name_exists(
        meta_run(meta, "INSERT INTO name (parent, name, node) VALUES (?, ?, ?)",
            META_ARGS(META_INT(parent), META_BLOB(name, strlen(name)), META_INT(node))),
        name);
}

mrmr_err meta_name_add(struct meta *meta, int64_t parent, const char *name, int64_t node)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, name_add_locked(meta, parent, name, node));
}

static mrmr_err name_remove_locked(struct meta *meta, int64_t parent, const char *name)
{
    MRMR_TRY(meta_run(meta, "DELETE FROM name WHERE parent = ? AND name = ?",
        META_ARGS(META_INT(parent), META_BLOB(name, strlen(name)))));
    return sqlite3_changes64(meta->db) ? MRMR_OK : name_absent(parent, name);
}

mrmr_err meta_name_remove(struct meta *meta, int64_t parent, const char *name)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, name_remove_locked(meta, parent, name));
}

static mrmr_err name_move_locked(
    struct meta *meta, int64_t parent, const char *name, int64_t to_parent, const char *to_name)
{
    MRMR_TRY(meta_name_sane(to_name));
    MRMR_TRY(name_exists(
        meta_run(meta, "UPDATE name SET parent = ?, name = ? WHERE parent = ? AND name = ?",
            META_ARGS(META_INT(to_parent), META_BLOB(to_name, strlen(to_name)), META_INT(parent),
                META_BLOB(name, strlen(name)))),
        to_name));
    return sqlite3_changes64(meta->db) ? MRMR_OK : name_absent(parent, name);
}

mrmr_err meta_name_move(
    struct meta *meta, int64_t parent, const char *name, int64_t to_parent, const char *to_name)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, name_move_locked(meta, parent, name, to_parent, to_name));
}

/* name need not end in a NUL. */
static mrmr_err lookup(
    struct meta *meta, int64_t parent, const char *name, size_t size, struct meta_node *ret_node)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT " META_NODE_COLUMNS " FROM name x JOIN node n ON n.id = x.node "
        "WHERE x.parent = ? AND x.name = ?",
        META_ARGS(META_INT(parent), META_BLOB(name, size))));
    bool row;
    MRMR_TRY(meta_query_step(&q, &row));
    if (!row)
        return mrmr_fail(
            MRMR_ABSENT, "the catalog has no such name in folder %lld", (long long)parent);
    struct meta_node node;
    meta_node_read(&q, &node);
    MRMR_TRY(meta_query_sound(&q));
    *ret_node = node;
    return MRMR_OK;
}

mrmr_err meta_lookup(
    struct meta *meta, int64_t parent, const char *name, struct meta_node *ret_node)
{
    mrmr_locked(&meta->lock);
    mrmr_err err = lookup(meta, parent, name, strlen(name), ret_node);
    return err ? mrmr_err_path(err, name) : MRMR_OK;
}

mrmr_err meta_lookup_path(
    struct meta *meta, int64_t root, const char *path, struct meta_node *ret_node)
{
    mrmr_locked(&meta->lock);
    struct meta_node node;
    MRMR_TRY(meta_node_get(meta, root, &node));
    for (const char *at = path; *at;) {
        size_t n = strcspn(at, "/");
        if (n) {
            mrmr_err err = lookup(meta, node.id, at, n, &node);
            if (err)
                return mrmr_err_path(err, path);
        }
        at += n + (at[n] == '/');
    }
    *ret_node = node;
    return MRMR_OK;
}

/* The first name of a node by memcmp; *ret_found false if it has none. */
static mrmr_err name_first(
    struct meta *meta, int64_t node, bool *ret_found, int64_t *ret_parent, char *name)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT parent, name FROM name WHERE node = ? ORDER BY name, parent LIMIT 1",
        META_ARGS(META_INT(node))));
    MRMR_TRY(meta_query_step(&q, ret_found));
    if (!*ret_found)
        return MRMR_OK;
    *ret_parent = meta_col_id(&q, 0);
    meta_name_read(&q, 1, name);
    return meta_query_sound(&q);
}

static mrmr_err node_is_root(struct meta *meta, int64_t node, bool *ret_root)
{
    bool found;
    int64_t id;
    MRMR_TRY(meta_run_int(
        meta, "SELECT id FROM drive WHERE root = ?", META_ARGS(META_INT(node)), &found, &id));
    *ret_root = found;
    return MRMR_OK;
}

/* Names from the node up to the root, each followed by its length as one byte. */
static mrmr_err path_climb(struct meta *meta, int64_t node, struct mrmr_bytes *names)
{
    int64_t at = node;
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        bool found, root;
        char name[META_NAME_MAX + 1];
        int64_t parent = 0;
        MRMR_TRY(name_first(meta, at, &found, &parent, name));
        if (!found) {
            MRMR_TRY(node_is_root(meta, at, &root));
            if (root)
                return MRMR_OK;
            return at == node ? mrmr_fail(MRMR_ABSENT, "node %lld has no name", (long long)node)
                              : meta_corrupt(meta, "a folder hangs below no drive");
        }
        uint8_t n = (uint8_t)strlen(name);
        MRMR_TRY(mrmr_bytes_add(names, name, n));
        MRMR_TRY(mrmr_bytes_add(names, &n, 1));
        at = parent;
    }
    return meta_corrupt(meta, "its folders form a circle");
}

mrmr_err meta_path(struct meta *meta, int64_t node, struct mrmr_bytes *path)
{
    mrmr_locked(&meta->lock);
    mrmr_autobytes struct mrmr_bytes names = MRMR_BYTES_INIT;
    MRMR_TRY(path_climb(meta, node, &names));
    MRMR_TRY(mrmr_bytes_reserve(path, names.size)); /* so that no step below fails half-way */
    for (size_t at = names.size; at;) {
        size_t n = (uint8_t)names.data[at - 1];
        mrmr_bytes_add(path, names.data + at - 1 - n, n);
        at -= n + 1;
        if (at)
            mrmr_bytes_add(path, "/", 1);
    }
    return MRMR_OK;
}

static mrmr_err name_pass(struct meta_query *q, meta_name_fn fn, void *arg)
{
    int64_t parent = meta_col_id(q, 0);
    char name[META_NAME_MAX + 1];
    meta_name_read(q, 1, name);
    MRMR_TRY(meta_query_sound(q));
    return fn(parent, name, arg);
}

mrmr_err meta_names(struct meta *meta, int64_t node, meta_name_fn fn, void *arg)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT parent, name FROM name WHERE node = ? ORDER BY name, parent",
        META_ARGS(META_INT(node))));
    for (;;) {
        bool row;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            return MRMR_OK;
        meta->callbacks++;
        mrmr_err err = name_pass(&q, fn, arg);
        meta->callbacks--;
        MRMR_TRY(err);
    }
}

/* --- A folder --- */

struct child_list {
    struct meta_child *children;
    size_t n, room;
    struct mrmr_bytes names; /* one after another, each with its NUL */
};

static void child_list_end(struct child_list *list)
{
    free(list->children);
    mrmr_bytes_free(&list->names);
}

static mrmr_err child_list_add(struct child_list *list, struct meta_query *q)
{
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        struct meta_child *grown = realloc(list->children, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        list->children = grown;
        list->room = room;
    }
    char name[META_NAME_MAX + 1];
    meta_node_read(q, &list->children[list->n].node);
    meta_name_read(q, META_NODE_NCOLUMNS, name);
    MRMR_TRY(meta_query_sound(q));
    MRMR_TRY(mrmr_bytes_add(&list->names, name, strlen(name) + 1));
    list->n++;
    return MRMR_OK;
}

/* The names move behind the array, so that one free() does for both. */
static mrmr_err child_list_finish(struct child_list *list, struct meta_child **ret_children)
{
    size_t array = list->n * sizeof *list->children;
    struct meta_child *all = realloc(list->children, array + list->names.size + 1);
    if (!all)
        return mrmr_nomem();
    list->children = NULL;
    char *name = (char *)all + array;
    if (list->names.size)
        memcpy(name, list->names.data, list->names.size);
    for (size_t i = 0; i < list->n; i++) {
        all[i].name = name;
        name += strlen(name) + 1;
    }
    *ret_children = all;
    return MRMR_OK;
}

mrmr_err meta_children(
    struct meta *meta, int64_t parent, struct meta_child **ret_children, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    __attribute__((cleanup(child_list_end))) struct child_list list = {.n = 0};
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT " META_NODE_COLUMNS ", x.name FROM name x CROSS JOIN node n ON n.id = x.node "
        "WHERE x.parent = ? ORDER BY x.name",
        META_ARGS(META_INT(parent))));
    for (;;) {
        bool row;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            break;
        MRMR_TRY(child_list_add(&list, &q));
    }
    struct meta_child *children = NULL;
    MRMR_TRY(child_list_finish(&list, &children));
    *ret_children = children;
    *ret_n = list.n;
    return MRMR_OK;
}
