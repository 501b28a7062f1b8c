/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Settings: a table of keys, each with its kind, bounds, default and meaning; kept in the catalog
 * as text in one canonical form (numbers and sizes in decimal), so that whoever reads one may parse
 * it simply. Drive settings live in the drive's catalog entry.
 */
#include "pool/drive/drive.h"

#include "base/text.h"
#include "drivers/pace.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum setting_kind {
    SETTING_NUMBER,
    SETTING_SIZE,
    SETTING_DURATION, /* canonical: seconds, as a number */
    SETTING_SWITCH,
    SETTING_STATE, /* running or paused */
    SETTING_HOURS,
    SETTING_TEXT,
    SETTING_PROGRAM
};

struct setting {
    const char *key;
    enum setting_kind kind;
    uint64_t least, most;
    uint64_t unit;        /* it is a multiple of it */
    bool zero;            /* 0 is legal whatever `least` says: by itself */
    const char *fallback; /* the default, canonical */
    const char *meaning;
};

static const struct setting settings[] = {
    {"redundancy", SETTING_NUMBER, 1, POOL_REDUNDANCY_MAX, 1, false, "1",
        "how many drives may fail at once without losing a protected byte"},
    {"block-size", SETTING_SIZE, META_LEAF, 256 * META_LEAF, META_LEAF, true, "0",
        "the longest block of new stripes, a multiple of 1 MiB up to 256 MiB; 0: by the smallest "
        "drive"},
    {"memory", SETTING_SIZE, 16 << 20, UINT64_C(1) << 40, 1, false, "100663296",
        "bytes that protecting may use for buffers, at least 16 MiB"},
    {"hold-percent", SETTING_NUMBER, 1, 100, 1, false, "30",
        "hold a drive as it was when more than this part of its files vanished or changed at once"},
    {"hold-files", SETTING_NUMBER, 1, UINT64_C(1) << 40, 1, false, "1000",
        "hold a drive as it was when more than this many files vanished or changed at once"},
    {"settle", SETTING_DURATION, 0, 86400, 1, false, "60",
        "for how long a file must have been quiet before it is protected by itself, as 60s or 10m; "
        "mrmr sync takes all, unless told otherwise"},
    {"drive-timeout", SETTING_DURATION, 1, 3600, 1, false, "30",
        "in what time a drive must answer a mount, spinning up included, or is taken out of "
        "service, as 30s"},
    {"room-wait", SETTING_DURATION, 0, 3600, 1, false, "30",
        "for how long a change through a mount waits at most for room that a release can give, "
        "while a daemon runs, as 30s; 0: it fails at once"},
    {"error-limit", SETTING_NUMBER, 1, 60, 1, true, "10",
        "a drive that answers errors to a mount in so many different seconds of one minute is "
        "taken out of service, until mrmr attach, or until it was unplugged and is back; 0: never"},
    {"retain-share", SETTING_NUMBER, 1, 100, 1, false, "10",
        "part of a drive in percent: whenever a mount has kept so much more of what is overwritten "
        "or "
        "deleted there, it asks the daemon for a release, whatever rests"},
    {"remote-ttl", SETTING_DURATION, 1, 3600, 1, false, "5",
        "for how long a mount takes for true what it saw on a drive that tells of no changes, as "
        "5s: a remote one, or a folder of a network or FUSE file system"},
    {"verify-reads", SETTING_SWITCH, 0, 1, 1, false, "off",
        "on: what is read through the mount is checked against its digest first; or off"},
    {"worker", SETTING_STATE, 0, 0, 1, false, "running",
        "running: what is new or changed is protected by itself while a mount or daemon runs; or "
        "paused"},
    {"quiet-hours", SETTING_HOURS, 0, 0, 1, false, "",
        "the time of day in which the worker rests, as 18:00-23:30; empty: none"},
    {"worker-rate", SETTING_SIZE, 1 << 20, UINT64_C(1) << 40, 1, true, "0",
        "bytes a second that the worker may read and write in all, at least 1M; 0: as fast as can "
        "be"},
    {"scan-interval", SETTING_DURATION, 60, 30 * 86400, 1, false, "3600",
        "how often the worker looks all drives through for what was changed on them directly, as "
        "1h"},
    {"scrub-interval", SETTING_DURATION, 86400, UINT64_C(3650) * 86400, 1, true, "2592000",
        "in what time the worker has read everything once, a part of it each day, as 30d; 0: it "
        "does not"},
    {"auto-rebuild", SETTING_SWITCH, 0, 0, 1, false, "off",
        "on: the daemon brings the files of a drive that is lost for auto-rebuild-delay to the "
        "other drives, and gives it up, as mrmr rebuild does; or off"},
    {"auto-rebuild-delay", SETTING_DURATION, 1, 365 * 86400, 1, false, "21600",
        "for how long a drive must be lost before auto-rebuild, as 6h"},
    {"exposed-alarm", SETTING_DURATION, 60, UINT64_C(3650) * 86400, 1, true, "86400",
        "what is exposed for longer than this is told of by an event, once a day, while a daemon "
        "runs, as 24h; 0: it is not"},
    {"exclude", SETTING_TEXT, 0, 65536, 1, false, "",
        "patterns of names (or, with '/', of paths) that are left out, besides trash folders, "
        "@eaDir "
        "and System Volume Information, which always are; separated by ':' or line ends"},
    {POOL_ON_EVENT, SETTING_PROGRAM, 0, 4096, 1, false, "",
        "a program that is run for each event: its absolute path, and arguments after it, "
        "separated by blanks; no shell "
        "is asked; empty: none"},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static const struct setting *setting_find(const char *key)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (strcmp(settings[i].key, key) == 0)
            return &settings[i];
    return NULL;
}

static mrmr_err setting_unknown(const char *key)
{
    char known[240] = "";
    size_t at = 0;
    mrmr_fail(MRMR_INVALID, "there is no setting '%.100s'", key);
    /* Those that begin like it, since all of them are many. */
    for (size_t i = 0; i < SETTINGS && at < sizeof known; i++)
        if (settings[i].key[0] == key[0])
            at += (size_t)snprintf(
                known + at, sizeof known - at, "%s%s", at ? ", " : "", settings[i].key);
    return at ? mrmr_err_hint(MRMR_INVALID, "there is %s; mrmr get lists all", known)
              : mrmr_err_hint(MRMR_INVALID, "mrmr get lists those that there are, of drives, too");
}

static mrmr_err setting_bad(const char *key, const char *value, const char *understood)
{
    mrmr_fail(MRMR_INVALID, "'%.100s' is no value for '%.100s'", value, key);
    return mrmr_err_hint(MRMR_INVALID, "%s", understood);
}

/* --- The pool's own --- */

static mrmr_err setting_read(
    struct pool *pool, const struct setting *s, struct mrmr_bytes *value, bool *ret_default)
{
    mrmr_err err = meta_get(pool->meta, s->key, value);
    *ret_default = mrmr_class_of(err) == MRMR_CLASS_ABSENT;
    return *ret_default ? mrmr_bytes_str(value, s->fallback) : err;
}

mrmr_err pool_setting_u64(struct pool *pool, const char *key, uint64_t *ret_value)
{
    const struct setting *s = setting_find(key);
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    bool is_default;
    if (!s)
        return setting_unknown(key);
    MRMR_TRY(setting_read(pool, s, &text, &is_default));
    if (!mrmr_text_u64(text.data, ret_value))
        return mrmr_fail(MRMR_CORRUPT, "the catalog's setting '%s' is no number", key);
    return MRMR_OK;
}

mrmr_err pool_setting_on(struct pool *pool, const char *key, bool *ret_on)
{
    const struct setting *s = setting_find(key);
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    bool is_default;
    if (!s || s->kind != SETTING_SWITCH)
        return setting_unknown(key);
    MRMR_TRY(setting_read(pool, s, &text, &is_default));
    *ret_on = strcmp(text.data, "on") == 0;
    return MRMR_OK;
}

/* A number or size within the bounds, as decimal text. */
static mrmr_err setting_number(const struct setting *s, const char *value, char canonical[24])
{
    uint64_t n;
    bool ok = s->kind == SETTING_SIZE       ? mrmr_text_size(value, &n)
              : s->kind == SETTING_DURATION ? mrmr_text_duration(value, &n)
                                            : mrmr_text_u64(value, &n);
    if (ok && s->zero && n == 0) {
        snprintf(canonical, 24, "0");
        return MRMR_OK;
    }
    if (!ok || n < s->least || n > s->most || n % s->unit)
        return setting_bad(s->key, value, s->meaning);
    snprintf(canonical, 24, "%" PRIu64, n);
    return MRMR_OK;
}

static bool setting_is_word(const struct setting *s, const char *value)
{
    unsigned from, to;
    switch (s->kind) {
    case SETTING_SWITCH:
        return strcmp(value, "on") == 0 || strcmp(value, "off") == 0;
    case SETTING_STATE:
        return strcmp(value, "running") == 0 || strcmp(value, "paused") == 0;
    default:
        return !value[0] || mrmr_text_hours(value, &from, &to);
    }
}

/* The first word is a program that could be run now. Whether it still is later is for who runs it. */
static mrmr_err setting_program(const struct setting *s, const char *value)
{
    static const char blanks[] = " \t";
    const char *start = value + strspn(value, blanks);
    mrmr_autofree char *path = strndup(start, strcspn(start, blanks));
    struct stat st;
    if (!path)
        return mrmr_nomem();
    if (strchr(value, '\n'))
        return mrmr_err_hint(
            mrmr_fail(MRMR_INVALID, "the value for '%s' has a line end in it", s->key),
            "say it in one line");
    if (path[0] != '/') {
        mrmr_fail(MRMR_INVALID, "'%.200s' is no value for '%s': it begins with no absolute path",
            value, s->key);
        return mrmr_err_hint(MRMR_INVALID,
            "say /PATH/TO/PROGRAM, and its arguments after it, separated by blanks; "
            "what needs a shell goes into a script");
    }
    if (stat(path, &st) < 0)
        mrmr_fail(MRMR_INVALID,
            "the program '%.400s' for '%s' is not there, or cannot be looked at: %s", path, s->key,
            strerror(errno));
    else if (!S_ISREG(st.st_mode))
        mrmr_fail(MRMR_INVALID, "'%.400s' is no program for '%s': it is no file", path, s->key);
    else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
        mrmr_fail(MRMR_INVALID, "'%.400s' is no program for '%s': it may not be executed (%s)",
            path, s->key, strerror(errno));
    else
        return MRMR_OK;
    return mrmr_err_hint(MRMR_INVALID, "name an executable file (chmod +x), then set it again; a "
                                       "path with blanks in it needs a link, or a script, "
                                       "without them");
}

static mrmr_err setting_write(struct pool *pool, const struct setting *s, const char *value)
{
    char canonical[24];
    if (s->kind == SETTING_TEXT || s->kind == SETTING_PROGRAM) {
        if (strlen(value) > s->most)
            return setting_bad(s->key, "(too long)", s->meaning);
        if (s->kind == SETTING_PROGRAM && value[0]) {
            MRMR_TRY(pool_is_ours(pool->dir));
            MRMR_TRY(setting_program(s, value));
        }
        return meta_set(pool->meta, s->key, value[0] ? value : NULL);
    }
    if (s->kind == SETTING_SWITCH || s->kind == SETTING_STATE || s->kind == SETTING_HOURS)
        return setting_is_word(s, value) ? meta_set(pool->meta, s->key, value[0] ? value : NULL)
                                         : setting_bad(s->key, value, s->meaning);
    MRMR_TRY(setting_number(s, value, canonical));
    return meta_set(pool->meta, s->key, canonical);
}

/* --- Redundancy --- */

unsigned pool_redundancy(struct pool *pool)
{
    uint64_t rows;
    if (pool_setting_u64(pool, "redundancy", &rows) || rows > POOL_REDUNDANCY_MAX)
        return 1;
    return (unsigned)rows;
}

/* Refuses if the drives of the pool cannot give so many rows. */
static mrmr_err redundancy_check(struct pool *pool, unsigned rows)
{
    unsigned drives = 0, for_rows = 0;
    for (size_t i = 0; i < pool->ndrives; i++) {
        const struct pool_drive *drive = pool->drives[i];
        if (drive->meta.state == META_DRIVE_RETIRED)
            continue;
        drives++;
        for_rows += pool_drive_may_hold_rows(&drive->meta);
    }
    if (drives > rows && for_rows >= rows)
        return MRMR_OK;
    if (drives <= rows)
        mrmr_fail(MRMR_INVALID, "redundancy %u needs at least %u drives; the pool has %u", rows,
            rows + 1, drives);
    else
        mrmr_fail(MRMR_INVALID,
            "redundancy %u needs at least %u drives that may hold parity; the pool has %u", rows,
            rows, for_rows);
    return mrmr_err_hint(MRMR_INVALID, "add a drive first: mrmr add-drive");
}

mrmr_err pool_set_redundancy(struct pool *pool, unsigned rows)
{
    if (pool->access != POOL_OWN)
        return mrmr_fail(MRMR_READONLY, "the pool was opened to look only");
    if (rows < 1 || rows > POOL_REDUNDANCY_MAX)
        return mrmr_err_hint(mrmr_fail(MRMR_INVALID, "redundancy %u makes no sense", rows),
            "it is 1 to %d", POOL_REDUNDANCY_MAX);
    MRMR_TRY(redundancy_check(pool, rows));
    char text[8];
    snprintf(text, sizeof text, "%u", rows);
    unsigned before = pool_redundancy(pool);
    MRMR_TRY(meta_set(pool->meta, "redundancy", text));
    if (rows != before)
        pool_tell(
            pool, NULL, false, "redundancy", NULL, "redundancy is %u, it was %u", rows, before);
    return MRMR_OK;
}

static mrmr_err set_redundancy(struct pool *pool, const char *value)
{
    uint64_t rows;
    if (!mrmr_text_u64(value, &rows) || rows > POOL_REDUNDANCY_MAX)
        return setting_bad("redundancy", value, settings[0].meaning);
    return pool_set_redundancy(pool, (unsigned)rows);
}

/* --- Drives' --- */

struct drive_setting {
    const char *key, *meaning;
    mrmr_err (*get)(const struct meta_drive *meta, struct mrmr_bytes *value);
    mrmr_err (*set)(
        struct pool *pool, struct pool_drive *drive, struct meta_drive *next, const char *value);
    const char *fallback; /* NULL: it has none */
};

static mrmr_err get_reserve(const struct meta_drive *meta, struct mrmr_bytes *value)
{
    return mrmr_bytes_fmt(value, "%" PRIu64, meta->reserve);
}

static mrmr_err get_max_usage(const struct meta_drive *meta, struct mrmr_bytes *value)
{
    return mrmr_bytes_fmt(value, "%" PRIu64, meta->max_usage);
}

static mrmr_err get_domain(const struct meta_drive *meta, struct mrmr_bytes *value)
{
    return mrmr_bytes_str(value, meta->domain);
}

static mrmr_err get_role(const struct meta_drive *meta, struct mrmr_bytes *value)
{
    return mrmr_bytes_str(value, pool_role_name(meta->role));
}

static mrmr_err get_name(const struct meta_drive *meta, struct mrmr_bytes *value)
{
    return mrmr_bytes_str(value, meta->name);
}

static mrmr_err get_uri(const struct meta_drive *meta, struct mrmr_bytes *value)
{
    return mrmr_bytes_str(value, meta->uri);
}

static mrmr_err parse_bytes(const char *key, const char *value, uint64_t *ret_bytes)
{
    uint64_t bytes;
    if (!mrmr_text_size(value, &bytes) || bytes > INT64_MAX)
        return setting_bad(key, value, "say a size, such as 500G or 0");
    *ret_bytes = bytes;
    return MRMR_OK;
}

static mrmr_err set_reserve(
    struct pool *pool, struct pool_drive *drive, struct meta_drive *next, const char *value)
{
    (void)pool, (void)drive;
    return parse_bytes("reserve", value, &next->reserve);
}

static mrmr_err set_max_usage(
    struct pool *pool, struct pool_drive *drive, struct meta_drive *next, const char *value)
{
    (void)pool, (void)drive;
    return parse_bytes("max-usage", value, &next->max_usage);
}

static mrmr_err set_domain(
    struct pool *pool, struct pool_drive *drive, struct meta_drive *next, const char *value)
{
    (void)pool, (void)drive;
    MRMR_TRY(pool_domain_check(value));
    snprintf(next->domain, sizeof next->domain, "%s", value);
    return MRMR_OK;
}

static mrmr_err set_role(
    struct pool *pool, struct pool_drive *drive, struct meta_drive *next, const char *value)
{
    MRMR_TRY(pool_role_parse(value, &next->role));
    bool rows_before = pool_drive_may_hold_rows(&drive->meta);
    if (!rows_before || pool_drive_may_hold_rows(next))
        return MRMR_OK;
    /* As it was with this drive out of the reckoning for rows; it still counts as one that may
     * fail. */
    enum meta_role was = drive->meta.role;
    drive->meta.role = next->role;
    mrmr_err err = redundancy_check(pool, pool_redundancy(pool));
    drive->meta.role = was;
    return err;
}

static mrmr_err set_name(
    struct pool *pool, struct pool_drive *drive, struct meta_drive *next, const char *value)
{
    MRMR_TRY(pool_drive_name_check(value));
    struct pool_drive *other = pool_drive_by_name(pool, value);
    if (other && other != drive)
        return mrmr_err_hint(mrmr_fail(MRMR_EXISTS, "there is a drive '%s' already", value),
            "choose another name; see: mrmr drives");
    snprintf(next->name, sizeof next->name, "%s", value);
    return MRMR_OK;
}

static const struct drive_setting drive_settings[] = {
    {"reserve", "bytes to leave free on it", get_reserve, set_reserve, "0"},
    {"max-usage", "bytes that its files and parity may take in all; 0: no limit", get_max_usage,
        set_max_usage, "0"},
    {"domain", "drives of the same domain fail together", get_domain, set_domain, NULL},
    {"role", "data (files and parity), removable (files only) or parity", get_role, set_role,
        "data"},
    {"name", "what it is called", get_name, set_name, NULL},
    {"uri", "where it is; its identity must be there", get_uri, NULL, NULL},
};
enum { DRIVE_SETTINGS = sizeof drive_settings / sizeof *drive_settings };

/* "drive.NAME.KEY"; the name may hold dots. */
static mrmr_err drive_setting_find(struct pool *pool, const char *key,
    struct pool_drive **ret_drive, const struct drive_setting **ret_setting)
{
    const char *name = key + strlen("drive."), *dot = strrchr(key, '.');
    char wanted[128];
    if (dot < name || (size_t)(dot - name) >= sizeof wanted)
        return setting_unknown(key);
    snprintf(wanted, sizeof wanted, "%.*s", (int)(dot - name), name);
    struct pool_drive *drive = pool_drive_by_name(pool, wanted);
    if (!drive) {
        mrmr_fail(MRMR_NO_DRIVE, "there is no drive '%s'", wanted);
        return mrmr_err_hint(MRMR_NO_DRIVE, "see: mrmr drives");
    }
    for (size_t i = 0; i < DRIVE_SETTINGS; i++) {
        if (strcmp(drive_settings[i].key, dot + 1) == 0) {
            *ret_drive = drive;
            *ret_setting = &drive_settings[i];
            return MRMR_OK;
        }
    }
    return setting_unknown(key);
}

static bool is_drive_key(const char *key)
{
    return strncmp(key, "drive.", strlen("drive.")) == 0;
}

static mrmr_err set_drive(struct pool *pool, const char *key, const char *value)
{
    struct pool_drive *drive;
    const struct drive_setting *s;
    MRMR_TRY(drive_setting_find(pool, key, &drive, &s));
    if (!s->set)
        return pool_drive_move(pool, drive, value);
    struct meta_drive next = drive->meta;
    MRMR_TRY(s->set(pool, drive, &next, value));
    MRMR_TRY(meta_drive_store(pool->meta, &next));
    drive->meta = next;
    return MRMR_OK;
}

/* --- The interface --- */

mrmr_err pool_set(struct pool *pool, const char *key, const char *value)
{
    if (pool->access != POOL_OWN)
        return mrmr_fail(MRMR_READONLY, "the pool was opened to look only");
    if (is_drive_key(key))
        return set_drive(pool, key, value);
    const struct setting *s = setting_find(key);
    if (!s)
        return setting_unknown(key);
    return s == &settings[0] ? set_redundancy(pool, value) : setting_write(pool, s, value);
}

mrmr_err pool_get(struct pool *pool, const char *key, struct mrmr_bytes *value)
{
    bool is_default;
    if (is_drive_key(key)) {
        struct pool_drive *drive;
        const struct drive_setting *s;
        MRMR_TRY(drive_setting_find(pool, key, &drive, &s));
        return s->get(&drive->meta, value);
    }
    const struct setting *s = setting_find(key);
    return s ? setting_read(pool, s, value, &is_default) : setting_unknown(key);
}

static mrmr_err settings_of_drive(const struct pool_drive *drive, pool_setting_fn fn, void *arg)
{
    for (size_t i = 0; i < DRIVE_SETTINGS; i++) {
        const struct drive_setting *s = &drive_settings[i];
        mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
        char key[96];
        snprintf(key, sizeof key, "drive.%s.%s", drive->meta.name, s->key);
        MRMR_TRY(s->get(&drive->meta, &value));
        const char *text = value.data ? value.data : "";
        MRMR_TRY(fn(key, text, s->meaning, s->fallback && strcmp(text, s->fallback) == 0, arg));
    }
    return MRMR_OK;
}

mrmr_err pool_settings(struct pool *pool, pool_setting_fn fn, void *arg)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
        bool is_default;
        MRMR_TRY(setting_read(pool, &settings[i], &value, &is_default));
        MRMR_TRY(fn(
            settings[i].key, value.data ? value.data : "", settings[i].meaning, is_default, arg));
    }
    for (size_t i = 0; i < pool->ndrives; i++)
        if (pool->drives[i]->meta.state != META_DRIVE_RETIRED)
            MRMR_TRY(settings_of_drive(pool->drives[i], fn, arg));
    return MRMR_OK;
}

mrmr_err pool_job_slowly(struct pool *pool, const struct pool_job *job)
{
    uint64_t rate;
    MRMR_TRY(pool_setting_u64(pool, "worker-rate", &rate));
    drv_pace_set(rate, job->cancel);
    return MRMR_OK;
}

mrmr_err pool_memory(struct pool *pool, uint64_t *ret_bytes)
{
    return pool_setting_u64(pool, "memory", ret_bytes);
}
