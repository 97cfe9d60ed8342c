//! The plan, step by step; and carried out for weeks by nodes that race each other.

mod delegated;

use proptest::prelude::*;

use super::*;
use crate::hardware::{DelegatedKey, DelegatedKeys, KeyName, ProfileKeys, SealingKey};
use crate::jose::jwk::P256PublicKey;
use crate::keyring::schedule::DelegatedSchedule;

const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const AHEAD: Duration = Duration::from_secs(600);
const TOKEN: Duration = Duration::from_secs(300);
const JWKS_MAX_AGE: Duration = Duration::from_secs(600);

fn public_key(number: u8) -> P256PublicKey {
    let mut point = [number; 65];
    point[0] = 4;
    P256PublicKey::from_uncompressed(&point).unwrap()
}

fn schedule(rotate_every: Option<Duration>) -> Schedule {
    let role = |rotate_after| RoleSchedule { rotate_every, rotate_after, publish_ahead: AHEAD, needed_for: TOKEN };
    Schedule { signing: role(u64::MAX), sealing: role(1000), delegated: Vec::new() }
}

/// A store, and what the devices hold.
#[derive(Clone)]
struct World {
    records: Vec<KeyRecord>,
    devices: Vec<(String, DeviceKeys)>,
    names: Vec<String>,
    wanted: BTreeSet<(String, Role)>,
    schedule: Schedule,
    generated: u8,
}

impl World {
    /// One device with a signing and a sealing key that nobody has seen yet.
    fn new(rotate_every: Option<Duration>) -> Self {
        let keys = DeviceKeys {
            signing: vec![public_key(1)],
            sealing: vec![SealingKey::Direct("aes-1".to_owned())],
            delegated: Vec::new(),
        };
        Self {
            records: Vec::new(),
            devices: vec![("hsm".to_owned(), keys)],
            names: vec!["hsm".to_owned()],
            wanted: BTreeSet::new(),
            schedule: schedule(rotate_every),
            generated: 1,
        }
    }

    fn view(&self, now: Timestamp) -> View<'_> {
        View {
            records: &self.records,
            names: self.names.clone(),
            devices: self.devices.clone(),
            wanted: &self.wanted,
            schedule: &self.schedule,
            tolerance: Duration::ZERO,
            now,
        }
    }

    /// Carries out what is planned until nothing is.
    fn settle(&mut self, now: Timestamp) {
        for _round in 0..16 {
            let plan = self.view(now).plan();
            if plan.is_empty() {
                return;
            }
            plan.into_iter().for_each(|action| self.carry_out(action));
        }
        panic!("the plans never end: {:?}", self.view(now).plan());
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Add(record) => self.records.push(record),
            Action::Move(Move { kid, from, to, needed_until }) => {
                let record = self.records.iter_mut().find(|record| record.kid == kid && record.life == from);
                if let Some(record) = record {
                    (record.life, record.needed_until) = (to, record.needed_until.max(needed_until));
                }
            }
            Action::Generate { device, role } => {
                self.generated += 1;
                let keys = &mut self.devices.iter_mut().find(|(name, _)| *name == device).unwrap().1;
                match role {
                    Role::Signing => keys.signing.push(public_key(self.generated)),
                    Role::Sealing => keys.sealing.push(SealingKey::Direct(format!("aes-{}", self.generated))),
                    Role::Delegated(name) => {
                        keys.delegated.push(DelegatedKey { name, public_key: public_key(self.generated) });
                    }
                }
            }
            Action::Destroy { device, kid, .. } => {
                let keys = &mut self.devices.iter_mut().find(|(name, _)| *name == device).unwrap().1;
                keys.delegated.retain(|key| key.public_key.kid() != kid);
            }
            Action::LookAgain { device } => panic!("{device} has all that is awaited"),
        }
    }

    fn kids(&self, role: Role, state: KeyState) -> Vec<&str> {
        let kids = self.records.iter().filter(|record| record.role == role && record.state() == state);
        kids.map(|record| record.kid.as_str()).collect()
    }

    fn record(&mut self, kid: &str) -> &mut KeyRecord {
        self.records.iter_mut().find(|record| record.kid == kid).unwrap()
    }
}

#[test]
fn the_first_keys_are_used_at_once_and_stay() {
    let mut world = World::new(None);
    world.settle(START);
    assert_eq!(world.kids(Role::Signing, KeyState::Active), [public_key(1).kid()]);
    assert_eq!(world.kids(Role::Sealing, KeyState::Active), ["aes-1"]);
    let settled = world.records.clone();
    world.settle(START.plus(Duration::from_secs(10 * 365 * 86400)));
    assert_eq!(world.records, settled, "nobody asked for others");
}

#[test]
fn a_key_is_known_before_it_signs_and_until_its_last_token_ended() {
    let mut world = World::new(None);
    world.settle(START);
    world.wanted.insert(("hsm".to_owned(), Role::Signing));
    world.settle(START);
    world.wanted.clear();
    let (old, new) = (public_key(1).kid(), public_key(2).kid());
    assert_eq!(world.kids(Role::Signing, KeyState::Published), [new.as_str()]);
    assert_eq!(world.kids(Role::Sealing, KeyState::Active), ["aes-1"], "it was not asked for");
    let takes_over = START.plus(AHEAD).plus(LEARNED_WITHIN);
    world.settle(takes_over.minus(Duration::from_secs(1)));
    assert_eq!(world.kids(Role::Signing, KeyState::Active), [old.as_str()]);
    world.settle(takes_over);
    assert_eq!(world.kids(Role::Signing, KeyState::Active), [new.as_str()]);
    assert_eq!(world.kids(Role::Signing, KeyState::Retired), [old.as_str()]);
    let ends = takes_over.plus(TOKEN).plus(AHEAD);
    world.settle(ends.minus(Duration::from_secs(1)));
    assert_eq!(world.kids(Role::Signing, KeyState::Retired), [old.as_str()]);
    world.settle(ends);
    assert_eq!(world.kids(Role::Signing, KeyState::Removed), [old.as_str()]);
}

#[test]
fn what_was_noted_of_a_longer_life_counts_when_lifetimes_were_cut() {
    let mut world = World::new(None);
    world.settle(START);
    let noted = START.plus(Duration::from_secs(30 * 86400));
    world.record("aes-1").needed_until = noted;
    world.wanted.insert(("hsm".to_owned(), Role::Sealing));
    world.settle(START);
    world.wanted.clear();
    world.settle(START.plus(AHEAD).plus(LEARNED_WITHIN));
    world.settle(noted.minus(Duration::from_secs(1)));
    assert_eq!(world.kids(Role::Sealing, KeyState::Retired), ["aes-1"]);
    world.settle(noted);
    assert_eq!(world.kids(Role::Sealing, KeyState::Removed), ["aes-1"]);
}

#[test]
fn an_aes_key_is_replaced_by_count_and_a_public_one_is_not() {
    let mut world = World::new(None);
    world.settle(START);
    world.record("aes-1").uses = 999;
    world.settle(START);
    assert!(world.kids(Role::Sealing, KeyState::Published).is_empty());
    world.record("aes-1").uses = 1000;
    world.settle(START);
    assert_eq!(world.kids(Role::Sealing, KeyState::Published), ["aes-2"]);
    let mut world = World::new(None);
    world.devices[0].1.sealing = vec![SealingKey::EcdhEs(public_key(9))];
    world.settle(START);
    world.record(&public_key(9).kid()).uses = 1_000_000;
    world.settle(START);
    assert!(world.kids(Role::Sealing, KeyState::Published).is_empty(), "each of its tokens has a key of its own");
}

#[test]
fn a_key_that_waits_is_used_before_another_is_generated() {
    let mut world = World::new(None);
    world.settle(START);
    world.devices[0].1.signing.push(public_key(7));
    world.settle(START);
    assert_eq!(world.kids(Role::Signing, KeyState::Pending), [public_key(7).kid()]);
    world.wanted.insert(("hsm".to_owned(), Role::Signing));
    world.settle(START);
    assert_eq!(world.kids(Role::Signing, KeyState::Published), [public_key(7).kid()]);
    assert_eq!(world.generated, 1);
}

/// A world with a profile that has one key, `dex`, and one whose keys front-ends make, `spire`.
#[test]
fn a_second_device_is_published_before_it_signs() {
    let mut world = World::new(None);
    world.settle(START);
    let keys = DeviceKeys {
        signing: vec![public_key(50)],
        sealing: vec![SealingKey::Direct("aes-50".to_owned())],
        delegated: Vec::new(),
    };
    world.devices.push(("other".to_owned(), keys));
    world.names.push("other".to_owned());
    world.settle(START);
    assert_eq!(world.kids(Role::Signing, KeyState::Published), [public_key(50).kid()]);
    world.settle(START.plus(AHEAD).plus(LEARNED_WITHIN));
    assert_eq!(world.kids(Role::Signing, KeyState::Active).len(), 2, "each device signs by its own");
}

#[test]
fn a_copy_of_a_device_keeps_a_key_from_taking_over_until_it_has_it_too() {
    let mut world = World::new(None);
    let copy = world.devices[0].1.clone();
    world.devices.push(("copy".to_owned(), copy));
    world.names.push("copy".to_owned());
    world.settle(START);
    assert_eq!(world.records.len(), 2, "its keys are the same");
    world.wanted.insert(("hsm".to_owned(), Role::Signing));
    world.settle(START);
    world.wanted.clear();
    let later = START.plus(AHEAD * 10);
    world.settle(later);
    assert_eq!(world.kids(Role::Signing, KeyState::Active), [public_key(1).kid()]);
    world.devices[1].1.signing.push(public_key(2));
    world.settle(later);
    assert_eq!(world.kids(Role::Signing, KeyState::Active), [public_key(2).kid()]);
}

#[test]
fn a_key_that_is_in_use_and_in_no_device_is_missing_and_one_of_a_device_that_is_down_is_not() {
    let mut world = World::new(None);
    world.settle(START);
    assert_eq!(world.view(START).missing().count(), 0);
    let keys = std::mem::take(&mut world.devices[0].1);
    assert_eq!(world.view(START).missing().count(), 2);
    world.devices.clear();
    assert_eq!(world.view(START).missing().count(), 0, "it is down");
    world.names = vec!["renamed".to_owned()];
    assert_eq!(world.view(START).missing().count(), 2, "nobody has it");
    world.devices.push(("renamed".to_owned(), keys));
    assert_eq!(world.view(START).missing().count(), 0);
    world.settle(START);
    assert_eq!(world.records.len(), 2, "a device is known by its keys");
}

#[test]
fn a_key_of_another_node_is_looked_for() {
    let mut world = World::new(None);
    world.settle(START);
    let kid = public_key(1).kid();
    world.devices[0].1.signing.clear();
    assert_eq!(world.view(START).plan(), [Action::LookAgain { device: "hsm".to_owned() }]);
    world.record(&kid).life.removed_at = Some(START);
    assert!(matches!(world.view(START).plan().as_slice(), [Action::Generate { role: Role::Signing, .. }]));
}

/// A mint: what it read, when, and what it does by that.
#[derive(Clone, Default)]
struct Node {
    read_at: Option<Timestamp>,
    active: Vec<String>,
    published: Vec<String>,
}

impl Node {
    fn read(&mut self, world: &World, now: Timestamp) {
        let of_states = |states: &[KeyState]| {
            let of_role = world.records.iter().filter(|record| record.role == Role::Signing);
            of_role.filter(|record| states.contains(&record.state())).map(|record| record.kid.clone()).collect()
        };
        self.read_at = Some(now);
        self.active = of_states(&[KeyState::Active]);
        self.published = of_states(&[KeyState::Published, KeyState::Active, KeyState::Retired]);
    }

    fn is_up_to_date(&self, now: Timestamp) -> bool {
        self.read_at.is_some_and(|read_at| now.since(read_at) <= LEARNED_WITHIN)
    }

    /// As the caretaker has it: what was read too long ago is not gone by.
    fn may_sign(&self, now: Timestamp) -> bool {
        self.read_at.is_some_and(|read_at| now.since(read_at) <= AHEAD) && !self.active.is_empty()
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// Time passes, in seconds.
    Wait(u16),
    /// A node reads the store, and does what is due.
    Settle(usize),
    /// A node is cut off from the store for so many seconds.
    CutOff(usize, u16),
    /// A node signs a token.
    Sign(usize),
    /// A resource server fetches the keys from a node.
    Fetch(usize),
    /// An operator asks for the next key.
    Rotate,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u16..400).prop_map(Event::Wait),
        3 => (0usize..3).prop_map(Event::Settle),
        1 => (0usize..3, 1u16..2000).prop_map(|(node, seconds)| Event::CutOff(node, seconds)),
        4 => (0usize..3).prop_map(Event::Sign),
        2 => (0usize..3).prop_map(Event::Fetch),
        1 => Just(Event::Rotate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whoever fetched the keys within their max-age from a node that reads the store verifies every token that
    /// is alive, whichever node signed it, however the nodes race, rotate, and are cut off.
    #[test]
    fn no_token_is_ever_met_by_who_cannot_verify_it(events in proptest::collection::vec(event(), 1..250)) {
        let mut world = World::new(Some(Duration::from_secs(3600)));
        let (mut nodes, mut cut_off_until) = (vec![Node::default(); 3], [START; 3]);
        let mut now = START;
        let mut tokens: Vec<(String, Timestamp)> = Vec::new();
        let mut fetched: Vec<(Vec<String>, Timestamp)> = Vec::new();
        // What the caretaker does every two seconds, of those that are not cut off.
        let read_all = |world: &mut World, nodes: &mut [Node], cut_off_until: &[Timestamp; 3], now| {
            world.settle(now);
            for (node, until) in nodes.iter_mut().zip(cut_off_until) {
                if now >= *until {
                    node.read(world, now);
                }
            }
        };
        read_all(&mut world, &mut nodes, &cut_off_until, now);
        for event in events {
            match event {
                Event::Wait(seconds) => {
                    for _second in 0..seconds {
                        now = now.plus(Duration::from_secs(1));
                        if now.unix_seconds() % 2 == 0 && cut_off_until.iter().any(|until| now >= *until) {
                            read_all(&mut world, &mut nodes, &cut_off_until, now);
                        }
                    }
                }
                Event::Settle(node) if now >= cut_off_until[node] => {
                    world.settle(now);
                    nodes[node].read(&world, now);
                }
                Event::Settle(_) => {}
                Event::CutOff(node, seconds) => cut_off_until[node] = now.plus(Duration::from_secs(seconds.into())),
                Event::Sign(node) if nodes[node].may_sign(now) => {
                    tokens.extend(nodes[node].active.iter().map(|kid| (kid.clone(), now.plus(TOKEN))));
                }
                Event::Sign(node) => prop_assert!(!nodes[node].is_up_to_date(now), "a node that reads can sign"),
                Event::Fetch(node) if nodes[node].is_up_to_date(now) => {
                    fetched.push((nodes[node].published.clone(), now));
                }
                Event::Fetch(_) => {}
                Event::Rotate => {
                    world.wanted.insert(("hsm".to_owned(), Role::Signing));
                    world.settle(now);
                    world.wanted.clear();
                }
            }
            tokens.retain(|(_, ends)| now < *ends);
            fetched.retain(|(_, at)| now.since(*at) <= JWKS_MAX_AGE);
            for ((kid, _), (keys, at)) in tokens.iter().flat_map(|token| fetched.iter().map(move |keys| (token, keys))) {
                prop_assert!(keys.contains(kid), "fetched {} s ago", now.since(*at).as_secs());
            }
        }
    }
}
