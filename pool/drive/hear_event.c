/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the watch of a drive tells (hear.h), on its own thread: which places are to be looked at, and that something was changed.
 *
 * Opening a drive tries out what it can do, on files without a name (drivers/local_probe.c); whoever opens one does. Some kernels tell of that as of a
 * file "#1234" in the root, where no name came: so a name of that kind is looked at before it is told of.
 */
#include "pool/drive/hear_drive.h"

#include <stdio.h>
#include <string.h>

/* --- what there is to do --- */

struct hear_todo *hear_todo_new(const char *folder, const char *name, bool told)
{
    const size_t size = strlen(folder) + strlen(name) + 2;
    struct hear_todo *todo = malloc(sizeof *todo + size);
    if (!todo)
        return NULL;
    todo->next = NULL;
    todo->told = told;
    snprintf(todo->path, size, "%s%s%s", folder, *folder && *name ? "/" : "", name);
    return todo;
}

void hear_todo_free(struct hear_todo *todo)
{
    for (struct hear_todo *next; todo; todo = next) {
        next = todo->next;
        free(todo);
    }
}

struct hear_todo *hear_todo_take(struct hear_drive *d)
{
    mrmr_locked(&d->lock);
    struct hear_todo *todo = d->todo;
    d->todo = NULL;
    d->todo_last = &d->todo;
    d->ntodo = 0;
    return todo;
}

/* --- events --- */

static void todo_add_locked(struct hear_drive *d, const char *folder, const char *name, bool told)
{
    struct hear_todo *todo = d->ntodo < HEAR_TODO_MOST ? hear_todo_new(folder, name, told) : NULL;
    pthread_cond_signal(&d->wake);
    if (!todo) {
        d->lost = true;
        return;
    }
    *d->todo_last = todo;
    d->todo_last = &todo->next;
    d->ntodo++;
}

/* As a file without a name is called. */
static bool is_nameless(const char *name)
{
    return name[0] == '#' && name[1] && !name[1 + strspn(name + 1, "0123456789")];
}

/* Of a folder, or of what has this name in it. True: something was changed. */
static bool thing_locked(
    struct hear_drive *d, enum drv_event event, const char *folder, const char *name)
{
    if (!folder || (name && pool_scan_excluded(&d->hear->excludes, folder, name)))
        return false;
    const bool sure = !name || event == DRV_EVENT_NAME || !is_nameless(name);
    if (event == DRV_EVENT_NAME || !sure)
        todo_add_locked(d, folder, name, sure);
    return sure;
}

/* The folder is another one now, or none. */
static bool folder_locked(struct hear_drive *d, const char *folder)
{
    if (!folder)
        return false;
    if (*folder)
        todo_add_locked(d, folder, "", true);
    d->gone = d->gone || !*folder;
    pthread_cond_signal(&d->wake);
    return true;
}

static bool event_locked(
    struct hear_drive *d, enum drv_event event, const char *folder, const char *name)
{
    switch (event) {
    case DRV_EVENT_NAME:
    case DRV_EVENT_BYTES:
    case DRV_EVENT_ATTRS:
        return thing_locked(d, event, folder, name);
    case DRV_EVENT_MOVED:
    case DRV_EVENT_END:
        return folder_locked(d, folder);
    case DRV_EVENT_LOST:
        d->lost = true;
        break;
    case DRV_EVENT_ROOT:
        d->gone = true;
        break;
    }
    pthread_cond_signal(&d->wake);
    return true;
}

void hear_event(enum drv_event what, enum drv_who who, uint64_t key, const char *name, void *arg)
{
    struct hear_drive *d = arg;
    bool changed;
    (void)who; /* whoever protects is another process */
    {
        mrmr_locked(&d->lock);
        changed = event_locked(d, what, hear_folders_path(&d->folders, key), name) &&
                  !d->gone; /* its thread tells of that */
    }
    if (changed)
        hear_tell(d);
}
