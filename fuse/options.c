/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Arguments: of the command (`mrmr-mount --pool DIR MOUNTPOINT`), and of mount(8), which calls a
 * helper as `mount.fuse.mrmr SOURCE MOUNTPOINT [-sfnv] -o …`; SOURCE is the pool's folder, and everything
 * that only /etc/fstab understands is dropped. -f of mount(8) is a rehearsal, by which people try their
 * fstab; only the command's own means the foreground.
 */
#include "fuse/mfs.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] = "usage: mrmr-mount --pool FOLDER [-f] [-v] MOUNTPOINT [-o OPTIONS]\n"
                            "       mount -t fuse.mrmr [-f] FOLDER MOUNTPOINT [-o OPTIONS]\n"
                            "mrmr mount finds the pool's folder by itself.\n";

/* What belongs to fstab and mount(8) alone, and what changes nothing here: access times are the drives'
 * own affair, and the kernel leaves them alone in a FUSE file system. */
static bool only_for_fstab(const char *option)
{
    static const char *const words[] = {"defaults", "auto", "noauto", "user", "nouser", "users",
        "nousers", "owner", "noowner", "group", "nogroup", "nofail", "_netdev", "rw", "silent",
        "loud", "mand", "nomand", "diratime", "nodiratime", "relatime", "norelatime", "strictatime",
        "nostrictatime", "lazytime", "nolazytime", "iversion", "noiversion"};
    static const char *const begins[] = {"x-", "X-", "comment=", "user=", "uhelper=", "helper="};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(option, words[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(option, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

static mrmr_err add(struct mfs_options *options, const char *option)
{
    return fuse_opt_add_arg(&options->args, "-o") || fuse_opt_add_arg(&options->args, option)
               ? mrmr_nomem()
               : MRMR_OK;
}

static mrmr_err usage_failed(const char *why)
{
    fprintf(stderr, "mrmr-mount: %s\n%s", why, usage);
    return mrmr_fail(MRMR_INVALID, NULL);
}

/* With it the kernel keeps its own size and times of each file for as long as it has the inode, and takes
 * no other word for them: what is edited on a drive would not be seen, and bytes that were appended there
 * would be written over by the next append here. No notice of ours changes that. */
static const char no_writeback[] = "writeback is refused: with it the kernel trusts its own sizes "
                                   "and times, so that edits made on "
                                   "the drives are not seen, and appends write over them; mount "
                                   "without it (for writing at the speed "
                                   "of the drive there is passthrough)";

static const char no_remount[] = "a mounted pool keeps its options: unmount it, and mount it anew "
                                 "with others";

static bool is_writeback(const char *option)
{
    return strcmp(option, "writeback") == 0 || strcmp(option, "writeback_cache") == 0;
}

static void daemon_said(struct mfs_options *options, bool daemon)
{
    options->daemon = daemon;
    options->daemon_said = true;
}

/* What is only looked at is not changed behind the looker's back. */
static mrmr_err add_access(struct mfs_options *options, const char *option)
{
    options->readonly = strcmp(option, "ro") == 0;
    if (!options->daemon_said)
        options->daemon = !options->readonly;
    return add(options, option);
}

/* "a,b=c": a comma in a value is written "\,". */
static mrmr_err add_list(struct mfs_options *options, const char *list)
{
    mrmr_autofree char *option = malloc(strlen(list) + 1);
    if (!option)
        return mrmr_nomem();
    while (*list) {
        size_t n = 0;
        for (; list[n] && list[n] != ','; n++)
            n += list[n] == '\\' && list[n + 1];
        memcpy(option, list, n);
        option[n] = '\0';
        list += n + (list[n] == ',');
        if (is_writeback(option))
            return usage_failed(no_writeback);
        if (strcmp(option, "remount") == 0)
            return usage_failed(no_remount);
        if (strcmp(option, "passthrough") == 0)
            options->passthrough = true;
        else if (strcmp(option, "daemon") == 0 || strcmp(option, "nodaemon") == 0)
            daemon_said(options, option[0] == 'd');
        else if (strcmp(option, "ro") == 0 || strcmp(option, "rw") == 0)
            MRMR_TRY(add_access(options, option));
        else if (*option && !only_for_fstab(option))
            MRMR_TRY(add(options, option));
    }
    return MRMR_OK;
}

/* The name that mount and df show. */
static mrmr_err add_name(struct mfs_options *options)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_str(&text, "fsname="));
    for (const char *c = options->pool; *c; c++) {
        if (*c == ',' || *c == '\\')
            MRMR_TRY(mrmr_bytes_add(&text, "\\", 1));
        MRMR_TRY(mrmr_bytes_add(&text, c, 1));
    }
    return add(options, text.data);
}

static mrmr_err add_own(struct mfs_options *options)
{
    MRMR_TRY(add_name(options));
    MRMR_TRY(add(options, "subtype=mrmr,default_permissions"));
    return geteuid() == 0 ? add(options, "allow_other") : MRMR_OK;
}

static mrmr_err keep(char **to, const char *value)
{
    free(*to);
    return (*to = strdup(value)) ? MRMR_OK : mrmr_nomem();
}

enum { FOREGROUND = 256 }; /* the long option: no letter */

static mrmr_err parse_option(struct mfs_options *options, int c, bool *ret_done)
{
    switch (c) {
    case 'p':
        return keep(&options->pool, optarg);
    case 'o':
        return add_list(options, optarg);
    case 'f': /* or what mount(8) means by it: parse_words */
    case FOREGROUND:
        options->foreground = true;
        options->fake = c == 'f';
        return MRMR_OK;
    case 'v':
        options->verbose = true;
        return MRMR_OK;
    case 'r':
        return add_access(options, "ro");
    case 's': /* mount(8): be sloppy about options; no mtab; a read-only mount; the type */
    case 'n':
    case 't':
        return MRMR_OK;
    case 'h':
        fputs(usage, stdout);
        *ret_done = true;
        return MRMR_OK;
    default:
        return usage_failed("an option is not known");
    }
}

static mrmr_err parse_words(struct mfs_options *options, int n, char **word)
{
    const bool helper = n == 2 && !options->pool; /* mount(8)'s */
    options->fake = options->fake && helper;
    if (helper)
        MRMR_TRY(keep(&options->pool, *word));
    else if (n != 1)
        return usage_failed("say where to mount it");
    if (!options->pool)
        return usage_failed("say which pool");
    /* The name of the mount says where the pool is, whatever the working folder was. */
    char *whole = realpath(options->pool, NULL);
    if (whole) {
        free(options->pool);
        options->pool = whole;
    }
    return keep(&options->mountpoint, word[n - 1]);
}

mrmr_err mfs_options_parse(int argc, char **argv, struct mfs_options *options, bool *ret_done)
{
    static const struct option longs[] = {
        {"pool", required_argument, NULL, 'p'},
        {"foreground", no_argument, NULL, FOREGROUND},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *ret_done = false;
    if (fuse_opt_add_arg(&options->args, argv[0]))
        return mrmr_nomem();
    for (int c; !*ret_done && (c = getopt_long(argc, argv, "p:o:t:fvsnrh", longs, NULL)) >= 0;)
        MRMR_TRY(parse_option(options, c, ret_done));
    if (*ret_done)
        return MRMR_OK;
    MRMR_TRY(parse_words(options, argc - optind, argv + optind));
    return add_own(options);
}

void mfs_options_free(struct mfs_options *options)
{
    free(options->pool);
    free(options->mountpoint);
    fuse_opt_free_args(&options->args);
}
