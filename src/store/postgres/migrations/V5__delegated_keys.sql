-- Keys for front-ends have the role `delegated:NAME`: no list has all of them. The check has another name in other
-- databases that speak this protocol.
ALTER TABLE mint_key DROP CONSTRAINT IF EXISTS mint_key_role_check;
ALTER TABLE mint_key DROP CONSTRAINT IF EXISTS check_role;
ALTER TABLE mint_key ADD CONSTRAINT known_role CHECK (role IN ('signing', 'sealing') OR role LIKE 'delegated:_%');
