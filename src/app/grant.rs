//! `mintkeep grant issue`: the first refresh token of a workload.

use std::path::Path;

use super::services::Services;
use super::{Failure, admin_client};
use crate::config::Config;
use crate::http::admin::GrantRequest;
use crate::http::frontend::grants::GRANTS_PATH;

/// Grants `request`: through the running mint where there is one, because the hardware is its; with a
/// keeper of this command's own otherwise. The answer is the JSON of
/// [`crate::oauth::issuer::IssuedGrant`].
///
/// # Errors
/// [`Failure`].
pub async fn issue(config_path: &Path, config: &Config, request: &GrantRequest) -> Result<serde_json::Value, Failure> {
    if let Some(grant) = admin_client::post(&config.listen.admin, GRANTS_PATH, request).await? {
        return Ok(grant);
    }
    let services = Services::start(config_path, config).await?;
    let grant =
        services.token_endpoint.begin_family(&request.client_id, &request.subject, request.scope.as_deref()).await;
    services.stop().await;
    serde_json::to_value(grant?).map_err(Failure::while_doing("cannot write the grant"))
}
