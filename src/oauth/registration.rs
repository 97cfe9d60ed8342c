//! Clients that register themselves (RFC 7591) and look after that (RFC 7592), where the operator lets them: who holds
//! an initial access token makes a client within the operator's rules, and the client is judged by the rules of the
//! moment each time that it is used.

mod document;
mod endpoint;
mod information;
mod lookup;
mod metadata;
mod presented;
mod rules;

pub use self::document::{Registration, Unreadable};
pub use self::endpoint::{OpenRegistration, RegistrationEndpoint};
pub use self::information::ClientInformation;
pub use self::lookup::{FoundClient, SelfRegistered};
pub use self::metadata::{AuthenticationMethod, ClientMetadata};
pub use self::presented::PresentedMetadata;
pub use self::rules::{Refused, RegistrationRules};

use crate::entropy::Entropy;
use crate::jose::base64url;

/// What the id of every client begins with that registered itself.
const ID_PREFIX: &str = "dcr_";

/// Whether `text` has the form of such an id: nobody else's is looked for in the store.
pub fn is_client_id(text: &str) -> bool {
    text.strip_prefix(ID_PREFIX).is_some_and(|random| base64url::decode_array::<16>(random).is_ok())
}

/// A new id: [`ID_PREFIX`], and 128 random bits in base64url.
fn new_client_id(entropy: &dyn Entropy) -> String {
    format!("{ID_PREFIX}{}", base64url::encode(entropy.bytes::<16>()))
}

#[cfg(test)]
mod tests;
