//! `mintkeep keys attest` and `keys verify-attestation`. The first asks the running mint, because the hardware is
//! its, or the device where none runs; the second needs neither, and no device.

use std::fs;
use std::path::Path;

use super::{Failure, Kind, admin_client, device, environment, keys, public_key_file};
use crate::config::{Config, Hardware};
use crate::entropy::{Entropy, SystemEntropy};
use crate::hardware::attestation::{Attestation, Expected, Flaw, Nonce, Verified};
use crate::hardware::{Error, PinTrust, Provenance};
use crate::http::admin::attestation::{ATTESTATIONS_PATH, AttestationRequest, path_of_key};

/// Which keys, and what for.
#[derive(Debug)]
pub struct Wanted {
    /// That one; all where it is left out.
    pub kid: Option<String>,
    /// What whoever will check it made up.
    pub nonce: Nonce,
}

impl Wanted {
    /// The key `kid`, or all; with a nonce made now where whoever will check it sent none.
    ///
    /// # Errors
    /// [`Failure`] of the nonce.
    pub fn new(kid: Option<String>, nonce: Option<&str>) -> Result<Self, Failure> {
        let random: &dyn Entropy = &SystemEntropy::new();
        let nonce = match nonce {
            Some(text) => parse_nonce(text)?,
            None => Nonce::new(&random.bytes::<32>()).map_err(refused)?,
        };
        Ok(Self { kid, nonce })
    }
}

/// Evidence of the keys that are `wanted`; `None` where no mint runs.
///
/// # Errors
/// [`Failure`].
pub async fn through_mint(config: &Config, wanted: &Wanted) -> Result<Option<Vec<Attestation>>, Failure> {
    let request = AttestationRequest { nonce: wanted.nonce.clone() };
    let query = serde_urlencoded::to_string(&request).map_err(Failure::while_doing("cannot write the request"))?;
    match &wanted.kid {
        Some(kid) => {
            let path = format!("{}?{query}", path_of_key(kid));
            Ok(admin_client::get(&config.listen.admin, &path).await?.map(|document| vec![document]))
        }
        None => admin_client::get(&config.listen.admin, &format!("{ATTESTATIONS_PATH}?{query}")).await,
    }
}

/// Evidence of the keys that are `wanted`, from the device called `name`, or the only one, itself.
///
/// # Errors
/// [`Failure`].
pub fn on_device(config: &Config, name: Option<&str>, wanted: &Wanted) -> Result<Vec<Attestation>, Failure> {
    let hardware = device::only(config, name)?;
    environment::ensure(hardware.environment())?;
    device::within(keys::patience(config), hardware, || attest_on(hardware, wanted))
}

fn attest_on(hardware: &Hardware, wanted: &Wanted) -> Result<Vec<Attestation>, Failure> {
    let (clock, entropy) = keys::system();
    let device = device::open(hardware, PinTrust::Unproven, &mut |_| {}, &clock, &entropy)?;
    let mut session = device.open_session()?;
    let kids: Vec<String> = match &wanted.kid {
        Some(kid) => vec![kid.clone()],
        None => device.keys().kids().collect(),
    };
    let attest = |kid: String| match session.attest(&kid, &wanted.nonce, clock.now()) {
        // An operator may mistype it, which is no fault.
        Err(Error::UnknownKey(kid)) => {
            Err(Failure::new(Kind::Refused, format!("the device has no key {kid}; see `mintkeep keys list`")))
        }
        outcome => outcome.map_err(Failure::from),
    };
    let documents = kids.into_iter().map(attest).collect();
    drop(session);
    device.close();
    documents
}

/// What whoever checks a document knows beforehand, as the command line says it.
///
/// # Errors
/// [`Failure`] of the nonce, or of the file that has the attestation key.
pub fn expected(
    nonce: Option<&str>,
    attestation_key: Option<&Path>,
    provenance: Provenance,
) -> Result<Expected, Failure> {
    let nonce = nonce.map(parse_nonce).transpose()?;
    let attestation_key = attestation_key.map(public_key_file::read).transpose()?;
    Ok(Expected { nonce, attestation_key, provenance })
}

/// Checks the document, or the list of documents, in the file at `path`. One with a flaw is a refusal of all.
///
/// # Errors
/// [`Failure`] of the file, or the flaw.
pub fn verify(path: &Path, expected: &Expected) -> Result<Vec<Verified>, Failure> {
    let shown = path.display();
    let text = fs::read(path).map_err(Failure::while_doing(format!("cannot read {shown}")))?;
    let documents = match text.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(&text).map_err(|error| refused(Flaw::Document(error.to_string())))?,
        _ => vec![Attestation::parse(&text).map_err(refused)?],
    };
    if documents.is_empty() {
        return Err(refused(Flaw::Document("it is an empty list".to_owned())));
    }
    documents.iter().map(|document| document.verify(expected).map_err(refused)).collect()
}

fn parse_nonce(text: &str) -> Result<Nonce, Failure> {
    Nonce::parse(text).map_err(|flaw| Failure::new(Kind::Refused, format!("--nonce: {flaw}")))
}

fn refused(flaw: Flaw) -> Failure {
    Failure::new(Kind::Refused, format!("refusing the evidence: {flaw}"))
}
