-- A family of a login: what the person did, and the front-end's session that it belongs to.
ALTER TABLE family ADD COLUMN login text;
ALTER TABLE family ADD COLUMN session text;

CREATE INDEX family_by_session ON family (session) WHERE session IS NOT NULL;

-- What front-ends decide on, and what became of it. Handles and codes are SHA-256 of what travels.
CREATE TABLE login (
    created_at            bigint NOT NULL,
    expires_at            bigint NOT NULL,
    forgotten_at          bigint NOT NULL,
    interval_seconds      bigint NOT NULL,
    polled_at             bigint,
    code_expires_at       bigint,
    used_token_expires_at bigint,
    used_fid              uuid,
    used_jti              uuid,
    handle                bytea  NOT NULL PRIMARY KEY CHECK (length(handle) = 32),
    user_code             bytea  UNIQUE CHECK (length(user_code) = 32),
    code                  bytea  UNIQUE CHECK (length(code) = 32),
    kind                  text   NOT NULL CHECK (kind IN ('authorization', 'device', 'logout')),
    state                 text   NOT NULL CHECK (state IN ('pending', 'refused', 'accepted')),
    client_id             text   NOT NULL,
    request               text   NOT NULL,
    error                 text,
    granted               text
);

CREATE INDEX login_by_end ON login (forgotten_at);

-- Requests that clients pushed (RFC 9126).
CREATE TABLE pushed_request (
    expires_at bigint NOT NULL,
    id         bytea  NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    client_id  text   NOT NULL,
    request    text   NOT NULL
);

CREATE INDEX pushed_request_by_end ON pushed_request (expires_at);

-- How many of each wait that strangers can make, in rows that are changed with them: two that begin one at once, each
-- as the last one for which there is room, wait for each other here.
CREATE TABLE waiting (
    name  text   NOT NULL PRIMARY KEY,
    count bigint NOT NULL
);

INSERT INTO waiting (name, count) VALUES ('login', 0), ('pushed_request', 0);
