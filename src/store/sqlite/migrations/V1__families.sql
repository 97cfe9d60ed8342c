-- A family is found by its handle alone, so that is the table's order; no second copy in an index.
CREATE TABLE family (
    fid           BLOB    NOT NULL PRIMARY KEY,
    client_id     TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    generation    INTEGER NOT NULL,
    current_used  INTEGER NOT NULL,
    superseded_at INTEGER,
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    revoked_at    INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX family_by_end ON family (expires_at);

-- One row that readiness probes write to: a write that changes nothing is not written at all.
CREATE TABLE probe (
    id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL
) STRICT;

INSERT INTO probe (id, count) VALUES (1, 0);
