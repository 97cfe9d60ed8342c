-- The key that a family's refresh tokens are bound to: the SHA-256 thumbprint of RFC 7638.
ALTER TABLE family ADD COLUMN jkt bytea CHECK (length(jkt) = 32);

-- What may be used once, and was; each row until it is good for nothing any more.
CREATE TABLE claimed (
    expires_at bigint NOT NULL,
    id         bytea  NOT NULL PRIMARY KEY CHECK (length(id) = 32)
);

CREATE INDEX claimed_by_end ON claimed (expires_at);

-- Random values that were drawn once. Names are in the order of their bytes, whatever the database's locale.
CREATE TABLE shared_secret (
    name  text COLLATE "C" NOT NULL PRIMARY KEY,
    value bytea            NOT NULL CHECK (length(value) = 32)
);

-- Clients that registered themselves (RFC 7591).
CREATE TABLE registered_client (
    created_at   bigint           NOT NULL,
    last_used_at bigint,
    client_id    text COLLATE "C" NOT NULL PRIMARY KEY,
    token_hash   bytea            NOT NULL CHECK (length(token_hash) = 32),
    document     text             NOT NULL
);

-- How many they are, in one row that is changed with them: two that register at once, each as the last one for whom
-- there is room, wait for each other here.
CREATE TABLE registered_client_count (
    id    integer NOT NULL PRIMARY KEY CHECK (id = 1),
    count bigint  NOT NULL
);

INSERT INTO registered_client_count (id, count) VALUES (1, 0);
