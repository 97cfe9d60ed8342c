//! A [`Selection`] in SQL: only the conditions that it has, so that each finds its index.

use tokio_postgres::types::ToSql;

use super::rows::uuid_of;
use crate::store::Selection;

/// Conditions and the values in them.
pub(super) struct Conditions {
    text: String,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Conditions {
    pub(super) fn of(selection: &Selection) -> Self {
        let Selection { fid, client_id, subject, issued_before } = selection;
        let mut conditions = Self { text: "true".to_owned(), values: Vec::new() };
        if let Some(fid) = fid {
            conditions.and("fid =", uuid_of(*fid));
        }
        if let Some(client_id) = client_id {
            conditions.and("client_id =", client_id.clone());
        }
        if let Some(subject) = subject {
            conditions.and("subject =", subject.clone());
        }
        if let Some(time) = issued_before {
            conditions.and("created_at <", time.unix_seconds());
        }
        conditions
    }

    /// Adds `condition`, which ends where `value` belongs.
    pub(super) fn and(&mut self, condition: &'static str, value: impl ToSql + Sync + Send + 'static) {
        let value = self.value(value);
        self.text = format!("{} AND {condition} {value}", self.text);
    }

    /// The place of another value.
    pub(super) fn value(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}
