//! The trust directory: files with tables about trust, each of which has an owner of its own.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::TrustTables;
use crate::config::ConfigError;
use crate::config::problem::Problem;
use crate::config::values::from_folder;

/// A file, and its tables.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) tables: TrustTables,
    /// Where relative paths in it begin.
    pub(super) folder: PathBuf,
    /// Its path and text, where it is not the configuration itself.
    included: Option<(PathBuf, String)>,
}

impl Source {
    /// The configuration itself.
    pub(super) fn main(tables: TrustTables, folder: &Path) -> Self {
        Self { tables, folder: folder.to_owned(), included: None }
    }

    /// Does something to each of its tables; what is wrong with one is told of this file.
    pub(super) fn each<'a, Table>(
        &'a self,
        tables: &'a [Table],
        mut work: impl FnMut(&'a Table) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        tables.iter().try_for_each(|table| {
            work(table).map_err(|problem| match &self.included {
                None => problem,
                Some((path, text)) => problem.in_file(path, text),
            })
        })
    }
}

/// The `*.toml` of `directory` in the order of their names. As for a shell, a name that begins with a full stop is
/// hidden: editors keep what is half done there.
pub(super) fn read(directory: &Spanned<PathBuf>, folder: &Path) -> Result<Vec<Source>, Problem> {
    let path = from_folder(folder, directory.get_ref().clone());
    let unreadable = |error: std::io::Error| {
        Problem::at(directory.span(), format!("cannot read the trust directory {}: {error}", path.display()))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if file.extension().is_some_and(|extension| extension == "toml") && !is_hidden {
            files.push(file);
        }
    }
    files.sort();
    files.into_iter().map(|file| source(file, &path)).collect()
}

fn source(file: PathBuf, folder: &Path) -> Result<Source, Problem> {
    let text = std::fs::read_to_string(&file).map_err(|error| ConfigError::unreadable(&file, &error))?;
    let tables = toml::from_str(&text).map_err(|error| Problem::from(error).in_file(&file, &text))?;
    Ok(Source { tables, folder: folder.to_owned(), included: Some((file, text)) })
}
