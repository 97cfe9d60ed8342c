use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use toml_edit::value;

use crate::support::running::{basic, form};
use crate::support::{Deployment, SERVICE, WORKLOAD, jose};

const OPENINGS: &str = "mintkeep_keeper_openings_requested_total";

#[test]
fn a_refresh_token_is_traded_for_an_access_token_and_its_successor() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let first = deployment.grant();
    let answer = mint.refresh(&first);
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer", "{body}");
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["scope"], "read:metrics write:deployments");
    let claims = jose::verified(&mint, &answer.text("access_token"), "https://api.example.com");
    assert_eq!(claims["sub"], "deploy@example.com");
    assert_eq!(claims["client_id"], WORKLOAD);
    let second = answer.text("refresh_token");
    assert_ne!(first, second);
    let next = jose::verified(&mint, &mint.refresh(&second).text("access_token"), "https://api.example.com");
    assert_eq!(claims["sid"], next["sid"], "both are of one family");
}

#[test]
fn the_token_is_an_envelope_that_tells_its_family_and_its_key_and_nothing_else() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let token = deployment.grant();
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 5);
    assert_eq!(parts[1], "", "alg dir has no encrypted key (RFC 7518 §4.5)");
    let header: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let mut members: Vec<&String> = header.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["alg", "enc", "fid", "kid"]);
    assert_eq!((header["alg"].as_str(), header["enc"].as_str()), (Some("dir"), Some("A256GCM")));
    let kids: Vec<String> = deployment.run_json(&["keys", "list"])["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(header["kid"], kids[1].as_str());
    drop(mint);
}

#[test]
fn a_lost_answer_is_given_again() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let first = deployment.grant();
    let lost = mint.refresh(&first).text("refresh_token");
    let again = mint.refresh(&first).text("refresh_token");
    // Both are the same generation: whichever the client kept works, and the other is then a retry of it.
    let next = mint.refresh(&again).text("refresh_token");
    mint.refresh(&lost).text("refresh_token");
    mint.refresh(&next).text("access_token");
}

#[test]
fn a_replayed_token_ends_the_family_of_a_public_client() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let stolen = deployment.grant();
    let second = mint.refresh(&stolen).text("refresh_token");
    let third = mint.refresh(&second).text("refresh_token");
    mint.refresh(&stolen).assert_error(400, "invalid_grant");
    // The thief and the client are told apart by nobody: both are out.
    mint.refresh(&third).assert_error(400, "invalid_grant");
    mint.wait_for("a refresh token was replayed");
    let other = deployment.grant();
    mint.refresh(&other).text("access_token");
}

#[test]
fn concurrent_callers_converge_on_one_generation() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let first = deployment.grant();
    let answers: Vec<String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16).map(|_| scope.spawn(|| mint.refresh(&first).text("refresh_token"))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().collect::<HashSet<_>>().len(), 16, "each is sealed afresh");
    // Had there been two branches, the second of these would be a replay.
    mint.refresh(&answers[0]).text("access_token");
    mint.refresh(&answers[15]).text("access_token");
}

#[test]
fn garbage_is_an_invalid_grant_and_costs_no_hardware_call() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let good = deployment.grant();
    let parts: Vec<&str> = good.split('.').collect();
    let with_header =
        |header: &str| format!("{}..{}.{}.{}", URL_SAFE_NO_PAD.encode(header), parts[2], parts[3], parts[4]);
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let fid = header.split("\"fid\":\"").nth(1).unwrap()[..22].to_owned();
    let unknown_family = with_header(&header.replace(&fid, "AAAAAAAAAAAAAAAAAAAAAA"));
    let made_up = [
        "x".to_owned(),
        "....".to_owned(),
        good[..good.len() / 2].to_owned(),
        good.rsplit_once('.').unwrap().0.to_owned(),
        format!("{good}.e30"),
        "A".repeat(15_000),
        with_header("{}"),
        with_header(&header.replace("A256GCM", "A128GCM")),
        with_header(&header.replace("\"dir\"", "\"none\"")),
        with_header(&header.replacen('{', "{\"zip\":\"DEF\",", 1)),
        unknown_family,
        with_header(&header.replace("\"kid\":\"", "\"kid\":\"A")),
        with_header(&format!("{header} ")),
        mint.client_credentials().text("access_token"),
    ];
    let before = mint.metric(OPENINGS);
    for token in &made_up {
        mint.refresh(token).assert_error(400, "invalid_grant");
    }
    assert_eq!(mint.metric(OPENINGS), before);
    // Readable, and of a living family: this one has to be opened, and is not authentic.
    let other_tag = if parts[4].starts_with('A') { "B" } else { "A" }.to_owned() + &parts[4][1..];
    let not_authentic = format!("{}..{}.{}.{other_tag}", parts[0], parts[2], parts[3]);
    mint.refresh(&not_authentic).assert_error(400, "invalid_grant");
    assert_eq!(mint.metric(OPENINGS), before + 1);
    mint.refresh(&good).text("access_token");
}

#[test]
fn every_flipped_bit_makes_the_token_invalid_and_ends_nothing() {
    let deployment = Deployment::new();
    deployment.allow_failed_attempts();
    let mint = deployment.serve();
    let good = deployment.grant();
    let parts: Vec<&str> = good.split('.').collect();
    for (index, name) in [(2, "nonce"), (3, "ciphertext"), (4, "tag")] {
        let mut bytes = URL_SAFE_NO_PAD.decode(parts[index]).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = URL_SAFE_NO_PAD.encode(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut changed = parts.clone();
            changed[index] = &flipped;
            let answer = mint.refresh(&changed.join("."));
            assert_eq!(answer.status, 400, "{name}, bit {bit}: {answer:?}");
            answer.assert_error(400, "invalid_grant");
        }
    }
    mint.refresh(&good).text("access_token");
}

#[test]
fn a_token_moved_to_another_family_does_not_open() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let (ours, theirs) = (deployment.grant(), deployment.grant());
    let (our_parts, their_parts): (Vec<&str>, Vec<&str>) = (ours.split('.').collect(), theirs.split('.').collect());
    let moved = [their_parts[0], "", our_parts[2], our_parts[3], our_parts[4]].join(".");
    mint.refresh(&moved).assert_error(400, "invalid_grant");
    mint.refresh(&ours).text("access_token");
    mint.refresh(&theirs).text("access_token");
}

#[test]
fn a_token_of_another_deployment_does_not_open() {
    let (ours, theirs) = (Deployment::new(), Deployment::new());
    let mint = ours.serve();
    mint.refresh(&theirs.grant()).assert_error(400, "invalid_grant");
}

#[test]
fn another_client_cannot_use_it_nor_hurt_it() {
    let deployment = Deployment::new();
    deployment.add_client(
        "id = \"other\"\nauthentication = \"none\"\ngrants = [\"refresh_token\"]\nscope = \"read:metrics\"\naudience = \"https://a.example\"",
    );
    let mint = deployment.serve();
    let token = deployment.grant();
    let before = mint.metric(OPENINGS);
    mint.refresh_of("other", &token).assert_error(400, "invalid_grant");
    assert_eq!(mint.metric(OPENINGS), before, "the record says whose it is");
    mint.refresh(&token).text("access_token");
}

#[test]
fn a_confidential_client_keeps_its_token_and_a_replay_against_it_ends_nothing() {
    let deployment = Deployment::new();
    deployment.edit(|config| {
        let service = config["client"].as_array_of_tables_mut().unwrap().get_mut(1).unwrap();
        service["grants"] = ["client_credentials", "refresh_token"].into_iter().collect::<toml_edit::Array>().into();
    });
    let token = deployment.grant_to(SERVICE);
    let mint = deployment.serve();
    let request = form(&[("grant_type", "refresh_token"), ("refresh_token", &token)]);
    for _ in 0..3 {
        let answer = mint.post_form(&[&mint.basic()], &request);
        answer.text("access_token");
        assert!(answer.json().get("refresh_token").is_none(), "bound to its authentication, it is not rotated");
    }
    drop(mint);
    deployment.edit(|config| {
        let service = config["client"].as_array_of_tables_mut().unwrap().get_mut(1).unwrap();
        service["rotation"] = value("always");
    });
    let mint = deployment.serve();
    let present = |token: &str| {
        let request = form(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
        mint.post_form(&[&basic(SERVICE, &deployment.secret)], &request)
    };
    let second = present(&token).text("refresh_token");
    let third = present(&second).text("refresh_token");
    present(&token).assert_error(400, "invalid_grant");
    present(&third).text("access_token");
}

#[test]
fn the_scope_narrows_for_one_access_token_and_stays_in_the_family() {
    let deployment = Deployment::new();
    let mint = deployment.serve();
    let ask = |token: &str, scope: &str| {
        mint.post_form(
            &[],
            &form(&[
                ("grant_type", "refresh_token"),
                ("client_id", WORKLOAD),
                ("refresh_token", token),
                ("scope", scope),
            ]),
        )
    };
    let first = deployment.grant();
    ask(&first, "read:metrics admin").assert_error(400, "invalid_scope");
    let narrowed = ask(&first, "read:metrics");
    assert_eq!(narrowed.json()["scope"], "read:metrics", "{narrowed:?}");
    let claims = jose::verified(&mint, &narrowed.text("access_token"), "https://api.example.com");
    assert_eq!(claims["scope"], "read:metrics");
    let all = mint.refresh(&narrowed.text("refresh_token"));
    assert_eq!(all.json()["scope"], "read:metrics write:deployments", "RFC 6749 §6");
}

#[test]
fn a_family_ends_by_age_and_by_idleness_and_that_is_no_theft() {
    let deployment = Deployment::new();
    deployment.edit(|config| {
        let workload = config["client"].as_array_of_tables_mut().unwrap().get_mut(0).unwrap();
        workload["refresh_token_lifetime"] = value("1h");
        workload["refresh_token_idle_lifetime"] = value("2s");
    });
    let mint = deployment.serve();
    let idle = deployment.grant();
    let mut used = deployment.grant();
    let end = std::time::Duration::from_millis(3_500);
    let mut slept = std::time::Duration::ZERO;
    while slept < end {
        used = mint.refresh(&used).text("refresh_token");
        let pause = std::time::Duration::from_millis(500);
        std::thread::sleep(pause);
        slept += pause;
    }
    mint.refresh(&idle).assert_error(400, "invalid_grant");
    mint.refresh(&used).text("access_token");
    assert!(!mint.log().contains("replayed"), "{}", mint.log());
}

#[test]
fn the_retry_window_ends() {
    let deployment = Deployment::new();
    deployment.edit(|config| config["tokens"]["retry_window"] = value("1s"));
    let mint = deployment.serve();
    let first = deployment.grant();
    let second = mint.refresh(&first).text("refresh_token");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    mint.refresh(&first).assert_error(400, "invalid_grant");
    mint.refresh(&second).assert_error(400, "invalid_grant");
}

#[test]
fn a_family_ends_with_its_lifetime_and_its_access_tokens_with_it() {
    let deployment = Deployment::new();
    deployment.edit(|config| {
        let workload = config["client"].as_array_of_tables_mut().unwrap().get_mut(0).unwrap();
        workload["refresh_token_lifetime"] = value("2m");
    });
    let mint = deployment.serve();
    let answer = mint.refresh(&deployment.grant());
    let claims = jose::verified(&mint, &answer.text("access_token"), "https://api.example.com");
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!(lifetime <= 120, "the access token does not outlive its family: {lifetime} s");
    assert_eq!(answer.json()["expires_in"], lifetime, "expires_in says the truth");
}
