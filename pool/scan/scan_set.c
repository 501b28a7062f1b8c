/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/scan/scan.h"

#include <string.h>

/* --- Ids: open addressing, at most half full --- */

static size_t ids_place(const struct pool_scan_ids *ids, int64_t id)
{
    size_t at = (size_t)((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (ids->room - 1);
    while (ids->slot[at] && ids->slot[at] != id)
        at = (at + 1) & (ids->room - 1);
    return at;
}

static mrmr_err ids_grow(struct pool_scan_ids *ids)
{
    struct pool_scan_ids grown = {.room = ids->room ? 2 * ids->room : 64};
    grown.slot = calloc(grown.room, sizeof *grown.slot);
    if (!grown.slot)
        return mrmr_nomem();
    for (size_t i = 0; i < ids->room; i++)
        if (ids->slot[i])
            grown.slot[ids_place(&grown, ids->slot[i])] = ids->slot[i];
    grown.n = ids->n;
    free(ids->slot);
    *ids = grown;
    return MRMR_OK;
}

mrmr_err pool_scan_ids_add(struct pool_scan_ids *ids, int64_t id)
{
    if (2 * (ids->n + 1) > ids->room)
        MRMR_TRY(ids_grow(ids));
    size_t at = ids_place(ids, id);
    ids->n += ids->slot[at] == 0;
    ids->slot[at] = id;
    return MRMR_OK;
}

bool pool_scan_ids_has(const struct pool_scan_ids *ids, int64_t id)
{
    return ids->n && ids->slot[ids_place(ids, id)] == id;
}

void pool_scan_ids_free(struct pool_scan_ids *ids)
{
    free(ids->slot);
    *ids = (struct pool_scan_ids){.slot = NULL};
}

/* --- Lists --- */

mrmr_err pool_scan_list_add(struct pool_scan_list *list, int64_t id)
{
    if (list->n && list->id[list->n - 1] == id)
        return MRMR_OK;
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        int64_t *grown = realloc(list->id, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        list->id = grown;
        list->room = room;
    }
    list->id[list->n++] = id;
    return MRMR_OK;
}

void pool_scan_list_free(struct pool_scan_list *list)
{
    free(list->id);
    *list = (struct pool_scan_list){.id = NULL};
}

/* --- What is held --- */

static int held_order(const void *a, const void *b)
{
    const struct meta_change *x = a, *y = b;
    return (x->node > y->node) - (x->node < y->node);
}

mrmr_err pool_scan_held_load(struct meta *meta, int64_t drive, struct pool_scan_held *ret_held)
{
    uint64_t n;
    struct pool_scan_held held = {.n = 0};
    MRMR_TRY(meta_changes_count(meta, drive, META_CHANGE_HELD, &n));
    if (n) {
        held.change = calloc(n, sizeof *held.change);
        if (!held.change)
            return mrmr_nomem();
        mrmr_err err =
            meta_changes_after(meta, drive, META_CHANGE_HELD, 0, held.change, n, &held.n);
        if (err) {
            free(held.change);
            return err;
        }
        qsort(held.change, held.n, sizeof *held.change, held_order);
    }
    *ret_held = held;
    return MRMR_OK;
}

const struct meta_change *pool_scan_held_find(const struct pool_scan_held *held, int64_t node)
{
    const struct meta_change key = {.node = node};
    if (!held->n)
        return NULL;
    return bsearch(&key, held->change, held->n, sizeof *held->change, held_order);
}

void pool_scan_held_free(struct pool_scan_held *held)
{
    free(held->change);
    *held = (struct pool_scan_held){.n = 0};
}
