//! The crate vaultrs, a client of Vault that is not ours.

use std::collections::HashMap;

use serde_json::json;
use vaultrs::api::transit::requests::{
    CreateKeyRequest, SignDataRequest, UpdateKeyConfigurationRequest, VerifySignedDataRequest,
};
use vaultrs::api::transit::responses::{ReadKeyData, ReadPublicKeyEntry};
use vaultrs::api::transit::{HashAlgorithm, KeyType, MarshalingAlgorithm};
use vaultrs::client::{Client as _, VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::sys::ServerStatus;
use vaultrs::transit::{data, key};

use crate::transit::{Scene, document_digest};

const MOUNT: &str = "transit";

fn client(scene: &Scene, caller: &str) -> VaultClient {
    // It wants one before it knows that it speaks without TLS. A second client finds the first one's.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = VaultClientSettingsBuilder::default()
        .address(format!("http://{}", scene.address))
        .token(format!("{caller}-token"))
        .build()
        .unwrap();
    VaultClient::new(settings).unwrap()
}

fn versions(keys: ReadKeyData) -> HashMap<String, ReadPublicKeyEntry> {
    match keys {
        ReadKeyData::Asymmetric(versions) => versions,
        ReadKeyData::Symmetric(_) => panic!("public keys"),
    }
}

#[track_caller]
fn assert_refused<Value: std::fmt::Debug>(outcome: Result<Value, ClientError>, status: u16, errors: &[&str]) {
    match outcome.unwrap_err() {
        ClientError::APIError { code, errors: said } => assert_eq!(
            (code, said.as_slice()),
            (status, &errors.iter().map(|&error| error.to_owned()).collect::<Vec<_>>()[..])
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn vaultrs_makes_keys_signs_verifies_and_ends_them() {
    let scene = tokio::task::spawn_blocking(Scene::new).await.unwrap();
    let vault = client(&scene, "spire");
    assert!(matches!(vault.status().await.unwrap(), ServerStatus::OK));
    let token = vault.lookup().await.unwrap();
    assert_eq!((token.display_name.as_str(), token.id.as_str(), token.ttl), ("spire", "spire-token", 0));
    assert_eq!(vault.renew(None).await.unwrap().client_token, "spire-token");

    assert_refused(key::list(&vault, MOUNT).await, 404, &[]);
    let mut asked = CreateKeyRequest::builder();
    key::create(&vault, MOUNT, "made", Some(asked.key_type(KeyType::EcdsaP256))).await.unwrap();
    assert_eq!(key::list(&vault, MOUNT).await.unwrap().keys, ["made"]);
    let read = key::read(&vault, MOUNT, "made").await.unwrap();
    assert!(matches!(read.key_type, KeyType::EcdsaP256) && read.supports_signing && !read.exportable);
    assert_eq!(versions(read.keys)["1"].name, "P-256");

    let digest = document_digest();
    for marshaling in [MarshalingAlgorithm::Asn1, MarshalingAlgorithm::Jws] {
        let mut asked = SignDataRequest::builder();
        asked
            .prehashed(true)
            .hash_algorithm(HashAlgorithm::Sha2_256)
            .marshaling_algorithm(marshaling)
            .key_version(1_u64);
        let signed = data::sign(&vault, MOUNT, "made", &digest, Some(&mut asked)).await.unwrap().signature;
        let mut asked = VerifySignedDataRequest::builder();
        asked.prehashed(true).marshaling_algorithm(marshaling).signature(signed);
        assert!(data::verify(&vault, MOUNT, "made", &digest, Some(&mut asked)).await.unwrap().valid);
    }
    let rotated = key::rotate(&vault, MOUNT, "made").await;
    assert_refused(rotated, 400, &["cannot rotate the key: one that was made here has one version; make another key"]);

    let mut asked = UpdateKeyConfigurationRequest::builder();
    key::update(&vault, MOUNT, "made", Some(asked.deletion_allowed(Some(true)))).await.unwrap();
    key::delete(&vault, MOUNT, "made").await.unwrap();
    assert_refused(key::read(&vault, MOUNT, "made").await, 404, &[]);

    let stranger = client(&scene, "nobody");
    assert_refused(key::list(&stranger, MOUNT).await, 403, &["permission denied"]);
    let mut notary = client(&scene, "nobody");
    notary.set_token("notary-token");
    let input = json!("a document").to_string();
    let input = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, input);
    assert!(data::sign(&notary, MOUNT, "documents", &input, None).await.unwrap().signature.starts_with("vault:v1:"));
}
