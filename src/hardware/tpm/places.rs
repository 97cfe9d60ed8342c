//! Which keys are in the TPM now. It has three places for them, sometimes fewer, so the keys that are used stay
//! and others are loaded when they are needed.

use tss_esapi::handles::KeyHandle;
use tss_esapi::structures::Auth;
use tss_esapi::utils::TpmsContext;

use super::connection::Connection;
use crate::hardware::Error;

/// A signing and a sealing key. The third place is for what needs one in passing, such as the storage key.
const MOST_LOADED: usize = 2;

/// The keys that are loaded, the one used last at the end.
#[derive(Default)]
pub(super) struct Places(Vec<(String, KeyHandle)>);

impl Places {
    /// The handle of the key `kid`, which is loaded from `saved` where it is not there.
    pub(super) fn handle(
        &mut self,
        connection: &mut Connection,
        kid: &str,
        saved: &TpmsContext,
        authorization: &Auth,
    ) -> Result<KeyHandle, Error> {
        if let Some(index) = self.0.iter().position(|(loaded, _)| loaded == kid) {
            let handle = self.0[index].1;
            self.0[index..].rotate_left(1);
            return Ok(handle);
        }
        let handle = self.take(connection, |connection| connection.load_saved(saved))?;
        self.0.push((kid.to_owned(), handle));
        connection.authorize(handle, authorization)?;
        Ok(handle)
    }

    /// Has `load` take a place, for which others are flushed. What it is has to be [`Self::put`] there.
    pub(super) fn take<Loaded>(
        &mut self,
        connection: &mut Connection,
        load: impl FnMut(&mut Connection) -> Result<Loaded, Error>,
    ) -> Result<Loaded, Error> {
        self.keep(connection, MOST_LOADED - 1)?;
        self.in_passing(connection, load)
    }

    /// Has `act` use a place for as long as a command runs, as each command with a persistent key does. Where the TPM
    /// has none left, others are flushed one after the other.
    pub(super) fn in_passing<Value>(
        &mut self,
        connection: &mut Connection,
        mut act: impl FnMut(&mut Connection) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        loop {
            match act(connection) {
                Err(Error::PlacesFull { .. }) if !self.0.is_empty() => self.keep(connection, self.0.len() - 1)?,
                outcome => return outcome,
            }
        }
    }

    /// The handle of the key `kid`, where it is loaded now.
    pub(super) fn loaded(&self, kid: &str) -> Option<KeyHandle> {
        self.0.iter().find(|(loaded, _)| loaded == kid).map(|(_, handle)| *handle)
    }

    /// A key that was loaded otherwise.
    pub(super) fn put(&mut self, kid: String, handle: KeyHandle) {
        self.0.push((kid, handle));
    }

    /// Flushes all but the `most` that were used last.
    pub(super) fn keep(&mut self, connection: &mut Connection, most: usize) -> Result<(), Error> {
        while self.0.len() > most {
            let (_, handle) = self.0.remove(0);
            connection.flush(handle)?;
        }
        Ok(())
    }

    /// Flushes the keys that `stays` does not name.
    pub(super) fn retain(&mut self, connection: &mut Connection, stays: impl Fn(&str) -> bool) -> Result<(), Error> {
        while let Some(index) = self.0.iter().position(|(kid, _)| !stays(kid)) {
            let (_, handle) = self.0.remove(index);
            connection.flush(handle)?;
        }
        Ok(())
    }
}
