//! The trust directory: files with tables about trust, each of which has an owner of its own.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::TrustTables;
use crate::config::ConfigError;
use crate::config::problem::Problem;
use crate::config::values::from_folder;

/// The longest file that is read, in bytes: thousands of policies.
const MAX_FILE_LENGTH: u64 = 1 << 20;

/// A file, and its tables.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) tables: TrustTables,
    /// Where relative paths in it begin.
    pub(super) folder: PathBuf,
    /// Its path and text, where it is not the configuration itself.
    included: Option<(PathBuf, String)>,
}

/// A trust directory as it was found at one time. Two that are equal come to the same policies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustFiles {
    /// `None` where none is configured.
    directory: Option<PathBuf>,
    /// The `*.toml` in the order of their names; or, as for each of them, why it could not be read.
    found: Result<Vec<FoundFile>, String>,
}

/// Its path and its text.
type FoundFile = (PathBuf, Result<String, String>);

impl TrustFiles {
    /// No directory.
    pub(super) fn none() -> Self {
        Self { directory: None, found: Ok(Vec::new()) }
    }

    /// What is in `directory` now.
    pub(super) fn of(directory: PathBuf) -> Self {
        let found = names(&directory).map(|files| {
            let read = |file: PathBuf| {
                let text = text(&file).map_err(|error| error.to_string());
                (file, text)
            };
            files.into_iter().map(read).collect()
        });
        Self { found: found.map_err(|error| error.to_string()), directory: Some(directory) }
    }

    /// What is in the same directory now. It blocks for as long as the file system does.
    #[must_use]
    pub fn look_again(&self) -> Self {
        self.directory.clone().map_or_else(Self::none, Self::of)
    }
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

/// The files of `directory`, which is relative to `folder`, as they are and as what they say.
pub(super) fn read(directory: &Spanned<PathBuf>, folder: &Path) -> Result<(TrustFiles, Vec<Source>), Problem> {
    let path = from_folder(folder, directory.get_ref().clone());
    let files = TrustFiles::of(path.clone());
    let found = files.found.as_ref().map_err(|error| {
        Problem::at(directory.span(), format!("cannot read the trust directory {}: {error}", path.display()))
    })?;
    let sources = found.iter().map(|(file, text)| source(file, text, &path)).collect::<Result<_, _>>()?;
    Ok((files, sources))
}

fn source(file: &Path, text: &Result<String, String>, folder: &Path) -> Result<Source, Problem> {
    let text = text.as_ref().map_err(|error| ConfigError::unreadable(file, error))?;
    let tables = toml::from_str(text).map_err(|error| Problem::from(error).in_file(file, text))?;
    Ok(Source { tables, folder: folder.to_owned(), included: Some((file.to_owned(), text.clone())) })
}

/// The `*.toml` of `directory` in the order of their names. As for a shell, a name that begins with a full stop is
/// hidden: editors keep what is half done there.
fn names(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let file = entry?.path();
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if file.extension().is_some_and(|extension| extension == "toml") && !is_hidden {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn text(file: &Path) -> io::Result<String> {
    // Opening a pipe would wait for somebody who writes.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("expected a regular file"));
    }
    let mut text = String::new();
    // One byte more shows that it is too long.
    if File::open(file)?.take(MAX_FILE_LENGTH + 1).read_to_string(&mut text)? as u64 > MAX_FILE_LENGTH {
        return Err(io::Error::other("expected at most 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::stat::Mode;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_change_is_one_of_what_is_there_and_not_of_when_it_was_written() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("one.toml"), "").unwrap();
        let before = TrustFiles::of(folder.path().to_owned());
        fs::write(path("one.toml"), "").unwrap();
        for hidden in [".two.toml", "two.toml~", "two"] {
            fs::write(path(hidden), "trust").unwrap();
        }
        assert_eq!(before.look_again(), before);
        fs::write(path("one.toml"), "trust").unwrap();
        let changed = before.look_again();
        assert_ne!(changed, before);
        fs::rename(path("one.toml"), path("three.toml")).unwrap();
        assert_ne!(before.look_again(), changed);
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(before.look_again().found.is_err());
        assert_eq!(TrustFiles::none().look_again(), TrustFiles::none());
    }

    #[test]
    fn what_is_no_file_or_too_long_is_not_read() {
        let folder = TempDir::new().unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe.toml"), Mode::S_IRWXU).unwrap();
        fs::create_dir(folder.path().join("directory.toml")).unwrap();
        fs::write(folder.path().join("long.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
        fs::write(folder.path().join("most.toml"), vec![b'#'; 1 << 20]).unwrap();
        let files = TrustFiles::of(folder.path().to_owned()).found.unwrap();
        let reasons: Vec<_> = files.into_iter().filter_map(|(_, text)| text.err()).collect();
        assert_eq!(reasons, ["expected a regular file", "expected at most 1 MiB", "expected a regular file"]);
    }
}
