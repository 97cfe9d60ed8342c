//! `mintkeep keys`: its commands and their options.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ConfigFile, DeviceName, Format};
use crate::hardware::Role;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeysCommand {
    /// Generate the keys that the devices lack, such that they can never leave them
    Init {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        device: DeviceName,
        #[command(flatten)]
        format: Format,
    },
    /// List the keys and check them
    List {
        /// Try the PIN though the token remembers a wrong one: it was corrected
        #[arg(long)]
        pin_corrected: bool,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        device: DeviceName,
        #[command(flatten)]
        format: Format,
    },
    /// Write evidence of where keys live, in JSON: what the TPM certifies, or what the PKCS#11 module claims
    Attest {
        /// The key [default: all, as a list]
        // One in 64 begins with a hyphen; so may a nonce.
        #[arg(value_name = "KID", allow_hyphen_values = true)]
        kid: Option<String>,
        /// What whoever will check it made up: 8 to 32 bytes in base64url [default: made up now]
        #[arg(long, allow_hyphen_values = true)]
        nonce: Option<String>,
        /// Where to write it [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        device: DeviceName,
    },
    /// Check evidence that `keys attest` wrote, without any hardware, and say what it proves and what not
    VerifyAttestation {
        /// What `keys attest` wrote
        file: PathBuf,
        /// The nonce that was asked with: without it nobody knows how old the evidence is
        #[arg(long, allow_hyphen_values = true)]
        nonce: Option<String>,
        /// The TPM's attestation key, from when the machine was set up: PEM or JWK
        #[arg(long, value_name = "FILE")]
        attestation_key: Option<PathBuf>,
        /// Accept a key that may have been outside of the device
        #[arg(long)]
        allow_imported: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Tell the life of each key: pending, published, active, retired, removed
    States {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Publish the next keys; they take the place of the active ones when everybody knows them
    Rotate {
        /// The keys of this device only
        #[arg(long, value_name = "NAME")]
        device: Option<String>,
        /// The key of this role only: signing, sealing, or delegated: and the name of a signing profile
        #[arg(long, value_parser = role)]
        role: Option<Role>,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Take a key out of use while another one is active; what it made stays good until it ends
    Retire(KeyArguments),
    /// Remove a key that nothing depends on any more
    Remove(KeyArguments),
    /// Take a key out at once, in an emergency: what it made is worthless from now on
    Revoke(KeyArguments),
    /// Destroy a key in the device for good, after it was removed or revoked
    Destroy {
        /// The key's `kid`
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Do not ask the store whether the key is needed: where this user cannot
        #[arg(long)]
        unneeded: bool,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        device: DeviceName,
    },
}

#[derive(Args, Debug)]
pub(in crate::cli) struct KeyArguments {
    /// The key's `kid`
    // One in 64 begins with a hyphen.
    #[arg(allow_hyphen_values = true)]
    pub(in crate::cli) kid: String,
    #[command(flatten)]
    pub(in crate::cli) config: ConfigFile,
    #[command(flatten)]
    pub(in crate::cli) format: Format,
}

fn role(text: &str) -> Result<Role, &'static str> {
    Role::named(text).ok_or("expected signing, sealing, or delegated: and the name of a signing profile")
}
