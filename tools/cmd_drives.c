/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * add-drive and drives.
 */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "tools/cmd_drive.h"
#include "tools/mrmr_print.h"
#include "tools/mrmr_screen.h"
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* --- add-drive --- */

static bool is_remote(const char *uri)
{
    return strstr(uri, "://") != NULL && strncmp(uri, "local://", 8) != 0;
}

/* The place as the pool knows it: what is of this computer as an absolute path. free(). */
static mrmr_err add_place(const char *given, char **ret_uri)
{
    const char *path = strncmp(given, "local://", 8) == 0 ? given + 8 : given;
    struct stat st;
    mrmr_autofree char *uri = is_remote(given) ? strdup(given) : realpath(path, NULL);
    if (!uri) {
        mrmr_err err = mrmr_fail_errno(errno, "open drive", path);
        return mrmr_err_hint(err, "make the folder, or mount the drive there first");
    }
    if (!is_remote(given) && (stat(uri, &st) < 0 || !S_ISDIR(st.st_mode)))
        return mrmr_err_path(mrmr_err_hint(mrmr_fail(MRMR_NOT_DIR, "it is not a folder"),
                                 "a drive is a folder, such as where a file system is mounted"),
            path);
    *ret_uri = mrmr_steal(uri);
    return MRMR_OK;
}

/* The pool that the first drive makes. */
static mrmr_err add_make_pool(struct cmd_call *call)
{
    struct pool *pool = NULL;
    mrmr_err err = pool_open(call->dir, POOL_LOOK, "mrmr add-drive", &pool);
    pool_close(pool);
    if (!err)
        return MRMR_OK;
    /* What was cut in the middle of its making cannot always be looked at before it is finished. */
    const bool absent = mrmr_class_of(err) == MRMR_CLASS_ABSENT;
    err = pool_create(call->dir);
    if (err)
        return absent && err != MRMR_EXISTS
                   ? err
                   : MRMR_OK; /* what is wrong with it shows when it is opened to be changed */
    mrmr_autofree char *dir = mrmr_print_escaped(call->dir);
    if (!call->quiet)
        mrmr_screen_line("mrmr: made a pool in %s", dir ? dir : "?");
    return MRMR_OK;
}

struct add_news {
    int64_t last; /* the last event before the drive was added */
    bool tell;
    bool quiet;
};

static mrmr_err add_event(const struct pool_event *event, void *arg)
{
    struct add_news *news = arg;
    news->last = event->id;
    if (news->tell && (event->warning || !news->quiet))
        mrmr_screen_line("mrmr: %s%s", event->warning ? "warning: " : "", event->text);
    return MRMR_OK;
}

static bool is_missing(const struct pool_drive_view *view)
{
    return view->presence != POOL_PRESENT && view->presence != POOL_DETACHED;
}

/* The drive at a place, or the first that is missing if uri is NULL; NULL: there is none. */
static const struct pool_drive_view *add_find(
    const struct pool_drive_view *views, size_t n, const char *uri)
{
    for (size_t i = 0; i < n; i++)
        if (uri ? strcmp(views[i].uri, uri) == 0 : is_missing(&views[i]))
            return &views[i];
    return NULL;
}

static mrmr_err add_next(
    const struct pool_drive_view *views, size_t n, const char *uri, unsigned rows)
{
    const struct pool_drive_view *added = add_find(views, n, uri), *gone = add_find(views, n, NULL);
    printf("The pool has %zu drive%s. Next: ", n, n == 1 ? "" : "s");
    if (added && gone && added->files == 0) {
        mrmr_autofree char *to = mrmr_print_escaped(added->name);
        mrmr_autofree char *from = mrmr_print_escaped(gone->name);
        if (!to || !from)
            return mrmr_nomem();
        printf("mrmr sync, or, if it takes the place of %s: mrmr rebuild %s --onto %s\n", from,
            from, to);
    } else if (n <= rows) {
        printf("mrmr add-drive, until there are more drives than may be lost at once\n");
    } else {
        printf("mrmr sync\n");
    }
    return MRMR_OK;
}

static mrmr_err add_show(struct cmd_call *call, struct pool *pool, const char *uri)
{
    mrmr_autofree struct pool_drive_view *views = NULL;
    struct mrmr_json json;
    size_t n = 0;
    MRMR_TRY(pool_drives(pool, &views, &n));
    const struct pool_drive_view *added = add_find(views, n, uri);
    if (!call->json)
        return call->quiet ? MRMR_OK : add_next(views, n, uri, pool_redundancy(pool));
    mrmr_json_begin(&json, stdout);
    if (added)
        cmd_drive_json(&json, added);
    return mrmr_json_end(&json);
}

static mrmr_err add_in(struct cmd_call *call, struct pool *pool)
{
    struct pool_drive_spec spec = {.name = cmd_value(call, "name"),
        .role = cmd_value(call, "role"),
        .domain = cmd_value(call, "domain")};
    struct add_news news = {.quiet = call->quiet};
    mrmr_autofree char *uri = NULL;
    MRMR_TRY(add_place(call->arg[0], &uri));
    spec.uri = uri;
    MRMR_TRY(cmd_value_size(call, "reserve", &spec.reserve));
    MRMR_TRY(cmd_value_size(call, "max-usage", &spec.max_usage));
    MRMR_TRY(pool_events(pool, 0, 1, add_event, &news));
    MRMR_TRY(pool_drive_add(pool, &spec));
    news.tell = true;
    MRMR_TRY(pool_events(pool, news.last, 0, add_event, &news));
    return add_show(call, pool, uri);
}

static mrmr_err add_run(struct cmd_call *call)
{
    mrmr_autofree char *uri = NULL;
    uint64_t size;
    /* Before a pool is made for it. */
    MRMR_TRY(cmd_value_size(call, "reserve", &size));
    MRMR_TRY(cmd_value_size(call, "max-usage", &size));
    MRMR_TRY(add_place(call->arg[0], &uri));
    MRMR_TRY(add_make_pool(call));
    return cmd_with_pool(call, POOL_OWN, add_in);
}

const struct cmd cmd_add_drive = {
    .name = "add-drive",
    .args = "PLACE",
    .summary = "take a drive into the pool, with what lies on it",
    .text = "Takes a folder into the pool as a drive: usually the place where a file system is "
            "mounted.\nWhat lies on it stays as it is; the next sync protects it. If there is no "
            "pool yet, it is made.\nA drive of this pool that is found at a new place is known "
            "again.",
    .least = 1,
    .most = 1,
    .options = {{"name", 0, "NAME", "what to call it; else its folder's name"},
        {"role", 0, "ROLE", "data (files and parity), removable (files only) or parity"},
        {"domain", 0, "DOMAIN", "what fails together with it; else it stands alone"},
        {"reserve", 0, "SIZE", "leave so much of it free"},
        {"max-usage", 0, "SIZE", "use no more of it than this"}},
    .run = add_run,
    .owns = true,
};

/* --- drives --- */

void cmd_drive_json(struct mrmr_json *json, const struct pool_drive_view *view)
{
    bool present = view->presence == POOL_PRESENT;
    char uuid[MRMR_UUID_TEXT];
    mrmr_json_name(json, "name", view->name);
    mrmr_json_name(json, "uri", view->uri);
    mrmr_json_text(json, "uuid", mrmr_uuid_print(&view->uuid, uuid));
    mrmr_json_number(json, "slot", view->slot);
    mrmr_json_text(json, "role", view->role);
    mrmr_json_name(json, "domain", view->domain);
    mrmr_json_text(json, "state", view->state);
    mrmr_json_text(json, "presence", mrmr_print_presence(view->presence));
    mrmr_json_text(json, "why", present ? NULL : view->why);
    mrmr_json_text(json, "hold", view->hold[0] ? view->hold : NULL);
    mrmr_json_number(json, "total_size", view->total);
    mrmr_json_number(json, "available_size", view->avail);
    mrmr_json_number(json, "reserve", view->reserve);
    mrmr_json_number(json, "max_usage", view->max_usage);
    mrmr_json_number(json, "files", view->files);
    mrmr_json_number(json, "file_size", view->file_bytes);
    mrmr_json_number(json, "protected_size", view->protected_bytes);
    mrmr_json_number(json, "exposed_size", view->exposed_bytes);
    if (view->touched == UINT64_MAX)
        mrmr_json_text(json, "changed_files", NULL);
    else
        mrmr_json_number(json, "changed_files", view->touched);
    mrmr_json_number(json, "parity_size", view->row_bytes);
    mrmr_json_time_or_null(json, "scanned", view->scanned);
    mrmr_json_time_or_null(json, "seen", view->seen);
}

static mrmr_err drives_json(const struct pool_drive_view *views, size_t n)
{
    struct mrmr_json json;
    mrmr_json_begin(&json, stdout);
    mrmr_json_open(&json, "drives", '[');
    for (size_t i = 0; i < n; i++) {
        mrmr_json_open(&json, NULL, '{');
        cmd_drive_json(&json, &views[i]);
        mrmr_json_close(&json);
    }
    return mrmr_json_end(&json);
}

static void drives_head(struct mrmr_table *table)
{
    static const char *const heads[] = {
        "NAME", "STATE", "ROLE", "SIZE", "FREE", "FILES", "DATA", "EXPOSED", "PARITY", "PLACE"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        mrmr_table_cell(table, "%s", heads[i]);
}

const char *cmd_drive_word(const struct pool_drive_view *view)
{
    if (view->presence != POOL_PRESENT)
        return mrmr_print_presence(view->presence);
    if (view->hold[0])
        return "held";
    return strcmp(view->state, "active") == 0 ? "present" : view->state;
}

mrmr_err cmd_look_presence(struct cmd_call *call, const struct pool_drive_view *view)
{
    mrmr_autofree char *name = mrmr_print_escaped(view->name);
    mrmr_autofree char *why = mrmr_print_escaped(view->why);
    if (view->presence == POOL_PRESENT || view->presence == POOL_DETACHED)
        return MRMR_OK;
    if (!name || !why)
        return mrmr_nomem();
    return cmd_look(call, "drive %s is %s: %s", name, mrmr_print_presence(view->presence), why);
}

static mrmr_err drives_table(const struct pool_drive_view *views, size_t n)
{
    struct mrmr_table table = {.columns = "lllrrrrrrl"};
    drives_head(&table);
    for (size_t i = 0; i < n; i++) {
        mrmr_table_cell(&table, "%s", views[i].name);
        mrmr_table_cell(&table, "%s", cmd_drive_word(&views[i]));
        mrmr_table_cell(&table, "%s", views[i].role);
        mrmr_table_size(&table, views[i].total);
        mrmr_table_size(&table, views[i].avail);
        mrmr_table_cell(&table, "%llu", (unsigned long long)views[i].files);
        mrmr_table_size(&table, views[i].file_bytes);
        mrmr_table_size(&table, views[i].exposed_bytes);
        mrmr_table_size(&table, views[i].row_bytes);
        mrmr_table_cell(&table, "%s", views[i].uri);
    }
    return mrmr_table_print(&table, stdout, 0);
}

static void drives_names(const struct pool_drive_view *views, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mrmr_print_name(stdout, views[i].name);
        putchar('\n');
    }
}

static void drives_reasons(const struct pool_drive_view *views, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *why = views[i].presence == POOL_PRESENT ? views[i].hold : views[i].why;
        if (!why[0])
            continue;
        mrmr_print_name(stdout, views[i].name);
        fputs(": ", stdout);
        mrmr_print_name(stdout, why);
        putchar('\n');
    }
}

static mrmr_err drives_in(struct cmd_call *call, struct pool *pool)
{
    mrmr_autofree struct pool_drive_view *views = NULL;
    size_t n = 0;
    MRMR_TRY(pool_drives(pool, &views, &n));
    if (call->json)
        return drives_json(views, n);
    if (cmd_flag(call, "names")) {
        drives_names(views, n);
        return MRMR_OK;
    }
    if (!n) {
        printf("The pool has no drives. Next: mrmr add-drive /path/of/a/drive\n");
        return MRMR_OK;
    }
    MRMR_TRY(drives_table(views, n));
    drives_reasons(views, n);
    return MRMR_OK;
}

static mrmr_err drives_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_LOOK, drives_in);
}

const struct cmd cmd_drives = {
    .name = "drives",
    .args = "",
    .summary = "list the drives",
    .text = "Lists the drives of the pool: what is on them, and why one is not there.",
    .options = {{"names", 0, NULL, "print their names alone"}},
    .run = drives_run,
};
