-- The first schema. Numbers of states are those of schema/states.def; conditions of the partial
-- indexes must repeat them as literals, and so must a query that wants to use such an index.
-- Times are milliseconds since 1970 UTC. Large values stand last in a row, so that reading what
-- stands before them never follows an overflow chain.

PRAGMA application_id = 0x4a4d494c; -- "JMIL"

-- What was asked; written once.
CREATE TABLE jobs (
    id           INTEGER PRIMARY KEY,
    queue        TEXT    NOT NULL,
    task         TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    timeout_ms   INTEGER NOT NULL,
    grace_ms     INTEGER NOT NULL,
    tags         BLOB,             -- a msgpack array of str
    args         BLOB              -- one msgpack value
) STRICT;

-- One small row for each job that has not ended.
CREATE TABLE live (
    id           INTEGER PRIMARY KEY,
    queue        TEXT    NOT NULL,
    state        INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    due_ms       INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    failures     INTEGER NOT NULL,
    crashes      INTEGER NOT NULL,
    deaths       INTEGER NOT NULL,
    lost_from    INTEGER NOT NULL, -- every attempt from this one to the current was given up as
                                   -- lost; 0: the last one was not
    host         INTEGER NOT NULL, -- that ran it last; the 64 bits as a signed number; 0: none
    begun_at_ms  INTEGER NOT NULL  -- of the last attempt that is known to have begun; 0: none
) STRICT;

-- Dispatched or running: the only index on the fast path, and all that a start has to read.
CREATE INDEX live_out ON live (id) WHERE state IN (3, 4);
CREATE INDEX live_backlog ON live (queue, priority DESC, due_ms, id) WHERE state = 2;
CREATE INDEX live_scheduled ON live (due_ms, id) WHERE state = 1;

-- One row for each job that has ended; written once.
CREATE TABLE ends (
    id             INTEGER PRIMARY KEY,
    state          INTEGER NOT NULL,
    attempt        INTEGER NOT NULL, -- the one that ended it
    failures       INTEGER NOT NULL,
    crashes        INTEGER NOT NULL,
    deaths         INTEGER NOT NULL,
    due_ms         INTEGER NOT NULL,
    host           INTEGER NOT NULL,
    begun_at_ms    INTEGER NOT NULL,
    finished_at_ms INTEGER NOT NULL,
    run_us         INTEGER NOT NULL,
    error          BLOB,             -- a msgpack map: code, message and evidence
    result         BLOB              -- one msgpack value
) STRICT;

CREATE INDEX ends_failed ON ends (id) WHERE state = 11;

-- How attempts ended that did not end their job.
CREATE TABLE attempts (
    id          INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    outcome     TEXT    NOT NULL,    -- a word of the wire's events, or "lost"
    host        INTEGER NOT NULL,
    begun_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER NOT NULL,
    run_us      INTEGER NOT NULL,
    error       BLOB,                -- as in ends
    PRIMARY KEY (id, attempt)
) STRICT, WITHOUT ROWID;

-- Idempotency keys; a row goes with its job.
CREATE TABLE idem (
    key           TEXT    NOT NULL PRIMARY KEY,
    fingerprint   BLOB    NOT NULL,
    id            INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idem_job ON idem (id);

-- How many jobs of a queue are in each state; kept in the commit of whatever changes it.
CREATE TABLE counts (
    queue      TEXT    NOT NULL PRIMARY KEY,
    scheduled  INTEGER NOT NULL,
    queued     INTEGER NOT NULL,
    dispatched INTEGER NOT NULL,
    running    INTEGER NOT NULL,
    succeeded  INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    cancelled  INTEGER NOT NULL,
    expired    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What worker hosts said of the tasks that they serve.
CREATE TABLE tasks (
    name       TEXT    NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL,
    doc        TEXT    NOT NULL,
    seen_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages that could not be decoded; the newest JM_QUARANTINE_ENTRIES, each cut.
CREATE TABLE quarantine (
    number       INTEGER PRIMARY KEY,
    found_at_ms  INTEGER NOT NULL,
    length_bytes INTEGER NOT NULL,   -- before it was cut
    bytes        BLOB    NOT NULL
) STRICT;

-- Single numbers: last_taken (results list), id_high_water, probe.
CREATE TABLE meta (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
