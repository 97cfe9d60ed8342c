//! The policies of one issuer, found by the values of claims: ten thousand of them cost about as much as one.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::TrustPolicy;
use super::claim::{ClaimName, ClaimValue, Expected};

/// The positions of policies in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct ClaimIndex {
    by_claim: HashMap<ClaimName, HashMap<ClaimValue, Vec<usize>>>,
    /// Those that have nothing but patterns.
    scanned: Vec<usize>,
}

impl ClaimIndex {
    /// Each policy is found by the one of its claims that it shares with the fewest others.
    pub(super) fn new(policies: &[(usize, &TrustPolicy)]) -> Self {
        let mut counts: HashMap<(&ClaimName, &ClaimValue), usize> = HashMap::new();
        for (_, policy) in policies {
            for (claim, values) in exact(policy) {
                for value in values {
                    *counts.entry((claim, value)).or_default() += 1;
                }
            }
        }
        let mut index = Self::default();
        for (position, policy) in policies {
            let sharing = |claim, values: &[ClaimValue]| -> usize {
                values.iter().map(|value| counts.get(&(claim, value)).copied().unwrap_or_default()).sum()
            };
            match exact(policy).min_by_key(|(claim, values)| sharing(claim, values)) {
                None => index.scanned.push(*position),
                Some((claim, values)) => {
                    let by_value = index.by_claim.entry(claim.clone()).or_default();
                    for value in values {
                        by_value.entry(value.clone()).or_default().push(*position);
                    }
                }
            }
        }
        index
    }

    /// The policies that may match `claims`, in order; none that does is missing.
    pub(super) fn candidates(&self, claims: &Map<String, Value>) -> Vec<usize> {
        let mut candidates = self.scanned.clone();
        for (claim, by_value) in &self.by_claim {
            let value = claim.find(claims).and_then(ClaimValue::of);
            candidates.extend(value.and_then(|value| by_value.get(&value)).into_iter().flatten());
        }
        candidates.sort_unstable();
        candidates
    }
}

fn exact(policy: &TrustPolicy) -> impl Iterator<Item = (&ClaimName, &[ClaimValue])> {
    policy.claims.iter().filter_map(|claim| match &claim.expected {
        Expected::AnyOf(values) => Some((&claim.claim, values.as_slice())),
        Expected::Pattern(_) => None,
    })
}
