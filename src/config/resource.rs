//! `[[resource]]`.

use serde::Deserialize;
use toml::Spanned;

use super::problem::Problem;
use super::values::ScopeText;
use crate::oauth::scope::Scope;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceTable {
    id: Spanned<String>,
    scope: ScopeText,
}

impl ResourceTable {
    pub(super) fn id(&self) -> &Spanned<String> {
        &self.id
    }

    pub(super) fn into_scope(self) -> Result<(String, Scope), Problem> {
        let (span, id) = (self.id.span(), self.id.into_inner());
        if id.is_empty() {
            return Err(Problem::at(span, "expected an audience of some client: the URL of an API"));
        }
        Ok((id, self.scope.0))
    }
}
