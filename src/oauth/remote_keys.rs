//! Stub.
use crate::jose::foreign::{ForeignKeySet, NotVerified, PresentedForeignJws};
/// Keys.
#[derive(Debug)]
pub struct RemoteKeys(ForeignKeySet);
impl RemoteKeys {
    /// Verify.
    pub async fn verify(&self, jws: &PresentedForeignJws<'_>) -> Result<(), KeysError> {
        self.0.verify(jws).map(drop).map_err(KeysError)
    }
}
/// Error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(NotVerified);
impl KeysError {
    /// Temporary.
    pub fn is_temporary(&self) -> bool {
        false
    }
}
