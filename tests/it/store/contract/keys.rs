//! What every store keeps to about keys.

use std::time::Duration;

use mintkeep::hardware::{KeyName, Role};
use mintkeep::jose::jwk::P256PublicKey;
use mintkeep::store::{KeyRecord, Life};

use super::{NOW, Open};

fn key(kid: &str, role: Role, public_key: Option<P256PublicKey>) -> KeyRecord {
    KeyRecord {
        kid: kid.to_owned(),
        role,
        device: "hsm · ünïcode".to_owned(),
        public_key,
        found_at: NOW,
        life: Life::default(),
        needed_until: NOW,
        uses: 0,
    }
}

pub async fn a_key_is_kept_as_it_was_added_and_moved_on_by_one(open: Open<'_>) {
    let point = [[4].as_slice(), &[7; 64]].concat();
    let signing = key("Zz-signing", Role::Signing, Some(P256PublicKey::from_uncompressed(&point).unwrap()));
    let sealing = key("aa_sealing", Role::Sealing, None);
    let name = KeyName::created(&"p".repeat(64), &"n".repeat(64)).unwrap();
    let delegated = KeyRecord { role: Role::Delegated(name), ..KeyRecord { kid: "zz".to_owned(), ..signing.clone() } };
    let store = open();
    assert_eq!(store.keys().await.unwrap(), []);
    store.add_keys(vec![sealing.clone(), signing.clone(), delegated.clone()]).await.unwrap();
    store.add_keys(vec![KeyRecord { uses: 99, ..signing.clone() }]).await.unwrap();
    assert_eq!(
        open().keys().await.unwrap(),
        [signing.clone(), sealing.clone(), delegated.clone()],
        "by the bytes of their names, once"
    );

    let published = Life { published_at: Some(NOW), ..Life::default() };
    let later = NOW.plus(Duration::from_secs(100));
    // Of several that do so at once, one moves it on.
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let store = open();
            tokio::spawn(async move {
                store.move_key("Zz-signing".to_owned(), Life::default(), published, later).await.unwrap()
            })
        })
        .collect();
    let mut moved = 0;
    for task in tasks {
        moved += usize::from(task.await.unwrap());
    }
    assert_eq!(moved, 1);
    let from_elsewhere = store.move_key("unknown".to_owned(), Life::default(), published, later).await.unwrap();
    assert!(!from_elsewhere);

    let lives = [
        Life { activated_at: Some(NOW), ..published },
        Life { activated_at: Some(NOW), retired_at: Some(later), ..published },
        Life {
            activated_at: Some(NOW),
            retired_at: Some(later),
            removed_at: Some(later),
            is_revoked: true,
            ..published
        },
    ];
    let mut from = published;
    for to in lives {
        assert!(!store.move_key("Zz-signing".to_owned(), to, from, NOW).await.unwrap(), "it has not come so far");
        assert!(store.move_key("Zz-signing".to_owned(), from, to, NOW).await.unwrap());
        from = to;
    }
    store.note_key_use("aa_sealing".to_owned(), 3, later).await.unwrap();
    store.note_key_use("aa_sealing".to_owned(), 4, NOW).await.unwrap();
    let expected = [
        KeyRecord { life: from, needed_until: later, ..signing },
        KeyRecord { uses: 7, needed_until: later, ..sealing },
        delegated,
    ];
    assert_eq!(open().keys().await.unwrap(), expected, "the later end stays");
}
