/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What changes the drives, of the live tree (tree.h): tree_keeper.c, tree_counted.c, tree_keep.c and
 * tree_keep_names.c (before originals change), tree_place.c (where new files go), tree_paths.c (paths that lead to one place), tree_make.c,
 * tree_remove.c, tree_rmdir.c and tree_take.c (names),
 * tree_unnamed.c (files without one), tree_bring.c (a file goes to another drive), tree_move.c, tree_move_file.c,
 * tree_move_folder.c and tree_move_record.c (renames), tree_set.c (attributes), tree_write.c (bytes), tree_gone_add.c and
 * tree_later.c (what is asked of drives that are away: removals, and changes of folders). Beside it: tree_replaced.h (files that a
 * repair replaced).
 *
 * Threads, locks and errors: those of the tree, and those of who is among the writers (writers.h).
 */
#ifndef MRMR_POOL_TREE_CHANGE_H
#define MRMR_POOL_TREE_CHANGE_H

#include "pool/records/gone.h"
#include "pool/tree/tree.h"

struct tree_known_ticket; /* tree_known.h */
struct tree_original;     /* tree_file.h */

/* --- tree_keeper.c, tree_counted.c, tree_keep.c, tree_keep_names.c: before originals change (I3) --- */

mrmr_err tree_keep_start(struct pool_tree *tree);
void tree_keep_stop(struct pool_tree *tree);
/* Around each change of bytes that a stripe may count on, and of what leads to them; never one inside
 * another. What is open is asked for inside: a repair may have replaced it before. MRMR_READONLY: this pool cannot be written. */
mrmr_err tree_change_begin(struct pool_tree *tree, uint64_t *ret_epoch);
void tree_change_end(struct pool_tree *tree);
/* Around one op by which a name comes of what nobody counts on: whoever takes the drive into service waits for it if it was given
 * up, also when this process was killed. It stops for nobody; until tree_change_end. */
mrmr_err tree_change_beside(struct pool_tree *tree);

struct tree_inode {
    size_t drive;
    uint64_t ino;
};
/* Before bytes [from, to) of an open file change, which was opened for reading, too. */
mrmr_err tree_keep_bytes(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, struct drv_file *file, uint64_t from, uint64_t to,
    uint64_t epoch);
/* After that, before it is made to end there, short of where it does. */
void tree_keep_cut(struct pool_tree *tree, struct tree_node *node, uint64_t size);
/* Whether a stripe counts on any of it. If none does, it is noted that it may change from now on. */
mrmr_err tree_keep_counts(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, uint64_t epoch, bool *ret_counts);
/* What stripes count on of the inode now counts for as long as its node is held: its name goes, and
 * the catalog may not know it any more. last: it has no other, so nothing else will count. */
mrmr_err tree_keep_known(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, bool last, uint64_t epoch);
/* Before the only name of what has this inode goes. *ret_counts: stripes count on it, and nothing was
 * done. Else the scan is told, and nothing will count on it as long as its node is held. */
mrmr_err tree_keep_nothing(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, uint64_t epoch, bool *ret_counts);
/* Inside of a change: pool_writers_stays(). */
uint64_t tree_keep_stays(struct pool_tree *tree);
/* Before a file is made, and once it is there: nothing counts on it, until something is committed. */
mrmr_err tree_keep_epoch(struct pool_tree *tree, uint64_t *ret_epoch);
/* After the epoch was asked for: a scan is under way, so that the catalog may have any inode soon (writers.h). */
bool tree_keep_scanned(const struct pool_tree *tree);
void tree_keep_new(struct pool_tree *tree, struct tree_node *node, const struct tree_inode *inode,
    bool scanned, uint64_t epoch);
/* It keeps its name after all, or is another inode: what counts is asked anew. */
void tree_keep_unknown(struct pool_tree *tree, struct tree_node *node);
/* The same as tree_keep_removed for a file that was copied elsewhere: it goes only if it is still what
 * this stat says (MRMR_CHANGED). */
mrmr_err tree_keep_taken(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch);
/* Remove a name, not of a folder, of a file of this stat. Its bytes are kept if it was the last by which
 * they are found. */
mrmr_err tree_keep_removed(struct pool_tree *tree, const struct pool_caller *caller, size_t drive,
    const char *path, const struct drv_stat *stat, uint64_t epoch);
/* After tree_keep_nothing the name went: what the catalog has by it does not show when the drive goes. */
void tree_keep_named(struct pool_tree *tree, struct tree_node *node, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch);
/* A name was made for what has this stat. If the catalog has it by that, it did not go after all; and by that it shows when
 * its drive goes, and the others went. Not among the writers. */
void tree_keep_linked(
    struct pool_tree *tree, size_t drive, const char *path, const struct drv_stat *stat);
/* How many names that went could not be recorded so far; MRMR_IO: more than these. Else what is recorded of them is durable. */
uint64_t tree_keep_names_lost(struct pool_tree *tree);
mrmr_err tree_keep_names_sync(struct pool_tree *tree, uint64_t lost);
/* A name went of which that may not have been recorded: once more. The stat is of what had it. */
mrmr_err tree_keep_went(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch);
/* Remove an empty folder: the scan takes it, with all that it held, for our doing. */
mrmr_err tree_keep_rmdir(struct pool_tree *tree, const struct pool_caller *caller, size_t drive,
    const char *path, uint64_t epoch);
/* Before another file takes the place of this one. Once it has that, or what that failed with is known (err), comes tree_keep_replaced_end, which
 * keeps the story and frees what this has: of a file that has several names none is removed meanwhile. */
enum { TREE_KEPT_PATH = 128 };
struct tree_replacing {
    char kept
        [TREE_KEPT_PATH]; /* its name where it is kept; "": nothing counts on it, or it is found by another name */
    bool known;              /* the catalog has it */
    struct mrmr_bytes other; /* where it is recorded to live on; "": nowhere */
};
mrmr_err tree_keep_replaced(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch, struct tree_replacing *ret_replaced);
void tree_keep_replaced_end(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch, struct tree_replacing *replaced, mrmr_err err);
/* Before what has this stat is renamed (or exchanged for what has the other one; else NULL): whoever
 * needs its bytes finds them until the scan has seen it (moved.h). */
mrmr_err tree_keep_moved(struct pool_tree *tree, size_t drive, const char *from, const char *to,
    const struct drv_stat *stat, const struct drv_stat *exchanged, uint64_t epoch);
/* The same, when it was not made after all. On failure it is tried again before anything else is
 * recorded; until then who cannot look at the drive takes it for made. */
mrmr_err tree_keep_not_moved(struct pool_tree *tree, size_t drive, const char *from, const char *to,
    const struct drv_stat *stat, const struct drv_stat *exchanged, uint64_t epoch);
void tree_counted_free(struct tree_counted *counted); /* NULL-safe */

/* Its attributes were changed, or it has a name more, and they are not the catalog's any more: recorded before that is acknowledged. */
mrmr_err tree_keep_attrs(
    struct pool_tree *tree, struct tree_node *node, const struct tree_inode *inode, uint64_t epoch);
/* A record says that they were, or its bytes. */
mrmr_err tree_keep_attrs_touched(
    struct pool_tree *tree, size_t drive, uint64_t ino, bool *ret_touched);
/* --- tree_gone_add.c: removed from drives that are away, or may come late (gone.h) --- */

/* What the catalog has there is removed: durable on return. MRMR_CHANGED: the drive is back. */
mrmr_err tree_gone_add(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *node);
/* What lies there, or may come yet, and is this, was made through us, is not wanted, and cannot be removed now
 * (gone_late.c): it does not show, and goes with what waits for the drive. Durable on return. What is new, or a new
 * name, of a drive that is in service is not recorded. */
mrmr_err tree_gone_late(struct pool_tree *tree, size_t drive, enum pool_gone_late what,
    const char *path, const struct drv_stat *stat);
/* The same, if a drive that was asked for this answered so because it hangs. Keeps the story. */
void tree_gone_gave_up(struct pool_tree *tree, size_t drive, mrmr_err err, enum pool_gone_late what,
    const char *path, const struct drv_stat *stat);

/* --- tree_later.c: folders that are changed while a drive of theirs is away (later.h) --- */

/* Among the writers; of a drive that is away. Durable on return. MRMR_CHANGED: it is back. MRMR_ABSENT:
 * the folder is not known to be there. */
mrmr_err tree_later_rename(
    struct pool_tree *tree, size_t drive, const char *from, const char *to, uint64_t epoch);
/* It is taken back. MRMR_CHANGED: too late. */
mrmr_err tree_later_not_renamed(
    struct pool_tree *tree, size_t drive, const char *from, const char *to, uint64_t epoch);
/* One that may be recorded, of a folder that had this inode, after a cut. */
mrmr_err tree_later_rename_again(struct pool_tree *tree, size_t drive, const char *from,
    const char *to, uint64_t ino, uint64_t epoch);
/* What was set on `model`, which is there: enum drv_attr, or an extended attribute that was set or removed.
 * Fine if the catalog knows of no such folder. MRMR_CHANGED: the drive is back. */
mrmr_err tree_later_set(struct pool_tree *tree, size_t drive, size_t model, const char *path,
    unsigned what, const char *xattr);

/* --- tree_paths.c --- */

/* What somebody's paths go by, or, of who renames folders, what he renames, too. On his stack. */
struct tree_paths {
    struct pool_tree *tree;
    struct tree_paths *next;          /* that came later; guarded by the tree's lock */
    const struct tree_node *by[2];    /* counted by the caller; NULL: none */
    const struct tree_node *moves[2]; /* likewise; folders */
    bool moving, all; /* it renames; all: what is not known, so nobody else has any */
};
/* Until they are let go of, no folder at or above these is renamed through us. Never one inside another. After a
 * stay (tree_bring.c) and before a change begins, with no lock. */
void tree_paths_hold(struct tree_paths *paths);
void tree_paths_let_go(struct tree_paths *paths);
/* To the end of the block: paths by this node, and by another one or NULL. */
#define tree_paths_held(tree_, node, other)                                                        \
    __attribute__((cleanup(tree_paths_let_go), unused)) struct tree_paths tree_paths_held_ = {     \
        .tree = (tree_), .by = {(node), (other)}};                                                 \
    tree_paths_hold(&tree_paths_held_)

/* --- tree_place.c --- */

/* The least-used drive with room that is not among `but`. MRMR_SPACE; MRMR_OFFLINE: no drive that
 * may take files is there. */
mrmr_err tree_place_choose(
    struct pool_tree *tree, const struct tree_set *but, uint64_t need, size_t *ret_drive);
/* This thread was told just now that the drive itself has no room for bytes (whoever asks a drive names it in the story,
 * and nobody else does), and the drive's own word about its room does not say otherwise: then a file may leave
 * it. need: bytes; little: for something small, of which file systems say so also when it is too large for them.
 * Keeps the story. */
bool tree_place_full(
    struct pool_tree *tree, size_t drive, uint64_t need, bool little, mrmr_err err);
/* The folder is on this drive, with those above it, as they are elsewhere. Appends its path. */
mrmr_err tree_place_folder(
    struct pool_tree *tree, struct tree_node *folder, size_t drive, struct mrmr_bytes *path);
/* A drive had nothing where the folder should be: on which drives it lies, and those above it, is looked
 * at anew. MRMR_ABSENT: on none, or another folder has its name. */
mrmr_err tree_place_anew(struct pool_tree *tree, struct tree_node *folder);
/* It counts as being on this drive, which is away: something will be put into it there. */
mrmr_err tree_place_away(struct pool_tree *tree, struct tree_node *folder, size_t drive);
/* What is in the folder is durable, and so are the folders above it, whoever made them. */
mrmr_err tree_place_sync(struct pool_tree *tree, size_t drive, const char *path);
/* The same of the folder in which something has, or had, this path. */
mrmr_err tree_place_sync_name(struct pool_tree *tree, size_t drive, const char *path);

/* --- tree_make.c --- */

/* To the end of the block, ops of this thread act as the caller, if that is another than the
 * process. */
void tree_act_begin(const struct pool_caller *caller);
void tree_act_bytes_begin(const struct pool_caller *caller); /* the same for bytes of open files */
void tree_act_end(const int *unused);
#define tree_act_as(caller)                                                                        \
    __attribute__((cleanup(tree_act_end), unused)) int tree_acting = 0;                            \
    tree_act_begin(caller)
/* A name that users may give: not ours, not excluded, not too long. */
mrmr_err tree_name_allowed(struct pool_tree *tree, struct tree_node *folder, const char *name);
/* Before and after a name is given or taken through us: each call of one has its call of the other. */
void tree_own_name(struct pool_tree *tree, struct tree_node *folder, const char *name);
void tree_owned_name(struct pool_tree *tree, struct tree_node *folder, const char *name);
/* What a name shows after it was given or taken: a folder's number is kept by that. */
void tree_name_shows_locked(
    struct tree_node *folder, const char *name, const struct tree_name *shows);
/* Before and after the node is changed through us. */
void tree_own_node(struct pool_tree *tree, struct tree_node *node);
/* What the name shows, and its node, counted, which is not brought elsewhere until it is let go of. */
mrmr_err tree_name_stay(struct pool_tree *tree, struct tree_node *folder, const char *name,
    struct tree_name *ret_shows, struct tree_node **ret_node);
void tree_name_leave(struct pool_tree *tree, struct tree_node *node); /* NULL-safe */
/* What has been made at this name of the folder, counted: its node. */
mrmr_err tree_node_new(struct pool_tree *tree, struct tree_node *folder, const char *name,
    size_t drive, const struct drv_stat *stat, const struct tree_known_ticket *ticket,
    struct tree_node **ret_node);
mrmr_err tree_node_unnamed(
    struct pool_tree *tree, size_t drive, const struct drv_stat *stat, struct tree_node **ret_node);
/* The folder hands down a default ACL, which takes the place of the caller's umask. */
bool tree_hands_down(
    struct pool_tree *tree, struct tree_node *folder, size_t drive, const char *path);

/* --- tree_remove.c --- */

/* Before the last name of what has this stat goes, and if it did not. */
void tree_node_goes(struct pool_tree *tree, struct tree_node *node, const struct drv_stat *stat);
void tree_node_stays(struct pool_tree *tree, struct tree_node *node);
/* No other name of it is known than this one. */
bool tree_node_parts(struct pool_tree *tree, const struct tree_node *node,
    const struct tree_node *folder, const char *name);
/* It has gone: what has its number from now on is another. */
void tree_node_went(struct pool_tree *tree, struct tree_node *node);
/* Remove one drive's copy of a name, not of a folder; from a drive that is away, when it is back.
 * Among the writers. */
mrmr_err tree_remove_copy(struct pool_tree *tree, const struct pool_caller *caller,
    struct tree_node *folder, const char *name, const char *path, size_t drive, uint64_t epoch);

/* --- tree_rmdir.c --- */

/* Remove one drive's copy of a folder in which nothing shows, as tree_remove_copy does that of a file. */
mrmr_err tree_remove_folder(struct pool_tree *tree, const struct pool_caller *caller, size_t drive,
    const char *path, uint64_t epoch);
/* What is seen of a folder on these drives; untouched, if all of them are away. */
void tree_folder_stat(
    struct pool_tree *tree, const struct tree_set *on, const char *path, struct drv_stat *stat);
/* Nothing in it shows. MRMR_NOT_EMPTY. */
mrmr_err tree_folder_empty(struct pool_tree *tree, struct tree_node *folder);

/* --- tree_take.c --- */

/* Take the file's name in one op, if it is one with which that can be: MRMR_CHANGED, and nothing was done.
 * Among the writers. *ret_folder: what the folder is on the drive then; another type: not known. */
mrmr_err tree_take(struct pool_tree *tree, const struct pool_caller *caller,
    struct tree_node *folder, struct tree_node *node, const char *name, const char *path,
    size_t drive, uint64_t epoch, struct drv_stat *ret_folder);

/* --- tree_unnamed.c --- */

/* Give a node that was made without a name this one, which nothing has. MRMR_EXISTS. */
mrmr_err tree_name_unnamed(struct pool_tree *tree, const struct pool_caller *caller,
    struct tree_node *node, struct tree_node *folder, const char *name);

/* --- tree_bring.c, tree_bring_record.c --- */

/* A regular file goes from a drive that is full or away to one with room for it and for `more`
 * bytes, and stays the same node, also to those who have it open. Fine if it is not on `from` any
 * more. MRMR_UNSUPPORTED: it has several names, or none. */
mrmr_err tree_bring(struct pool_tree *tree, struct tree_node *node, size_t from, uint64_t more);
/* What was brought and was not removed from where it came, when the tree was last closed, before anything shows. A drive of which
 * that cannot be recorded is returning afterwards. Errors of the pool's folder: it is not known what was brought. */
mrmr_err tree_brings_finish(struct pool_tree *tree);
/* The same of what could not be told as long as this drive was away, which serves and is not live yet; after what is recorded
 * of it was applied: there may be more of that afterwards. False: some of it could not be recorded: the drive must not show what it
 * has yet. */
bool tree_brings_return(struct pool_tree *tree, size_t drive);
/* As tree_gone_add, of a file: a copy of just that, of which nobody has told yet whether it is the file, or which does not show yet, is
 * removed with it. Where that cannot be recorded nothing is removed. MRMR_ABSENT: nor where it was brought elsewhere just now. Among the
 * writers. */
mrmr_err tree_bring_removed(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *known);

/* --- tree_move.c --- */

/* A rename is recorded, and was not made: nobody is to look for it under a name that it never had, nor
 * to take what has that name for replaced. Returns the error of the moment. */
mrmr_err tree_not_moved(struct pool_tree *tree, size_t drive, const char *from, const char *to,
    const struct drv_stat *a, const struct drv_stat *b, uint64_t epoch);

/* --- tree_move_record.c --- */

enum { TREE_RECORD_NAME = 24 };
/* Before a folder is renamed on these drives: durable. It stays for who opens the tree next. */
mrmr_err tree_move_record(struct pool_tree *tree, const struct tree_set *on, const char *from,
    const char *to, char ret_name[TREE_RECORD_NAME]);
/* It goes (""; none) once the rename is durable on these drives, which made it; if that fails, and it was
 * not taken back, it stays for who opens the tree next. Keeps the story. */
void tree_move_record_end(struct pool_tree *tree, const char *name, const struct tree_set *on,
    const char *from, const char *to, bool made);
/* The rename failed, and these drives, which made it, could not take it back: the record is the way back from now
 * on. Keeps the story. */
void tree_move_record_back(struct pool_tree *tree, const char *name, const struct tree_set *on);
/* Before a folder, which lies at this path on these drives, is renamed: what is left of an earlier rename of it goes.
 * MRMR_IO: that one is not durable still. */
mrmr_err tree_move_records_settle(
    struct pool_tree *tree, const struct tree_set *on, const char *path);
/* Each record in the pool's folder whose name begins so; what fails is told, and stays. */
mrmr_err tree_records_each(struct pool_tree *tree, const char *prefix,
    mrmr_err (*fn)(struct pool_tree *tree, const char *name, void *arg), void *arg);
/* Folders that were being renamed on several drives when the tree was last closed: all of their
 * copies go to the new name, of drives that are away when they are back. */
mrmr_err tree_moves_finish(struct pool_tree *tree);

/* --- tree_move_over.c --- */

/* What was left of files of other drives that were being replaced by a rename when the tree was last closed goes. */
mrmr_err tree_overs_finish(struct pool_tree *tree);

/* --- tree_write.c --- */

/* Among the writers. */
mrmr_err tree_truncate(struct pool_tree *tree, struct tree_node *node, size_t drive,
    struct tree_original *original, uint64_t size, uint64_t epoch);

#endif
