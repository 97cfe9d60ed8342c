//! The keys that sign what front-ends bring.

use super::*;

fn with_profiles() -> (World, Role, KeyName) {
    let mut world = World::new(None);
    let [dex, spire] = ["dex", "spire"].map(|name| KeyName::parse(name).unwrap());
    let times = RoleSchedule { publish_ahead: 2 * AHEAD, ..world.schedule.signing };
    let keys = |profile, keys| DelegatedSchedule { keys: ProfileKeys { profile, keys }, times };
    world.schedule.delegated = vec![keys(dex, DelegatedKeys::One), keys(spire, DelegatedKeys::Created)];
    (world, Role::Delegated(dex), KeyName::parse("spire/x509").unwrap())
}

#[test]
fn a_profile_has_a_key_at_once_which_is_replaced_by_its_own_schedule() {
    let (mut world, dex, _) = with_profiles();
    world.settle(START);
    let first = public_key(2).kid();
    assert_eq!(world.kids(dex, KeyState::Active), [first.as_str()], "it was made, because there was none");
    world.wanted.insert(("hsm".to_owned(), dex));
    world.settle(START);
    world.wanted.clear();
    let next = public_key(3).kid();
    assert_eq!(world.kids(dex, KeyState::Published), [next.as_str()]);
    assert_eq!(world.record(&next).life.published_at, Some(START.plus(Duration::from_secs(1))), "one after the other");
    let takes_over = START.plus(Duration::from_secs(1)).plus(2 * AHEAD).plus(LEARNED_WITHIN);
    world.settle(takes_over.minus(Duration::from_secs(1)));
    assert_eq!(world.kids(dex, KeyState::Active), [first.as_str()]);
    world.settle(takes_over);
    assert_eq!(world.kids(dex, KeyState::Active), [next.as_str()]);
    assert_eq!(world.kids(dex, KeyState::Retired), [first.as_str()]);
    world.settle(takes_over.plus(TOKEN).plus(2 * AHEAD));
    assert_eq!(world.kids(dex, KeyState::Removed), [first.as_str()]);
    assert_eq!(world.devices[0].1.delegated.len(), 2, "what is not wanted any more is an operator's to destroy");
}

#[test]
fn a_key_that_was_made_is_used_at_once_and_never_replaced_and_destroyed_when_it_is_removed() {
    let (mut world, _, name) = with_profiles();
    world.settle(START);
    let (role, kid) = (Role::Delegated(name), public_key(7).kid());
    world.devices[0].1.delegated.push(DelegatedKey { name, public_key: public_key(7) });
    world.wanted.insert(("hsm".to_owned(), role));
    world.settle(START);
    world.settle(START.plus(Duration::from_secs(10 * 365 * 86400)));
    assert_eq!(world.kids(role, KeyState::Active), [kid.as_str()]);
    assert_eq!(world.records.iter().filter(|record| record.role == role).count(), 1);
    let record = world.record(&kid);
    record.life.removed_at = Some(START);
    world.settle(START);
    assert!(world.devices[0].1.delegated.iter().all(|key| key.name != name), "its device has destroyed it");
}

#[test]
fn of_two_that_were_made_under_one_name_at_once_the_older_one_stays() {
    let (mut world, _, name) = with_profiles();
    let role = Role::Delegated(name);
    let keys = |number| DeviceKeys {
        delegated: vec![DelegatedKey { name, public_key: public_key(number) }],
        ..DeviceKeys::default()
    };
    world.devices = vec![("hsm".to_owned(), keys(7)), ("other".to_owned(), keys(8))];
    world.names = vec!["hsm".to_owned(), "other".to_owned()];
    world.schedule.delegated.remove(0);
    world.settle(START);
    let active = world.kids(role, KeyState::Active);
    let [kept] = active.as_slice() else { panic!("{active:?}") };
    let kept = (*kept).to_owned();
    let left: Vec<String> =
        world.devices.iter().flat_map(|(_, keys)| keys.delegated.iter().map(|key| key.public_key.kid())).collect();
    assert_eq!(left, std::slice::from_ref(&kept), "the other one was destroyed");
    // Each of two nodes may have put its own into use before it knew of the other.
    let mut late = world.record(&kept).clone();
    late.kid = public_key(9).kid();
    late.life.activated_at = Some(START.plus(Duration::from_secs(1)));
    world.devices[1].1.delegated.push(DelegatedKey { name, public_key: public_key(9) });
    world.records.push(late);
    world.settle(START.plus(Duration::from_secs(2)));
    assert_eq!(world.kids(role, KeyState::Active), [kept.as_str()]);
    assert_eq!(world.kids(role, KeyState::Retired), [public_key(9).kid().as_str()]);
}

#[test]
fn keys_of_a_profile_that_is_none_any_more_are_left_alone_and_not_missed() {
    let (mut world, dex, name) = with_profiles();
    world.devices[0].1.delegated.push(DelegatedKey { name, public_key: public_key(99) });
    world.settle(START);
    assert_eq!(world.kids(dex, KeyState::Active).len(), 1);
    let before = world.records.clone();
    world.schedule.delegated.clear();
    // The keepers, which have the same configuration, do not tell them either.
    world.devices[0].1.delegated.clear();
    world.settle(START.plus(Duration::from_secs(10 * 365 * 86400)));
    assert_eq!(world.records, before);
    assert_eq!(world.view(START).missing().count(), 0);
    // One that is configured is missed, where it has one key.
    let (with, ..) = with_profiles();
    world.schedule = with.schedule;
    let missing: Vec<Role> = world.view(START).missing().map(|record| record.role).collect();
    assert_eq!(missing, [dex]);
}
