/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names, targets, uuids and digests are BLOBs: any bytes, compared by memcmp. Sums that would need
 * a walk over all extents are kept in their block (extents, bytes); everything else is one row one
 * fact. docs/CATALOG.md describes the tables and views to people.
 *
 * A step here is never edited once it was released: a change of the schema is another step.
 */
#include "meta/schema.h"

#include <string.h>

/* The tables that say where things are: settings, drives, the tree, what a scan has staged. */
static const char schema_tree[] =
    "CREATE TABLE setting ("
    "  key TEXT PRIMARY KEY,"
    "  value TEXT NOT NULL"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE counter ("
    "  name TEXT PRIMARY KEY,"
    "  value INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE drive ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),"
    "  name TEXT NOT NULL UNIQUE,"
    "  uri TEXT NOT NULL,"
    "  domain TEXT NOT NULL,"
    "  role INTEGER NOT NULL CHECK (role BETWEEN 0 AND 4),"
    "  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),"
    "  slot INTEGER NOT NULL UNIQUE CHECK (slot BETWEEN 0 AND 247),"
    "  reserve INTEGER NOT NULL CHECK (reserve >= 0),"
    "  max_usage INTEGER NOT NULL CHECK (max_usage >= 0),"
    "  session INTEGER NOT NULL CHECK (session >= 0),"
    "  session_token BLOB NOT NULL CHECK (length(session_token) = 16),"
    "  intended INTEGER NOT NULL CHECK (intended >= 0),"
    "  intended_token BLOB NOT NULL CHECK (length(intended_token) = 16),"
    "  boot TEXT NOT NULL,"
    "  fs_id TEXT NOT NULL,"
    "  total INTEGER NOT NULL CHECK (total >= 0),"
    "  avail INTEGER NOT NULL CHECK (avail >= 0),"
    "  present INTEGER NOT NULL CHECK (present BETWEEN 0 AND 1),"
    "  seen INTEGER NOT NULL,"
    "  scanned INTEGER NOT NULL,"
    "  root INTEGER NOT NULL,"
    "  hold TEXT NOT NULL,"
    "  replaces BLOB NOT NULL CHECK (length(replaces) = 16)"
    ") STRICT;"

    "CREATE INDEX drive_root ON drive (root);"

    "CREATE TABLE slot_used (slot INTEGER PRIMARY KEY) STRICT;"

    "CREATE TABLE retired ("
    "  uuid BLOB PRIMARY KEY CHECK (length(uuid) = 16),"
    "  name TEXT NOT NULL"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE node ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  drive INTEGER NOT NULL REFERENCES drive,"
    "  type INTEGER NOT NULL CHECK (type BETWEEN 0 AND 6),"
    "  mode INTEGER NOT NULL CHECK (mode BETWEEN 0 AND 4294967295),"
    "  uid INTEGER NOT NULL CHECK (uid BETWEEN 0 AND 4294967295),"
    "  gid INTEGER NOT NULL CHECK (gid BETWEEN 0 AND 4294967295),"
    "  nlink INTEGER NOT NULL CHECK (nlink BETWEEN 0 AND 4294967295),"
    "  size INTEGER NOT NULL CHECK (size >= 0),"
    "  ino INTEGER NOT NULL," /* 64 bits, so perhaps negative */
    "  rdev INTEGER NOT NULL,"
    "  mtime INTEGER NOT NULL,"
    "  ctime INTEGER NOT NULL,"
    "  btime INTEGER NOT NULL,"
    "  version INTEGER NOT NULL CHECK (version >= 0),"
    "  sequence INTEGER NOT NULL CHECK (sequence >= 0),"
    "  recheck INTEGER NOT NULL CHECK (recheck BETWEEN 0 AND 1)"
    ") STRICT;"
    "CREATE INDEX node_drive ON node (drive);"
    "CREATE INDEX node_ino ON node (drive, ino);"

    "CREATE TABLE name ("
    "  parent INTEGER NOT NULL REFERENCES node,"
    "  name BLOB NOT NULL CHECK (length(name) BETWEEN 1 AND 255),"
    "  node INTEGER NOT NULL REFERENCES node,"
    "  PRIMARY KEY (parent, name)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX name_node ON name (node, name, parent);"

    "CREATE TABLE attr (node INTEGER PRIMARY KEY REFERENCES node, blob BLOB NOT NULL) STRICT;"
    "CREATE TABLE target (node INTEGER PRIMARY KEY REFERENCES node, target BLOB NOT NULL) STRICT;"

    "CREATE TABLE change ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  drive INTEGER NOT NULL REFERENCES drive,"
    "  kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 4),"
    "  node INTEGER NOT NULL,"
    "  parent INTEGER NOT NULL,"
    "  name BLOB NOT NULL CHECK (length(name) <= 255),"
    "  type INTEGER NOT NULL,"
    "  mode INTEGER NOT NULL,"
    "  uid INTEGER NOT NULL,"
    "  gid INTEGER NOT NULL,"
    "  nlink INTEGER NOT NULL,"
    "  size INTEGER NOT NULL CHECK (size >= 0),"
    "  ino INTEGER NOT NULL,"
    "  rdev INTEGER NOT NULL,"
    "  mtime INTEGER NOT NULL,"
    "  ctime INTEGER NOT NULL,"
    "  btime INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX change_drive ON change (drive, kind);"
    "CREATE UNIQUE INDEX change_once ON change (node, kind, parent, name);"

    "CREATE TABLE exposed ("
    "  drive INTEGER NOT NULL REFERENCES drive,"
    "  node INTEGER NOT NULL,"
    "  first INTEGER NOT NULL CHECK (first >= 0),"
    "  leaves INTEGER NOT NULL CHECK (leaves >= 1),"
    "  bytes INTEGER NOT NULL CHECK (bytes > (leaves - 1) * 1048576 AND bytes <= leaves * 1048576),"
    "  since INTEGER NOT NULL,"
    "  PRIMARY KEY (drive, node, first)"
    ") STRICT, WITHOUT ROWID;";

/* The tables that say what protects them, and what is being done. */
static const char schema_stripes[] =
    "CREATE TABLE stripe ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),"
    "  generation INTEGER NOT NULL CHECK (generation >= 1),"
    "  length INTEGER NOT NULL CHECK (length >= 0),"
    "  made INTEGER NOT NULL,"
    "  scrubbed INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX stripe_scrubbed ON stripe (scrubbed);"

    "CREATE TABLE block ("
    "  stripe INTEGER NOT NULL REFERENCES stripe,"
    "  slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 247),"
    "  drive INTEGER NOT NULL REFERENCES drive,"
    "  length INTEGER NOT NULL CHECK (length >= 0),"
    "  extents INTEGER NOT NULL CHECK (extents >= 0),"
    "  bytes INTEGER NOT NULL CHECK (bytes >= 0),"
    "  PRIMARY KEY (stripe, slot)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX block_drive ON block (drive, stripe);"

    "CREATE TABLE row ("
    "  stripe INTEGER NOT NULL REFERENCES stripe,"
    "  idx INTEGER NOT NULL CHECK (idx BETWEEN 0 AND 7),"
    "  drive INTEGER NOT NULL REFERENCES drive,"
    "  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),"
    "  file_size INTEGER NOT NULL CHECK (file_size >= 0),"
    "  PRIMARY KEY (stripe, idx)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX row_drive ON row (drive, stripe);"

    "CREATE TABLE extent ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  stripe INTEGER NOT NULL REFERENCES stripe,"
    "  drive INTEGER NOT NULL REFERENCES drive,"
    "  place INTEGER NOT NULL CHECK (place >= 0),"
    "  node INTEGER REFERENCES node," /* NULL: its file is gone */
    "  first INTEGER NOT NULL CHECK (first >= 0),"
    "  leaves INTEGER NOT NULL CHECK (leaves >= 1),"
    "  bytes INTEGER NOT NULL CHECK (bytes > (leaves - 1) * 1048576 AND bytes <= leaves * 1048576),"
    "  version INTEGER NOT NULL CHECK (version >= 0),"
    "  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),"
    "  digests BLOB NOT NULL CHECK (length(digests) = leaves * 32)"
    ") STRICT;"
    "CREATE UNIQUE INDEX extent_place ON extent (stripe, drive, place);"
    "CREATE INDEX extent_node ON extent (node, first);"
    "CREATE INDEX extent_drive_off ON extent (stripe, drive, state, bytes) WHERE state <> 0;"
    "CREATE INDEX extent_suspect ON extent (drive, node) WHERE state = 4;"

    "CREATE TABLE intent ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 1),"
    "  drive INTEGER NOT NULL REFERENCES drive,"
    "  file TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX intent_drive ON intent (drive);"
    "CREATE INDEX intent_file ON intent (file);"

    "CREATE TABLE todo ("
    "  job TEXT NOT NULL,"
    "  node INTEGER NOT NULL REFERENCES node,"
    "  PRIMARY KEY (job, node)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX todo_node ON todo (node);"

    "CREATE TABLE event ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  time INTEGER NOT NULL,"
    "  kind TEXT NOT NULL,"
    "  warning INTEGER NOT NULL CHECK (warning BETWEEN 0 AND 1),"
    "  drive TEXT NOT NULL,"
    "  text TEXT NOT NULL"
    ") STRICT;";

/* For people: see docs/CATALOG.md. Presence is as last seen. MISSING, GONE and SUSPECT extents make
 * a block an erasure. */
static const char schema_views[] =
    "CREATE VIEW stripe_margin AS"
    " SELECT id AS stripe, lower(hex(uuid)) AS uuid, generation, length, blocks, \"rows\","
    "  rows_intact, blocks_erased, rows_intact - blocks_erased AS margin"
    " FROM (SELECT s.id, s.uuid, s.generation, s.length,"
    "  (SELECT count(*) FROM block b WHERE b.stripe = s.id) AS blocks,"
    "  (SELECT count(*) FROM row r WHERE r.stripe = s.id) AS \"rows\","
    "  (SELECT count(*) FROM row r JOIN drive d ON d.id = r.drive"
    "    WHERE r.stripe = s.id AND r.state = 0 AND d.present) AS rows_intact,"
    "  (SELECT count(*) FROM block b JOIN drive d ON d.id = b.drive"
    "    WHERE b.stripe = s.id AND (NOT d.present OR EXISTS"
    "     (SELECT 1 FROM extent e WHERE e.stripe = b.stripe AND e.drive = b.drive"
    "       AND e.state <> 0 AND e.state IN (1, 3, 4)))) AS blocks_erased"
    "  FROM stripe s);"

    "CREATE VIEW file AS"
    " WITH RECURSIVE"
    "  margin AS MATERIALIZED (SELECT stripe, margin FROM stripe_margin),"
    "  wanted AS (SELECT CAST(coalesce((SELECT value FROM setting WHERE key = 'redundancy'), '1')"
    "   AS INTEGER) AS r),"
    "  tree (node, path) AS ("
    "   SELECT root, '' FROM drive"
    "   UNION ALL"
    "   SELECT x.node, tree.path || '/' || CAST(x.name AS TEXT)"
    "    FROM tree JOIN name x ON x.parent = tree.node),"
    "  fact AS (SELECT d.name AS drive, d.present AS present, substr(tree.path, 2) AS path,"
    "    n.id AS node, n.size, n.mtime AS mtime_ns, n.version,"
    "    (SELECT coalesce(sum(x.bytes), 0) FROM exposed x"
    "      WHERE x.drive = n.drive AND x.node = n.id) AS exposed,"
    "    (SELECT min(CASE WHEN d.present AND e.state <> 1 THEN max(m.margin, 0)"
    "        WHEN m.margin < 0 THEN -1 ELSE m.margin END)"
    "      FROM extent e JOIN margin m ON m.stripe = e.stripe"
    "      WHERE e.node = n.id AND e.state IN (0, 1, 4)) AS covered,"
    "    EXISTS (SELECT 1 FROM extent e WHERE e.node = n.id AND e.state = 1) AS missing"
    "   FROM tree JOIN node n ON n.id = tree.node JOIN drive d ON d.id = n.drive"
    "   WHERE n.type = 0),"
    "  judged AS (SELECT *, CASE"
    "    WHEN exposed > 0 AND NOT present THEN -1"
    "    WHEN exposed > 0 THEN min(coalesce(covered, 0), 0)"
    "    ELSE covered END AS survives FROM fact)"
    " SELECT drive, path, node, size,"
    "  strftime('%Y-%m-%d %H:%M:%S', mtime_ns / 1000000000, 'unixepoch') AS mtime,"
    "  version, exposed,"
    "  CASE WHEN survives IS NULL THEN 'empty'"
    "   WHEN survives < 0 THEN 'lost'"
    "   WHEN missing OR NOT present THEN 'degraded'"
    "   WHEN exposed > 0 OR survives < r THEN 'exposed'"
    "   ELSE 'protected' END AS protection,"
    "  survives"
    " FROM judged, wanted;"

    "CREATE VIEW exposed_file AS"
    " WITH RECURSIVE up (leaf, node, path) AS ("
    "   SELECT node, node, '' FROM exposed GROUP BY drive, node"
    "   UNION ALL"
    "   SELECT up.leaf, x.parent, '/' || CAST(x.name AS TEXT) || up.path"
    "    FROM up JOIN name x ON x.node = up.node)"
    " SELECT d.name AS drive, substr(up.path, 2) AS path, up.leaf AS node,"
    "  sum(x.bytes) AS exposed,"
    "  strftime('%Y-%m-%d %H:%M:%S', min(x.since) / 1000000000, 'unixepoch') AS since"
    " FROM up JOIN drive d ON d.root = up.node JOIN exposed x ON x.drive = d.id AND x.node = "
    "up.leaf"
    " GROUP BY d.id, up.leaf, up.path;"

    "CREATE VIEW drive_usage AS"
    " SELECT d.name AS drive, d.uri, d.slot, d.present, d.total, d.avail,"
    "  (SELECT count(*) FROM node n WHERE n.drive = d.id AND n.type = 0) AS files,"
    "  (SELECT coalesce(sum(n.size), 0) FROM node n WHERE n.drive = d.id AND n.type = 0)"
    "   AS file_bytes,"
    "  (SELECT coalesce(sum(x.bytes), 0) FROM exposed x WHERE x.drive = d.id) AS exposed_bytes,"
    "  (SELECT count(*) FROM block b WHERE b.drive = d.id) AS blocks,"
    "  (SELECT coalesce(sum(b.bytes), 0) FROM block b WHERE b.drive = d.id) AS block_bytes,"
    "  (SELECT count(*) FROM row r WHERE r.drive = d.id) AS \"rows\","
    "  (SELECT coalesce(sum(r.file_size), 0) FROM row r WHERE r.drive = d.id) AS row_bytes"
    " FROM drive d;";

struct schema_step {
    const char *sql[4]; /* in order, NULL at the end */
};

/* schema_steps[v] leads from version v to v + 1. */
static const struct schema_step schema_steps[META_SCHEMA] = {
    {{schema_tree, schema_stripes, schema_views, NULL}},
};

/* exec, for what changes the schema: those statements are not worth caching. */
static mrmr_err schema_exec(struct meta *meta, sqlite3 *db, const char *sql)
{
    return meta_sqlite_fail(meta, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static mrmr_err schema_newer(struct meta *meta, int64_t version)
{
    mrmr_fail(MRMR_NEWER,
        "the catalog has schema version %lld, and this program knows versions up to %d",
        (long long)version, META_SCHEMA);
    mrmr_err_path(MRMR_NEWER, meta->path);
    return mrmr_err_hint(MRMR_NEWER, "use the mrmr that made it, or a newer one");
}

mrmr_err meta_schema_probe(struct meta *meta, int *ret_version)
{
    bool found;
    int64_t application = 0, version = 0, objects = 0;
    MRMR_TRY(meta_run_int(meta, "PRAGMA application_id", NULL, &found, &application));
    MRMR_TRY(meta_run_int(meta, "PRAGMA user_version", NULL, &found, &version));
    MRMR_TRY(meta_run_int(meta, "SELECT count(*) FROM sqlite_schema", NULL, &found, &objects));
    if (application == 0 && version == 0 && objects == 0) {
        *ret_version = 0;
        return MRMR_OK;
    }
    if (application != META_APPLICATION || version < 1) {
        mrmr_fail(MRMR_CORRUPT, "this is a database, but not a catalog of mrmr");
        mrmr_err_path(MRMR_CORRUPT, meta->path);
        return mrmr_err_hint(MRMR_CORRUPT, "name the pool's own folder, or move this file away");
    }
    if (version > META_SCHEMA)
        return schema_newer(meta, version);
    *ret_version = (int)version;
    return MRMR_OK;
}

static mrmr_err schema_steps_run(struct meta *meta, sqlite3 *db, int from, int to)
{
    for (; from < to; from++)
        for (const char *const *sql = schema_steps[from].sql; *sql; sql++)
            MRMR_TRY(schema_exec(meta, db, *sql));
    return MRMR_OK;
}

static mrmr_err schema_label(struct meta *meta, int version)
{
    char pragma[96];
    sqlite3_snprintf(sizeof pragma, pragma, "PRAGMA application_id = %d; PRAGMA user_version = %d",
        META_APPLICATION, version);
    return schema_exec(meta, meta->db, pragma);
}

mrmr_err meta_schema_make(struct meta *meta, int version)
{
    MRMR_TRY(schema_steps_run(meta, meta->db, 0, version));
    return schema_label(meta, version);
}

static mrmr_err schema_migrate_locked(struct meta *meta)
{
    int version;
    MRMR_TRY(meta_schema_probe(meta, &version)); /* again: another process may have been faster */
    if (version == META_SCHEMA)
        return MRMR_OK;
    MRMR_TRY(schema_steps_run(meta, meta->db, version, META_SCHEMA));
    return schema_label(meta, META_SCHEMA);
}

mrmr_err meta_schema_migrate(struct meta *meta)
{
    MRMR_TRY(schema_exec(meta, meta->db, "BEGIN IMMEDIATE"));
    mrmr_err err = schema_migrate_locked(meta);
    if (!err)
        err = schema_exec(meta, meta->db, "COMMIT");
    if (err && !sqlite3_get_autocommit(meta->db))
        sqlite3_exec(meta->db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

/* Is the object in the catalog as the model has it? */
static mrmr_err schema_check_object(struct meta *meta, sqlite3_stmt *model)
{
    const char *name = (const char *)sqlite3_column_text(model, 1);
    const char *sql = (const char *)sqlite3_column_text(model, 2);
    bool found;
    int64_t same = 0;
    MRMR_TRY(meta_run_int(meta,
        "SELECT count(*) FROM sqlite_schema WHERE type = ?1 AND name = ?2 AND sql IS ?3",
        META_ARGS(META_TEXT((const char *)sqlite3_column_text(model, 0)), META_TEXT(name),
            META_TEXT(sql)),
        &found, &same));
    return same == 1 ? MRMR_OK : meta_corrupt(meta, "'%s' is not as the schema has it", name);
}

static mrmr_err schema_check_against(struct meta *meta, sqlite3 *model)
{
    MRMR_TRY(schema_steps_run(meta, model, 0, META_SCHEMA));
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(
        model, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL", -1, &stmt, NULL);
    if (rc)
        return meta_sqlite_fail(meta, rc);
    mrmr_err err = MRMR_OK;
    while (!err && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        err = schema_check_object(meta, stmt);
    sqlite3_finalize(stmt);
    return err ? err : rc == SQLITE_DONE ? MRMR_OK : meta_sqlite_fail(meta, rc);
}

mrmr_err meta_schema_check(struct meta *meta)
{
    sqlite3 *model = NULL;
    int rc = sqlite3_open_v2(
        ":memory:", &model, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    mrmr_err err = rc ? mrmr_fail(MRMR_NOMEM, "no memory for a model of the catalog")
                      : schema_check_against(meta, model);
    sqlite3_close(model);
    return err;
}
