//! What every store keeps to about clients that registered themselves.

use std::time::Duration;

use mintkeep::clock::Timestamp;
use mintkeep::store::{AddedClient, Family, Records, RegisteredClient, Selection};

use super::{ALL, NOW, Open, family};

/// A client whose token has that number.
pub fn client(client_id: &str, token: u8) -> RegisteredClient {
    RegisteredClient {
        client_id: client_id.to_owned(),
        document: format!(r#"{{"client_name":"ünïcode \u0000 {client_id}"}}"#),
        token_hash: [token; 32],
        created_at: NOW,
        last_used_at: None,
    }
}

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

async fn found(open: Open<'_>, client_id: &str) -> Option<RegisteredClient> {
    open().client(client_id.to_owned()).await.unwrap()
}

pub async fn as_many_clients_are_added_as_may_be_and_each_once(open: Open<'_>) {
    let store = open();
    assert_eq!(store.clients(None, 10).await.unwrap(), []);
    assert_eq!(store.add_client(client("a", 1), 0).await.unwrap(), AddedClient::Full);
    // Two nodes, each with many that want the last places.
    let stores = [open(), open()];
    let tasks: Vec<_> = (0..32_usize)
        .map(|number| {
            let (store, client) = (stores[number % 2].clone(), client(&format!("many-{number}"), 1));
            tokio::spawn(async move { store.add_client(client, 5).await.unwrap() })
        })
        .collect();
    let mut added = 0;
    for task in tasks {
        match task.await.unwrap() {
            AddedClient::Added => added += 1,
            AddedClient::Full => {}
            AddedClient::Exists => panic!("they have names of their own"),
        }
    }
    assert_eq!(added, 5);
    let clients = open().clients(None, 10).await.unwrap();
    assert_eq!(clients.len(), 5);
    assert_eq!(store.add_client(client("a", 1), 5).await.unwrap(), AddedClient::Full);
    assert_eq!(store.add_client(clients[0].clone(), 5).await.unwrap(), AddedClient::Added, "it is there like that");
    let other = RegisteredClient { token_hash: [2; 32], ..clients[0].clone() };
    for most in [5, 9] {
        assert_eq!(store.add_client(other.clone(), most).await.unwrap(), AddedClient::Exists);
    }
    assert_eq!(found(open, &other.client_id).await.as_ref(), Some(&clients[0]));
    // Each that goes makes room for one.
    for client in &clients {
        assert!(store.remove_client(client.client_id.clone(), client.token_hash, NOW).await.unwrap());
        assert_eq!(store.add_client(client.clone(), 5).await.unwrap(), AddedClient::Added);
        assert_eq!(store.add_client(self::client("a", 1), 5).await.unwrap(), AddedClient::Full);
    }
    for client in clients {
        assert!(store.remove_client(client.client_id, client.token_hash, NOW).await.unwrap());
    }
    // Many of one name: one is added.
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let store = stores[usize::from(number) % 2].clone();
            tokio::spawn(async move { store.add_client(client("same", number), 5).await.unwrap() })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|&&outcome| outcome == AddedClient::Added).count(), 1);
    assert_eq!(outcomes.iter().filter(|&&outcome| outcome == AddedClient::Exists).count(), 15);
    let same = found(open, "same").await.unwrap();
    assert!(store.remove_client(same.client_id, same.token_hash, NOW).await.unwrap());
}

pub async fn a_client_is_replaced_by_who_has_its_token(open: Open<'_>) {
    let store = open();
    let added = client("replaced", 1);
    store.add_client(added.clone(), 10).await.unwrap();
    assert_eq!(found(open, "replaced").await, Some(added.clone()));
    assert_eq!(found(open, "Replaced").await, None);
    store.note_client_use("replaced".to_owned(), later(9)).await.unwrap();
    store.note_client_use("replaced".to_owned(), later(8)).await.unwrap();
    store.note_client_use("nobody".to_owned(), later(8)).await.unwrap();
    let next = RegisteredClient { document: "{}".to_owned(), created_at: later(5), ..client("replaced", 2) };
    assert!(!store.replace_client([9; 32], next.clone()).await.unwrap());
    assert!(!store.replace_client([1; 32], client("nobody", 2)).await.unwrap());
    let used = RegisteredClient { last_used_at: Some(later(9)), ..added };
    assert_eq!(found(open, "replaced").await, Some(used.clone()));
    for _ in 0..2 {
        // The second time as one whose answer was lost.
        assert!(store.replace_client([1; 32], next.clone()).await.unwrap());
    }
    let replaced = RegisteredClient { document: "{}".to_owned(), token_hash: [2; 32], ..used };
    assert_eq!(found(open, "replaced").await, Some(replaced));
    assert!(!store.replace_client([1; 32], client("replaced", 3)).await.unwrap(), "that token was replaced");
    // Of several that replace one token, one does.
    let tasks: Vec<_> = (10..26)
        .map(|number| {
            let store = open();
            tokio::spawn(async move { store.replace_client([2; 32], client("replaced", number)).await.unwrap() })
        })
        .collect();
    let mut replaced = 0;
    for task in tasks {
        replaced += usize::from(task.await.unwrap());
    }
    assert_eq!(replaced, 1);
    let last = found(open, "replaced").await.unwrap();
    assert!(store.remove_client(last.client_id, last.token_hash, NOW).await.unwrap());
}

pub async fn a_client_that_is_removed_takes_its_families_along(open: Open<'_>) {
    let store = open();
    store.add_client(client("removed", 1), 10).await.unwrap();
    store.add_client(client("stays", 1), 10).await.unwrap();
    let of = |number, client_id: &str| Family { client_id: client_id.to_owned(), ..family(number) };
    let ended = Family { revoked_at: Some(later(1)), ..of(232, "removed") };
    let families = vec![of(230, "removed"), of(231, "removed"), ended.clone(), of(233, "stays")];
    store.restore(Records { families: families.clone(), ..Records::default() }).await.unwrap();
    assert!(!store.remove_client("removed".to_owned(), [2; 32], later(2)).await.unwrap());
    assert!(!store.remove_client("nobody".to_owned(), [1; 32], later(2)).await.unwrap());
    let selection = |client_id: &str| Selection { client_id: Some(client_id.to_owned()), ..Selection::default() };
    assert_eq!(store.families(selection("removed"), ALL).await.unwrap(), families[..3]);
    assert!(found(open, "removed").await.is_some());
    assert!(store.remove_client("removed".to_owned(), [1; 32], later(2)).await.unwrap());
    assert!(!store.remove_client("removed".to_owned(), [1; 32], later(3)).await.unwrap());
    assert_eq!(found(open, "removed").await, None);
    let revoked = |family: &Family| Family { revoked_at: Some(later(2)), ..family.clone() };
    let expected = [revoked(&families[0]), revoked(&families[1]), ended];
    assert_eq!(open().families(selection("removed"), ALL).await.unwrap(), expected);
    assert_eq!(open().families(selection("stays"), ALL).await.unwrap(), families[3..]);
    assert!(store.remove_client("stays".to_owned(), [1; 32], NOW).await.unwrap());
}

pub async fn clients_are_listed_and_restored_as_they_were(open: Open<'_>) {
    let store = open();
    let used = RegisteredClient { last_used_at: Some(later(3)), ..client("Zz", 1) };
    let clients = vec![client("aa", 2), used.clone()];
    store.restore(Records { clients, ..Records::default() }).await.unwrap();
    let clients = vec![client("aa", 9), client("ÿ", 3)];
    store.restore(Records { clients, ..Records::default() }).await.unwrap();
    let all = [used, client("aa", 2), client("ÿ", 3)];
    assert_eq!(open().clients(None, 10).await.unwrap(), all, "by the bytes of their names");
    assert_eq!(store.clients(None, 1).await.unwrap(), all[..1]);
    assert_eq!(store.clients(Some("Zz".to_owned()), 1).await.unwrap(), all[1..2]);
    // They take places as others do.
    assert_eq!(store.add_client(client("fourth", 1), 3).await.unwrap(), AddedClient::Full);
    assert_eq!(store.add_client(client("fourth", 1), 4).await.unwrap(), AddedClient::Added);
}
