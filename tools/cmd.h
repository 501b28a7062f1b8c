/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Commands: one struct cmd each, listed in mrmr.c; and one call of one of them.
 *
 * A command parses nothing itself: its options are declared, and what was given is asked for by
 * name. It prints its result on stdout, notices and errors go to stderr (mrmr_screen.h). What needs
 * a person's look is said with cmd_look(), which also makes the exit code 3.
 *
 * Errors: run() returns an mrmr_err, whose story main prints. For wrong usage it returns
 * cmd_usage(...). Threads: the main thread only. Ownership: everything in a call lives as long as
 * main().
 */
#ifndef MRMR_TOOLS_CMD_H
#define MRMR_TOOLS_CMD_H

#include "base/bytes.h"
#include "pool/pool.h"
#include "tools/mrmr_json.h"

enum cmd_exit {
    CMD_DONE = 0,
    CMD_FAILED = 1,
    CMD_USAGE = 2,
    CMD_LOOK = 3,
    CMD_SIGNAL = 128, /* + the number of the signal that interrupted it */
};

enum { CMD_OPTIONS_MAX = 8 };

struct cmd_option {
    const char *name;
    char letter;      /* a short form; 0: none */
    const char *arg;  /* what its value is called; NULL: a flag */
    const char *help; /* one line */
};

struct cmd_call;

struct cmd {
    const char *name;
    const char *args;                               /* "DRIVE", "[PATH]", "" */
    const char *summary;                            /* one line */
    const char *text;                               /* more, for its own help */
    unsigned least, most;                           /* how many arguments */
    struct cmd_option options[CMD_OPTIONS_MAX + 1]; /* ends with a NULL name */
    mrmr_err (*run)(struct cmd_call *call);
    bool owns;   /* it changes the pool: where a daemon runs, that has it done */
    bool hidden; /* not for people */
};

struct cmd_call {
    const struct cmd *cmd;
    char **arg;
    unsigned args;
    const char *value[CMD_OPTIONS_MAX]; /* by option; "" for a flag; NULL: not given */

    const char *dir; /* the pool's folder */
    bool json, quiet;

    enum cmd_exit exit;      /* CMD_DONE until something else is known */
    struct mrmr_bytes looks; /* strings, each with its NUL */
};

extern const struct cmd cmd_init, cmd_add_drive, cmd_drives, cmd_status, cmd_where, cmd_ls, cmd_cat,
    cmd_sync, cmd_scrub, cmd_rebuild, cmd_set_redundancy, cmd_set, cmd_get, cmd_events, cmd_check,
    cmd_mount, cmd_umount, cmd_daemon, cmd_daemon_look, cmd_daemon_hear, cmd_detach, cmd_attach;

/* --- What was given. The option must be one of the command's. --- */

const char *cmd_value(const struct cmd_call *call, const char *option); /* NULL: not given */
bool cmd_flag(const struct cmd_call *call, const char *option);
/* Each leaves *value alone if the option was not given. */
mrmr_err cmd_value_number(
    struct cmd_call *call, const char *option, uint64_t least, uint64_t most, uint64_t *value);
mrmr_err cmd_value_size(struct cmd_call *call, const char *option, uint64_t *value);
mrmr_err cmd_value_duration(struct cmd_call *call, const char *option, uint64_t *seconds);

/* Says what is wrong and where help is, on stderr; the exit code becomes 2. Returns MRMR_INVALID.
 */
mrmr_err cmd_usage(struct cmd_call *call, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* --- The pool --- */

typedef mrmr_err (*cmd_pool_fn)(struct cmd_call *call, struct pool *pool);
/* Opens the pool, runs fn and closes it; the story is fn's. */
mrmr_err cmd_with_pool(struct cmd_call *call, enum pool_access access, cmd_pool_fn fn);

/* A path that a person gave, as a path of the pool: of an absolute path below a drive's root, or
 * below where this pool is mounted, what follows that; else the path itself. Without leading, trailing and doubled '/' or ".". Appends
 * to path. */
mrmr_err cmd_pool_path(struct pool *pool, const char *given, struct mrmr_bytes *path);

/* --- Results --- */

/* One line that needs a look, for people and for JSON alike; names in it must be escaped
 * (mrmr_print_name). */
mrmr_err cmd_look(struct cmd_call *call, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool cmd_has_looks(const struct cmd_call *call);
/* The lines on stdout, below a heading; nothing if there are none. */
void cmd_print_looks(const struct cmd_call *call);
/* The member "needs_look": an array of strings. */
void cmd_json_looks(const struct cmd_call *call, struct mrmr_json *json);

/* For the text of commands that take one. */
#define CMD_PATH_TEXT                                                                              \
    "PATH is one of the pool, or an absolute one below a drive's root or the mount."

/* Used by several commands: what a sync did. err: what the job ended with. */
mrmr_err cmd_tell_sync(
    struct cmd_call *call, struct pool *pool, mrmr_err err, const struct pool_sync_report *report);

#endif
