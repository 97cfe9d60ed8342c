mod calls;
mod keys;
#[cfg(feature = "tpm")]
mod tpm;
