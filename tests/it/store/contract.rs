//! What every store keeps to. A backend runs all of it by [`contract`].

pub mod binding;
pub mod claims;
pub mod clients;
mod keys;
pub mod logins;

use std::sync::Arc;
use std::time::Duration;

use mintkeep::clock::Timestamp;
use mintkeep::store::family::{OnReplay, RetryWindow, Rotation};
use mintkeep::store::{Family, FamilyId, Page, Records, Redeemed, Redemption, RevokedToken, Selection, Store, TokenId};

pub const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// Opens the same store anew at each call.
pub type Open<'a> = &'a dyn Fn() -> Arc<dyn Store>;

pub async fn contract(open: Open<'_>) {
    a_family_is_found_as_it_was_begun(open).await;
    an_unknown_family_is_none(open).await;
    a_family_is_begun_once(open).await;
    a_redemption_is_durable(open).await;
    concurrent_redemptions_converge(open).await;
    racing_successors_leave_one_branch(open).await;
    a_replay_revokes_durably(open).await;
    what_the_caller_read_decides_nothing(open).await;
    redemptions_that_cross_all_come_to_an_end(open).await;
    ended_families_are_pruned_in_steps_and_others_stay(open).await;
    families_are_listed_by_what_they_match_in_pages(open).await;
    a_selection_is_revoked_and_nothing_else(open).await;
    a_token_is_revoked_until_it_ends(open).await;
    what_is_restored_is_as_it_was_and_replaces_nothing(open).await;
    binding::a_bound_family_stays_bound_and_another_key_changes_nothing(open).await;
    binding::a_first_use_binds_where_it_is_to(open).await;
    binding::of_two_keys_at_once_one_binds_and_the_other_is_refused(open).await;
    claims::of_all_that_claim_the_same_one_is_the_first(open).await;
    claims::a_claim_holds_until_it_is_pruned(open).await;
    claims::claims_are_listed_and_restored_as_they_were(open).await;
    claims::a_secret_is_the_same_for_all_who_ask(open).await;
    clients::as_many_clients_are_added_as_may_be_and_each_once(open).await;
    clients::a_client_is_replaced_by_who_has_its_token(open).await;
    clients::a_client_that_is_removed_takes_its_families_along(open).await;
    clients::clients_are_listed_and_restored_as_they_were(open).await;
    keys::a_key_is_kept_as_it_was_added_and_moved_on_by_one(open).await;
    logins::a_login_is_found_as_it_was_begun(open).await;
    logins::of_many_decisions_one_is_made(open).await;
    logins::what_ended_is_decided_by_nobody(open).await;
    logins::as_many_logins_wait_as_may(open).await;
    logins::of_many_that_redeem_a_code_one_is_granted_and_it_is_revoked(open).await;
    logins::a_code_is_redeemed_once_while_it_is_good(open).await;
    logins::a_device_polls_at_its_pace_until_it_is_decided(open).await;
    logins::a_pushed_request_is_taken_once(open).await;
    logins::logins_that_ended_are_pruned_and_make_room(open).await;
    logins::a_session_takes_its_families_along(open).await;
    logins::logins_are_listed_and_restored_as_they_were(open).await;
    open().probe().await.unwrap();
}

pub fn family(number: u8) -> Family {
    Family {
        fid: FamilyId([number; 16]),
        client_id: "robot".to_owned(),
        subject: "deploy@example.com · ünïcode".to_owned(),
        scope: "read write".to_owned(),
        generation: 0,
        current_used: false,
        superseded_at: None,
        created_at: NOW,
        last_used_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(1000)),
        revoked_at: None,
        jkt: None,
        login: None,
        session: None,
    }
}

pub fn present(presented: u32) -> Redemption {
    Redemption {
        presented,
        rotation: Rotation::Rotate,
        retry_window: RetryWindow::For(Duration::from_secs(60)),
        on_replay: OnReplay::RevokeFamily,
        idle_lifetime: Duration::from_secs(1000),
        presented_at: NOW,
        committed_at: NOW,
        jkt: None,
        binds: false,
    }
}

async fn a_family_is_found_as_it_was_begun(open: Open<'_>) {
    let begun = family(1);
    open().begin_family(begun.clone()).await.unwrap();
    assert_eq!(open().family(begun.fid).await.unwrap(), Some(begun));
}

async fn an_unknown_family_is_none(open: Open<'_>) {
    let store = open();
    assert_eq!(store.family(FamilyId([99; 16])).await.unwrap(), None);
    assert_eq!(store.redeem(family(99), present(0)).await.unwrap(), None);
}

async fn a_family_is_begun_once(open: Open<'_>) {
    let store = open();
    store.begin_family(family(2)).await.unwrap();
    store.redeem(family(2), present(0)).await.unwrap();
    assert!(store.begin_family(family(2)).await.is_err());
    assert_eq!(store.family(FamilyId([2; 16])).await.unwrap().unwrap().generation, 1, "it is as it was");
}

async fn a_redemption_is_durable(open: Open<'_>) {
    open().begin_family(family(3)).await.unwrap();
    let redeemed = open().redeem(family(3), present(0)).await.unwrap();
    assert_eq!(redeemed, Some(Redeemed::Granted { generation: 1, renewed: true }));
    let found = open().family(FamilyId([3; 16])).await.unwrap().unwrap();
    assert_eq!((found.generation, found.superseded_at, found.current_used), (1, Some(NOW), false));
}

async fn concurrent_redemptions_converge(open: Open<'_>) {
    // Two handles, as two processes would have.
    let stores = [open(), open()];
    stores[0].begin_family(family(4)).await.unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let store = Arc::clone(&stores[number % 2]);
            tokio::spawn(async move { store.redeem(family(4), present(0)).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Some(Redeemed::Granted { generation: 1, renewed: true }));
    }
}

async fn racing_successors_leave_one_branch(open: Open<'_>) {
    let stores = [open(), open()];
    stores[0].begin_family(family(5)).await.unwrap();
    stores[0].redeem(family(5), present(0)).await.unwrap();
    // The thief presents the old one, the client the new one, at the same moment, many times over.
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let store = Arc::clone(&stores[number % 2]);
            let presented = u32::from(number % 3 == 0);
            tokio::spawn(async move { (presented, store.redeem(family(5), present(presented)).await.unwrap()) })
        })
        .collect();
    let mut highest = 0;
    for task in tasks {
        match task.await.unwrap() {
            (0, Some(Redeemed::Granted { generation, .. })) => assert_eq!(generation, 1, "a retry gives no more"),
            (1, Some(Redeemed::Granted { generation, .. })) => {
                assert_eq!(generation, 2, "one successor, whoever asks");
                highest = generation;
            }
            (_, Some(Redeemed::Replayed { .. } | Redeemed::Revoked)) => {}
            other => panic!("{other:?}"),
        }
    }
    let found = stores[0].family(FamilyId([5; 16])).await.unwrap().unwrap();
    assert!(found.generation == highest.max(1), "nothing was granted that the record does not know");
    // What the thief holds is worth nothing once its successor was used.
    if highest == 2 {
        let late = stores[1].redeem(family(5), present(0)).await.unwrap();
        assert!(matches!(late, Some(Redeemed::Replayed { .. } | Redeemed::Revoked)), "{late:?}");
    }
}

async fn a_replay_revokes_durably(open: Open<'_>) {
    let store = open();
    store.begin_family(family(6)).await.unwrap();
    for generation in 0..2 {
        store.redeem(family(6), present(generation)).await.unwrap();
    }
    let replayed = store.redeem(family(6), present(0)).await.unwrap();
    assert_eq!(replayed, Some(Redeemed::Replayed { family_revoked: true }));
    assert_eq!(open().redeem(family(6), present(2)).await.unwrap(), Some(Redeemed::Revoked));
}

async fn what_the_caller_read_decides_nothing(open: Open<'_>) {
    let store = open();
    let live = family(7);
    store.begin_family(live.clone()).await.unwrap();
    let misread = [
        Family { generation: 9, ..live.clone() },
        Family { revoked_at: Some(NOW), ..live.clone() },
        Family { expires_at: NOW, ..live.clone() },
        Family { last_used_at: NOW.minus(Duration::from_secs(1000)), ..live.clone() },
        Family { current_used: true, ..live.clone() },
        Family { jkt: binding::key(1), ..live.clone() },
        live.clone(),
    ];
    for (presented, read) in (0..).zip(misread) {
        let redeemed = store.redeem(read.clone(), present(presented)).await.unwrap();
        assert_eq!(redeemed, Some(Redeemed::Granted { generation: presented + 1, renewed: true }), "{read:?}");
    }
    assert_eq!(store.redeem(live.clone(), present(9)).await.unwrap(), Some(Redeemed::NeverIssued));
    open().revoke_families(Selection::of_family(live.fid), NOW).await.unwrap();
    assert_eq!(store.redeem(live, present(6)).await.unwrap(), Some(Redeemed::Revoked));
}

/// Two nodes go through the same families in opposite orders, while a third revokes some of them.
async fn redemptions_that_cross_all_come_to_an_end(open: Open<'_>) {
    let stores = [open(), open(), open()];
    let families: Vec<Family> = (170..210).map(family).collect();
    for family in &families {
        stores[2].begin_family(family.clone()).await.unwrap();
    }
    let (up, down) = (families.clone(), families.iter().rev().cloned().collect::<Vec<_>>());
    for generation in 0..5 {
        let mut tasks = Vec::new();
        for (store, families) in [(&stores[0], &up), (&stores[1], &down)] {
            for family in families.clone() {
                let store = Arc::clone(store);
                tasks.push(tokio::spawn(async move { store.redeem(family, present(generation)).await.unwrap() }));
            }
        }
        let revoke = families[usize::try_from(generation).unwrap()].fid;
        let revoked = stores[2].revoke_families(Selection::of_family(revoke), NOW).await.unwrap();
        assert_eq!(revoked, 1);
        for task in tasks {
            let redeemed = task.await.unwrap();
            let granted = Some(Redeemed::Granted { generation: generation + 1, renewed: true });
            assert!(redeemed == granted || redeemed == Some(Redeemed::Revoked), "{redeemed:?}");
        }
    }
    for (number, family) in families.iter().enumerate() {
        let found = stores[2].family(family.fid).await.unwrap().unwrap();
        assert_eq!(found.revoked_at.is_some(), number < 5);
        assert!(found.generation == 5 || number < 5, "{found:?}");
    }
}

async fn ended_families_are_pruned_in_steps_and_others_stay(open: Open<'_>) {
    let store = open();
    for number in 100..110 {
        let ended = Family { expires_at: NOW, ..family(number) };
        store.begin_family(ended).await.unwrap();
    }
    store.begin_family(family(110)).await.unwrap();
    assert_eq!(store.prune(NOW, 6).await.unwrap(), 6);
    assert_eq!(store.prune(NOW, 6).await.unwrap(), 4);
    assert_eq!(store.prune(NOW, 6).await.unwrap(), 0);
    assert_eq!(store.family(FamilyId([100; 16])).await.unwrap(), None);
    assert!(store.family(FamilyId([110; 16])).await.unwrap().is_some());
}

const ALL: Page = Page { after: None, limit: 1000 };

/// Four families that differ in all that a selection speaks of, numbered from `first`.
async fn differing(store: &dyn Store, first: u8) -> Vec<Family> {
    let mut families = Vec::new();
    for (number, client_id, subject, created_at) in
        [(first, "a", "x", 0), (first + 1, "a", "y", 10), (first + 2, "b", "x", 20), (first + 3, "b", "y", 30)]
    {
        let begun = Family {
            client_id: format!("{client_id}-{first}"),
            subject: format!("{subject}-{first}"),
            created_at: NOW.plus(Duration::from_secs(created_at)),
            ..family(number)
        };
        store.begin_family(begun.clone()).await.unwrap();
        families.push(begun);
    }
    families
}

/// Selections of those four, by every member and by two together.
fn selections(families: &[Family]) -> Vec<Selection> {
    let client_id = Some(families[0].client_id.clone());
    let subject = Some(families[0].subject.clone());
    vec![
        Selection::of_family(families[2].fid),
        Selection { client_id: client_id.clone(), ..Selection::default() },
        Selection { subject: subject.clone(), ..Selection::default() },
        Selection { client_id: client_id.clone(), subject, ..Selection::default() },
        Selection { client_id, issued_before: Some(families[1].created_at), ..Selection::default() },
    ]
}

async fn families_are_listed_by_what_they_match_in_pages(open: Open<'_>) {
    let store = open();
    let families = differing(store.as_ref(), 120).await;
    for selection in selections(&families) {
        let expected: Vec<Family> = families.iter().filter(|family| selection.matches(family)).cloned().collect();
        assert_eq!(store.families(selection.clone(), ALL).await.unwrap(), expected, "{selection:?}");
        let mut paged = Vec::new();
        loop {
            let after = paged.last().map(|family: &Family| family.fid);
            let page = store.families(selection.clone(), Page { after, limit: 1 }).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert_eq!(page.len(), 1);
            paged.extend(page);
        }
        assert_eq!(paged, expected, "{selection:?}");
    }
}

async fn a_selection_is_revoked_and_nothing_else(open: Open<'_>) {
    let store = open();
    for number in 0..5 {
        let families = differing(store.as_ref(), 130 + 4 * number).await;
        let selection = selections(&families).swap_remove(usize::from(number));
        let matching = families.iter().filter(|family| selection.matches(family)).count();
        assert_eq!(store.revoke_families(selection.clone(), NOW).await.unwrap(), matching, "{selection:?}");
        assert_eq!(store.revoke_families(selection.clone(), NOW).await.unwrap(), 0, "they are revoked already");
        for before in families {
            let revoked_at = selection.matches(&before).then_some(NOW);
            let after = open().family(before.fid).await.unwrap();
            assert_eq!(after, Some(Family { revoked_at, ..before }), "{selection:?}");
        }
    }
}

async fn a_token_is_revoked_until_it_ends(open: Open<'_>) {
    let store = open();
    let (jti, other) = (TokenId([1; 16]), TokenId([2; 16]));
    store.begin_family(family(160)).await.unwrap();
    let (sid, unknown) = (Some(FamilyId([160; 16])), Some(FamilyId([161; 16])));
    assert!(!store.is_revoked(jti, None).await.unwrap());
    assert!(!store.is_revoked(jti, sid).await.unwrap());
    assert!(store.is_revoked(jti, unknown).await.unwrap(), "a family that is not there revokes");
    for _ in 0..2 {
        store.revoke_token(RevokedToken { jti, expires_at: NOW.plus(Duration::from_secs(5)) }).await.unwrap();
        assert!(open().is_revoked(jti, None).await.unwrap());
        assert!(open().is_revoked(jti, sid).await.unwrap());
    }
    assert!(!store.is_revoked(other, sid).await.unwrap());
    store.revoke_families(Selection::of_family(sid.unwrap()), NOW).await.unwrap();
    assert!(store.is_revoked(other, sid).await.unwrap());
    store.prune(NOW.plus(Duration::from_secs(4)), 1000).await.unwrap();
    assert!(store.is_revoked(jti, None).await.unwrap());
    store.prune(NOW.plus(Duration::from_secs(5)), 1000).await.unwrap();
    assert!(!store.is_revoked(jti, None).await.unwrap(), "ended by itself, and forgotten");
}

async fn what_is_restored_is_as_it_was_and_replaces_nothing(open: Open<'_>) {
    let store = open();
    let token = |number, seconds: u64| RevokedToken {
        jti: TokenId([number; 16]),
        expires_at: NOW.plus(Duration::from_secs(2000 + seconds)),
    };
    let families = [
        Family { generation: u32::MAX, current_used: true, superseded_at: Some(NOW), ..family(220) },
        Family { revoked_at: Some(NOW), jkt: binding::key(1), ..family(221) },
        Family { last_used_at: NOW.plus(Duration::from_secs(9)), ..family(222) },
    ];
    let records = |families: &[Family], revoked_tokens| Records {
        families: families.to_vec(),
        revoked_tokens,
        ..Records::default()
    };
    store.restore(records(&families[1..], vec![token(8, 0)])).await.unwrap();
    let changed = Family { revoked_at: None, ..families[1].clone() };
    store.restore(records(&[families[0].clone(), changed], vec![token(8, 5), token(9, 1)])).await.unwrap();
    for family in &families {
        assert_eq!(open().family(family.fid).await.unwrap().as_ref(), Some(family));
    }
    let mut tokens = Vec::new();
    while let Some(token) =
        store.revoked_tokens(tokens.last().map(|token: &RevokedToken| token.jti), 1).await.unwrap().pop()
    {
        tokens.push(token);
    }
    assert_eq!(tokens, [token(8, 0), token(9, 1)]);
    assert_eq!(store.revoked_tokens(None, 10).await.unwrap(), tokens);
    assert!(open().is_revoked(TokenId([9; 16]), None).await.unwrap());
}
