//! The certificates of clients: any is taken in the handshake, and judged after it.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::oauth::certificate::{Malformed, PresentedCertificate};

/// Takes any certificate whose private key the client holds: which one is whose, its registration says
/// (RFC 8705 §2.2), and a client that needs none is not turned away for one.
#[derive(Debug)]
pub(super) struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    pub(super) fn verifier(provider: &CryptoProvider) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Self { algorithms: provider.signature_verification_algorithms })
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a client with a certificate of its own making would not send it where others are asked for.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match PresentedCertificate::parse(end_entity) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(Malformed) => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Who vouches for clients.
#[derive(Clone)]
pub(super) struct Authorities(Arc<dyn ClientCertVerifier>);

impl Authorities {
    /// # Errors
    /// What was expected, for the operator.
    pub(super) fn new(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        builder.build().map(Self).map_err(|error| error.to_string())
    }

    fn vouch_for(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let Some((leaf, between)) = chain.split_first() else { return false };
        self.0.verify_client_cert(leaf, between, now).is_ok()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorities")
    }
}

/// What the client presented, judged by `authorities` as of `now`. That is done for each connection: one that resumes
/// a session brings the certificate of the handshake before, which may have expired since.
///
/// # Errors
/// [`Malformed`].
pub(super) fn presented(
    chain: &[CertificateDer<'_>],
    authorities: Option<&Authorities>,
    now: UnixTime,
) -> Result<Option<Arc<PresentedCertificate>>, Malformed> {
    let Some(leaf) = chain.first() else { return Ok(None) };
    let mut certificate = PresentedCertificate::parse(leaf)?;
    certificate.is_trusted = authorities.is_some_and(|authorities| authorities.vouch_for(chain, now));
    Ok(Some(Arc::new(certificate)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        date_time_ymd,
    };

    use super::*;

    /// 2026-01-01 and 2026-07-01.
    const BEGIN: u64 = 1_767_225_600;
    const END: u64 = 1_782_864_000;

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    }

    fn client() -> CertificateParams {
        let mut parameters = CertificateParams::new(["client.example.com".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2026, 1, 1);
        parameters.not_after = date_time_ymd(2026, 7, 1);
        parameters
    }

    fn signed_by(parameters: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> CertificateDer<'static> {
        parameters.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    fn trusting(authority: &CertifiedIssuer<'static, KeyPair>) -> Authorities {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        Authorities::new(roots, &Arc::new(rustls::crypto::aws_lc_rs::default_provider())).unwrap()
    }

    fn is_trusted(chain: &[CertificateDer<'_>], authorities: Option<&Authorities>, seconds: u64) -> bool {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        presented(chain, authorities, now).unwrap().unwrap().is_trusted
    }

    #[test]
    fn a_certificate_is_trusted_where_it_chains_to_an_authority_now() {
        let ours = authority("ours");
        let authorities = trusting(&ours);
        let chain = [signed_by(&client(), &ours)];
        assert!(is_trusted(&chain, Some(&authorities), BEGIN));
        assert!(is_trusted(&chain, Some(&authorities), END));
        for seconds in [BEGIN - 1, END + 1] {
            assert!(!is_trusted(&chain, Some(&authorities), seconds), "{seconds}");
        }
        assert!(!is_trusted(&chain, None, BEGIN), "nobody vouches");
    }

    #[test]
    fn nobody_else_makes_a_certificate_trusted() {
        let (ours, theirs) = (authority("ours"), authority("ours"));
        let authorities = trusting(&ours);
        assert!(!is_trusted(&[signed_by(&client(), &theirs)], Some(&authorities), BEGIN), "of the same name");
        let own = client().self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        assert!(!is_trusted(&[own], Some(&authorities), BEGIN));
        // An authority behind one that is not its own does not help.
        let chain = [signed_by(&client(), &theirs), ours.der().clone()];
        assert!(!is_trusted(&chain, Some(&authorities), BEGIN));
        // A client's certificate is no authority.
        let key = KeyPair::generate().unwrap();
        let first = client().signed_by(&key, &ours).unwrap().der().clone();
        let second = signed_by(&client(), &Issuer::from_params(&client(), key));
        assert!(!is_trusted(&[second, first], Some(&authorities), BEGIN));
    }

    #[test]
    fn what_stands_between_an_authority_and_a_client_is_presented_by_it() {
        let root = authority("root");
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "between");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let between = CertifiedIssuer::signed_by(parameters, KeyPair::generate().unwrap(), &root).unwrap();
        let leaf = signed_by(&client(), &between);
        let authorities = trusting(&root);
        assert!(is_trusted(&[leaf.clone(), between.der().clone()], Some(&authorities), BEGIN));
        assert!(!is_trusted(&[leaf], Some(&authorities), BEGIN));
    }

    #[test]
    fn a_certificate_for_servers_only_is_not_trusted() {
        let ours = authority("ours");
        for (purpose, expected) in
            [(ExtendedKeyUsagePurpose::ServerAuth, false), (ExtendedKeyUsagePurpose::ClientAuth, true)]
        {
            let mut parameters = client();
            parameters.extended_key_usages = vec![purpose];
            let chain = [signed_by(&parameters, &ours)];
            assert_eq!(is_trusted(&chain, Some(&trusting(&ours)), BEGIN), expected);
        }
    }

    #[test]
    fn a_malformed_certificate_ends_the_handshake() {
        let verifier = AnyCertificate::verifier(&rustls::crypto::aws_lc_rs::default_provider());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(END + 1));
        let own = client().self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        assert!(verifier.verify_client_cert(&own, &[], now).is_ok(), "expired, and of its own making");
        let cut = CertificateDer::from(own[..own.len() - 1].to_vec());
        let error = verifier.verify_client_cert(&cut, &[], now).unwrap_err();
        assert_eq!(error, Error::InvalidCertificate(CertificateError::BadEncoding));
        assert_eq!(presented(&[cut], None, now), Err(Malformed));
        assert_eq!(presented(&[], None, now), Ok(None));
    }
}
