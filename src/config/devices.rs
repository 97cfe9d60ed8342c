//! All the `[hardware.NAME]` tables together: how many there may be, and where the keeper of each meets the mint.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::unistd::User;
use toml::Spanned;

use super::KeeperPlacement;
use super::hardware::{DevicePlace, Hardware, HardwareTable, Surroundings};
use super::problem::Problem;
use super::values::from_folder;
use crate::keeper::{MOST_DEVICES, Standing};

/// The settings of `[keeper]` for keepers that run by themselves.
pub(super) struct MeetingTable {
    pub(super) socket: Option<PathBuf>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) mint_user: Option<Spanned<String>>,
}

/// The users that keepers and mint run under, where that are two.
struct Users {
    keeper_uid: u32,
    mint_uid: u32,
}

pub(super) fn devices(
    tables: Spanned<BTreeMap<String, HardwareTable>>,
    meeting: MeetingTable,
    surroundings: Surroundings<'_>,
) -> Result<Vec<Hardware>, Problem> {
    let span = tables.span();
    let tables = tables.into_inner();
    if tables.is_empty() {
        return Err(Problem::at(span, "expected at least one device, such as [hardware.hsm]"));
    }
    if tables.len() > MOST_DEVICES {
        return Err(Problem::at(span, format!("expected at the most {MOST_DEVICES} devices")));
    }
    if tables.values().all(|table| table.standing() == Standing::Standby) {
        let message = "every device has role = \"standby\"; expected at least one with role = \"primary\"";
        return Err(Problem::at(span, message));
    }
    let own_sockets = tables.values().any(|table| table.socket().is_some());
    let users = users(&meeting, own_sockets)?;
    let mut hardware: Vec<Hardware> = Vec::with_capacity(tables.len());
    for (name, table) in tables {
        let keeper = match &users {
            None => KeeperPlacement::Child,
            Some(users) => {
                let socket = table.socket().map(Spanned::get_ref).or(meeting.socket.as_ref());
                let socket = socket.ok_or_else(|| {
                    let message = "the keeper of this device runs by itself; expected `socket` here, or in [keeper]";
                    Problem::at(table.span(), message)
                })?;
                let Users { keeper_uid, mint_uid } = *users;
                KeeperPlacement::Socket { path: from_folder(surroundings.folder, socket.clone()), keeper_uid, mint_uid }
            }
        };
        if let KeeperPlacement::Socket { path, .. } = &keeper
            && let Some(other) = hardware.iter().find(|other| other.place().keeper == keeper)
        {
            let message = format!(
                "the keepers of {} and {name} would both listen at {}; give each device a `socket` of its own in [hardware.NAME]",
                other.name(),
                path.display()
            );
            return Err(Problem::at(table.span(), message));
        }
        let place = DevicePlace { standing: table.standing(), keeper };
        hardware.push(table.into_hardware(name, place, surroundings)?);
    }
    Ok(hardware)
}

/// `None` where the mint starts the keepers itself.
fn users(meeting: &MeetingTable, own_sockets: bool) -> Result<Option<Users>, Problem> {
    match (&meeting.user, &meeting.mint_user) {
        (None, None) if meeting.socket.is_none() && !own_sockets => Ok(None),
        (Some(user), Some(mint_user)) if meeting.socket.is_some() || own_sockets => {
            Ok(Some(Users { keeper_uid: uid(user)?, mint_uid: uid(mint_user)? }))
        }
        _ => Err(Problem::anywhere(
            "[keeper]: expected socket, user and mint_user together (a keeper that runs by itself), or none of them",
        )),
    }
}

fn uid(user: &Spanned<String>) -> Result<u32, Problem> {
    let name = user.get_ref();
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(Problem::at(user.span(), format!("no user {name:?} on this machine"))),
        Err(error) => Err(Problem::at(user.span(), format!("cannot look up the user {name:?}: {error}"))),
    }
}
