-- The life of each key: the states that it came into, and when. A key without a public half is an AES key.
CREATE TABLE mint_key (
    kid          TEXT    NOT NULL PRIMARY KEY,
    role         TEXT    NOT NULL CHECK (role IN ('signing', 'sealing')),
    device       TEXT    NOT NULL,
    public_key   BLOB    CHECK (length(public_key) = 65),
    found_at     INTEGER NOT NULL,
    published_at INTEGER,
    activated_at INTEGER,
    retired_at   INTEGER,
    removed_at   INTEGER,
    is_revoked   INTEGER NOT NULL,
    needed_until INTEGER NOT NULL,
    uses         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
