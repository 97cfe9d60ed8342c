-- What PostgreSQL, CockroachDB and YugabyteDB all have. A handle is 128 random bits, which is what the type uuid
-- holds; nobody reads a version out of it. Columns of fixed width come first, so that none is padded.
CREATE TABLE family (
    fid           uuid    NOT NULL PRIMARY KEY,
    generation    bigint  NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),
    created_at    bigint  NOT NULL,
    last_used_at  bigint  NOT NULL,
    expires_at    bigint  NOT NULL,
    superseded_at bigint,
    revoked_at    bigint,
    current_used  boolean NOT NULL,
    client_id     text    NOT NULL,
    subject       text    NOT NULL,
    scope         text    NOT NULL
);

CREATE INDEX family_by_end ON family (expires_at);

-- Operators list and revoke by client and by subject. No index has a column that a redemption changes.
CREATE INDEX family_by_client ON family (client_id);
CREATE INDEX family_by_subject ON family (subject);

-- Access tokens that were revoked one by one; each row until its token ends by itself.
CREATE TABLE revoked_token (
    jti        uuid   NOT NULL PRIMARY KEY,
    expires_at bigint NOT NULL
);

CREATE INDEX revoked_token_by_end ON revoked_token (expires_at);

-- One row that readiness probes write to: a write that changes nothing proves nothing.
CREATE TABLE probe (
    id    integer NOT NULL PRIMARY KEY CHECK (id = 1),
    count bigint  NOT NULL
);

INSERT INTO probe (id, count) VALUES (1, 0);
