/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A folder's map is made from what is on the drives, and looked at again where it is unsure (tree_load.c,
 * tree_inherit.c). Input on drives: no lock is held, but by what is _locked.
 */
#ifndef MRMR_POOL_TREE_LOAD_H
#define MRMR_POOL_TREE_LOAD_H

#include "pool/tree/tree.h"

struct tree_known_ticket; /* tree_known.h */

/* --- tree_load.c --- */

/* The folder's map is valid, and as fresh as it must be. */
mrmr_err tree_folder_ready(struct pool_tree *tree, struct tree_node *folder);
/* Load it anew, whatever it was; tell of what changed. Not on a thread that serves a request. */
mrmr_err tree_folder_reload(struct pool_tree *tree, struct tree_node *folder);
/* How long a map that was just made is good; POOL_KEEP: until an event says otherwise. */
int64_t tree_folder_ttl_locked(const struct tree_node *folder);
/* Of what we changed a moment ago: nothing less, or tree_own_window if events do not tell who did it. */
int64_t tree_own_ttl(const struct pool_tree *tree, const struct tree_set *on, int64_t ttl);
/* The name is looked at on the drives, if it is unsure. A copy of what it shows, then: MRMR_ABSENT. */
mrmr_err tree_name_get(
    struct pool_tree *tree, struct tree_node *folder, const char *name, struct tree_name *ret_name);
/* What a drive said of the copy that shows, when the name was looked at just now. */
struct tree_seen {
    bool is; /* false: it was not looked at, or is a folder */
    size_t drive;
    struct drv_stat stat;
};
/* The same, with that. */
mrmr_err tree_name_see(struct pool_tree *tree, struct tree_node *folder, const char *name,
    struct tree_name *ret_name, struct tree_seen *ret_seen);

/* A change of ours made it on this drive, where no drive had anything: another one has something only
 * if its events say so. ticket: of tree_known_change. */
void tree_name_made_locked(const struct pool_tree *tree, struct tree_node *folder, const char *name,
    size_t drive, const struct tree_known_ticket *ticket);
/* A change of ours took it from all drives that had it. shows: what it was. */
void tree_name_taken(struct pool_tree *tree, struct tree_node *folder, const char *name,
    const struct tree_name *shows, const struct tree_known_ticket *ticket);

/* --- tree_newer.c: which copy shows --- */

struct tree_version { /* one drive's copy of a name */
    size_t drive;
    uint64_t ino; /* 0: not known */
    int64_t mtime;
};
/* The other one is newer than the one that shows. folder: the path of the folder that has the name. */
bool tree_version_newer(struct pool_tree *tree, const char *folder, const char *name,
    const struct tree_version *shows, const struct tree_version *other);

/* --- tree_inherit.c: which numbers they keep --- */

struct tree_copy {          /* of a folder, besides the first */
    uint64_t place, number; /* of its name; the number that it would have alone */
};
/* What was found at a name keeps the number of what was there before. copies: of what was found. */
bool tree_inherits_locked(struct pool_tree *tree, const struct tree_node *folder,
    const struct tree_name *found, const struct tree_name *was, const struct mrmr_bytes *copies);

#endif
