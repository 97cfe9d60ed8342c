//! A new key signs when everybody has fetched it.

use std::time::Duration;

use mintkeep::clock::{Clock as _, SystemClock};
use toml_edit::value;

use super::api::FetchKeysResponse;
use super::checks::{Seen, check_all};
use super::{Apiserver, apiserver, claims, deployment_with, profile};
use crate::support::jose::header_of;

/// How long the keys are kept here.
const HINT: Duration = Duration::from_secs(1);

/// A kube-apiserver that fetches the keys no sooner than it was told knows the key of each token that it has signed.
#[test]
fn a_key_is_fetched_before_it_signs() {
    let deployment = deployment_with(|config| {
        config["tokens"]["jwks_max_age"] = value("1s");
        profile(config, "publish_ahead", "1s");
        profile(config, "rotate_every", "2s");
        config["kubernetes"]["refresh_hint"] = value("1s");
    });
    let mint = deployment.serve();
    let apiserver = apiserver(&deployment, &mint);
    let first = kid(&apiserver);
    let mut seen = vec![apiserver.fetch_keys().unwrap()];
    loop {
        let keys = apiserver.fetch_keys().unwrap();
        assert_eq!(keys.refresh_hint_seconds, 1);
        let fetched_at = SystemClock.instant();
        let mut last = first.clone();
        while SystemClock.instant() - fetched_at < HINT {
            last = kid(&apiserver);
            assert!(keys.keys.iter().any(|key| key.key_id == last), "{last} signs, and was not fetched: {keys:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        seen.push(keys);
        if last != first {
            break;
        }
    }
    // Each of them is still fetched: tokens of the first one are about for an hour.
    let keys = apiserver.fetch_keys().unwrap();
    assert!(keys.keys.iter().any(|key| key.key_id == first), "{keys:?}");
    assert!(keys.keys.iter().all(|key| !key.exclude_from_oidc_discovery));
    seen.push(keys);
    for pair in seen.windows(2) {
        let [before, after] = pair else { unreachable!("of two") };
        let (had, has) = (kids(before), kids(after));
        // It changed where they did, and nowhere else.
        if had == has {
            assert_eq!(before.data_timestamp, after.data_timestamp);
        } else {
            let time = |keys: &FetchKeysResponse| keys.data_timestamp.unwrap().seconds;
            assert!(time(before) < time(after), "{before:?} {after:?}");
        }
    }
    assert_ne!(kids(&seen[0]), kids(seen.last().unwrap()));
    check_all(&Seen::by(&apiserver));
}

fn kid(apiserver: &Apiserver) -> String {
    let header = apiserver.sign(&claims(3600)).unwrap().header;
    header_of(&header)["kid"].as_str().unwrap().to_owned()
}

fn kids(keys: &FetchKeysResponse) -> Vec<&str> {
    keys.keys.iter().map(|key| key.key_id.as_str()).collect()
}
