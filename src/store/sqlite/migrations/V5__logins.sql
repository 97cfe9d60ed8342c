-- A family of a login: what the person did, and the front-end's session that it belongs to.
ALTER TABLE family ADD COLUMN login TEXT;
ALTER TABLE family ADD COLUMN session TEXT;

CREATE INDEX family_by_session ON family (session) WHERE session IS NOT NULL;

-- What front-ends decide on, and what became of it. Handles and codes are SHA-256 of what travels.
CREATE TABLE login (
    handle                BLOB    NOT NULL PRIMARY KEY CHECK (length(handle) = 32),
    kind                  TEXT    NOT NULL CHECK (kind IN ('authorization', 'device', 'logout')),
    client_id             TEXT    NOT NULL,
    request               TEXT    NOT NULL,
    user_code             BLOB    UNIQUE CHECK (length(user_code) = 32),
    created_at            INTEGER NOT NULL,
    expires_at            INTEGER NOT NULL,
    interval_seconds      INTEGER NOT NULL,
    polled_at             INTEGER,
    state                 TEXT    NOT NULL CHECK (state IN ('pending', 'refused', 'accepted')),
    error                 TEXT,
    code                  BLOB    UNIQUE CHECK (length(code) = 32),
    granted               TEXT,
    code_expires_at       INTEGER,
    used_fid              BLOB    CHECK (length(used_fid) = 16),
    used_jti              BLOB    CHECK (length(used_jti) = 16),
    used_token_expires_at INTEGER,
    forgotten_at          INTEGER NOT NULL
) STRICT;

CREATE INDEX login_by_end ON login (forgotten_at);

-- Requests that clients pushed (RFC 9126).
CREATE TABLE pushed_request (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    client_id  TEXT    NOT NULL,
    request    TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX pushed_request_by_end ON pushed_request (expires_at);

-- How many of each wait that strangers can make: counting the rows would cost the more the more there are.
CREATE TABLE waiting (
    name  TEXT    NOT NULL PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO waiting (name, count) VALUES ('login', 0), ('pushed_request', 0);

CREATE TRIGGER login_begun AFTER INSERT ON login WHEN new.state = 'pending' BEGIN
    UPDATE waiting SET count = count + 1 WHERE name = 'login';
END;

CREATE TRIGGER login_decided AFTER UPDATE OF state ON login WHEN old.state = 'pending' AND new.state <> 'pending' BEGIN
    UPDATE waiting SET count = count - 1 WHERE name = 'login';
END;

CREATE TRIGGER login_removed AFTER DELETE ON login WHEN old.state = 'pending' BEGIN
    UPDATE waiting SET count = count - 1 WHERE name = 'login';
END;

CREATE TRIGGER request_pushed AFTER INSERT ON pushed_request BEGIN
    UPDATE waiting SET count = count + 1 WHERE name = 'pushed_request';
END;

CREATE TRIGGER request_removed AFTER DELETE ON pushed_request BEGIN
    UPDATE waiting SET count = count - 1 WHERE name = 'pushed_request';
END;
