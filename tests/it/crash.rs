//! Mints, keepers and the database are killed, by SIGKILL and at random, while clients refresh as fast as they can.
//! Nobody may lose a session by it, no revocation may be forgotten, and there is never more than one live branch.
//!
//! The test command runs a short form; `make crash` a long one, and prints what it did.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::process::signal;
use crate::support::running::{form, try_post, try_refresh_at};
use crate::support::{Answer, Deployment, Postgres, RunningMint, WORKLOAD};

/// What the clients and the killer share.
struct Shared {
    /// Where the present mints listen.
    addresses: RwLock<Vec<SocketAddr>>,
    exchanges: AtomicUsize,
    revocations: AtomicUsize,
    done: AtomicBool,
    violations: Mutex<Vec<String>>,
}

impl Shared {
    /// A node, another one each time.
    fn address(&self) -> SocketAddr {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let addresses = self.addresses.read().unwrap();
        addresses[TURN.fetch_add(1, Ordering::Relaxed) % addresses.len()]
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    fn violated(&self, rule: String) {
        self.violations.lock().unwrap().push(rule);
    }
}

/// A number from the environment, for `make crash`.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What is killed.
struct Victims<'a> {
    deployment: &'a Deployment,
    nodes: Vec<RunningMint>,
    database: Option<Postgres>,
    mints_killed: usize,
    keepers_killed: usize,
    databases_killed: usize,
}

impl<'a> Victims<'a> {
    fn new(deployment: &'a Deployment, nodes: usize, database: Option<Postgres>) -> Self {
        let nodes = (0..nodes).map(|node| serve(deployment, node)).collect();
        Self { deployment, nodes, database, mints_killed: 0, keepers_killed: 0, databases_killed: 0 }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(RunningMint::address).collect()
    }

    /// Kills one of them, and brings it back.
    fn kill_one(&mut self, random: &mut Random) {
        let node = usize::try_from(random.below(self.nodes.len() as u64)).unwrap();
        match (random.below(3), &mut self.database) {
            (0, Some(database)) => {
                self.databases_killed += 1;
                database.kill();
                std::thread::sleep(Duration::from_millis(random.below(100)));
                database.start_again();
            }
            (1, _) => {
                self.mints_killed += 1;
                self.nodes.remove(node).kill();
                self.nodes.insert(node, serve(self.deployment, node));
            }
            _ => {
                self.keepers_killed += 1;
                signal(self.nodes[node].keeper_pid(), Signal::SIGKILL);
                self.nodes[node].wait_for("the keeper is back");
            }
        }
    }
}

fn serve(deployment: &Deployment, node: usize) -> RunningMint {
    if node == 0 { deployment.serve() } else { deployment.serve_beside(|_| {}) }
}

#[test]
fn killed_at_random_nothing_is_lost_and_nothing_is_forgotten() {
    let deployment = Deployment::new();
    deployment.allow_failed_attempts();
    storm("SQLite", Victims::new(&deployment, 1, None));
}

#[test]
fn killed_at_random_two_nodes_and_their_database_lose_and_forget_nothing() {
    let (deployment, postgres) = (Deployment::new(), Postgres::start());
    deployment.allow_failed_attempts();
    deployment.use_postgres(&postgres);
    storm("two nodes on PostgreSQL", Victims::new(&deployment, 2, Some(postgres)));
}

fn storm(scene: &str, mut victims: Victims<'_>) {
    let kills = setting("MINTKEEP_CRASH_KILLS", 10);
    let clients = setting("MINTKEEP_CRASH_CLIENTS", 24);
    let mut random = Random(setting("MINTKEEP_CRASH_SEED", 20_261_123) as u64);
    let shared = Shared {
        addresses: RwLock::new(victims.addresses()),
        exchanges: AtomicUsize::new(0),
        revocations: AtomicUsize::new(0),
        done: AtomicBool::new(false),
        violations: Mutex::default(),
    };
    let deployment = victims.deployment;
    let tokens: Vec<String> = (0..clients).map(|_| deployment.grant()).collect();
    let to_revoke: Vec<String> = (0..kills * 4).map(|_| deployment.grant()).collect();
    // Not dropped within: the clients have still to show that they can go on.
    let victims = std::thread::scope(|scope| {
        for (number, token) in tokens.into_iter().enumerate() {
            let shared = &shared;
            scope.spawn(move || refresh_until_done(shared, number, token));
        }
        scope.spawn(|| revoke_until_done(&shared, to_revoke));
        for _ in 0..kills {
            if shared.is_done() {
                break;
            }
            let before = shared.exchanges.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(random.below(150)));
            victims.kill_one(&mut random);
            *shared.addresses.write().unwrap() = victims.addresses();
            // The next kill only hits something that serves.
            while shared.exchanges.load(Ordering::Relaxed) < before + clients && !shared.is_done() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        shared.done.store(true, Ordering::Relaxed);
        victims
    });
    let Victims { mints_killed, keepers_killed, databases_killed, .. } = &victims;
    let killed = mints_killed + keepers_killed + databases_killed;
    let violations = shared.violations.lock().unwrap();
    println!(
        "{scene}: {killed} kills ({mints_killed} of mints, {keepers_killed} of keepers, {databases_killed} of databases), {clients} clients, {} exchanges, {} revocations, {} violations",
        shared.exchanges.load(Ordering::Relaxed),
        shared.revocations.load(Ordering::Relaxed),
        violations.len()
    );
    assert!(violations.is_empty(), "{violations:#?}");
    assert_eq!(killed, kills);
}

/// One client: it presents the last token that it received, whatever became of the answers in between.
fn refresh_until_done(shared: &Shared, number: usize, first: String) {
    let mut held = vec![first];
    while !shared.is_done() {
        match present(shared, number, held.last().unwrap()) {
            Some(next) => held.push(next),
            // As a client would: the mint needs the machine to come back.
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    // It goes on with the last one, and whatever it held long before is worth nothing any more.
    match attempts().find_map(|()| present(shared, number, held.last().unwrap())) {
        Some(next) => held.push(next),
        None => return shared.violated(format!("client {number}: could not go on")),
    }
    let [.., old, _, _, last] = &held[..] else { return };
    let answer = answered(shared, old);
    if answer.status != 400 {
        shared.violated(format!("client {number}: a replayed token was answered {answer:?}"));
    }
    // The replay was noticed, and there is no other branch that goes on.
    let answer = answered(shared, last);
    if answer.status != 400 {
        shared.violated(format!("client {number}: the family went on after a replay: {answer:?}"));
    }
}

/// The next token; `None` where there is no mint, or it cannot serve just now.
fn present(shared: &Shared, number: usize, token: &str) -> Option<String> {
    let answer = try_refresh_at(shared.address(), token)?;
    match answer.status {
        200 => {
            shared.exchanges.fetch_add(1, Ordering::Relaxed);
            Some(answer.text("refresh_token"))
        }
        503 => None,
        _ => {
            if !shared.is_done() {
                shared.violated(format!("client {number}: the last token that it received was answered {answer:?}"));
                shared.done.store(true, Ordering::Relaxed);
            }
            None
        }
    }
}

/// An answer that is neither a broken connection nor 503.
fn answered(shared: &Shared, token: &str) -> Answer {
    let mut answers = attempts().filter_map(|()| try_refresh_at(shared.address(), token));
    answers.find(|answer| answer.status != 503).expect("the mint answers some time")
}

/// As many as a patient client makes.
fn attempts() -> impl Iterator<Item = ()> {
    (0..3000).map(|_| std::thread::sleep(Duration::from_millis(10)))
}

/// Revokes session after session; what was acknowledged must hold ever after.
fn revoke_until_done(shared: &Shared, tokens: Vec<String>) {
    let mut revoked: Vec<String> = Vec::new();
    let mut waiting = tokens.into_iter();
    while !shared.is_done() {
        if let Some(token) = waiting.next() {
            let request = form(&[("client_id", WORKLOAD), ("token", &token)]);
            let acknowledged = try_post(shared.address(), "/oauth/revoke", &request);
            if acknowledged.is_some_and(|answer| answer.status == 200) {
                shared.revocations.fetch_add(1, Ordering::Relaxed);
                revoked.push(token);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
        if let Some(token) = revoked.last()
            && let Some(answer) = try_refresh_at(shared.address(), token)
            && answer.status == 200
        {
            shared.violated("a revocation was forgotten".to_owned());
        }
    }
    for token in &revoked {
        if answered(shared, token).status == 200 {
            shared.violated("a revocation was forgotten at the end".to_owned());
        }
    }
}

/// A small generator (SplitMix64): which moment is hit need not be unpredictable, only different each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
