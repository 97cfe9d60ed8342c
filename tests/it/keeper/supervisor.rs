//! Keepers that end while they start, played by a script: whether another one may be started depends on
//! whether the PIN was being tried.

use std::sync::Arc;
use std::time::Duration;

use mintkeep::clock::SystemClock;
use mintkeep::keeper::launch::{Launcher, Settings};
use mintkeep::keeper::supervisor::start;
use mintkeep::keeper::wire::{GREETING_ID, Greeting, PREAMBLE, StartFailure, append_frame};
use tokio::sync::watch;

/// What becomes of a keeper that says `greetings`, and then does what `then` says in Python.
async fn failure_of(greetings: &[Greeting], then: &str) -> StartFailure {
    let mut said = PREAMBLE.to_vec();
    for greeting in greetings {
        append_frame(&mut said, GREETING_ID, 0, greeting).unwrap();
    }
    let said: String = said.iter().map(|byte| format!("{byte:02x}")).collect();
    let script = format!("import os, signal, time\nos.write(0, bytes.fromhex('{said}'))\n{then}");
    let settings = Settings {
        device: "played".to_owned(),
        sessions: 1,
        launcher: Launcher::Spawn {
            program: "/usr/bin/python3".into(),
            arguments: vec!["-c".into(), script.into()],
            pin_worked: "--pin-worked".into(),
        },
        start_limit: Duration::from_secs(2),
        request_limit: Duration::from_secs(2),
        max_in_flight: 1,
    };
    let (stop, stopped) = watch::channel(false);
    let (changed, _changes) = watch::channel(());
    let kept = start(settings, changed, Arc::new(SystemClock), stopped).await;
    stop.send_replace(true);
    kept.task.await.unwrap();
    kept.first_start.expect_err("it started")
}

#[tokio::test]
async fn one_that_ends_or_hangs_while_it_tries_the_pin_is_the_last() {
    // As a keeper does whose mint is gone: it ends by its own SIGKILL.
    let until_closed = "os.read(0, 8)\nos.read(0, 1)\nos.kill(os.getpid(), signal.SIGKILL)";
    for then in ["os._exit(0)", "os.kill(os.getpid(), signal.SIGSEGV)", "time.sleep(100)", until_closed] {
        let failure = failure_of(&[Greeting::LoggingIn], then).await;
        assert!(failure.is_final, "{then}: {failure}");
        assert!(failure.message.contains("during the login"), "{failure}");
    }
}

#[tokio::test]
async fn one_that_ends_before_or_after_that_or_by_another_hand_is_not() {
    let tried = [Greeting::LoggingIn, Greeting::LoggedIn];
    for (greetings, then) in [
        (&[][..], "os._exit(0)"),
        (&[], "time.sleep(100)"),
        (&tried, "os._exit(0)"),
        (&tried, "os.kill(os.getpid(), signal.SIGSEGV)"),
        (&tried[..1], "os.kill(os.getpid(), signal.SIGKILL)"),
    ] {
        let failure = failure_of(greetings, then).await;
        assert!(!failure.is_final, "{greetings:?}, {then}: {failure}");
    }
}

#[tokio::test]
async fn one_that_says_why_is_believed() {
    for is_final in [true, false] {
        let said = StartFailure { message: "no such token".to_owned(), is_final };
        assert_eq!(failure_of(&[Greeting::Failed(said.clone())], "os._exit(4)").await, said);
    }
}
