//! What a proof costs by itself: the steps of the mint, one after the other, in one thread and without HTTP.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use mintkeep::config::Config;
use mintkeep::jose::foreign::{PresentedForeignJws, VerificationKey};
use serde_json::{Value, json};

use crate::proofs::{ISSUER, MANY_POLICIES, Signer, configure};
use crate::report::median;

/// Of one step.
const SPAN: Duration = Duration::from_millis(300);

/// Microseconds of each step, in each round.
#[derive(Default)]
pub struct Verification(BTreeMap<&'static str, Vec<f64>>);

impl Verification {
    pub fn measure(&mut self, state: &Path) {
        let (signer, issuer) = (Signer::new(), crate::mint::issuer(state));
        let assertion = signer.assertion(&issuer, "a-name-of-32-characters-in-all-");
        let proof = signer.proof(&issuer, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "a-name-of-32-characters-in-all-");
        let token = signer.trusted_token(&issuer);
        let jwk = signer.jwk();
        let key = VerificationKey::from_jwk(&jwk).expect("a key");
        let jws = PresentedForeignJws::parse(&assertion).expect("a JWS");
        self.time("1. an assertion taken apart, with its claims", || {
            PresentedForeignJws::parse(&assertion).and_then(|jws| jws.claims()).is_ok()
        });
        self.time("2. a proof taken apart, with its claims", || {
            PresentedForeignJws::parse_with_embedded_key(&proof).and_then(|jws| jws.claims()).is_ok()
        });
        self.time("3. the key of a proof", || VerificationKey::from_jwk(&jwk).is_ok());
        self.time("4. an ES256 signature verified", || key.verify(&jws).is_ok());
        self.time("5. another issuer's token taken apart, with its claims", || {
            PresentedForeignJws::parse(&token).and_then(|jws| jws.claims()).is_ok()
        });
        let path = state.join("policies.toml");
        let tables = configure(state, &signer, MANY_POLICIES);
        let config = std::fs::read_to_string(state.join("mintkeep.toml")).expect("dev wrote it");
        std::fs::write(&path, format!("{config}{tables}")).expect("the folder is writable");
        let policies = Config::load(&path).expect("a good configuration").trust;
        let claims = PresentedForeignJws::parse(&token).and_then(|jws| jws.claims()).expect("claims");
        self.time("6. its policy found among 10,000", || {
            policies.find(ISSUER, &claims.all, &claims.aud, None).is_some()
        });
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn time(&mut self, name: &'static str, step: impl Fn() -> bool) {
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < SPAN {
            for _ in 0..100 {
                assert!(black_box(step()), "{name}");
            }
            count += 100;
        }
        self.0.entry(name).or_default().push(start.elapsed().as_secs_f64() * 1e6 / f64::from(count));
    }

    pub fn write_table(&self, text: &mut String) {
        text.push_str("\n| a step of the mint, in one thread | µs |\n|---|---:|\n");
        for (name, times) in &self.0 {
            let _ = writeln!(text, "| {name} | {:.1} |", median(times.iter().copied()));
        }
    }

    pub fn json(&self) -> Value {
        json!(self.0)
    }
}
