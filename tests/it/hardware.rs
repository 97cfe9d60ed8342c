mod attestation;
mod calls;
mod contract;
mod faulty;
mod keys;
mod pins;
mod prompt;
mod sealing;
mod several;
#[cfg(feature = "tpm")]
mod persistent_in_tpm;
#[cfg(feature = "tpm")]
mod several_in_tpm;
#[cfg(feature = "tpm")]
mod tpm;
