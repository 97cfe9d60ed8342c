mod attestation;
mod calls;
mod faulty;
mod keys;
mod pins;
#[cfg(feature = "tpm")]
mod tpm;
