//! Moving everything from one store to another, and making sure that it is all there.

use std::cmp::Ordering;

use super::{
    ClaimId, Error, Family, FamilyId, LoginId, OnceClaim, Page, PendingLogin, PushedRequest, Records, RegisteredClient,
    RevokedToken, Selection, SharedSecret, Step, Store, TokenId,
};

/// Records that are read, and written, at a time.
const PAGE: u32 = 1000;

/// What was moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transferred {
    /// Refresh families.
    pub families: usize,
    /// Access tokens that were revoked one by one.
    pub revoked_tokens: usize,
    /// Keys, as far as others may know them.
    pub keys: usize,
    /// Assertions and proofs that were used.
    pub claims: usize,
    /// Values that all nodes share.
    pub shared_secrets: usize,
    /// Clients that registered themselves.
    pub clients: usize,
    /// Logins under way, and their codes.
    pub logins: usize,
    /// Requests that were pushed.
    pub pushed_requests: usize,
}

/// Why not everything was moved.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TransferError {
    /// One of the stores failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The target has records that the source has not, or has otherwise.
    #[error(
        "the target holds sessions, keys or clients of its own; name an empty store, or one that such a copy was interrupted into"
    )]
    TargetInUse,
    /// What is in the target afterwards is not what is in the source.
    #[error("the source changed meanwhile; stop every mint that uses it, and copy again into an empty store")]
    SourceInUse,
}

/// Copies all that `from` holds to `to`, and compares the two afterwards. A copy that was interrupted is taken up
/// where it ended. Nobody else may write to either store.
///
/// # Errors
/// [`TransferError`]; the source is as it was.
pub async fn transfer(from: &dyn Store, to: &dyn Store) -> Result<Transferred, TransferError> {
    refuse_foreign::<Family>(from, to).await?;
    refuse_foreign::<RevokedToken>(from, to).await?;
    refuse_foreign::<OnceClaim>(from, to).await?;
    refuse_foreign::<SharedSecret>(from, to).await?;
    refuse_foreign::<RegisteredClient>(from, to).await?;
    refuse_foreign::<PendingLogin>(from, to).await?;
    refuse_foreign::<PushedRequest>(from, to).await?;
    let keys = from.keys().await?;
    if to.keys().await?.iter().any(|target| !keys.contains(target)) {
        return Err(TransferError::TargetInUse);
    }
    let families = copy::<Family>(from, to).await?;
    let revoked_tokens = copy::<RevokedToken>(from, to).await?;
    let claims = copy::<OnceClaim>(from, to).await?;
    let shared_secrets = copy::<SharedSecret>(from, to).await?;
    let clients = copy::<RegisteredClient>(from, to).await?;
    let logins = copy::<PendingLogin>(from, to).await?;
    let pushed_requests = copy::<PushedRequest>(from, to).await?;
    to.add_keys(keys.clone()).await?;
    compare::<Family>(from, to).await?;
    compare::<RevokedToken>(from, to).await?;
    compare::<OnceClaim>(from, to).await?;
    compare::<SharedSecret>(from, to).await?;
    compare::<RegisteredClient>(from, to).await?;
    compare::<PendingLogin>(from, to).await?;
    compare::<PushedRequest>(from, to).await?;
    if from.keys().await? != keys || to.keys().await? != keys {
        return Err(TransferError::SourceInUse);
    }
    Ok(Transferred {
        families,
        revoked_tokens,
        keys: keys.len(),
        claims,
        shared_secrets,
        clients,
        logins,
        pushed_requests,
    })
}

/// Something that a store holds, found in the order of its name.
trait Record: Eq + Clone + Send + Sync {
    type Name: Ord + Clone + Send + Sync;

    fn name(&self) -> Self::Name;
    fn page(store: &dyn Store, after: Option<Self::Name>) -> Step<'_, Vec<Self>>;
    fn restore(store: &dyn Store, records: Vec<Self>) -> Step<'_, ()>;
}

impl Record for Family {
    type Name = FamilyId;

    fn name(&self) -> FamilyId {
        self.fid
    }

    fn page(store: &dyn Store, after: Option<FamilyId>) -> Step<'_, Vec<Self>> {
        store.families(Selection::default(), Page { after, limit: PAGE })
    }

    fn restore(store: &dyn Store, records: Vec<Self>) -> Step<'_, ()> {
        store.restore(Records { families: records, ..Records::default() })
    }
}

impl Record for RevokedToken {
    type Name = TokenId;

    fn name(&self) -> TokenId {
        self.jti
    }

    fn page(store: &dyn Store, after: Option<TokenId>) -> Step<'_, Vec<Self>> {
        store.revoked_tokens(after, PAGE)
    }

    fn restore(store: &dyn Store, records: Vec<Self>) -> Step<'_, ()> {
        store.restore(Records { revoked_tokens: records, ..Records::default() })
    }
}

impl Record for OnceClaim {
    type Name = ClaimId;

    fn name(&self) -> ClaimId {
        self.id
    }

    fn page(store: &dyn Store, after: Option<ClaimId>) -> Step<'_, Vec<Self>> {
        store.claims(after, PAGE)
    }

    fn restore(store: &dyn Store, records: Vec<Self>) -> Step<'_, ()> {
        store.restore(Records { claims: records, ..Records::default() })
    }
}

impl Record for SharedSecret {
    type Name = String;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn page(store: &dyn Store, after: Option<String>) -> Step<'_, Vec<Self>> {
        store.shared_secrets(after, PAGE)
    }

    fn restore(store: &dyn Store, records: Vec<Self>) -> Step<'_, ()> {
        store.restore(Records { shared_secrets: records, ..Records::default() })
    }
}

impl Record for RegisteredClient {
    type Name = String;

    fn name(&self) -> String {
        self.client_id.clone()
    }

    fn page(store: &dyn Store, after: Option<String>) -> Step<'_, Vec<Self>> {
        store.clients(after, PAGE)
    }

    fn restore(store: &dyn Store, records: Vec<Self>) -> Step<'_, ()> {
        store.restore(Records { clients: records, ..Records::default() })
    }
}

impl Record for PendingLogin {
    type Name = LoginId;

    fn name(&self) -> LoginId {
        self.handle
    }

    fn page(store: &dyn Store, after: Option<LoginId>) -> Step<'_, Vec<Self>> {
        store.logins(after, PAGE)
    }

    fn restore(store: &dyn Store, records: Vec<Self>) -> Step<'_, ()> {
        store.restore(Records { logins: records, ..Records::default() })
    }
}

impl Record for PushedRequest {
    type Name = LoginId;

    fn name(&self) -> LoginId {
        self.id
    }

    fn page(store: &dyn Store, after: Option<LoginId>) -> Step<'_, Vec<Self>> {
        store.pushed_requests(after, PAGE)
    }

    fn restore(store: &dyn Store, records: Vec<Self>) -> Step<'_, ()> {
        store.restore(Records { pushed_requests: records, ..Records::default() })
    }
}

/// All records of a store, one after the other.
struct Walk<'a, Kind: Record> {
    store: &'a dyn Store,
    page: std::vec::IntoIter<Kind>,
    last: Option<Kind::Name>,
}

impl<'a, Kind: Record> Walk<'a, Kind> {
    fn over(store: &'a dyn Store) -> Self {
        Self { store, page: Vec::new().into_iter(), last: None }
    }

    async fn next(&mut self) -> Result<Option<Kind>, Error> {
        if self.page.len() == 0 {
            self.page = Kind::page(self.store, self.last.clone()).await?.into_iter();
        }
        let record = self.page.next();
        self.last = record.as_ref().map(Record::name).or_else(|| self.last.take());
        Ok(record)
    }
}

async fn refuse_foreign<Kind: Record>(from: &dyn Store, to: &dyn Store) -> Result<(), TransferError> {
    let (mut sources, mut targets) = (Walk::<Kind>::over(from), Walk::<Kind>::over(to));
    let mut source = None;
    while let Some(target) = targets.next().await? {
        let is_found = loop {
            match source.as_ref().map(|source: &Kind| source.name().cmp(&target.name())) {
                Some(Ordering::Equal) => break source.as_ref() == Some(&target),
                Some(Ordering::Greater) => break false,
                Some(Ordering::Less) | None => source = sources.next().await?,
            }
            if source.is_none() {
                break false;
            }
        };
        if !is_found {
            return Err(TransferError::TargetInUse);
        }
    }
    Ok(())
}

async fn copy<Kind: Record>(from: &dyn Store, to: &dyn Store) -> Result<usize, TransferError> {
    let (mut last, mut count) = (None, 0);
    loop {
        let page = Kind::page(from, last).await?;
        let Some(record) = page.last() else {
            return Ok(count);
        };
        last = Some(record.name());
        count += page.len();
        Kind::restore(to, page).await?;
    }
}

async fn compare<Kind: Record>(from: &dyn Store, to: &dyn Store) -> Result<(), TransferError> {
    let (mut sources, mut targets) = (Walk::<Kind>::over(from), Walk::<Kind>::over(to));
    loop {
        match (sources.next().await?, targets.next().await?) {
            (None, None) => return Ok(()),
            (source, target) if source == target => {}
            _ => return Err(TransferError::SourceInUse),
        }
    }
}
