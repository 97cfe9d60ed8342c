-- Access tokens that were revoked one by one; each row until its token ends by itself.
CREATE TABLE revoked_token (
    jti        BLOB    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_token_by_end ON revoked_token (expires_at);

-- Operators list and revoke by client and by subject.
CREATE INDEX family_by_client ON family (client_id);
CREATE INDEX family_by_subject ON family (subject);
