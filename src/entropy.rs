//! Randomness as a value that is passed in. Nothing else in mintkeep draws random bytes.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// A source of unpredictable bytes: the system's generator, or a test's seeded one.
pub trait Entropy: Send + Sync {
    /// Overwrites `bytes` with random ones.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// AWS-LC's generator, seeded by the operating system.
#[derive(Debug)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// A handle to the process's generator.
    #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Predictable tokens would be worse than no tokens: without entropy there is no way on.
        self.0.fill(bytes).expect("the operating system provides random bytes");
    }
}
