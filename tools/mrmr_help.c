/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/mrmr.h"

#include <stdio.h>
#include <string.h>

static void help_option(const struct cmd_option *option)
{
    char left[64], letter[8] = "    ";
    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->arg ? " " : "",
        option->arg ? option->arg : "");
    printf("  %-26s  %s\n", left, option->help);
}

static void help_options(const struct cmd_option *options)
{
    for (size_t i = 0; options[i].name; i++)
        help_option(&options[i]);
}

void mrmr_help(void)
{
    printf("usage: mrmr [OPTION...] COMMAND [ARGUMENT...]\n\n"
           "Turns drives, with whatever lies on them, into one pool that survives the loss of any "
           "few of them.\n\nCommands:\n");
    for (size_t i = 0; mrmr_commands[i]; i++) {
        if (mrmr_commands[i]->hidden)
            continue;
        char left[64];
        snprintf(left, sizeof left, "%s %s", mrmr_commands[i]->name, mrmr_commands[i]->args);
        printf("  %-26s  %s\n", left, mrmr_commands[i]->summary);
    }
    printf("  %-26s  %s\n  %-26s  %s\n", "help [COMMAND]", "explain a command", "version",
        "print the version");
    printf("\nOptions of every command:\n");
    help_options(mrmr_globals);
    printf("\nThe pool is the folder given by --pool, else by $MRMR_POOL, else "
           "$XDG_DATA_HOME/mrmr/default,\nwhere XDG_DATA_HOME is ~/.local/share if it is not set. "
           "The first add-drive makes it.\n\n"
           "Exit codes: 0 done and all well; 1 failed; 2 wrong usage; 3 done, but something needs "
           "a look.\n");
}

void mrmr_help_command(const struct cmd *cmd)
{
    printf("usage: mrmr %s%s%s%s\n\n%s\n", cmd->name, cmd->options[0].name ? " [OPTION...]" : "",
        cmd->args[0] ? " " : "", cmd->args, cmd->text);
    if (cmd->options[0].name) {
        printf("\nOptions:\n");
        help_options(cmd->options);
    }
    printf("\nOptions of every command:\n");
    help_options(mrmr_globals);
}
