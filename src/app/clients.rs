//! `mintkeep client list` and `client remove`: through the running mint where there is one; on the store itself
//! otherwise. Neither needs the hardware.

use super::{Failure, admin_client, store};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::http::admin::clients::{
    CLIENTS_PATH, ClientList, ClientListRequest, RemovedClient, SelfRegisteredClient, list_clients, path_of_client,
    remove_client,
};

/// All clients that registered themselves.
///
/// # Errors
/// [`Failure`].
pub async fn list(config: &Config) -> Result<Vec<SelfRegisteredClient>, Failure> {
    let mut clients = Vec::new();
    let mut request = ClientListRequest::first();
    loop {
        let query = serde_urlencoded::to_string(&request).map_err(Failure::while_doing("cannot write the request"))?;
        let list: ClientList = match admin_client::get(&config.listen.admin, &format!("{CLIENTS_PATH}?{query}")).await?
        {
            Some(list) => list,
            None => {
                let store = store::open(&config.store).await?;
                list_clients(store.as_ref(), config.registration.as_ref(), request.clone(), SystemClock.now()).await?
            }
        };
        clients.extend(list.clients);
        if list.next.is_none() {
            return Ok(clients);
        }
        request.after = list.next;
    }
}

/// Ends the client `client_id`, and all that was granted to it.
///
/// # Errors
/// [`Failure`].
pub async fn remove(config: &Config, client_id: &str) -> Result<RemovedClient, Failure> {
    match admin_client::delete(&config.listen.admin, &path_of_client(client_id)).await? {
        Some(removed) => Ok(removed),
        None => Ok(remove_client(store::open(&config.store).await?.as_ref(), client_id, SystemClock.now()).await?),
    }
}
