//! Random histories of one family, on a real store and on a small model of the rules side by side. The model
//! knows no generations and no flags: it keeps every token that was given out, and when.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mintkeep::clock::Timestamp;
use mintkeep::jose::thumbprint::Thumbprint;
use mintkeep::store::family::{OnReplay, RetryWindow, Rotation};
use mintkeep::store::sqlite::SqliteStore;
use mintkeep::store::{ClaimId, Claimed, Family, FamilyId, OnceClaim, Redeemed, Redemption, Selection, Store};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::postgres::empty_store;
use crate::support::Postgres;

const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const LIFETIME: u64 = 1_000;
const IDLE: u64 = 300;
const WINDOW: u64 = 60;

/// One step of a history.
#[derive(Clone, Debug)]
enum Event {
    /// Somebody presents the token that was given out this many before the last one.
    Present { before_last: u32, rotate: bool, public: bool, seconds_to_answer: u64, key: Option<u8>, binds: bool },
    /// Somebody presents a token that was never given out: the store was put back.
    PresentFromTheFuture,
    /// Time passes.
    Wait(u64),
    /// The family is revoked.
    Revoke,
    /// Somebody claims one of a few names, for so long.
    Claim { number: u8, seconds: u64 },
    /// What ended is removed.
    Prune,
    /// The store is closed and opened again.
    Reopen,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (prop_oneof![4 => Just(0_u32), 3 => Just(1), 1 => 2..5_u32], any::<bool>(), any::<bool>(), 0..20_u64, key(), 0..4_u8)
            .prop_map(|(before_last, rotate, public, seconds_to_answer, key, binds)| Event::Present {
                before_last,
                rotate: rotate || before_last == 0,
                public,
                seconds_to_answer,
                key,
                binds: binds == 0,
            }),
        1 => Just(Event::PresentFromTheFuture),
        6 => prop_oneof![0..30_u64, 50..70_u64, 200..320_u64].prop_map(Event::Wait),
        1 => Just(Event::Revoke),
        4 => (0..4_u8, 0..300_u64).prop_map(|(number, seconds)| Event::Claim { number, seconds }),
        1 => Just(Event::Prune),
        1 => Just(Event::Reopen),
    ]
}

/// The client mostly has one key and proves it, or has none.
fn key() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![3 => Just(None), 4 => Just(Some(1)), 1 => Just(Some(2))]
}

/// A token that was given out.
struct Given {
    at: Timestamp,
    was_presented: bool,
}

struct Model {
    given: Vec<Given>,
    last_used: Timestamp,
    is_revoked: bool,
    bound_to: Option<Thumbprint>,
    /// What was claimed, and until when.
    claimed: HashMap<u8, Timestamp>,
}

impl Model {
    fn new() -> Self {
        Self {
            given: vec![Given { at: START, was_presented: false }],
            last_used: START,
            is_revoked: false,
            bound_to: None,
            claimed: HashMap::new(),
        }
    }

    fn redeem(&mut self, redemption: &Redemption) -> Redeemed {
        let Redemption { presented, presented_at, committed_at, .. } = *redemption;
        let last = self.given.len() - 1;
        let presented = presented as usize;
        let is_over = presented_at >= START.plus(Duration::from_secs(LIFETIME))
            || presented_at >= self.last_used.plus(Duration::from_secs(IDLE));
        if self.is_revoked {
            return Redeemed::Revoked;
        }
        if is_over {
            return Redeemed::Expired;
        }
        if self.bound_to.is_some_and(|key| redemption.jkt != Some(key)) {
            return Redeemed::WrongKey;
        }
        if presented > last {
            return Redeemed::NeverIssued;
        }
        let is_lost_answer = presented + 1 == last
            && !self.given[last].was_presented
            && presented_at <= self.given[last].at.plus(Duration::from_secs(WINDOW));
        if presented != last && !is_lost_answer {
            self.is_revoked = redemption.on_replay == OnReplay::RevokeFamily;
            return Redeemed::Replayed { family_revoked: self.is_revoked };
        }
        self.last_used = self.last_used.max(committed_at);
        if redemption.binds && self.bound_to.is_none() {
            self.bound_to = redemption.jkt;
        }
        if is_lost_answer {
            return granted(last, true);
        }
        self.given[last].was_presented = true;
        if redemption.rotation == Rotation::Keep {
            return granted(last, false);
        }
        self.given.push(Given { at: committed_at, was_presented: false });
        granted(last + 1, true)
    }
}

fn granted(generation: usize, renewed: bool) -> Redeemed {
    Redeemed::Granted { generation: u32::try_from(generation).expect("few"), renewed }
}

/// Plays `history` on the family `fid` of the store that `open` opens.
async fn play(fid: FamilyId, history: &[Event], open: &dyn Fn() -> Arc<dyn Store>) -> Result<(), TestCaseError> {
    let mut store = open();
    let family = Family {
        fid,
        client_id: "robot".to_owned(),
        subject: "deploy".to_owned(),
        scope: "read".to_owned(),
        generation: 0,
        current_used: false,
        superseded_at: None,
        created_at: START,
        last_used_at: START,
        expires_at: START.plus(Duration::from_secs(LIFETIME)),
        revoked_at: None,
        jkt: None,
        login: None,
        session: None,
    };
    store.begin_family(family.clone()).await.expect("the store works");
    let (mut model, mut now) = (Model::new(), START);
    // What the caller of a step read: now and then it is what there was long before.
    let mut read = family;
    for event in history {
        let last = u32::try_from(model.given.len() - 1).expect("few");
        let mut redemption = Redemption {
            presented: last,
            rotation: Rotation::Rotate,
            retry_window: RetryWindow::For(Duration::from_secs(WINDOW)),
            on_replay: OnReplay::RevokeFamily,
            idle_lifetime: Duration::from_secs(IDLE),
            presented_at: now,
            committed_at: now,
            jkt: None,
            binds: false,
        };
        match *event {
            Event::Wait(seconds) => {
                now = now.plus(Duration::from_secs(seconds));
                continue;
            }
            Event::Revoke => {
                let revoked = store.revoke_families(Selection::of_family(fid), now).await.expect("the store works");
                prop_assert_eq!(revoked, usize::from(!model.is_revoked));
                model.is_revoked = true;
                continue;
            }
            Event::Reopen => {
                store = open();
                read = store.family(fid).await.expect("the store works").expect("it is there");
                continue;
            }
            Event::Claim { number, seconds } => {
                let expires_at = now.plus(Duration::from_secs(seconds));
                let id = ClaimId([fid.0, [number; 16]].concat().try_into().expect("32 bytes"));
                let claimed = store.claim(OnceClaim { id, expires_at }).await.expect("the store works");
                let expected = match model.claimed.contains_key(&number) {
                    true => Claimed::Replayed,
                    false => Claimed::First,
                };
                prop_assert_eq!(claimed, expected);
                model.claimed.entry(number).or_insert(expires_at);
                continue;
            }
            // Not the family itself.
            Event::Prune if now < START.plus(Duration::from_secs(LIFETIME)) => {
                while store.prune(now, 1000).await.expect("the store works") != 0 {}
                model.claimed.retain(|_, expires_at| *expires_at > now);
                continue;
            }
            Event::Prune => continue,
            Event::PresentFromTheFuture => redemption.presented = last + 1,
            Event::Present { before_last, rotate, public, seconds_to_answer, key, binds } => {
                redemption.jkt = key.map(|key| Thumbprint([key; 32]));
                redemption.binds = binds;
                redemption.presented = last.saturating_sub(before_last);
                redemption.rotation = if rotate { Rotation::Rotate } else { Rotation::Keep };
                redemption.on_replay = if public { OnReplay::RevokeFamily } else { OnReplay::Refuse };
                redemption.committed_at = now.plus(Duration::from_secs(seconds_to_answer));
            }
        }
        let expected = model.redeem(&redemption);
        let redeemed = store.redeem(read.clone(), redemption).await.expect("the store works");
        prop_assert_eq!(redeemed, Some(expected), "{:?} at {}", event, now);
    }
    let found = store.family(fid).await.expect("the store works").expect("it is there");
    prop_assert_eq!(found.jkt, model.bound_to);
    Ok(())
}

/// Plays random histories, each on a family of its own.
fn play_histories(cases: u32, open: &dyn Fn() -> Arc<dyn Store>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let histories = prop::collection::vec(event(), 1..40);
    let played = TestRunner::new(config)
        .run(&(histories, any::<[u8; 16]>()), |(history, fid)| runtime.block_on(play(FamilyId(fid), &history, open)));
    played.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn sqlite_goes_by_the_rules() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    play_histories(200, &|| Arc::new(SqliteStore::open(&path).expect("it opens")));
}

#[test]
fn postgres_goes_by_the_rules() {
    let postgres = Postgres::start();
    let open = empty_store(&postgres);
    play_histories(200, &open);
}
