//! A device that misbehaves on demand, behind a real keeper on a real connection: what SoftHSM2 cannot be
//! brought to do.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use mintkeep::clock::{SystemClock, Timestamp};
use mintkeep::entropy::SystemEntropy;
use mintkeep::hardware::attestation::{Attestation, Nonce};
use mintkeep::hardware::{Device, DeviceKeys, Error, Fault, Role, Sealed, SealingKey, Session};
use mintkeep::jose::ecdh_es::SharedSecret;
use mintkeep::jose::jwe::{KeyManagement, NONCE_BYTES};
use mintkeep::jose::jwk::P256PublicKey;
use mintkeep::jose::jws::Signature;
use mintkeep::keeper::policy::Policy;
use mintkeep::keeper::server::{Ending, Greeter, Server, ServerSettings};
use mintkeep::keeper::wire::{Refusal, Reply, Request};
use mintkeep::keeper::worker::Worker;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;

use super::line::Line;

/// What the next calls into the device come to.
#[derive(Clone, Copy)]
enum Behaviour {
    Works,
    SignsWrongly,
    Fails,
    IsLost,
    Hangs,
}

#[derive(Clone)]
struct FakeDevice {
    keys: DeviceKeys,
    signing: Arc<SigningKey>,
    behaviour: Arc<(Mutex<Behaviour>, Condvar)>,
    calls: Arc<AtomicUsize>,
}

impl FakeDevice {
    fn new() -> Self {
        let signing = SigningKey::from_slice(&[5; 32]).unwrap();
        let point = signing.verifying_key().to_sec1_point(false);
        let public = P256PublicKey::from_uncompressed(point.as_bytes()).unwrap();
        Self {
            keys: DeviceKeys {
                signing: vec![public],
                sealing: vec![SealingKey::Direct("sealing".to_owned())],
                delegated: Vec::new(),
            },
            signing: Arc::new(signing),
            behaviour: Arc::new((Mutex::new(Behaviour::Works), Condvar::new())),
            calls: Arc::default(),
        }
    }

    fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.0.lock().unwrap() = behaviour;
        self.behaviour.1.notify_all();
    }

    /// A keeper with one session on this device, whose queue takes one request.
    fn keeper(&self, hang_limit: Duration) -> Arc<Server> {
        self.keeper_with(ServerSettings { sessions: 1, queue_capacity: 1, hang_limit })
    }

    fn keeper_with(&self, settings: ServerSettings) -> Arc<Server> {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
        let worker = Worker::new(self, Policy::new(Vec::new()), true, clock.clone(), entropy).unwrap();
        Arc::new(Server::start(Box::new(self.clone()), worker, settings, clock).unwrap())
    }
}

impl Device for FakeDevice {
    fn description(&self) -> &str {
        "a device that misbehaves"
    }

    fn keys(&self) -> DeviceKeys {
        self.keys.clone()
    }

    fn open_session(&self) -> Result<Box<dyn Session>, Error> {
        Ok(Box::new(self.clone()))
    }

    fn close(self: Box<Self>) {}
}

impl Session for FakeDevice {
    fn sign(&mut self, _: &str, digest: &[u8; 32]) -> Result<Signature, Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (lock, changed) = &*self.behaviour;
        let behaviour = changed.wait_while(lock.lock().unwrap(), |now| matches!(now, Behaviour::Hangs)).unwrap();
        let fault = |reason: &str| (("C_Sign").to_owned(), reason.to_owned());
        match *behaviour {
            Behaviour::Works => {
                let signature: p256::ecdsa::Signature = self.signing.sign_prehash(digest).unwrap();
                Ok(signature.to_bytes().into())
            }
            Behaviour::SignsWrongly => Ok([1; 64]),
            Behaviour::Fails => Err(fault("CKR_GENERAL_ERROR")).map_err(|(call, reason)| Error::Call { call, reason }),
            Behaviour::IsLost => Err(fault("CKR_DEVICE_REMOVED")).map_err(|(call, reason)| Error::Lost {
                fault: Fault::DeviceGone,
                call,
                reason,
            }),
            Behaviour::Hangs => unreachable!("waited until it does not"),
        }
    }

    fn encrypt(&mut self, _: &str, _: &[u8; NONCE_BYTES], _: &[u8], _: &[u8]) -> Result<Sealed, Error> {
        Err(Error::UnknownKey("sealing".to_owned()))
    }

    fn decrypt(&mut self, _: &str, _: &[u8; NONCE_BYTES], _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::NotAuthentic)
    }

    fn agree(&mut self, kid: &str, _: &P256PublicKey) -> Result<SharedSecret, Error> {
        Err(Error::UnknownKey(kid.to_owned()))
    }

    fn generate(&mut self, _: Role) -> Result<(), Error> {
        Ok(())
    }

    fn destroy(&mut self, kid: &str) -> Result<(), Error> {
        Err(Error::UnknownKey(kid.to_owned()))
    }

    fn attest(&mut self, kid: &str, _: &Nonce, _: Timestamp) -> Result<Attestation, Error> {
        Err(Error::UnknownKey(kid.to_owned()))
    }

    fn look_again(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn keys(&self) -> DeviceKeys {
        self.keys.clone()
    }
}

fn connected(keeper: &Server) -> Line {
    let (ours, theirs) = UnixStream::pair().unwrap();
    keeper.serve(Greeter::new(theirs).unwrap()).unwrap();
    Line::greeted(ours)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_wrong_signature_is_not_released() {
    let device = FakeDevice::new();
    let keeper = device.keeper(LONG);
    let mut line = connected(&keeper);
    assert_eq!(line.ask(&Request::Health), Reply::Healthy);
    device.behave(Behaviour::SignsWrongly);
    match line.ask(&Request::Health) {
        Reply::Refused(Refusal::Hardware(Fault::Fatal, reason)) => {
            assert!(reason.contains("it was not released"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    device.behave(Behaviour::Works);
    assert_eq!(line.ask(&Request::Health), Reply::Healthy);
}

#[test]
fn a_lost_device_ends_the_keeper_after_the_answer() {
    let device = FakeDevice::new();
    let keeper = device.keeper(LONG);
    let mut line = connected(&keeper);
    device.behave(Behaviour::IsLost);
    assert!(matches!(line.ask(&Request::Health), Reply::Refused(Refusal::Hardware(..))));
    assert!(matches!(keeper.wait(true), Ending::Lost(Error::Lost { .. })));
}

#[test]
fn faults_in_a_row_end_the_keeper_and_single_ones_do_not() {
    let device = FakeDevice::new();
    let keeper = device.keeper(LONG);
    let mut line = connected(&keeper);
    for _ in 0..10 {
        device.behave(Behaviour::Fails);
        assert!(matches!(line.ask(&Request::Health), Reply::Refused(Refusal::Hardware(..))));
        device.behave(Behaviour::Works);
        assert_eq!(line.ask(&Request::Health), Reply::Healthy);
    }
    device.behave(Behaviour::Fails);
    for _ in 0..5 {
        // What proves nothing of signing does not excuse it.
        assert!(matches!(line.ask(&Request::PublicKeys), Reply::PublicKeys(_)));
        assert!(matches!(line.ask(&Request::Health), Reply::Refused(Refusal::Hardware(..))));
    }
    assert!(matches!(keeper.wait(true), Ending::Lost(_)));
}

#[test]
fn what_is_not_authentic_is_no_fault_of_the_device() {
    let device = FakeDevice::new();
    let keeper = device.keeper(LONG);
    let mut line = connected(&keeper);
    let open = Request::Open {
        client: "c",
        kid: "sealing",
        key_management: KeyManagement::Direct,
        nonce: [0; 12],
        aad: b"",
        ciphertext_and_tag: b"",
    };
    for _ in 0..50 {
        assert_eq!(line.ask(&open), Reply::Refused(Refusal::NotAuthentic));
    }
    assert_eq!(line.ask(&Request::Health), Reply::Healthy);
    keeper.ask_to_end();
    assert!(matches!(keeper.wait(true), Ending::Asked));
}

#[test]
fn a_full_queue_is_an_answer_and_an_abandoned_request_is_skipped() {
    let device = FakeDevice::new();
    let keeper = device.keeper(LONG);
    let mut line = connected(&keeper);
    device.behave(Behaviour::Hangs);
    line.put(1, 60_000, &Request::Health);
    while device.calls.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    line.put(2, 60_000, &Request::Health);
    line.put(3, 60_000, &Request::Health);
    assert_eq!(line.answer(), (3, Reply::Refused(Refusal::Busy)));
    line.put(2, 0, &Request::Cancel);
    // Answered by the reader too, so the cancellation was read before this.
    line.put(4, 60_000, &Request::Health);
    assert_eq!(line.answer(), (4, Reply::Refused(Refusal::Busy)));
    device.behave(Behaviour::Works);
    assert_eq!(line.answer(), (1, Reply::Healthy));
    // Every request has its answer: silence would be taken for a keeper that hangs.
    assert_eq!(line.answer(), (2, Reply::Refused(Refusal::TooLate)));
    line.put(5, 60_000, &Request::Health);
    assert_eq!(line.answer(), (5, Reply::Healthy));
    assert_eq!(device.calls.load(Ordering::SeqCst), 2, "the second was never put to the device");
}

#[test]
fn what_a_connection_that_is_gone_asked_for_is_skipped() {
    let device = FakeDevice::new();
    let settings = ServerSettings { sessions: 1, queue_capacity: 100, hang_limit: LONG };
    let keeper = device.keeper_with(settings);
    let mut line = connected(&keeper);
    device.behave(Behaviour::Hangs);
    for id in 1..=50 {
        line.put(id, 60_000, &Request::Health);
    }
    while device.calls.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    line.close();
    // Ends with the connection, which the reader noticed then.
    assert!(matches!(keeper.wait(true), Ending::Asked));
    device.behave(Behaviour::Works);
    assert_eq!(connected(&keeper).ask(&Request::Health), Reply::Healthy);
    assert_eq!(device.calls.load(Ordering::SeqCst), 2);
}

#[test]
fn connections_are_bounded_and_their_places_come_back() {
    let device = FakeDevice::new();
    let keeper = device.keeper(LONG);
    let lines: Vec<Line> = (0..8).map(|_| connected(&keeper)).collect();
    let (_ours, theirs) = UnixStream::pair().unwrap();
    assert!(keeper.serve(Greeter::new(theirs).unwrap()).is_err());
    drop(lines);
    while !matches!(keeper.wait(true), Ending::Asked) {}
    loop {
        let (ours, theirs) = UnixStream::pair().unwrap();
        if keeper.serve(Greeter::new(theirs).unwrap()).is_ok() {
            assert_eq!(Line::greeted(ours).ask(&Request::Health), Reply::Healthy);
            break;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_request_whose_time_has_passed_is_not_put_to_the_device() {
    let device = FakeDevice::new();
    let keeper = device.keeper(LONG);
    let mut line = connected(&keeper);
    line.put(1, 0, &Request::Health);
    assert_eq!(line.answer(), (1, Reply::Refused(Refusal::TooLate)));
    assert_eq!(device.calls.load(Ordering::SeqCst), 0);
}

#[test]
fn a_call_that_does_not_return_ends_the_keeper() {
    let device = FakeDevice::new();
    let keeper = device.keeper(Duration::from_millis(200));
    let mut line = connected(&keeper);
    device.behave(Behaviour::Hangs);
    line.put(1, 60_000, &Request::Health);
    assert!(matches!(keeper.wait(true), Ending::Hung(_)));
    device.behave(Behaviour::Works);
}
