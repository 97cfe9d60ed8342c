//! What every store keeps to about what may be used once, and about secrets that are shared.

use std::sync::Arc;
use std::time::Duration;

use mintkeep::store::{ClaimId, Claimed, OnceClaim, Records, SharedSecret};

use super::{NOW, Open};

/// The claim of that number; it ends so many seconds from now.
pub fn claim(number: u8, seconds: u64) -> OnceClaim {
    OnceClaim { id: ClaimId([number; 32]), expires_at: NOW.plus(Duration::from_secs(seconds)) }
}

pub async fn of_all_that_claim_the_same_one_is_the_first(open: Open<'_>) {
    let stores = [open(), open()];
    // In opposite orders, so that two nodes cross, and each twice on each node, so that equal ones share a batch.
    let mut tasks = Vec::new();
    for round in 0..64 {
        let store = &stores[round % 2];
        for number in 0..32 {
            let number = if round % 2 == 0 { number } else { 31 - number };
            let store = Arc::clone(store);
            tasks.push(tokio::spawn(async move { (number, store.claim(claim(number, 100)).await.unwrap()) }));
        }
    }
    let mut firsts = [0; 32];
    for task in tasks {
        let (number, claimed) = task.await.unwrap();
        firsts[usize::from(number)] += usize::from(claimed == Claimed::First);
    }
    assert_eq!(firsts, [1; 32]);
    assert_eq!(open().claim(claim(0, 900)).await.unwrap(), Claimed::Replayed, "it is durable");
    assert_eq!(open().claim(claim(32, 900)).await.unwrap(), Claimed::First, "another one is another one");
}

pub async fn a_claim_holds_until_it_is_pruned(open: Open<'_>) {
    let store = open();
    let before = store.count_claims(1000).await.unwrap();
    for (number, seconds) in [(100, 5), (101, 5), (102, 6)] {
        assert_eq!(store.claim(claim(number, seconds)).await.unwrap(), Claimed::First);
    }
    let ended = OnceClaim { expires_at: NOW.minus(Duration::from_secs(1)), ..claim(103, 0) };
    for claimed in [Claimed::First, Claimed::Replayed] {
        assert_eq!(store.claim(ended).await.unwrap(), claimed, "it ended, and nobody may have it all the same");
    }
    // The first claim says how long it holds.
    assert_eq!(store.claim(claim(100, 900)).await.unwrap(), Claimed::Replayed);
    assert_eq!(open().count_claims(1000).await.unwrap(), before + 4);
    assert_eq!(open().count_claims(2).await.unwrap(), 2);
    while store.prune(NOW.plus(Duration::from_secs(4)), 1000).await.unwrap() != 0 {}
    assert_eq!(store.claim(claim(100, 5)).await.unwrap(), Claimed::Replayed);
    assert_eq!(store.prune(NOW.plus(Duration::from_secs(5)), 1).await.unwrap(), 1);
    assert_eq!(store.prune(NOW.plus(Duration::from_secs(5)), 1).await.unwrap(), 1);
    assert_eq!(store.prune(NOW.plus(Duration::from_secs(5)), 1).await.unwrap(), 0);
    assert_eq!(store.claim(claim(100, 50)).await.unwrap(), Claimed::First, "ended, and forgotten");
    assert_eq!(store.claim(claim(102, 6)).await.unwrap(), Claimed::Replayed);
}

pub async fn claims_are_listed_and_restored_as_they_were(open: Open<'_>) {
    let store = open();
    let restored = [claim(200, 300), claim(201, 400)];
    store.claim(restored[0]).await.unwrap();
    let claims = vec![claim(200, 999), restored[1]];
    store.restore(Records { claims, ..Records::default() }).await.unwrap();
    let mut found = Vec::new();
    let mut after = Some(ClaimId([199; 32]));
    while let Some(claim) = store.claims(after, 1).await.unwrap().pop() {
        after = Some(claim.id);
        found.push(claim);
    }
    assert_eq!(found, restored);
    assert_eq!(store.claim(restored[1]).await.unwrap(), Claimed::Replayed);
    let all = store.claims(None, 1000).await.unwrap();
    assert!(all.ends_with(&restored) && all.is_sorted_by_key(|claim| claim.id), "{all:?}");
}

pub async fn a_secret_is_the_same_for_all_who_ask(open: Open<'_>) {
    assert_eq!(open().shared_secrets(None, 10).await.unwrap(), []);
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let store = open();
            tokio::spawn(async move { store.shared_secret("nonces", [number; 32]).await.unwrap() })
        })
        .collect();
    let value = open().shared_secret("nonces", [99; 32]).await.unwrap();
    for task in tasks {
        assert_eq!(task.await.unwrap(), value);
    }
    let store = open();
    assert_eq!(store.shared_secret("Zz", [100; 32]).await.unwrap(), [100; 32]);
    let secret = |name: &str, value| SharedSecret { name: name.to_owned(), value };
    let shared_secrets = vec![secret("Zz", [1; 32]), secret("ab", [101; 32])];
    store.restore(Records { shared_secrets, ..Records::default() }).await.unwrap();
    let all = [secret("Zz", [100; 32]), secret("ab", [101; 32]), secret("nonces", value)];
    assert_eq!(open().shared_secrets(None, 10).await.unwrap(), all, "by the bytes of their names");
    assert_eq!(open().shared_secrets(Some("Zz".to_owned()), 1).await.unwrap(), all[1..2]);
    assert!(!format!("{all:?}").contains("100"), "nobody logs it");
}
