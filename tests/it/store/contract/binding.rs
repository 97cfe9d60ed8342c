//! What every store keeps to about families that are bound to a key.

use std::sync::Arc;

use mintkeep::jose::thumbprint::Thumbprint;
use mintkeep::store::family::Rotation;
use mintkeep::store::{Family, FamilyId, Redeemed, Redemption};

use super::{NOW, Open, family, present};

const GRANTED: Option<Redeemed> = Some(Redeemed::Granted { generation: 1, renewed: true });

pub const fn key(number: u8) -> Option<Thumbprint> {
    Some(Thumbprint([number; 32]))
}

fn present_with(jkt: Option<Thumbprint>, presented: u32) -> Redemption {
    Redemption { jkt, binds: true, ..present(presented) }
}

pub async fn a_bound_family_stays_bound_and_another_key_changes_nothing(open: Open<'_>) {
    let store = open();
    let begun = Family { jkt: key(1), ..family(10) };
    store.begin_family(begun.clone()).await.unwrap();
    assert_eq!(open().family(begun.fid).await.unwrap(), Some(begun.clone()));
    for _ in 0..2 {
        for generation in 0..3 {
            for jkt in [None, key(2)] {
                let wrong = store.redeem(begun.clone(), present_with(jkt, generation)).await.unwrap();
                assert_eq!(wrong, Some(Redeemed::WrongKey));
            }
        }
        // Nor does what the caller read decide it.
        let misread = Family { jkt: key(2), ..begun.clone() };
        assert_eq!(store.redeem(misread, present_with(key(2), 0)).await.unwrap(), Some(Redeemed::WrongKey));
        let misread = Family { jkt: None, ..begun.clone() };
        assert_eq!(store.redeem(misread, present_with(key(2), 0)).await.unwrap(), Some(Redeemed::WrongKey));
    }
    assert_eq!(open().family(begun.fid).await.unwrap(), Some(begun.clone()));
    assert_eq!(store.redeem(begun.clone(), present_with(key(1), 0)).await.unwrap(), GRANTED);
    let found = open().family(begun.fid).await.unwrap();
    assert_eq!(found, Some(Family { generation: 1, superseded_at: Some(NOW), ..begun }));
}

pub async fn a_first_use_binds_where_it_is_to(open: Open<'_>) {
    let store = open();
    for (number, rotation, generation) in [(11, Rotation::Rotate, 1), (12, Rotation::Keep, 0)] {
        let begun = family(number);
        store.begin_family(begun.clone()).await.unwrap();
        let redemption = Redemption { rotation, ..present_with(key(1), 0) };
        let granted = Some(Redeemed::Granted { generation, renewed: generation == 1 });
        assert_eq!(store.redeem(begun.clone(), redemption).await.unwrap(), granted);
        let found = open().family(begun.fid).await.unwrap().unwrap();
        assert_eq!((found.jkt, found.generation), (key(1), generation));
        let other = Redemption { rotation, ..present_with(key(2), generation) };
        // By somebody who read it before it was bound.
        assert_eq!(store.redeem(begun.clone(), other).await.unwrap(), Some(Redeemed::WrongKey));
    }
    store.begin_family(family(13)).await.unwrap();
    let unbinding = Redemption { binds: false, ..present_with(key(1), 0) };
    assert_eq!(store.redeem(family(13), unbinding).await.unwrap(), GRANTED);
    assert_eq!(open().family(family(13).fid).await.unwrap().unwrap().jkt, None);
}

pub async fn of_two_keys_at_once_one_binds_and_the_other_is_refused(open: Open<'_>) {
    let stores = [open(), open()];
    for round in 0..20_u8 {
        // Also where nothing else changes by which the two could notice each other.
        let (rotation, generation) = if round % 2 == 0 { (Rotation::Rotate, 1) } else { (Rotation::Keep, 0) };
        let begun = Family {
            fid: FamilyId([[77; 8], [round; 8]].concat().try_into().unwrap()),
            current_used: rotation == Rotation::Keep,
            ..family(0)
        };
        stores[0].begin_family(begun.clone()).await.unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let (store, begun) = (Arc::clone(&stores[number % 2]), begun.clone());
                let jkt = key(u8::try_from(number % 2).unwrap());
                let redemption = Redemption { rotation, ..present_with(jkt, 0) };
                tokio::spawn(async move { (jkt, store.redeem(begun, redemption).await.unwrap()) })
            })
            .collect();
        let mut granted = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (jkt, Some(Redeemed::Granted { generation: found, .. })) if found == generation => granted.push(jkt),
                (_, Some(Redeemed::WrongKey)) => {}
                other => panic!("{other:?}"),
            }
        }
        let bound = open().family(begun.fid).await.unwrap().unwrap().jkt;
        assert!(bound.is_some());
        assert_eq!(granted, [bound; 4], "those of one key, and of no other");
    }
}
