//! The way to the keepers, asked in the process that has it: what a mint does for a token, but for HTTP and its clients.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mintkeep::app::services::KeptKeys;
use mintkeep::cli::worker_threads;
use mintkeep::clock::{Clock as _, SystemClock};
use mintkeep::config::Config;
use mintkeep::jose::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims, Audience};
use mintkeep::jose::jws::SigningInput;
use mintkeep::keeper::policy::ACCESS_TOKEN_PROFILE;
use mintkeep::keeper::{KeeperError, Work};
use serde::{Deserialize, Serialize};

use super::{Outcome, SPAN, Tally, WARM_UP};
use crate::load::generated;
use crate::mint::{self, Changes};

/// As many share the device.
const CLIENTS: [&str; 4] = ["client-1", "client-2", "client-3", "client-4"];

/// A measurement to be made, by a process of its own.
#[derive(Deserialize, Serialize)]
struct Inside {
    config: PathBuf,
    per_second: f64,
}

pub fn offer(state: &Path, per_second: f64) -> Outcome {
    let (config, _) = mint::configure(state, true, &Changes::default());
    generated("inside", &Inside { config, per_second })
}

/// The process that [`offer`] starts. It has as many threads as a mint.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub fn generate() {
    let inside: Inside = serde_json::from_reader(std::io::stdin().lock()).expect("a pace in JSON");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(worker_threads()).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let config = Config::load(&inside.config).expect("a good configuration");
        let kept = KeptKeys::start(&inside.config, &config).await.expect("the keeper starts");
        let told = kept.keepers.members()[0].keeper.public_keys().expect("the keeper told them");
        let asker =
            Arc::new(Asker { kept, issuer: config.issuer.as_str().to_owned(), kids: vec![told.keys.signing[0].kid()] });
        let tally = Arc::new(Mutex::new(Tally::new()));
        let (start, mut number) = (Instant::now(), 0_u32);
        loop {
            let elapsed = start.elapsed();
            if elapsed > WARM_UP + SPAN {
                break;
            }
            while f64::from(number) / inside.per_second < elapsed.as_secs_f64() {
                let client = CLIENTS[number as usize % CLIENTS.len()];
                tokio::spawn(ask(Arc::clone(&asker), client, start, Arc::clone(&tally)));
                number += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Whoever waits still has no place in the figures.
        tally.lock().expect("no panic while it is held").print();
        std::process::exit(0);
    });
}

/// What all requests have in common.
struct Asker {
    kept: KeptKeys,
    issuer: String,
    kids: Vec<String>,
}

/// One request, whatever becomes of it.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn ask(asker: Arc<Asker>, client: &'static str, start: Instant, tally: Arc<Mutex<Tally>>) {
    let asked = Instant::now();
    let Asker { kept, issuer, kids } = &*asker;
    let now = SystemClock.now();
    let audience = Audience::One("https://api.example.com".to_owned());
    let input = |kid: &str| {
        let claims = AccessTokenClaims {
            iss: issuer,
            sub: client,
            aud: &audience,
            client_id: client,
            scope: "read:metrics",
            iat: now,
            exp: now.plus(Duration::from_secs(300)),
            jti: "AAAAAAAAAAAAAAAAAAAAAA",
            sid: None,
            cnf: None,
            act: None,
            auth_time: None,
            acr: None,
            amr: &[],
        };
        SigningInput::new(ACCESS_TOKEN_TYPE, kid, &claims)
    };
    let outcome = kept.keepers.sign_by_any(kids, client, Work::New, ACCESS_TOKEN_PROFILE, input).await.map(drop);
    let answered = Instant::now();
    if answered < start + WARM_UP || answered > start + WARM_UP + SPAN {
        return;
    }
    let mut tally = tally.lock().expect("no panic while it is held");
    tally.sent += 1;
    let times = match outcome {
        Ok(()) => &mut tally.tokens,
        Err(KeeperError::Congested { .. } | KeeperError::Busy | KeeperError::TimedOut) => &mut tally.refusals,
        Err(other) => panic!("{other}"),
    };
    times.record((answered - asked).as_micros().try_into().expect("microseconds")).expect("any value");
}
