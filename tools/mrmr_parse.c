/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The command line, by getopt_long: general options may stand before the command and after it, its
 * own ones after it.
 */
#include "tools/mrmr.h"

#include "base/cleanup.h"
#include "tools/mrmr_print.h"
#include "tools/mrmr_screen.h"
#include <getopt.h>
#include <string.h>

/* In the order of enum global, which getopt returns counted from PARSE_GLOBAL. */
const struct cmd_option mrmr_globals[] = {
    {"pool", 0, "DIR", "the pool's folder"},
    {"json", 0, NULL, "print one JSON document"},
    {"quiet", 'q', NULL, "no progress, and no report of what went well"},
    {"verbose", 'v', NULL, "say more; twice: much more"},
    {"help", 'h', NULL, "print help"},
    {"version", 'V', NULL, "print the version"},
    {0},
};
enum global { GLOBAL_POOL, GLOBAL_JSON, GLOBAL_QUIET, GLOBAL_VERBOSE, GLOBAL_HELP, GLOBAL_VERSION };
enum { GLOBALS = sizeof mrmr_globals / sizeof *mrmr_globals - 1 };
enum { PARSE_GLOBAL = 1000, PARSE_OWN = 2000 };

struct parse_options {
    struct option list[GLOBALS + CMD_OPTIONS_MAX + 1];
    size_t n;
    char letters[2 * (GLOBALS + CMD_OPTIONS_MAX) + 3];
};

static void options_add(struct parse_options *o, const struct cmd_option *from, int base)
{
    for (int i = 0; from[i].name; i++) {
        int has = from[i].arg ? required_argument : no_argument;
        o->list[o->n++] = (struct option){from[i].name, has, NULL, base + i};
        if (from[i].letter)
            strncat(o->letters, &from[i].letter, 1);
        if (from[i].letter && from[i].arg)
            strcat(o->letters, ":");
    }
}

/* A letter as the number of its long form. */
static int options_of_letter(const struct cmd_option *from, int base, int letter)
{
    for (int i = 0; from && from[i].name; i++)
        if (from[i].letter && from[i].letter == letter)
            return base + i;
    return 0;
}

static void global_set(struct mrmr_line *line, enum global which)
{
    switch (which) {
    case GLOBAL_POOL:
        line->pool = optarg;
        break;
    case GLOBAL_JSON:
        line->json = true;
        break;
    case GLOBAL_QUIET:
        line->quiet = true;
        break;
    case GLOBAL_VERBOSE:
        line->verbose++;
        break;
    case GLOBAL_HELP:
        line->help = true;
        break;
    case GLOBAL_VERSION:
        line->version = true;
        break;
    }
}

/* argument: what getopt was looking at. */
static mrmr_err parse_bad(const struct cmd *cmd, int got, const char *argument)
{
    char letter[3] = {'-', (char)optopt, '\0'};
    bool is_long = strncmp(argument, "--", 2) == 0;
    mrmr_autofree char *shown =
        mrmr_print_escaped(is_long || !optopt || optopt >= PARSE_GLOBAL ? argument : letter);
    const char *why = got == ':'                          ? "needs a value"
                      : optopt >= PARSE_GLOBAL && is_long ? "takes no value"
                                                          : "is not understood";
    mrmr_screen_line("mrmr: %s%sthe option '%s' %s; see: mrmr %s%s--help", cmd ? cmd->name : "",
        cmd ? ": " : "", shown ? shown : "", why, cmd ? cmd->name : "", cmd ? " " : "");
    return mrmr_fail(MRMR_INVALID, NULL);
}

/* Of two values one would be dropped, as `ro` of "-o ro -o noexec". */
static mrmr_err parse_twice(const struct cmd *cmd, const char *option)
{
    mrmr_screen_line("mrmr: %s: the option '--%s' is given twice: say it once, with all that it is "
                     "to say; see: mrmr %s --help",
        cmd->name, option, cmd->name);
    return mrmr_fail(MRMR_INVALID, NULL);
}

/* The options of argv[1…]; stops at the first other argument if there is no command yet. */
static mrmr_err parse_options(int argc, char **argv, const struct cmd *cmd, struct mrmr_line *line)
{
    struct parse_options options = {.n = 0};
    strcpy(options.letters, cmd ? ":" : "+:");
    options_add(&options, mrmr_globals, PARSE_GLOBAL);
    if (cmd)
        options_add(&options, cmd->options, PARSE_OWN);
    opterr = 0;
    optind = 0;
    for (;;) {
        int at = optind ? optind : 1;
        int got = getopt_long(argc, argv, options.letters, options.list, NULL);
        if (got == -1)
            return MRMR_OK;
        if (got == '?' || got == ':')
            return parse_bad(cmd, got, argv[optind > at ? optind - 1 : at]);
        if (got < PARSE_GLOBAL) {
            int own = cmd ? options_of_letter(cmd->options, PARSE_OWN, got) : 0;
            got = own ? own : options_of_letter(mrmr_globals, PARSE_GLOBAL, got);
        }
        if (got >= PARSE_OWN && optarg && line->call.value[got - PARSE_OWN])
            return parse_twice(cmd, cmd->options[got - PARSE_OWN].name);
        if (got >= PARSE_OWN)
            line->call.value[got - PARSE_OWN] = optarg ? optarg : "";
        else
            global_set(line, (enum global)(got - PARSE_GLOBAL));
    }
}

static mrmr_err parse_count(struct mrmr_line *line)
{
    const struct cmd *cmd = line->cmd;
    unsigned n = line->call.args;
    if (line->help || (n >= cmd->least && n <= cmd->most))
        return MRMR_OK;
    if (n < cmd->least)
        return cmd_usage(&line->call, "it needs %s", cmd->args);
    mrmr_autofree char *extra = mrmr_print_escaped(line->call.arg[cmd->most]);
    return cmd_usage(&line->call, "'%s' is one argument too many", extra ? extra : "");
}

/* `help COMMAND` is `COMMAND --help`. */
static mrmr_err parse_help(char **rest, struct mrmr_line *line)
{
    line->help = true;
    if (!rest[1])
        return MRMR_OK;
    line->cmd = line->call.cmd = mrmr_command(rest[1]);
    if (line->cmd)
        return MRMR_OK;
    mrmr_autofree char *name = mrmr_print_escaped(rest[1]);
    mrmr_screen_line("mrmr: there is no command '%s'; see: mrmr --help", name ? name : "");
    return mrmr_fail(MRMR_INVALID, NULL);
}

static mrmr_err parse_command(int argc, char **rest, struct mrmr_line *line)
{
    line->cmd = line->call.cmd = mrmr_command(rest[0]);
    if (!line->cmd) {
        mrmr_autofree char *name = mrmr_print_escaped(rest[0]);
        mrmr_screen_line("mrmr: there is no command '%s'; see: mrmr --help", name ? name : "");
        return mrmr_fail(MRMR_INVALID, NULL);
    }
    MRMR_TRY(parse_options(argc, rest, line->cmd, line));
    line->call.arg = rest + optind;
    line->call.args = (unsigned)(argc - optind);
    return parse_count(line);
}

mrmr_err mrmr_parse(int argc, char **argv, struct mrmr_line *ret_line)
{
    struct mrmr_line line = {0};
    MRMR_TRY(parse_options(argc, argv, NULL, &line));
    char **rest = argv + optind;
    if (line.help || line.version) {
        /* It needs no command. */
    } else if (!rest[0]) {
        mrmr_screen_line("mrmr: say what to do; see: mrmr --help");
        return mrmr_fail(MRMR_INVALID, NULL);
    } else if (strcmp(rest[0], "help") == 0) {
        MRMR_TRY(parse_help(rest, &line));
    } else if (strcmp(rest[0], "version") == 0) {
        line.version = true;
    } else {
        MRMR_TRY(parse_command(argc - optind, rest, &line));
    }
    *ret_line = line;
    return MRMR_OK;
}
