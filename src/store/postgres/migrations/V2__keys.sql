-- The life of each key: the states that it came into, and when. A key without a public half is an AES key.
CREATE TABLE mint_key (
    kid          text    NOT NULL PRIMARY KEY,
    role         text    NOT NULL CHECK (role IN ('signing', 'sealing')),
    device       text    NOT NULL,
    public_key   bytea   CHECK (length(public_key) = 65),
    found_at     bigint  NOT NULL,
    published_at bigint,
    activated_at bigint,
    retired_at   bigint,
    removed_at   bigint,
    is_revoked   boolean NOT NULL,
    needed_until bigint  NOT NULL,
    uses         bigint  NOT NULL
);
