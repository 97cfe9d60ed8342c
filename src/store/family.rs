//! The life of a refresh family: the rules of rotation, retry and replay, as pure functions.
//!
//! A family has a current generation. The current one presented moves the family on; its predecessor
//! presented, while the current one was never used, is a client that did not get our answer, and gets
//! the same generation again; anything older is somebody else's copy (RFC 9700 §4.14.2).

use std::time::Duration;

use crate::clock::Timestamp;
use crate::jose::base64url;
use crate::jose::jwe::FAMILY_BYTES;
use crate::jose::thumbprint::Thumbprint;

/// The random 128-bit handle of a family.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FamilyId(pub [u8; FAMILY_BYTES]);

impl FamilyId {
    /// The handle that `text` writes in base64url.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode_array(text).ok().map(Self)
    }
}

impl std::fmt::Display for FamilyId {
    /// Base64url, as `fid` and `sid` carry it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl std::fmt::Debug for FamilyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FamilyId({self})")
    }
}

/// The refresh tokens that descend from one grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Family {
    /// Its handle.
    pub fid: FamilyId,
    /// The client that it belongs to.
    pub client_id: String,
    /// Who its tokens speak for.
    pub subject: String,
    /// The scope that was granted, space-separated.
    pub scope: String,
    /// The generation that the client is to hold; the first is 0.
    pub generation: u32,
    /// Whether a token of the current generation was ever presented. With rotation that makes the next
    /// generation; without, this keeps the predecessor from being taken for a retry.
    pub current_used: bool,
    /// When the current generation took the place of its predecessor.
    pub superseded_at: Option<Timestamp>,
    /// When it began.
    pub created_at: Timestamp,
    /// When one of its tokens was last redeemed; at first, when it began.
    pub last_used_at: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The DPoP key that its refresh tokens are bound to (RFC 9449 §5).
    pub jkt: Option<Thumbprint>,
    /// The login that it came from, a JSON object; none where no person logged in for it.
    pub login: Option<String>,
    /// The session of a front-end that it belongs to: the front-end's name, a slash, and its own name for the session.
    pub session: Option<String>,
}

/// What happens to the generation when its token is redeemed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rotation {
    /// The next one takes its place: for tokens that whoever holds them can use.
    Rotate,
    /// It stays: for tokens bound to a client that authenticates (RFC 9700 §2.2.2).
    Keep,
}

/// How long the predecessor of an unused generation is taken for a retry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryWindow {
    /// For this long after it was superseded.
    For(Duration),
    /// For as long as the current generation is unused.
    Unlimited,
}

/// What a replayed token does to its family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnReplay {
    /// Revokes it: nobody can tell the thief from the client.
    RevokeFamily,
    /// Is refused, and no more: the thief could not have used it, so a replay must not end the
    /// session of the client that can.
    Refuse,
}

/// A presented token that was opened, and the rules for its client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Redemption {
    /// The generation inside the token.
    pub presented: u32,
    /// See [`Rotation`].
    pub rotation: Rotation,
    /// See [`RetryWindow`].
    pub retry_window: RetryWindow,
    /// See [`OnReplay`].
    pub on_replay: OnReplay,
    /// How long a family lives unused.
    pub idle_lifetime: Duration,
    /// When the token was presented: by this it is judged.
    pub presented_at: Timestamp,
    /// When the answer is ready and goes into the store: from then on the client may have it, and the retry
    /// window runs.
    pub committed_at: Timestamp,
    /// The key of the DPoP proof that came with it.
    pub jkt: Option<Thumbprint>,
    /// Whether a family that is not bound becomes bound to that key: for tokens of clients that do not authenticate
    /// (RFC 9449 §5).
    pub binds: bool,
}

/// What a redemption came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Redeemed {
    /// The client may have tokens, and is to hold this generation from now on. `renewed` where that is
    /// not the one that it presented.
    Granted {
        /// The generation.
        generation: u32,
        /// Whether a refresh token of it has to be sent.
        renewed: bool,
    },
    /// A token that was replaced, and whose successor was used.
    Replayed {
        /// Whether this ended the family.
        family_revoked: bool,
    },
    /// The family was revoked before.
    Revoked,
    /// The family ended, by age or by idleness.
    Expired,
    /// The family is bound to a key that the presenter did not prove to have. Nothing came of it, whichever generation
    /// that was: who has a token and not its key must not end the session of the client that has both.
    WrongKey,
    /// A generation that the family has not reached: a store that was put back to an older state.
    NeverIssued,
}

impl Family {
    /// Whether it ended by `now`.
    pub fn is_expired(&self, idle_lifetime: Duration, now: Timestamp) -> bool {
        now >= self.expires_at || now >= self.last_used_at.plus(idle_lifetime)
    }

    /// Applies `redemption`. The family changes only where the answer is
    /// [`Redeemed::Granted`] or revokes it.
    pub fn redeem(&mut self, redemption: &Redemption) -> Redeemed {
        let Redemption { presented, presented_at, committed_at, .. } = *redemption;
        // An ended family is no theft: a logged-out client retries too.
        if self.revoked_at.is_some() {
            return Redeemed::Revoked;
        }
        if self.is_expired(redemption.idle_lifetime, presented_at) {
            return Redeemed::Expired;
        }
        if self.jkt.is_some() && self.jkt != redemption.jkt {
            return Redeemed::WrongKey;
        }
        if presented > self.generation {
            return Redeemed::NeverIssued;
        }
        if presented == self.generation {
            self.note_use(redemption);
            return self.advance(redemption.rotation, committed_at);
        }
        if self.is_retry(presented, redemption.retry_window, presented_at) {
            self.note_use(redemption);
            return Redeemed::Granted { generation: self.generation, renewed: true };
        }
        let family_revoked = redemption.on_replay == OnReplay::RevokeFamily;
        if family_revoked {
            self.revoked_at = Some(committed_at);
        }
        Redeemed::Replayed { family_revoked }
    }

    fn note_use(&mut self, redemption: &Redemption) {
        self.last_used_at = self.last_used_at.max(redemption.committed_at);
        if redemption.binds {
            self.jkt = self.jkt.or(redemption.jkt);
        }
    }

    fn advance(&mut self, rotation: Rotation, now: Timestamp) -> Redeemed {
        match rotation {
            Rotation::Keep => {
                self.current_used = true;
                Redeemed::Granted { generation: self.generation, renewed: false }
            }
            Rotation::Rotate => {
                self.generation += 1;
                self.current_used = false;
                self.superseded_at = Some(now);
                Redeemed::Granted { generation: self.generation, renewed: true }
            }
        }
    }

    fn is_retry(&self, presented: u32, window: RetryWindow, now: Timestamp) -> bool {
        let is_predecessor = presented + 1 == self.generation;
        let in_window = match (window, self.superseded_at) {
            (RetryWindow::Unlimited, _) => true,
            (RetryWindow::For(window), Some(superseded_at)) => now <= superseded_at.plus(window),
            (RetryWindow::For(_), None) => false,
        };
        is_predecessor && !self.current_used && in_window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_seconds(1_000_000);
    const ROTATED: fn(u32) -> Redeemed = |generation| Redeemed::Granted { generation, renewed: true };

    fn family() -> Family {
        Family {
            fid: FamilyId([1; 16]),
            client_id: "robot".to_owned(),
            subject: "deploy".to_owned(),
            scope: "read".to_owned(),
            generation: 0,
            current_used: false,
            superseded_at: None,
            created_at: START,
            last_used_at: START,
            expires_at: START.plus(Duration::from_secs(10_000)),
            revoked_at: None,
            jkt: None,
            login: None,
            session: None,
        }
    }

    fn present(presented: u32, seconds: u64) -> Redemption {
        Redemption {
            presented,
            rotation: Rotation::Rotate,
            retry_window: RetryWindow::For(Duration::from_secs(60)),
            on_replay: OnReplay::RevokeFamily,
            idle_lifetime: Duration::from_secs(1_000),
            presented_at: START.plus(Duration::from_secs(seconds)),
            committed_at: START.plus(Duration::from_secs(seconds)),
            jkt: None,
            binds: false,
        }
    }

    #[test]
    fn a_lost_answer_is_given_again_and_converges_on_one_generation() {
        let mut family = family();
        assert_eq!(family.redeem(&present(0, 0)), ROTATED(1));
        assert_eq!(family.redeem(&present(0, 0)), ROTATED(1));
        assert_eq!(family.redeem(&present(0, 60)), ROTATED(1));
        assert_eq!(family.redeem(&present(1, 61)), ROTATED(2));
    }

    #[test]
    fn the_predecessor_after_the_window_or_after_its_successor_was_used_is_a_replay() {
        let mut late = family();
        late.redeem(&present(0, 0));
        assert_eq!(late.redeem(&present(0, 61)), Redeemed::Replayed { family_revoked: true });
        assert_eq!(late.redeem(&present(1, 61)), Redeemed::Revoked);

        let mut used = family();
        used.redeem(&present(0, 0));
        used.redeem(&present(1, 1));
        assert_eq!(used.redeem(&present(0, 2)), Redeemed::Replayed { family_revoked: true });
    }

    #[test]
    fn the_window_runs_from_the_answer_and_a_slow_retry_counts_from_its_question() {
        let slow = |seconds, took| Redemption {
            committed_at: START.plus(Duration::from_secs(seconds + took)),
            ..present(0, seconds)
        };
        let mut family = family();
        assert_eq!(family.redeem(&slow(0, 30)), ROTATED(1));
        assert_eq!(family.redeem(&slow(89, 30)), ROTATED(1));
        assert_eq!(family.redeem(&slow(90, 0)), ROTATED(1));
        assert!(matches!(family.redeem(&slow(91, 0)), Redeemed::Replayed { .. }));
    }

    #[test]
    fn an_unlimited_window_still_ends_with_the_first_use_of_the_successor() {
        let unlimited =
            |presented, seconds| Redemption { retry_window: RetryWindow::Unlimited, ..present(presented, seconds) };
        let mut family = family();
        family.redeem(&unlimited(0, 0));
        assert_eq!(family.redeem(&unlimited(0, 900)), ROTATED(1));
        assert_eq!(family.redeem(&unlimited(1, 901)), ROTATED(2));
        assert!(matches!(family.redeem(&unlimited(0, 902)), Redeemed::Replayed { .. }));
    }

    #[test]
    fn a_replay_against_a_bound_client_is_refused_and_the_family_lives() {
        let refuse = |presented| Redemption { on_replay: OnReplay::Refuse, ..present(presented, 5) };
        let mut family = family();
        family.redeem(&refuse(0));
        family.redeem(&refuse(1));
        assert_eq!(family.redeem(&refuse(0)), Redeemed::Replayed { family_revoked: false });
        assert_eq!(family.redeem(&refuse(2)), ROTATED(3));
    }

    #[test]
    fn without_rotation_the_generation_stays_and_its_predecessor_is_no_retry_any_more() {
        let mut family = family();
        family.redeem(&present(0, 0));
        let keep = Redemption { rotation: Rotation::Keep, ..present(1, 1) };
        assert_eq!(family.redeem(&keep), Redeemed::Granted { generation: 1, renewed: false });
        assert!(matches!(family.redeem(&present(0, 2)), Redeemed::Replayed { .. }));
    }

    #[test]
    fn age_and_idleness_end_a_family_without_calling_it_theft() {
        let mut idle = family();
        assert_eq!(idle.redeem(&present(0, 1_000)), Redeemed::Expired);
        let mut old = family();
        for step in 0..10 {
            assert_eq!(old.redeem(&present(step, u64::from(step) * 999)), ROTATED(step + 1));
        }
        assert_eq!(old.redeem(&present(10, 10_000)), Redeemed::Expired);
        assert_eq!(old.revoked_at, None);
    }

    #[test]
    fn a_bound_family_takes_its_key_and_nothing_comes_of_another_one() {
        let (key, other) = (Some(Thumbprint([1; 32])), Some(Thumbprint([2; 32])));
        let by = |jkt, presented| Redemption { jkt, ..present(presented, 0) };
        let mut family = Family { jkt: key, ..family() };
        assert_eq!(family.redeem(&by(key, 0)), ROTATED(1));
        assert_eq!(family.redeem(&by(key, 1)), ROTATED(2));
        let before = family.clone();
        for presented in 0..4 {
            for jkt in [None, other] {
                assert_eq!(family.redeem(&by(jkt, presented)), Redeemed::WrongKey);
                let binding = Redemption { binds: true, ..by(jkt, presented) };
                assert_eq!(family.redeem(&binding), Redeemed::WrongKey);
            }
        }
        assert_eq!(family, before);
        assert_eq!(family.redeem(&by(key, 3)), Redeemed::NeverIssued);
        assert_eq!(family.redeem(&by(key, 0)), Redeemed::Replayed { family_revoked: true });
        assert_eq!(family.redeem(&by(other, 2)), Redeemed::Revoked, "what ended is no matter of keys");
        let late = Redemption { jkt: other, ..present(0, 1_000) };
        assert_eq!(Family { jkt: key, ..self::family() }.redeem(&late), Redeemed::Expired);
    }

    #[test]
    fn a_family_becomes_bound_by_what_is_granted_and_by_nothing_else() {
        let (key, other) = (Some(Thumbprint([1; 32])), Some(Thumbprint([2; 32])));
        let by = |jkt, presented| Redemption { jkt, binds: true, ..present(presented, 0) };
        let mut rotated = family();
        assert_eq!(rotated.redeem(&Redemption { binds: false, ..by(key, 0) }), ROTATED(1));
        assert_eq!(rotated.jkt, None, "its client authenticates");
        assert_eq!(rotated.redeem(&by(None, 0)), ROTATED(1));
        assert_eq!(rotated.redeem(&by(other, 2)), Redeemed::NeverIssued);
        assert_eq!(rotated.jkt, None);
        assert_eq!(rotated.redeem(&by(key, 0)), ROTATED(1));
        assert_eq!(rotated.jkt, key, "a retry binds too");
        assert_eq!(rotated.redeem(&by(other, 1)), Redeemed::WrongKey);

        let mut kept = family();
        let keep = Redemption { rotation: Rotation::Keep, ..by(key, 0) };
        assert_eq!(kept.redeem(&keep), Redeemed::Granted { generation: 0, renewed: false });
        assert_eq!(kept.jkt, key);

        let mut replayed = family();
        replayed.redeem(&by(None, 0));
        replayed.redeem(&by(None, 1));
        let replay = Redemption { on_replay: OnReplay::Refuse, ..by(key, 0) };
        assert_eq!(replayed.redeem(&replay), Redeemed::Replayed { family_revoked: false });
        assert_eq!(replayed.jkt, None);
    }

    #[test]
    fn a_generation_from_the_future_is_refused() {
        let mut family = family();
        assert_eq!(family.redeem(&present(1, 0)), Redeemed::NeverIssued);
    }
}
