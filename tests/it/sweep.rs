//! Every call that the keeper makes to its module goes wrong once, in every way that PKCS#11 has for it: at a start,
//! at a restart under a running mint, in an exchange, and where the next keys are generated. No wrong signature may leave, no PIN may be tried twice, the
//! mint answers 200 or 503 and comes back by itself, and no client loses its refresh token.
//!
//! The test command runs a sample; `make faults` all of it, or of one stage (`STAGE=Rotation`), and prints its size and
//! what was violated.

mod codes;
mod scene;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::codes::{Fault, faults_of};
use self::scene::{Calls, Scene};

/// Deployments at a time. Most of a case is waiting.
const SCENES: usize = 4;

/// One fault at one call.
struct Case {
    stage: Stage,
    function: String,
    /// Which of the calls to the function in its stage.
    number: usize,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Start,
    Restart,
    Exchange,
    Rotation,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {} {}: {}", self.stage, self.function, self.number, self.fault)
    }
}

/// Every call of `calls` with each of its faults.
fn cases(stage: Stage, calls: &[String]) -> Vec<Case> {
    let number = |index: usize| calls[..=index].iter().filter(|call| **call == calls[index]).count();
    let of_call = |(index, function): (usize, &String)| {
        let (function, number) = (function.clone(), number(index));
        faults_of(&function).into_iter().map(move |fault| Case { stage, function: function.clone(), number, fault })
    };
    calls.iter().enumerate().flat_map(of_call).collect()
}

#[test]
fn whatever_call_fails_nothing_wrong_leaves_and_nothing_is_lost() {
    let every = crate::crash::setting("MINTKEEP_FAULTS_EVERY", 150);
    let seed = crate::crash::setting("MINTKEEP_FAULTS_SEED", 7);
    let Calls { start, exchange, rotation } = Scene::new().calls();
    // Those of an exchange are few, and what clients feel: more of them.
    let stages = [
        (Stage::Start, &start, every),
        (Stage::Restart, &start, every),
        (Stage::Exchange, &exchange, every / 15),
        (Stage::Rotation, &rotation, every),
    ];
    let only = std::env::var("MINTKEEP_FAULTS_STAGE").ok();
    let (mut of_all, mut chosen) = (0, Vec::new());
    for (stage, calls, every) in stages {
        if only.as_ref().is_some_and(|only| *only != format!("{stage:?}")) {
            continue;
        }
        let all = cases(stage, calls);
        of_all += all.len();
        // Spread over all, other ones with another seed.
        chosen.extend(all.into_iter().skip(seed % every.max(1)).step_by(every.max(1)));
    }
    let (next, violations) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..SCENES {
            scope.spawn(|| {
                let mut scene = Scene::new();
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scene.play(case)));
                    if let Err(panic) = outcome {
                        let rule = panic.downcast_ref::<String>().cloned();
                        let rule = rule.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                        violations.lock().unwrap().push(format!("{case}: {}", rule.unwrap_or_default()));
                        // Whatever it left behind is no matter of the next case.
                        scene = Scene::new();
                    }
                }
            });
        }
    });
    let violations = violations.into_inner().unwrap();
    println!(
        "{} faults of {of_all}: a start of {} calls, alone and under a running mint, an exchange of {} calls, and a rotation of {} calls; {} violations",
        chosen.len(),
        start.len(),
        exchange.len(),
        rotation.len(),
        violations.len()
    );
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
