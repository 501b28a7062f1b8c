/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bytes of the mem driver: sparse maps of chunks, shared by clones and by the durable state, copied
 * when one is written.
 */
#include "drivers/mem_internal.h"

#include <pthread.h>
#include <string.h>

#ifndef __has_feature
#define __has_feature(x) 0 /* gcc */
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

/* --- chunks --- */

/* Chunks that nobody needs any more are kept for the next who needs one, of whichever store. Tests
 * make and drop many of them, and memory that is new costs a page fault each. What this alone saves was
 * not measured; a single test that drops little gains nothing. */
enum { SPARES_MOST = 16 * 1024 }; /* 64 MiB */
static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mem_chunk *spare;
static unsigned spares;

/* With zeros in it, and one reference; NULL: no memory. */
static struct mem_chunk *chunk_make(void)
{
    pthread_mutex_lock(&spare_lock);
    struct mem_chunk *chunk = spare;
    if (chunk) {
        spare = chunk->next;
        spares--;
    }
    pthread_mutex_unlock(&spare_lock);
    if (chunk) {
        ASAN_UNPOISON_MEMORY_REGION(chunk->bytes, MEM_CHUNK);
        memset(chunk, 0, sizeof *chunk);
    } else {
        chunk = calloc(1, sizeof *chunk);
    }
    if (chunk)
        chunk->refs = 1;
    return chunk;
}

void mem_chunk_put(struct mem_chunk *chunk)
{
    if (!chunk || --chunk->refs)
        return;
    pthread_mutex_lock(&spare_lock);
    if (spares < SPARES_MOST) {
        ASAN_POISON_MEMORY_REGION(chunk->bytes, MEM_CHUNK);
        chunk->next = spare;
        spare = chunk;
        spares++;
        chunk = NULL;
    }
    pthread_mutex_unlock(&spare_lock);
    free(chunk);
}

/* --- maps --- */

size_t mem_map_find(const struct mem_map *map, uint64_t index)
{
    size_t low = 0, high = map->count;
    if (high && map->slots[high - 1].index < index) /* appending is the common case */
        return high;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (map->slots[mid].index < index)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

mrmr_err mem_map_reserve(struct mem_map *map, size_t more)
{
    if (map->count + more <= map->room)
        return MRMR_OK;
    size_t room = map->room ? map->room : 4;
    while (room < map->count + more)
        room *= 2;
    struct mem_slot *slots = realloc(map->slots, room * sizeof *slots);
    if (!slots)
        return mrmr_nomem();
    map->slots = slots;
    map->room = room;
    return MRMR_OK;
}

void mem_map_add(struct mem_map *map, uint64_t index, struct mem_chunk *chunk)
{
    chunk->refs++;
    map->slots[map->count++] = (struct mem_slot){index, chunk};
}

static void map_cut(struct mem_map *map, size_t count)
{
    while (map->count > count)
        mem_chunk_put(map->slots[--map->count].chunk);
}

void mem_map_free(struct mem_map *map)
{
    map_cut(map, 0);
    free(map->slots);
    *map = (struct mem_map){0};
}

static mrmr_err map_copy(const struct mem_map *from, struct mem_map *ret_to)
{
    struct mem_map map = {0};
    MRMR_TRY(mem_map_reserve(&map, from->count));
    for (size_t i = 0; i < from->count; i++)
        mem_map_add(&map, from->slots[i].index, from->slots[i].chunk);
    *ret_to = map;
    return MRMR_OK;
}

/* There is room for it; the reference is the map's. */
static void map_insert(struct mem_map *map, size_t at, uint64_t index, struct mem_chunk *chunk)
{
    memmove(&map->slots[at + 1], &map->slots[at], (map->count - at) * sizeof *map->slots);
    map->slots[at] = (struct mem_slot){index, chunk};
    map->count++;
}

static mrmr_err map_own(struct mem_map *map, uint64_t index, struct mem_chunk **ret_chunk)
{
    size_t at = mem_map_find(map, index);
    bool there = at < map->count && map->slots[at].index == index;
    if (there && map->slots[at].chunk->refs == 1) {
        *ret_chunk = map->slots[at].chunk;
        return MRMR_OK;
    }
    if (!there && mem_map_reserve(map, 1))
        return mrmr_nomem();
    struct mem_chunk *chunk = chunk_make();
    if (!chunk)
        return mrmr_nomem();
    if (there) {
        memcpy(chunk->bytes, map->slots[at].chunk->bytes, MEM_CHUNK);
        mem_chunk_put(map->slots[at].chunk);
        map->slots[at].chunk = chunk;
    } else {
        map_insert(map, at, index, chunk);
    }
    *ret_chunk = chunk;
    return MRMR_OK;
}

/* Zeros where there is nothing: one chunk serves all of a store's, until they are written to. */
static mrmr_err map_zero_locked(struct mem_store *store, struct mem_map *map, uint64_t index)
{
    size_t at = mem_map_find(map, index);
    if (at < map->count && map->slots[at].index == index)
        return MRMR_OK;
    if (!store->zero)
        store->zero = chunk_make();
    if (!store->zero || mem_map_reserve(map, 1))
        return mrmr_nomem();
    store->zero->refs++;
    map_insert(map, at, index, store->zero);
    return MRMR_OK;
}

/* --- states --- */

static void xattrs_free(struct mem_xattr *xattrs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(xattrs[i].name);
        free(xattrs[i].value);
    }
    free(xattrs);
}

static mrmr_err xattrs_copy(const struct mem_state *from, struct mem_state *to)
{
    if (!from->xattr_count)
        return MRMR_OK;
    to->xattrs = calloc(from->xattr_count, sizeof *to->xattrs);
    if (!to->xattrs)
        return mrmr_nomem();
    for (size_t i = 0; i < from->xattr_count; i++) {
        struct mem_xattr *x = &to->xattrs[to->xattr_count++];
        x->size = from->xattrs[i].size;
        x->name = strdup(from->xattrs[i].name);
        x->value = malloc(x->size + 1);
        if (!x->name || !x->value)
            return mrmr_nomem();
        memcpy(x->value, from->xattrs[i].value, x->size);
    }
    return MRMR_OK;
}

void mem_state_free(struct mem_state *state)
{
    mem_map_free(&state->map);
    xattrs_free(state->xattrs, state->xattr_count);
    *state = (struct mem_state){0};
}

mrmr_err mem_state_copy(const struct mem_state *from, struct mem_state *ret_to)
{
    struct mem_state to = *from;
    to.map = (struct mem_map){0};
    to.xattrs = NULL;
    to.xattr_count = 0;
    mrmr_err err = map_copy(&from->map, &to.map);
    if (!err)
        err = xattrs_copy(from, &to);
    if (err) {
        mem_state_free(&to);
        return err;
    }
    *ret_to = to;
    return MRMR_OK;
}

void mem_state_move(struct mem_state *to, struct mem_state *from)
{
    mem_state_free(to);
    *to = *from;
    *from = (struct mem_state){0};
}

mrmr_err mem_state_own(struct mem_state *state, uint64_t index, struct mem_chunk **ret_chunk)
{
    return map_own(&state->map, index, ret_chunk);
}

mrmr_err mem_state_resize(struct mem_state *state, uint64_t size)
{
    uint64_t last = size / MEM_CHUNK, within = size % MEM_CHUNK;
    size_t at = mem_map_find(&state->map, last);
    if (within && at < state->map.count && state->map.slots[at].index == last) {
        struct mem_chunk *chunk;
        if (size < state->size) {
            MRMR_TRY(map_own(&state->map, last, &chunk));
            memset(chunk->bytes + within, 0, MEM_CHUNK - within);
        }
        at++;
    }
    map_cut(&state->map, at);
    state->size = size;
    return MRMR_OK;
}

void mem_touch_locked(struct mem_store *store, struct mem_inode *inode, bool bytes)
{
    inode->now.ctime = mem_time_locked(store);
    if (bytes)
        inode->now.mtime = inode->now.ctime;
    inode->dirty = store->tracked;
}

/* --- ops on open files --- */

static struct mem_store *file_store(struct mem_file *f)
{
    return ((struct mem *)f->file.drv)->store;
}

/* Alive, and opened for that. */
static mrmr_err file_check_locked(struct mem_file *f, const char *op, unsigned flag)
{
    MRMR_TRY(mem_alive_locked(file_store(f), ((struct mem *)f->file.drv)->epoch, op, f->path));
    if (f->flags & flag)
        return MRMR_OK;
    mrmr_err err = mrmr_fail(MRMR_INVALID, "the file was not opened for that");
    return mrmr_err_path(mrmr_err_op(err, op), f->path);
}

static void read_bytes(
    const struct mem_state *state, uint64_t offset, unsigned char *buf, size_t size)
{
    size_t at = mem_map_find(&state->map, offset / MEM_CHUNK);
    while (size) {
        size_t within = offset % MEM_CHUNK, n = MEM_CHUNK - within;
        if (n > size)
            n = size;
        if (at < state->map.count && state->map.slots[at].index == offset / MEM_CHUNK)
            memcpy(buf, state->map.slots[at++].chunk->bytes + within, n);
        else
            memset(buf, 0, n);
        buf += n;
        offset += n;
        size -= n;
    }
}

mrmr_err mem_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct mem_file *f = (struct mem_file *)file;
    MEM_READING(file_store(f));
    *ret_got = 0;
    MRMR_TRY(file_check_locked(f, "read", DRV_OPEN_READ));
    const struct mem_state *state = &f->inode->now;
    if (offset >= state->size || size == 0)
        return MRMR_OK;
    if (size > state->size - offset)
        size = (size_t)(state->size - offset);
    read_bytes(state, offset, buf, size);
    *ret_got = size;
    return MRMR_OK;
}

mrmr_err mem_file_next_data(
    struct drv_file *file, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
    struct mem_file *f = (struct mem_file *)file;
    MEM_READING(file_store(f));
    MRMR_TRY(file_check_locked(f, "find data", DRV_OPEN_READ | DRV_OPEN_WRITE));
    const struct mem_state *state = &f->inode->now;
    const struct mem_map *map = &state->map;
    size_t at = mem_map_find(map, offset / MEM_CHUNK);
    if (offset >= state->size || at == map->count ||
        map->slots[at].index * MEM_CHUNK >= state->size) { /* room kept past the end is no data */
        *ret_start = *ret_end = state->size;
        return MRMR_OK;
    }
    uint64_t start = map->slots[at].index * MEM_CHUNK, end = start;
    for (; at < map->count && map->slots[at].index * MEM_CHUNK == end; at++)
        end += MEM_CHUNK;
    *ret_start = start > offset ? start : offset;
    *ret_end = end < state->size ? end : state->size;
    return MRMR_OK;
}

/* Chunks between two offsets that are not there yet. */
static uint64_t chunks_missing(const struct mem_map *map, uint64_t offset, uint64_t size)
{
    if (!size)
        return 0;
    uint64_t first = offset / MEM_CHUNK, end = (offset + size - 1) / MEM_CHUNK + 1;
    return end - first - (mem_map_find(map, end) - mem_map_find(map, first));
}

/* Room for a range, in the limit and in the map. */
static mrmr_err room_locked(struct mem_file *f, const char *op, uint64_t offset, uint64_t size)
{
    struct mem_store *store = file_store(f);
    uint64_t missing = chunks_missing(&f->inode->now.map, offset, size);
    if (missing && (store->used > store->limit || missing > store->limit - store->used))
        return mem_fail(MRMR_SPACE, op, f->path);
    return mem_map_reserve(&f->inode->now.map, missing);
}

/* Copy size bytes of buf, or zeros without one, into the file; what is there stays if buf is NULL.
 */
static mrmr_err write_bytes_locked(
    struct mem_file *f, uint64_t offset, const unsigned char *buf, uint64_t size)
{
    struct mem_store *store = file_store(f);
    struct mem_state *state = &f->inode->now;
    while (size) {
        size_t within = offset % MEM_CHUNK, n = MEM_CHUNK - within, before = state->map.count;
        struct mem_chunk *chunk;
        if (n > size)
            n = (size_t)size;
        if (!buf)
            MRMR_TRY(map_zero_locked(store, &state->map, offset / MEM_CHUNK));
        else
            MRMR_TRY(mem_state_own(state, offset / MEM_CHUNK, &chunk));
        store->used += state->map.count - before;
        if (buf) {
            memcpy(chunk->bytes + within, buf, n);
            buf += n;
        }
        offset += n;
        size -= n;
        if (state->size < offset)
            state->size = offset;
    }
    return MRMR_OK;
}

mrmr_err mem_file_write(struct drv_file *file, uint64_t offset, const void *buf, size_t size)
{
    struct mem_file *f = (struct mem_file *)file;
    MEM_WRITING(file_store(f));
    MRMR_TRY(file_check_locked(f, "write", DRV_OPEN_WRITE));
    MRMR_TRY(room_locked(f, "write", offset, size));
    if (size)
        mem_touch_locked(file_store(f), f->inode, true);
    return write_bytes_locked(f, offset, buf, size);
}

mrmr_err mem_file_truncate(struct drv_file *file, uint64_t size)
{
    struct mem_file *f = (struct mem_file *)file;
    MEM_WRITING(file_store(f));
    MRMR_TRY(file_check_locked(f, "truncate", DRV_OPEN_WRITE));
    size_t before = f->inode->now.map.count;
    MRMR_TRY(mem_state_resize(&f->inode->now, size));
    file_store(f)->used -= before - f->inode->now.map.count;
    mem_touch_locked(file_store(f), f->inode, true);
    return MRMR_OK;
}

mrmr_err mem_file_allocate(struct drv_file *file, uint64_t size)
{
    struct mem_file *f = (struct mem_file *)file;
    MEM_WRITING(file_store(f));
    MRMR_TRY(file_check_locked(f, "allocate", DRV_OPEN_WRITE));
    MRMR_TRY(room_locked(f, "allocate", 0, size));
    mem_touch_locked(file_store(f), f->inode, true);
    return write_bytes_locked(f, 0, NULL, size);
}

/* --- parts of files --- */

/* Zeros in [offset, end): whole chunks are dropped, the others written. */
static mrmr_err punch_locked(struct mem_file *f, uint64_t offset, uint64_t end)
{
    struct mem_map *map = &f->inode->now.map;
    size_t keep = mem_map_find(map, offset / MEM_CHUNK), at = keep;
    for (; at < map->count && map->slots[at].index * MEM_CHUNK < end; at++) {
        const uint64_t start = map->slots[at].index * MEM_CHUNK;
        const uint64_t from = start < offset ? offset : start;
        const uint64_t to = end < start + MEM_CHUNK ? end : start + MEM_CHUNK;
        if (to - from == MEM_CHUNK) {
            mem_chunk_put(map->slots[at].chunk);
            continue;
        }
        map->slots[keep++] = map->slots[at];
    }
    const size_t first = mem_map_find(map, offset / MEM_CHUNK);
    memmove(&map->slots[keep], &map->slots[at], (map->count - at) * sizeof *map->slots);
    file_store(f)->used -= at - keep;
    map->count -= at - keep;
    for (size_t i = first; i < keep; i++) {
        struct mem_chunk *chunk;
        const uint64_t start = map->slots[i].index * MEM_CHUNK;
        const uint64_t from = start < offset ? offset - start : 0;
        const uint64_t to = end < start + MEM_CHUNK ? end - start : MEM_CHUNK;
        MRMR_TRY(map_own(map, map->slots[i].index, &chunk));
        memset(chunk->bytes + from, 0, to - from);
    }
    return MRMR_OK;
}

mrmr_err mem_file_range(struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size)
{
    struct mem_file *f = (struct mem_file *)file;
    struct mem_state *state = &f->inode->now;
    const bool zero = what != DRV_RANGE_ALLOCATE && what != DRV_RANGE_ALLOCATE_KEEP;
    const bool grow = what == DRV_RANGE_ALLOCATE || what == DRV_RANGE_ZERO;
    MEM_WRITING(file_store(f));
    MRMR_TRY(file_check_locked(f, "change range", DRV_OPEN_WRITE));
    if (what != DRV_RANGE_PUNCH)
        MRMR_TRY(room_locked(f, "change range", offset, size));
    mem_touch_locked(file_store(f), f->inode, true);
    if (zero)
        MRMR_TRY(punch_locked(f, offset, offset + size));
    if (what == DRV_RANGE_PUNCH)
        return MRMR_OK;
    const uint64_t before = state->size;
    mrmr_err err = write_bytes_locked(f, offset, NULL, size);
    if (!grow)
        state->size = before;
    return err;
}

static bool ranges_overlap(const struct mem_file *from, uint64_t from_offset,
    const struct mem_file *to, uint64_t to_offset, uint64_t size)
{
    return from->inode == to->inode && from_offset < to_offset + size &&
           to_offset < from_offset + size;
}

static mrmr_err copy_locked(struct mem_file *from, uint64_t from_offset, struct mem_file *to,
    uint64_t to_offset, uint64_t size)
{
    mrmr_autofree unsigned char *buf = malloc(MEM_CHUNK);
    if (!buf)
        return mrmr_nomem();
    MRMR_TRY(room_locked(to, "copy", to_offset, size));
    mem_touch_locked(file_store(to), to->inode, true);
    while (size) {
        const size_t n = size < MEM_CHUNK ? (size_t)size : MEM_CHUNK;
        read_bytes(&from->inode->now, from_offset, buf, n);
        MRMR_TRY(write_bytes_locked(to, to_offset, buf, n));
        from_offset += n;
        to_offset += n;
        size -= n;
    }
    return MRMR_OK;
}

mrmr_err mem_file_copy(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size, uint64_t *ret_copied)
{
    struct mem_file *src = (struct mem_file *)from, *dst = (struct mem_file *)to;
    MEM_WRITING(file_store(src));
    MRMR_TRY(file_check_locked(src, "copy", DRV_OPEN_READ));
    MRMR_TRY(file_check_locked(dst, "copy", DRV_OPEN_WRITE));
    const uint64_t end = src->inode->now.size, left = from_offset < end ? end - from_offset : 0;
    const uint64_t n = size < left ? size : left;
    if (ranges_overlap(src, from_offset, dst, to_offset, n))
        return mem_fail(MRMR_INVALID, "copy", dst->path);
    if (n)
        MRMR_TRY(copy_locked(src, from_offset, dst, to_offset, n));
    *ret_copied = n;
    return MRMR_OK;
}

/* Whole chunks, or up to the end of the file; the bytes are copied, as clones count in full. */
mrmr_err mem_file_clone_range(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size)
{
    struct mem_file *src = (struct mem_file *)from, *dst = (struct mem_file *)to;
    MEM_WRITING(file_store(src));
    MRMR_TRY(file_check_locked(src, "clone", DRV_OPEN_READ));
    MRMR_TRY(file_check_locked(dst, "clone", DRV_OPEN_WRITE));
    const uint64_t end = src->inode->now.size, left = from_offset < end ? end - from_offset : 0;
    const uint64_t n = size ? size : left;
    const bool whole = n % MEM_CHUNK == 0 || (n == left && to_offset + n >= dst->inode->now.size);
    if (from_offset % MEM_CHUNK || to_offset % MEM_CHUNK || !whole || n > left ||
        ranges_overlap(src, from_offset, dst, to_offset, n))
        return mem_fail(MRMR_UNSUPPORTED, "clone", src->path);
    return n ? copy_locked(src, from_offset, dst, to_offset, n) : MRMR_OK;
}
