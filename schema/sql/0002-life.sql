-- The whole life of a job: lanes, options, expiry, retention, tags, unique jobs, what people set for
-- queues and tasks. Tables whose rows get members before their large values are made anew, since
-- ALTER TABLE could only add them behind.

CREATE TABLE new_jobs (
    id           INTEGER PRIMARY KEY,
    queue        TEXT    NOT NULL,
    task         TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    timeout_ms   INTEGER NOT NULL,
    grace_ms     INTEGER NOT NULL,
    options      BLOB,             -- a msgpack map of what is rarely asked; broker/job_options.h
    tags         BLOB,             -- a msgpack array of str; each has a row in `tags` too
    args         BLOB              -- one msgpack value
) STRICT;
INSERT INTO new_jobs (id, queue, task, priority, max_attempts, timeout_ms, grace_ms, tags, args)
    SELECT id, queue, task, priority, max_attempts, timeout_ms, grace_ms, tags, args FROM jobs;
DROP TABLE jobs;
ALTER TABLE new_jobs RENAME TO jobs;

-- What waits of one queue, task, priority and limit_key: the backlog is kept by lanes, and the
-- dispatch chooses between them.
CREATE TABLE lanes (
    lane      INTEGER PRIMARY KEY,
    queue     TEXT    NOT NULL,
    task      TEXT    NOT NULL,
    priority  INTEGER NOT NULL,
    limit_key TEXT    NOT NULL -- empty: none
) STRICT;
INSERT INTO lanes (queue, task, priority, limit_key)
    SELECT DISTINCT l.queue, j.task, l.priority, '' FROM live l JOIN jobs j ON j.id = l.id;

CREATE TABLE new_live (
    id            INTEGER PRIMARY KEY,
    lane          INTEGER NOT NULL,
    state         INTEGER NOT NULL,
    due_ms        INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    failures      INTEGER NOT NULL,
    crashes       INTEGER NOT NULL,
    deaths        INTEGER NOT NULL,
    lost_from     INTEGER NOT NULL, -- every attempt from this one to the current was given up as
                                    -- lost; 0: the last one was not
    host          INTEGER NOT NULL, -- that ran it last; the 64 bits as a signed number; 0: none
    begun_at_ms   INTEGER NOT NULL, -- of the last attempt that is known to have begun; 0: none
    expires_at_ms INTEGER NOT NULL, -- an attempt that has not begun by then does not; 0: never
    retain_ms     INTEGER NOT NULL  -- how long its end is kept; 0: as its queue or the broker says
) STRICT;
INSERT INTO new_live
    SELECT l.id, a.lane, l.state, l.due_ms, l.attempt, l.max_attempts, l.failures, l.crashes,
           l.deaths, l.lost_from, l.host, l.begun_at_ms, 0, 0
    FROM live l JOIN jobs j ON j.id = l.id
    JOIN lanes a ON a.queue = l.queue AND a.task = j.task AND a.priority = l.priority;
DROP TABLE live;
ALTER TABLE new_live RENAME TO live;

-- Dispatched or running: the only index on the fast path, and all that a start has to read.
CREATE INDEX live_out ON live (id) WHERE state IN (3, 4);
CREATE INDEX live_backlog ON live (lane, due_ms, id) WHERE state = 2;
CREATE INDEX live_scheduled ON live (due_ms, id) WHERE state = 1;
-- What has not begun: here, and with Redis, from where it has to be taken back first.
CREATE INDEX live_expiring ON live (expires_at_ms, id) WHERE expires_at_ms > 0 AND state IN (1, 2);
CREATE INDEX live_expiring_out ON live (expires_at_ms, id) WHERE expires_at_ms > 0 AND state = 3;

CREATE TABLE new_ends (
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
    last_attempt   INTEGER NOT NULL, -- the highest number given out; above `attempt` if that was
                                     -- given up as lost and succeeded after all
    purge_at_ms    INTEGER NOT NULL, -- when it may go; 0: by the broker's default, which a walk in
                                     -- the order of ids finds without an index
    error          BLOB,             -- a msgpack map: code, message and evidence
    result         BLOB              -- one msgpack value
) STRICT;
INSERT INTO new_ends (id, state, attempt, failures, crashes, deaths, due_ms, host, begun_at_ms,
                      finished_at_ms, run_us, last_attempt, purge_at_ms, error, result)
    SELECT id, state, attempt, failures, crashes, deaths, due_ms, host, begun_at_ms, finished_at_ms,
           run_us, max(attempt, (SELECT 1 + coalesce(max(a.attempt), 0) FROM attempts a
                                 WHERE a.id = ends.id)),
           iif(state = 11, finished_at_ms + 604800000, 0), error, result FROM ends;
DROP TABLE ends;
ALTER TABLE new_ends RENAME TO ends;

CREATE INDEX ends_failed ON ends (id) WHERE state = 11;
CREATE INDEX ends_purge ON ends (purge_at_ms, id) WHERE purge_at_ms > 0;

-- One row for each tag of a job, so that whoever tags pays for finding by tags.
CREATE TABLE tags (
    tag TEXT    NOT NULL,
    id  INTEGER NOT NULL,
    PRIMARY KEY (tag, id)
) STRICT, WITHOUT ROWID;
-- The arrays that are there already, walked str by str; the first row of each is its head. A tag
-- has at most 64 bytes, so that of a length in several bytes only the last one counts.
WITH RECURSIVE
heads(head, skip) AS (VALUES ('D9', 1), ('DA', 2), ('DB', 4)),
arrays(id, tags, first) AS (
    SELECT id, tags, CASE hex(substr(tags, 1, 1)) WHEN 'DC' THEN 4 WHEN 'DD' THEN 6 ELSE 2 END
    FROM jobs WHERE tags IS NOT NULL),
strs(id, tags, start, len) AS (
    SELECT id, tags, first, 0 FROM arrays
    UNION ALL
    SELECT s.id, s.tags, s.start + s.len + coalesce(h.skip, 0) + 1,
           16 * instr('0123456789ABCDEF', substr(hex(substr(s.tags, s.start + s.len
               + coalesce(h.skip, 0), 1)), 1, 1))
           + instr('0123456789ABCDEF', substr(hex(substr(s.tags, s.start + s.len
               + coalesce(h.skip, 0), 1)), 2, 1)) - 17 - iif(h.skip IS NULL, 160, 0)
    FROM strs s LEFT JOIN heads h ON h.head = hex(substr(s.tags, s.start + s.len, 1))
    WHERE s.start + s.len <= length(s.tags))
INSERT OR IGNORE INTO tags (tag, id)
    SELECT CAST(substr(tags, start, len) AS TEXT), id FROM strs WHERE len > 0;

-- Who holds the place of a unique job. Whether it still holds is looked up when another one comes.
CREATE TABLE uniques (
    digest   BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of what makes it unique
    id       INTEGER NOT NULL,
    how      INTEGER NOT NULL,             -- enum unique_while
    until_ms INTEGER NOT NULL              -- for a period: its end; else 0
) STRICT, WITHOUT ROWID;

CREATE INDEX uniques_job ON uniques (id);
CREATE INDEX uniques_period ON uniques (until_ms) WHERE until_ms > 0;

-- A submit under a key whose answer was a unique job that was there already; 0: it made a job.
ALTER TABLE idem ADD COLUMN existing_id INTEGER NOT NULL DEFAULT 0;

-- What people have set; a record of broker/conf.h.
CREATE TABLE queue_confs (
    queue TEXT NOT NULL PRIMARY KEY,
    conf  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- How far the token buckets of rates are spent: the wall clock time at which each is full again.
CREATE TABLE rates (
    queue      TEXT    NOT NULL,
    limit_key  TEXT    NOT NULL, -- empty: the queue's own
    full_at_us INTEGER NOT NULL,
    PRIMARY KEY (queue, limit_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE task_confs (
    task TEXT NOT NULL PRIMARY KEY,
    conf BLOB NOT NULL
) STRICT, WITHOUT ROWID;
