//! A mistake in the configuration: file, line, and what was probably meant; nothing else happens.

use crate::support::Deployment;
use crate::support::process::one_line_of_error;

/// What is said of the configuration with `old` replaced by `new`.
#[track_caller]
fn said(old: &str, new: &str) -> String {
    let deployment = Deployment::without_token();
    let text = deployment.config_text();
    assert!(text.contains(old), "{old} is not in {text}");
    let changed = text.replacen(old, new, 1);
    // Where lines were added, the wrong one is the second.
    let wrong = new.lines().nth(1).unwrap_or(new);
    let start = text.find(old).expect("it was found above");
    let offset = start + changed[start..].find(wrong).expect("it is in the text");
    let line = changed[..offset].matches('\n').count() + 1;
    std::fs::write(deployment.config_path(), &changed).unwrap();
    let error = one_line_of_error(&deployment.run(&["serve"]), 3);
    let place = format!("{}:{line}:", deployment.config_path().display());
    assert!(error.contains(&place), "{place} is not in {error}");
    assert!(!deployment.path("mintkeep.db").exists(), "nothing was made");
    error
}

#[track_caller]
pub(super) fn assert_said(old: &str, new: &str, expected: &str) {
    let error = said(old, new);
    assert!(error.contains(expected), "{expected:?} is not in {error}");
}

#[test]
fn a_misspelt_setting_is_named_with_the_one_that_was_meant() {
    assert_said("audience =", "audiance =", "did you mean `audience`?");
    assert_said("module =", "modul =", "did you mean `module`?");
    assert_said("[listen]\n", "[listen]\nadress = 1\n", "unknown field `adress`");
    assert_said("[store]", "[stor]", "did you mean `store`?");
    assert_said("kind = \"pkcs11\"", "kind = \"pkcs12\"", "did you mean `pkcs11`?");
    assert_said("\"refresh_token\"]", "\"refresh_tokens\"]", "did you mean `refresh_token`?");
    assert_said("authentication = \"none\"", "authentication = \"non\"", "did you mean `none`?");
    assert_said("{ file =", "{ fil =", "did you mean `file`?");
    assert_said("{ label =", "{ lable =", "did you mean `label`?");
}

#[test]
fn a_wrong_value_says_what_was_expected() {
    assert_said("https://mint.example.com", "http://mint.example.com", "expected an https URL");
    assert_said("https://mint.example.com", "https://mint.example.com/", "slash at its end");
    assert_said("https://mint.example.com", "https://mint.example.com/:tenant", "expected an https URL");
    assert_said("https://mint.example.com", "https://mint.example.com/a/*", "expected an https URL");
    for url in [" https://mint.example.com", "https:mint.example.com", "https://h/a/../b", "https://:pw@h", "https://H"]
    {
        assert_said("https://mint.example.com", url, "expected an https URL");
    }
    assert_said(
        "[listen]\n",
        "[listen]\ntrusted_proxies = [\"localhost\"]\n",
        "expected an address such as \"127.0.0.1\"",
    );
    assert_said("[store]", "[limits]\nfailed_attempts_per_source = 0\n[store]\n", "expected a nonzero u32");
    assert_said("[store]", "[limits]\nlogins_per_source = 0\n[store]\n", "expected a nonzero u32");
    assert_said("[store]", "[limits]\nlogin_per_source = 1\n[store]\n", "did you mean `logins_per_source`?");
    assert_said("sqlite:", "mysql:", "expected \"sqlite:PATH\"");
    assert_said(
        "[store]",
        "[tokens]\naccess_token_lifetime = \"5 parsecs\"\n[store]\n",
        "expected a duration such as \"5m\"",
    );
    assert_said("[store]", "[tokens]\naccess_token_lifetime = \"10y\"\n[store]\n", "expected at the most \"24h\"");
    assert_said("[store]", "[tokens]\nretry_window = \"always\"\n[store]\n", "\"unlimited\"");
    assert_said("\"read:metrics write:deployments\"", "\"read:metrics,write\\u0001\"", "expected scope values");
    assert_said("id = \"billing-service\"", "id = \"ci-cd-pipeline-runner\"", "another client has the id");
    assert_said("grants = [\"refresh_token\"]", "grants = []", "expected at least one grant");
    assert_said(
        "grants = [\"refresh_token\"]",
        "grants = [\"client_credentials\"]",
        "needs a client that authenticates",
    );
}

#[test]
fn the_limits_of_a_client_are_one_at_least() {
    let grants = "grants = [\"refresh_token\"]";
    for setting in ["requests_per_second", "concurrent_requests"] {
        assert_said(grants, &format!("{grants}\n{setting} = 0"), "expected a nonzero u32");
        assert_said(grants, &format!("{grants}\n{setting} = -1"), "expected a nonzero u32");
        assert_said(grants, &format!("{grants}\n{setting} = \"ten\""), "expected a nonzero u32");
    }
    assert_said(grants, &format!("{grants}\nrequest_per_second = 1"), "did you mean `requests_per_second`?");
    assert_said(grants, &format!("{grants}\nconcurent_requests = 1"), "did you mean `concurrent_requests`?");
}

#[test]
fn what_a_client_has_that_people_log_in_to_goes_together() {
    let grants = "grants = [\"refresh_token\"]";
    let code = "grants = [\"authorization_code\"]";
    let uri = "redirect_uris = [\"https://app.example.com/\"]";
    assert_said(grants, code, "expected redirect_uris: with the grant authorization_code");
    for (line, expected) in [
        (uri, "are for clients with the grant authorization_code; remove them"),
        ("require_pushed_authorization_requests = true", "are for clients with the grant authorization_code; remove"),
        ("backchannel_logout_uri = \"https://app.example.com/logout\"", "are for clients that people log in to"),
        ("post_logout_redirect_uris = [\"https://app.example.com/\"]", "are for clients that people log in to"),
    ] {
        assert_said(grants, &format!("{line}\n{grants}"), expected);
    }
    for (text, expected) in [
        ("http://app.example.com/", "expected https, http at a loopback host"),
        ("https://app.example.com/#part", "expected no fragment"),
        ("https://user@app.example.com/", "expected no user and no password"),
        ("https://APP.example.com/", "expected an absolute URI in its normal form"),
        ("https://app.example.com/?state=a", "expected a query without code, state"),
        ("https://*.example.com/", "expected no \"*\""),
    ] {
        assert_said(grants, &format!("{code}\nredirect_uris = [\"{text}\"]"), expected);
        assert_said(grants, &format!("{code}\npost_logout_redirect_uris = [\"{text}\"]\n{uri}"), expected);
    }
    for text in ["http://app.example.com/logout", "https://app.example.com/#part", "https://a@app.example.com/", "/"] {
        let lines = format!("{code}\nbackchannel_logout_uri = \"{text}\"\n{uri}");
        assert_said(grants, &lines, "expected an https URL, or http at a loopback host");
    }
    let signed = format!("{uri}\n{code}\nrequire_signed_request_object = true");
    assert_said(grants, &signed, "expected one of jwks, jwks_file and jwks_uri for require_signed_request_object");
    let cookie = format!("{uri}\n{code}\nrefresh_token_cookie = true");
    assert_said(grants, &cookie, "is for clients with the grant refresh_token");
    // Of keys it is where the client says how it proves itself that is wrong.
    let proof = "authentication = \"none\"";
    let keys = format!("jwks_file = \"keys.json\"\n{proof}");
    assert_said(proof, &keys, "or the grant authorization_code; remove them");
}

#[test]
fn the_settings_of_tls_are_checked() {
    let tls = |lines: &str| format!("[listen.tls]\n{lines}\ncertificate = \"c\"\nkey = \"k\"\n[store]");
    assert_said("[store]", &tls("certifcate = \"c\""), "did you mean `certificate`?");
    assert_said("[store]", &tls("client_certificates = \"optionl\""), "did you mean `optional`?");
    assert_said("[store]", &tls("client_ca = \"ca\""), "is for client_certificates = \"optional\" only");
    assert_said("[store]", &tls("handshake_timeout = \"0s\""), "expected a duration of whole seconds, at least one");
    let without = "[listen.tls]\ncertificate = \"c\"\n[store]";
    let deployment = Deployment::without_token();
    std::fs::write(deployment.config_path(), deployment.config_text().replacen("[store]", without, 1)).unwrap();
    let error = one_line_of_error(&deployment.run(&["serve"]), 3);
    assert!(error.contains("missing field `key`"), "{error}");
}

#[test]
fn a_setting_of_another_kind_of_device_is_refused() {
    for setting in [
        "tcti = \"swtpm\"",
        "keys = \"keys\"",
        "auth = { file = \"auth\" }",
        "session = \"plain\"",
        "persistent_handles = \"0x81100000-0x8110001f\"",
    ] {
        let kind = "kind = \"pkcs11\"\n";
        assert_said(kind, &format!("{kind}{setting}\n"), "is a setting of kind = \"tpm\" only");
    }
    assert_said("kind = \"pkcs11\"\n", "kind = \"pkcs11\"\nsession = \"plane\"\n", "did you mean `plain`?");
    let module = "kind = \"pkcs11\"\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"";
    assert_said(module, "kind = \"pkcs11\"", "needs the setting `module`");
}

#[cfg(feature = "tpm")]
#[test]
fn a_range_that_is_none_of_the_owners_persistent_handles_is_refused() {
    let owners = "expected a persistent handle of the owner, 0x81000000 to 0x817fffff";
    for (range, flaw) in [
        ("", "is no range of handles, expected one such as"),
        ("0x81100000", "is no range of handles, expected one such as"),
        ("81100000-8110001f", owners),
        ("0x81100000-", owners),
        ("0x80000000-0x8110001f", owners),
        ("0x81700000-0x81800000", owners),
        ("0x8110001f-0x81100000", "the range 0x8110001f-0x81100000 ends before it begins"),
    ] {
        let setting = format!("[hardware.tpm]\npersistent_handles = \"{range}\"\n");
        let tpm =
            format!("{setting}kind = \"tpm\"\ntcti = \"device:/dev/tpmrm0\"\nkeys = \"tpm\"\n[hardware.softhsm]\n");
        assert_said("[hardware.softhsm]\n", &tpm, flaw);
    }
}

#[cfg(not(feature = "tpm"))]
#[test]
fn a_build_without_tpm_support_says_so() {
    assert_said("kind = \"pkcs11\"", "kind = \"tpm\"", "this mintkeep was built without TPM support");
}

#[test]
fn a_pin_or_secret_written_into_the_file_is_refused_and_not_repeated() {
    for (old, new, secret) in [
        ("pin = { file = \"softhsm/pin\" }", "pin = \"93175\"", "93175"),
        ("pin = { file = \"softhsm/pin\" }", "pin = 93175", "93175"),
        ("pin = { file = \"softhsm/pin\" }", "pin = 931.75", "931"),
        ("pin = { file = \"softhsm/pin\" }", "pin = [93175]", "93175"),
        ("pin = { file = \"softhsm/pin\" }", "pin = { file = 93175 }", "93175"),
        ("pin = { file = \"softhsm/pin\" }", "pin = { value = 93175 }", "93175"),
        ("pin = { file = \"softhsm/pin\" }", "pin = { 93175 = \"x\" }", "93175"),
        ("secret_sha256 = \"", "secret_sha256 = 123456 # \"", "123456"),
        ("secret_sha256 = \"", "secret_sha256 = \"mks_very-secret", "very-secret"),
    ] {
        let deployment = Deployment::without_token();
        std::fs::write(deployment.config_path(), deployment.config_text().replacen(old, new, 1)).unwrap();
        let error = one_line_of_error(&deployment.run(&["serve"]), 3);
        assert!(!error.contains(secret), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let deployment = Deployment::without_token();
    std::fs::remove_file(deployment.config_path()).unwrap();
    let error = one_line_of_error(&deployment.run(&["serve"]), 3);
    assert!(error.contains("mintkeep.toml: cannot read the configuration"), "{error}");
}

#[test]
fn several_devices_have_one_primary_at_least_and_a_socket_each() {
    let second =
        "[hardware.second]\nkind = \"pkcs11\"\nmodule = \"m\"\ntoken = { label = \"t\" }\npin = { file = \"p\" }\n";
    let primary = "kind = \"pkcs11\"\nrole = \"standby\"";
    let said = |change: &dyn Fn(&str) -> String| {
        let deployment = Deployment::without_token();
        std::fs::write(deployment.config_path(), change(&deployment.config_text())).unwrap();
        one_line_of_error(&deployment.run(&["serve"]), 3)
    };
    let error = said(&|text| text.replacen("kind = \"pkcs11\"", primary, 1));
    assert!(error.contains("expected at least one with role = \"primary\""), "{error}");
    let error = said(&|text| text.replacen("kind = \"pkcs11\"", "kind = \"pkcs11\"\nrole = \"stand-by\"", 1));
    assert!(error.contains("did you mean `standby`?"), "{error}");
    let users = "user = \"nobody\"\nmint_user = \"daemon\"\n";
    let shared = format!("[keeper]\nsocket = \"keeper.sock\"\n{users}{second}[store]");
    let error = said(&|text| text.replacen("[store]", &shared, 1));
    assert!(error.contains("give each device a `socket` of its own in [hardware.NAME]"), "{error}");
    let without = format!("[keeper]\n{users}{second}socket = \"second.sock\"\n[store]");
    let error = said(&|text| text.replacen("[store]", &without, 1));
    assert!(error.contains("expected `socket` here, or in [keeper]"), "{error}");
    let alone = format!("{second}socket = \"second.sock\"\n[store]");
    let error = said(&|text| text.replacen("[store]", &alone, 1));
    assert!(error.contains("expected socket, user and mint_user together"), "{error}");
}

#[test]
fn a_token_is_shared_for_less_than_half_of_its_life_and_only_where_a_client_asks_for_itself() {
    let service = "grants = [\"client_credentials\"]";
    let shared = |duration: &str| format!("{service}\nshare_tokens_for = \"{duration}\"");
    assert_said(service, &shared("150s"), "expected less than half of access_token_lifetime");
    let workload = "grants = [\"refresh_token\"]";
    let error = "share_tokens_for is for clients with the grant client_credentials";
    assert_said(workload, &format!("{workload}\nshare_tokens_for = \"60s\""), error);
}

#[test]
fn the_settings_of_registration_are_checked() {
    let hash = format!("initial_access_token_sha256 = \"{}\"", "0".repeat(64));
    let table = |lines: &str| {
        // The first of these lines is the wrong one.
        format!("[registration]\n{lines}\nscope = \"s\"\n[store]")
    };
    let with = |wrong: &str| table(&format!("{wrong}\n{hash}\naudience = \"https://a.example\""));
    let is_said = |new: &str, expected: &str| assert_said("[store]", new, expected);
    is_said(&with("grants = []"), "expected grants = [\"client_credentials\"]");
    is_said(&with("grants = [\"refresh_token\"]"), "expected grants = [\"client_credentials\"]");
    is_said(&with("authentication = \"none\""), "expected other methods than none");
    is_said(&with("authentication = []"), "expected other methods than none");
    is_said(&with("max_clients = 0"), "expected a nonzero u32");
    is_said(&with("access_token_lifetime = \"25h\""), "expected at the most \"24h\"");
    is_said(&with("open = true"), "unknown field `open`");
    let audience = "audience = \"https://a.example\"";
    is_said(&table(&format!("initial_access_token_sha256 = []\n{audience}")), "expected one initial_access_token");
    is_said(&table(&format!("initial_access_token_sha256 = \"mks_x\"\n{audience}")), "mintkeep client secret");
    is_said(&table(&format!("audience = []\n{hash}")), "expected an audience");
}
