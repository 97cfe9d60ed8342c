-- The key that a family's refresh tokens are bound to: the SHA-256 thumbprint of RFC 7638.
ALTER TABLE family ADD COLUMN jkt BLOB CHECK (length(jkt) = 32);

-- What may be used once, and was; each row until it is good for nothing any more.
CREATE TABLE claimed (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX claimed_by_end ON claimed (expires_at);

-- Random values that were drawn once.
CREATE TABLE shared_secret (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL CHECK (length(value) = 32)
) STRICT, WITHOUT ROWID;

-- Clients that registered themselves (RFC 7591). Documents may be long, so the rows are not the tree of their names.
CREATE TABLE registered_client (
    client_id    TEXT    NOT NULL PRIMARY KEY,
    document     TEXT    NOT NULL,
    token_hash   BLOB    NOT NULL CHECK (length(token_hash) = 32),
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;
