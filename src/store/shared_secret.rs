//! Random values that all nodes have to share, such as the key of DPoP nonces.

/// A value and its name.
#[derive(Clone, Eq, PartialEq)]
pub struct SharedSecret {
    /// What it is for.
    pub name: String,
    /// The value that everybody uses.
    pub value: [u8; 32],
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedSecret({})", self.name)
    }
}
