-- Keys for front-ends have the role `delegated:NAME`: no list has all of them. A check cannot be changed, so the table
-- is made anew.
CREATE TABLE mint_key_with_names (
    kid          TEXT    NOT NULL PRIMARY KEY,
    role         TEXT    NOT NULL CHECK (role IN ('signing', 'sealing') OR role GLOB 'delegated:?*'),
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

INSERT INTO mint_key_with_names (kid, role, device, public_key, found_at, published_at, activated_at, retired_at,
                                 removed_at, is_revoked, needed_until, uses)
    SELECT kid, role, device, public_key, found_at, published_at, activated_at, retired_at,
           removed_at, is_revoked, needed_until, uses
      FROM mint_key;

DROP TABLE mint_key;

ALTER TABLE mint_key_with_names RENAME TO mint_key;
