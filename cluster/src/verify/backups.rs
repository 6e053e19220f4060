//! A place with backups: every record, every manifest that one names, and every object of those.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::ObjectStore;
use segments::format::catalog_object::{BACKUP_FOLDER, CatalogObject, list_catalogs, read_catalog};
use segments::format::manifest::TableFiles;

use super::objects::{Table, Walk};
use super::{Progress, Report};
use crate::backup;
use crate::catalog::of_entries;
use crate::catalog_objects::RecoveryMark;
use crate::error::{Error, Result};

/// Walks all backups at a place.
///
/// # Errors
/// When there is none, or the object store cannot be read at all.
pub async fn verify_backups(store: &dyn ObjectStore, progress: Progress<'_>) -> Result<Report> {
    let numbers = list_catalogs(store, BACKUP_FOLDER).await?;
    if numbers.is_empty() {
        return Err(backup::none_there());
    }
    let mut walk = Walk::new(store, progress);
    let mut tables = Vec::new();
    for n in &numbers {
        tables.extend(tables_of(&mut walk, *n).await?);
    }
    walk.report.backups = numbers.len() as u64;
    walk.report.tables = tables.iter().map(|(table, _)| table.id).collect::<BTreeSet<_>>().len() as u64;
    walk.tables(&tables).await?;
    Ok(walk.report)
}

/// What one backup consists of; what of it cannot be read is reported.
async fn tables_of(walk: &mut Walk<'_>, n: u64) -> Result<Vec<Table>> {
    let name = CatalogObject::key(BACKUP_FOLDER, n).to_string();
    let read = read_catalog(walk.store, BACKUP_FOLDER, n).await.map_err(Error::from);
    let Some((entries, _)) = walk.report.settle(&name, read)? else { return Ok(Vec::new()) };
    let known = (|| {
        RecoveryMark::all(&entries)?;
        backup::instant(&entries)?;
        Ok((of_entries(&entries)?, backup::databases(&entries)?, backup::pointers(&entries)?))
    })();
    // Names of entries say nothing without the object they are in.
    let known = known.map_err(|error: Error| Error::corrupted(&name, error));
    let Some((catalog, databases, pointers)) = walk.report.settle(&name, known)? else {
        return Ok(Vec::new());
    };
    let mut tables = Vec::new();
    for (id, pointer) in pointers {
        let Some(database) = databases.get(&id) else { continue };
        let files = TableFiles::read(walk.store, *database, id, pointer).await.map_err(Error::from);
        if let Some(files) = walk.report.settle(&format!("table {id} of {name}"), files)? {
            tables.push((Arc::clone(catalog.tables.get(&id).unwrap_or(&files.table)), files));
        }
    }
    Ok(tables)
}
