"""A database with many finished jobs, as a broker would have left it: inserted by SQL, since through the
front door ten million take minutes.

usage: history.py DATABASE JOBS      a database that a broker has made and left, such as bench.py has

The jobs ended within the last ten hours, so that no retention removes them. Of a thousand, 900 are in the
queue `bulk`, 97 in `mail` and 3 in `rare`; 970 succeeded, 10 failed, 10 were cancelled, 10 expired; 10 have
the tag `red` and (of a hundred thousand) 10 the tag `needle`; 100 have one of 100 limit keys.
"""

import sqlite3
import sys
import time

SPAN_MS = 10 * 3600 * 1000
EPOCH_MS = 1577836800000  # of ids, schema/id.h
HOST = 0x1122334455660000  # the first of 16

# h is n scattered over 0 … 99999.
NUMBERS = """
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count - 1),
    jobs_made (n, h, ms) AS (
        SELECT n, (n * 2654435761) % 4294967296 % 100000, :from_ms + n * :span_ms / :count FROM numbers)
"""
ID = "((ms - :epoch_ms) << 22 | n % 4096)"
STATE = "CASE h % 100 WHEN 97 THEN 11 WHEN 98 THEN 12 WHEN 99 THEN 13 ELSE 10 END"
RED = "(h / 100 % 100 = 0)"
NEEDLE = "(h < 10)"

JOBS = NUMBERS + f"""
INSERT INTO jobs (id, queue, task, priority, max_attempts, timeout_ms, grace_ms, options, tags, args)
SELECT {ID}, CASE WHEN h / 100 < 900 THEN 'bulk' WHEN h / 100 < 997 THEN 'mail' ELSE 'rare' END,
    CASE h % 4 WHEN 0 THEN 'resize' WHEN 1 THEN 'send' WHEN 2 THEN 'index' ELSE 'noop' END,
    5, 3, 3600000, 5000,
    CASE WHEN h % 10 = 7 THEN CAST(x'82000101ab' || printf('customer%03d', h / 10 % 100) AS BLOB) END,
    CASE WHEN {NEEDLE} AND {RED} THEN x'92a3726564a66e6565646c65' WHEN {RED} THEN x'91a3726564'
        WHEN {NEEDLE} THEN x'91a66e6565646c65' END,
    CAST(x'81a474657874d960' || printf('%096d', n) AS BLOB)
FROM jobs_made
"""

# The failed ones have evidence; some with a long tail of stderr.
CODES = """CASE h / 1000 % 4 WHEN 0 THEN x'82a4636f6465ab7461736b5f6661696c6564'
    WHEN 1 THEN x'82a4636f6465a974696d65645f6f7574' WHEN 2 THEN x'82a4636f6465a762616461726773'
    ELSE x'82a4636f6465a763726173686564' END"""
ENDS = NUMBERS + f"""
INSERT INTO ends (id, state, attempt, failures, crashes, deaths, due_ms, host, begun_at_ms,
    finished_at_ms, run_us, last_attempt, purge_at_ms, error, result)
SELECT {ID}, {STATE}, 1, h % 100 = 97, 0, 0, ms,
    CASE WHEN h % 100 < 98 THEN :host + h / 7 % 16 ELSE 0 END, ms + 2, ms + 10, 8000, 1,
    CASE WHEN h % 100 = 97 THEN ms + 604800000 ELSE 0 END,
    CASE WHEN h % 100 = 97 THEN CAST({CODES} || x'a76d657373616765' || CASE WHEN h / 4000 % 8 = 0
        THEN x'da0800' || printf('%02048d', n) ELSE x'b0' || printf('%016d', n) END AS BLOB) END,
    CASE WHEN h % 100 < 97 THEN x'cd04d2' END
FROM jobs_made
"""

TAGS = NUMBERS + f"""
INSERT INTO tags (tag, id) SELECT tag, {ID}
FROM jobs_made JOIN (SELECT 'red' AS tag UNION ALL SELECT 'needle')
WHERE ({RED} AND tag = 'red') OR ({NEEDLE} AND tag = 'needle') ORDER BY tag
"""

COUNTS = """
INSERT OR REPLACE INTO counts (queue, scheduled, queued, dispatched, running, succeeded, failed, cancelled,
    expired)
SELECT j.queue, 0, 0, 0, 0, sum(e.state = 10), sum(e.state = 11), sum(e.state = 12), sum(e.state = 13)
FROM ends e JOIN jobs j ON j.id = e.id GROUP BY j.queue
"""


def fill(path, count):
    """Puts `count` finished jobs into an otherwise empty database."""
    db = sqlite3.connect(path, isolation_level=None)
    values = {"count": count, "span_ms": SPAN_MS, "epoch_ms": EPOCH_MS, "host": HOST,
              "from_ms": int(time.time() * 1000) - SPAN_MS - 60000}
    db.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; PRAGMA temp_store = MEMORY;"
                     "PRAGMA journal_mode = MEMORY;")
    for statement in (JOBS, ENDS, TAGS, COUNTS):
        db.execute("BEGIN")
        db.execute(statement, {k: v for k, v in values.items() if f":{k}" in statement})
        db.execute("COMMIT")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]))
