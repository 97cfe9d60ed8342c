//! Parts of a configuration that `dev` adds where they are missing, and keeps in step with what it made.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use crate::app::{Failure, Kind};

/// Adds to `document` the tables of `template` that it lacks. Each of `arrays` is the name of an array of tables, and
/// the member that names each of its tables.
pub(super) fn add_missing(document: &mut DocumentMut, template: &str, arrays: &[(&str, &str)]) -> Result<(), Failure> {
    let template: DocumentMut = template.parse().map_err(Failure::while_doing("cannot read the template"))?;
    for (array, name) in arrays {
        let wanted = template[array].as_array_of_tables().into_iter().flatten();
        let tables = tables(document, array)?;
        for table in wanted {
            if find(tables, name, text(table, name).unwrap_or_default()).is_none() {
                let mut table = table.clone();
                // Behind the others, and not where it was in the template.
                table.set_position(None);
                tables.push(table);
            }
        }
    }
    Ok(())
}

pub(super) fn tables<'a>(document: &'a mut DocumentMut, name: &str) -> Result<&'a mut ArrayOfTables, Failure> {
    let item = document.entry(name).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or_else(|| {
        Failure::new(Kind::Configuration, format!("expected [[{name}]] tables; write them so, or start afresh"))
    })
}

pub(super) fn find<'a>(tables: &'a mut ArrayOfTables, name: &str, wanted: &str) -> Option<&'a mut Table> {
    tables.iter_mut().find(|table| text(table, name) == Some(wanted))
}

pub(super) fn text<'a>(table: &'a Table, name: &str) -> Option<&'a str> {
    table.get(name)?.as_str()
}

/// Leaves a value that is right as it is written.
pub(super) fn set(table: &mut Table, name: &str, wanted: &str) {
    if text(table, name) != Some(wanted) {
        table[name] = value(wanted);
    }
}

/// The table of that name.
pub(super) fn table<'a>(document: &'a mut DocumentMut, name: &str) -> Result<&'a mut Table, Failure> {
    let item = document.entry(name).or_insert(Item::Table(Table::new()));
    item.as_table_mut().ok_or_else(|| {
        Failure::new(Kind::Configuration, format!("expected a [{name}] table; write it so, or start afresh"))
    })
}
