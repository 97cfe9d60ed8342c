//! What every store keeps to about logins, their codes, and requests that were pushed.

use std::sync::Arc;
use std::time::Duration;

use mintkeep::clock::Timestamp;
use mintkeep::store::{
    BegunLogin, CodeRedeemed, CodeUse, Decided, Decision, Family, FamilyId, LoginId, LoginKind, LoginState,
    PendingLogin, Polled, PushedRequest, Records, Store, TokenId, UsedCode,
};

use super::{NOW, Open, family};

const MANY: u32 = 1000;
/// How long logins wait, and how long codes are good.
const LOGIN: u64 = 600;
const CODE: u64 = 60;

fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn id(text: &str) -> LoginId {
    LoginId::of(text)
}

fn login(kind: LoginKind, name: &str) -> PendingLogin {
    let request = format!(r#"{{"state":"ünïcode {name}"}}"#);
    PendingLogin::new(kind, id(name), "web-app".to_owned(), request, NOW).lasting(Duration::from_secs(LOGIN))
}

fn authorization(name: &str) -> PendingLogin {
    login(LoginKind::Authorization, name)
}

/// A device's login of that number.
pub fn device(number: u8) -> PendingLogin {
    let user_code = Some(id(&format!("user code {number}")));
    PendingLogin { user_code, ..login(LoginKind::Device, &format!("device {number}")) }
}

/// A request that was pushed, of that number.
pub fn pushed(number: u8) -> PushedRequest {
    PushedRequest {
        id: id(&format!("urn:ietf:params:oauth:request_uri:{number}")),
        client_id: "web-app".to_owned(),
        request: r#"{"scope":"öpenid"}"#.to_owned(),
        expires_at: at(90),
    }
}

/// A login in each state that there is.
pub fn of_every_state() -> Vec<PendingLogin> {
    let used = UsedCode { fid: FamilyId([240; 16]), jti: TokenId([240; 16]), token_expires_at: at(900) };
    let accepted = |name: &str, used| LoginState::Accepted {
        code: id(&format!("code of {name}")),
        grant: r#"{"subject":"deploy"}"#.to_owned(),
        expires_at: at(CODE),
        used,
    };
    let mut polled = device(200);
    polled.polling.polled_at = Some(NOW);
    polled.polling.interval_seconds = 15;
    vec![
        authorization("every pending"),
        PendingLogin { state: LoginState::Refused { error: "access_denied".to_owned() }, ..device(201) },
        PendingLogin { state: accepted("a", None), ..authorization("every accepted") },
        PendingLogin { state: accepted("b", Some(used)), ..authorization("every used") },
        PendingLogin { state: accepted("c", None), ..login(LoginKind::Logout, "every logout") },
        polled,
    ]
}

fn accept(code: &str) -> Decision {
    Decision::Accepted { code: id(code), grant: r#"{"subject":"ada"}"#.to_owned(), expires_at: at(CODE) }
}

fn refuse() -> Decision {
    Decision::Refused { error: "access_denied".to_owned() }
}

fn using(number: u8) -> CodeUse {
    let family = Family {
        login: Some(r#"{"acr":"gold","amr":["pwd"]}"#.to_owned()),
        session: Some("login-page/ä1".to_owned()),
        ..family(number)
    };
    CodeUse { family, jti: TokenId([number; 16]), token_expires_at: at(900) }
}

async fn begin(store: &dyn Store, login: PendingLogin) {
    assert_eq!(store.begin_login(login, MANY).await.unwrap(), BegunLogin::Begun);
}

pub async fn a_login_is_found_as_it_was_begun(open: Open<'_>) {
    let store = open();
    for login in [authorization("found"), device(1), login(LoginKind::Logout, "found logout")] {
        assert_eq!(store.login(login.handle).await.unwrap(), None);
        begin(store.as_ref(), login.clone()).await;
        assert_eq!(open().login(login.handle).await.unwrap().as_ref(), Some(&login));
        begin(open().as_ref(), login).await;
    }
    let by_user_code = |code: &str| {
        let code = id(code);
        async move { open().login_by_user_code(code).await.unwrap() }
    };
    assert_eq!(by_user_code("user code 1").await, Some(device(1)));
    assert_eq!(by_user_code("user code 9").await, None);
    let taken = PendingLogin { user_code: device(1).user_code, ..device(2) };
    assert_eq!(store.begin_login(taken.clone(), MANY).await.unwrap(), BegunLogin::UserCodeTaken);
    assert_eq!(store.login(taken.handle).await.unwrap(), None);
}

pub async fn of_many_decisions_one_is_made(open: Open<'_>) {
    let stores = [open(), open()];
    for round in 0..10 {
        let login = authorization(&format!("decided {round}"));
        begin(stores[0].as_ref(), login.clone()).await;
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let store = Arc::clone(&stores[number % 2]);
                let decision = if number % 3 == 0 { refuse() } else { accept(&format!("decided {round} {number}")) };
                let handle = login.handle;
                let decided = decision.clone();
                tokio::spawn(async move { (decided, store.decide_login(handle, decision, NOW).await.unwrap()) })
            })
            .collect();
        let mut done = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (decision, Decided::Done) => done.push(decision),
                (_, Decided::AlreadyDecided) => {}
                (_, Decided::Unknown) => panic!("it is there"),
            }
        }
        assert_eq!(done.len(), 1, "{done:?}");
        let state = match done.remove(0) {
            Decision::Refused { error } => LoginState::Refused { error },
            Decision::Accepted { code, grant, expires_at } => {
                LoginState::Accepted { code, grant, expires_at, used: None }
            }
        };
        assert_eq!(open().login(login.handle).await.unwrap(), Some(PendingLogin { state, ..login }), "it is durable");
    }
}

pub async fn what_ended_is_decided_by_nobody(open: Open<'_>) {
    let store = open();
    let login = authorization("ended");
    assert_eq!(store.decide_login(login.handle, accept("ended"), NOW).await.unwrap(), Decided::Unknown);
    begin(store.as_ref(), login.clone()).await;
    for decision in [accept("ended"), refuse()] {
        assert_eq!(store.decide_login(login.handle, decision, at(LOGIN)).await.unwrap(), Decided::Unknown);
    }
    assert_eq!(store.decide_login(login.handle, accept("ended"), at(LOGIN - 1)).await.unwrap(), Decided::Done);
    // Whose answer was lost.
    assert_eq!(store.decide_login(login.handle, accept("ended"), at(LOGIN - 1)).await.unwrap(), Decided::Done);
    for decision in [accept("ended too"), refuse()] {
        let decided = store.decide_login(login.handle, decision, at(LOGIN - 1)).await.unwrap();
        assert_eq!(decided, Decided::AlreadyDecided);
    }
}

pub async fn as_many_logins_wait_as_may(open: Open<'_>) {
    let stores = [open(), open()];
    let all = stores[0].logins(None, MANY).await.unwrap();
    let waiting = all.iter().filter(|login| login.state == LoginState::Pending).count();
    let most = u32::try_from(waiting).unwrap() + 5;
    let tasks: Vec<_> = (0..32_usize)
        .map(|number| {
            let (store, login) = (Arc::clone(&stores[number % 2]), authorization(&format!("many {number}")));
            tokio::spawn(async move { (login.clone(), store.begin_login(login, most).await.unwrap()) })
        })
        .collect();
    let mut begun = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            (login, BegunLogin::Begun) => begun.push(login),
            (login, BegunLogin::Full) => assert_eq!(open().login(login.handle).await.unwrap(), None),
            (_, BegunLogin::UserCodeTaken) => panic!("they have none"),
        }
    }
    assert_eq!(begun.len(), 5);
    let store = open();
    assert_eq!(store.begin_login(authorization("more"), most).await.unwrap(), BegunLogin::Full);
    assert_eq!(store.begin_login(begun[0].clone(), most).await.unwrap(), BegunLogin::Begun, "it is there");
    // Each that is decided makes room for one, also where it stays.
    for (login, decision) in begun.iter().zip([refuse(), accept("many")]) {
        for _ in 0..2 {
            store.decide_login(login.handle, decision.clone(), NOW).await.unwrap();
        }
    }
    let expected = [BegunLogin::Begun, BegunLogin::Begun, BegunLogin::Full];
    for (number, expected) in expected.into_iter().enumerate() {
        let login = authorization(&format!("more {number}"));
        assert_eq!(open().begin_login(login, most).await.unwrap(), expected);
    }
    // One whose name is taken needs none.
    let taken = PendingLogin { user_code: device(1).user_code, ..device(3) };
    assert_eq!(store.begin_login(taken, most + 1).await.unwrap(), BegunLogin::UserCodeTaken);
    assert_eq!(store.begin_login(authorization("last"), most + 1).await.unwrap(), BegunLogin::Begun);
    assert_eq!(store.begin_login(authorization("no more"), most + 1).await.unwrap(), BegunLogin::Full);
}

pub async fn logins_that_ended_are_pruned_and_make_room(open: Open<'_>) {
    let store = open();
    let short = |name: &str| PendingLogin { expires_at: at(1), ..authorization(name) };
    let used = short("pruned used");
    for login in [short("pruned"), used.clone(), PendingLogin { expires_at: at(1), ..device(4) }] {
        begin(store.as_ref(), login).await;
    }
    store
        .decide_login(
            used.handle,
            Decision::Accepted { code: id("pruned code"), grant: "{}".to_owned(), expires_at: at(2) },
            NOW,
        )
        .await
        .unwrap();
    let using = CodeUse { token_expires_at: at(3), ..using(241) };
    assert_eq!(store.redeem_code(id("pruned code"), using, NOW).await.unwrap(), CodeRedeemed::Granted);
    assert!(store.push_request(PushedRequest { expires_at: at(2), ..pushed(9) }, MANY).await.unwrap());
    let waiting = |logins: &[PendingLogin]| {
        let waiting = logins.iter().filter(|login| login.state == LoginState::Pending).count();
        u32::try_from(waiting).unwrap()
    };
    let most = waiting(&store.logins(None, MANY).await.unwrap());
    assert_eq!(store.begin_login(short("room"), most).await.unwrap(), BegunLogin::Full);
    assert_eq!(store.prune(NOW, 10).await.unwrap(), 0);
    // The login; a device code is remembered for as long again.
    assert_eq!(store.prune(at(1), 10).await.unwrap(), 1);
    assert_eq!(store.login(short("pruned").handle).await.unwrap(), None);
    let last = PendingLogin { expires_at: at(3), ..authorization("room") };
    assert_eq!(store.begin_login(last, most).await.unwrap(), BegunLogin::Begun);
    // The device's, and the request.
    assert_eq!(store.prune(at(2), 1).await.unwrap(), 2);
    assert!(store.login(used.handle).await.unwrap().is_some(), "as long as its token lives a replay is noticed");
    assert_eq!(store.prune(at(3), 10).await.unwrap(), 2);
    assert_eq!(store.login(used.handle).await.unwrap(), None);
    assert_eq!(waiting(&store.logins(None, MANY).await.unwrap()), most - 2);
}

pub async fn of_many_that_redeem_a_code_one_is_granted_and_it_is_revoked(open: Open<'_>) {
    let stores = [open(), open()];
    for round in 0..10_u8 {
        let (name, code) = (format!("redeemed {round}"), format!("code {round}"));
        begin(stores[0].as_ref(), authorization(&name)).await;
        stores[0].decide_login(id(&name), accept(&code), NOW).await.unwrap();
        let waiting = stores[1].code(id(&code)).await.unwrap().unwrap();
        assert_eq!((waiting.client_id.as_str(), waiting.used, waiting.expires_at), ("web-app", None, at(CODE)));
        assert_eq!((waiting.grant.as_str(), waiting.code), (r#"{"subject":"ada"}"#, id(&code)));
        assert_eq!(waiting.request, authorization(&name).request);
        let tasks: Vec<_> = (0..4_u8)
            .map(|number| {
                let store = Arc::clone(&stores[usize::from(number) % 2]);
                let (code, mut using) = (id(&code), using(0));
                using.family.fid = FamilyId([[round; 8], [100 + number; 8]].concat().try_into().unwrap());
                using.jti = TokenId(using.family.fid.0);
                let redeemed = using.clone();
                tokio::spawn(async move { (redeemed, store.redeem_code(code, using, NOW).await.unwrap()) })
            })
            .collect();
        let mut granted = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (using, CodeRedeemed::Granted) => granted.push(using),
                (using, CodeRedeemed::Replayed) => {
                    assert_eq!(open().family(using.family.fid).await.unwrap(), None, "nothing began");
                }
                (_, CodeRedeemed::Unknown) => panic!("it is there"),
            }
        }
        assert_eq!(granted.len(), 1);
        let using = granted.remove(0);
        let family = open().family(using.family.fid).await.unwrap();
        assert_eq!(family, Some(Family { revoked_at: Some(NOW), ..using.family.clone() }));
        assert!(open().is_revoked(using.jti, None).await.unwrap());
        assert_eq!(open().code(id(&code)).await.unwrap().unwrap().used, Some(using.used()));
    }
}

pub async fn a_code_is_redeemed_once_while_it_is_good(open: Open<'_>) {
    let store = open();
    begin(store.as_ref(), authorization("once")).await;
    assert_eq!(store.code(id("once code")).await.unwrap(), None);
    store.decide_login(id("once"), accept("once code"), NOW).await.unwrap();
    let redeem = |using: CodeUse, seconds| {
        let store = open();
        async move { store.redeem_code(id("once code"), using, at(seconds)).await.unwrap() }
    };
    assert_eq!(redeem(using(242), CODE).await, CodeRedeemed::Unknown, "it ended");
    assert_eq!(store.family(using(242).family.fid).await.unwrap(), None);
    assert_eq!(redeem(using(242), CODE - 1).await, CodeRedeemed::Granted);
    assert_eq!(redeem(using(242), CODE - 1).await, CodeRedeemed::Granted, "its answer was lost");
    assert_eq!(store.family(using(242).family.fid).await.unwrap(), Some(using(242).family));
    assert!(!store.is_revoked(using(242).jti, Some(using(242).family.fid)).await.unwrap());
    // Also after its end.
    assert_eq!(redeem(using(243), 2 * CODE).await, CodeRedeemed::Replayed);
    assert!(store.is_revoked(using(242).jti, None).await.unwrap());
    let revoked_at = store.family(using(242).family.fid).await.unwrap().unwrap().revoked_at;
    assert_eq!(revoked_at, Some(at(2 * CODE)));
    let unknown = store.redeem_code(id("never given"), using(243), NOW).await.unwrap();
    assert_eq!(unknown, CodeRedeemed::Unknown);
    // What is no authorization code is not taken for one.
    for login in [device(5), login(LoginKind::Logout, "once logout")] {
        begin(store.as_ref(), login.clone()).await;
        let code = format!("not a code {:?}", login.kind);
        store.decide_login(login.handle, accept(&code), NOW).await.unwrap();
        assert_eq!(store.code(id(&code)).await.unwrap(), None);
        assert_eq!(store.code(login.handle).await.unwrap(), None);
    }
    let logout = store.redeem_code(id("not a code Logout"), using(243), NOW).await.unwrap();
    assert_eq!(logout, CodeRedeemed::Unknown);
}

pub async fn a_device_polls_at_its_pace_until_it_is_decided(open: Open<'_>) {
    let store = open();
    let (waits, refused) = (device(6), device(7));
    begin(store.as_ref(), waits.clone()).await;
    begin(store.as_ref(), refused.clone()).await;
    let poll = |login: &PendingLogin, seconds| {
        let (store, code) = (open(), login.handle);
        async move { store.poll_device(code, "web-app".to_owned(), at(seconds)).await.unwrap() }
    };
    let expected = [
        (0, Polled::Pending),
        (5, Polled::Pending),
        (9, Polled::SlowDown),
        (18, Polled::SlowDown),
        (33, Polled::Pending),
        (48, Polled::Pending),
    ];
    for (seconds, expected) in expected {
        let other = store.poll_device(waits.handle, "other".to_owned(), at(seconds)).await.unwrap();
        assert_eq!(other, Polled::Unknown, "another client learns nothing and changes nothing");
        assert_eq!(poll(&waits, seconds).await, expected, "after {seconds} s");
    }
    assert_eq!(poll(&authorization("nothing of a device"), 0).await, Polled::Unknown);
    store.decide_login(refused.handle, refuse(), NOW).await.unwrap();
    assert_eq!(poll(&refused, 0).await, Polled::Refused("access_denied".to_owned()));
    assert_eq!(poll(&refused, LOGIN).await, Polled::Expired);
    assert_eq!(poll(&waits, LOGIN).await, Polled::Expired);

    // Polls and the decision cross.
    let stores = [open(), open()];
    let crossing = device(8);
    begin(store.as_ref(), crossing.clone()).await;
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let (store, code) = (Arc::clone(&stores[number % 2]), crossing.handle);
            tokio::spawn(async move { store.poll_device(code, "web-app".to_owned(), at(50)).await.unwrap() })
        })
        .collect();
    let decided = stores[0].decide_login(crossing.handle, accept("device 8 code"), NOW).await.unwrap();
    assert_eq!(decided, Decided::Done);
    let mut pending = 0;
    for task in tasks {
        match task.await.unwrap() {
            Polled::Pending => pending += 1,
            Polled::SlowDown | Polled::Accepted(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(pending <= 1, "{pending} polls at one moment were in time");
    let Polled::Accepted(grant) = poll(&crossing, CODE - 1).await else { panic!("it was accepted") };
    assert_eq!((grant.code, grant.used), (id("device 8 code"), None));
    assert_eq!(poll(&crossing, CODE).await, Polled::Expired, "what it was accepted for ended");
    let redeemed = store.redeem_code(grant.code, using(244), NOW).await.unwrap();
    assert_eq!(redeemed, CodeRedeemed::Granted);
    let Polled::Accepted(grant) = poll(&crossing, CODE).await else { panic!("whoever redeems it again is noticed") };
    assert_eq!(grant.used, Some(using(244).used()));
}

pub async fn a_pushed_request_is_taken_once(open: Open<'_>) {
    let stores = [open(), open()];
    let request = pushed(50);
    assert!(stores[0].push_request(request.clone(), MANY).await.unwrap());
    assert!(stores[1].push_request(request.clone(), MANY).await.unwrap(), "it is there like that");
    let other = PushedRequest { client_id: "other".to_owned(), ..request.clone() };
    assert!(!stores[1].push_request(other, MANY).await.unwrap());
    assert_eq!(open().pushed_request(request.id).await.unwrap().as_ref(), Some(&request));
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let (store, id) = (Arc::clone(&stores[number % 2]), request.id);
            tokio::spawn(async move { store.take_pushed_request(id, NOW).await.unwrap() })
        })
        .collect();
    let mut taken = Vec::new();
    for task in tasks {
        taken.extend(task.await.unwrap());
    }
    assert_eq!(taken, std::slice::from_ref(&request));
    assert_eq!(open().pushed_request(request.id).await.unwrap(), None);
    let store = open();
    store.push_request(pushed(51), MANY).await.unwrap();
    assert_eq!(store.take_pushed_request(pushed(51).id, at(90)).await.unwrap(), None, "it ended");
    let most = u32::try_from(store.pushed_requests(None, MANY).await.unwrap().len()).unwrap() + 2;
    let tasks: Vec<_> = (60..70)
        .map(|number| {
            let store = Arc::clone(&stores[usize::from(number) % 2]);
            tokio::spawn(async move { store.push_request(pushed(number), most).await.unwrap().then_some(number) })
        })
        .collect();
    let mut kept = Vec::new();
    for task in tasks {
        kept.extend(task.await.unwrap());
    }
    assert_eq!(kept.len(), 2);
    assert!(!store.push_request(pushed(70), most).await.unwrap());
    assert!(store.take_pushed_request(pushed(kept[0]).id, NOW).await.unwrap().is_some());
    assert!(store.push_request(pushed(70), most).await.unwrap());
    for number in [kept[1], 70] {
        store.take_pushed_request(pushed(number).id, NOW).await.unwrap();
    }
}

pub async fn a_session_takes_its_families_along(open: Open<'_>) {
    let store = open();
    let of = |number, session: Option<&str>| Family { session: session.map(str::to_owned), ..family(number) };
    let families = [of(245, Some("page/1")), of(246, Some("page/1")), of(247, Some("page/2")), of(248, None)];
    let ended = Family { revoked_at: Some(at(1)), ..of(249, Some("page/1")) };
    for family in families.iter().chain([&ended]) {
        store.begin_family(family.clone()).await.unwrap();
    }
    let mut revoked = open().revoke_session("page/1".to_owned(), at(2)).await.unwrap();
    revoked.sort_by_key(|family| family.fid);
    let expected = families[..2].iter().map(|family| Family { revoked_at: Some(at(2)), ..family.clone() });
    assert_eq!(revoked, expected.collect::<Vec<_>>());
    assert_eq!(store.revoke_session("page/1".to_owned(), at(3)).await.unwrap(), [], "they ended already");
    assert_eq!(store.revoke_session("page".to_owned(), at(3)).await.unwrap(), []);
    for family in families[2..].iter().chain([&ended]) {
        assert_eq!(open().family(family.fid).await.unwrap().as_ref(), Some(family));
    }
}

pub async fn logins_are_listed_and_restored_as_they_were(open: Open<'_>) {
    let store = open();
    let (logins, pushed_requests) = (of_every_state(), vec![pushed(80), pushed(81)]);
    let before: Vec<PendingLogin> = store.logins(None, MANY).await.unwrap();
    for _ in 0..2 {
        let records =
            Records { logins: logins.clone(), pushed_requests: pushed_requests.clone(), ..Records::default() };
        store.restore(records).await.unwrap();
    }
    let changed = PendingLogin { state: LoginState::Pending, ..logins[1].clone() };
    store.restore(Records { logins: vec![changed], ..Records::default() }).await.unwrap();
    for login in &logins {
        assert_eq!(open().login(login.handle).await.unwrap().as_ref(), Some(login));
    }
    let mut found: Vec<PendingLogin> = Vec::new();
    while let Some(login) = store.logins(found.last().map(|login| login.handle), 1).await.unwrap().pop() {
        found.push(login);
    }
    assert!(found.is_sorted_by_key(|login| login.handle));
    assert_eq!(found.len(), before.len() + logins.len());
    let mut requests = pushed_requests;
    requests.sort_by_key(|request| request.id);
    assert_eq!(open().pushed_requests(None, MANY).await.unwrap(), requests);
    assert_eq!(open().pushed_requests(Some(requests[0].id), 1).await.unwrap(), requests[1..]);
    // Those that were restored count.
    let waiting = found.iter().filter(|login| login.state == LoginState::Pending).count();
    let most = u32::try_from(waiting).unwrap();
    assert_eq!(store.begin_login(authorization("after all"), most).await.unwrap(), BegunLogin::Full);
    assert_eq!(store.begin_login(authorization("after all"), most + 1).await.unwrap(), BegunLogin::Begun);
    assert!(!store.push_request(pushed(82), 2).await.unwrap());
    let used = store.redeem_code(id("code of b"), using(250), NOW).await.unwrap();
    assert_eq!(used, CodeRedeemed::Replayed, "what was used stays used");
    assert_eq!(store.redeem_code(id("code of a"), using(250), NOW).await.unwrap(), CodeRedeemed::Granted);
}
