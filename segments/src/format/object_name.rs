//! The keys of stored objects, read back: whose they are and which writer wrote them.
//!
//! ```text
//! <database>/<table>/manifest/<epoch>-<n>
//! <database>/<table>/<partition>/<segment>/<epoch>-<n>-<kind>
//! ```

use object_store::path::Path;
use proto::{DatabaseId, Epoch, SegmentId, TableId};

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectName {
    pub database: DatabaseId,
    pub table: TableId,
    /// `None` for a manifest.
    pub segment: Option<SegmentId>,
    pub epoch: Epoch,
    /// The writer's number within the epoch.
    pub n: u64,
}

impl ObjectName {
    /// Reads a key; `None` when it is not one of ours.
    #[must_use]
    pub fn parse(key: &Path) -> Option<Self> {
        let parts: Vec<&str> = key.as_ref().split('/').collect();
        let (database, table, segment, writer) = match parts.as_slice() {
            [database, table, "manifest", writer] => (database, table, None, *writer),
            [database, table, partition, segment, object] => {
                number(partition)?;
                let (writer, kind) = object.rsplit_once('-')?;
                let known = kind.chars().next().is_some_and(|first| first.is_ascii_lowercase());
                (database, table, Some(SegmentId(number(segment)?)), known.then_some(writer)?)
            }
            _ => return None,
        };
        let (epoch, n) = writer.split_once('-')?;
        Some(Self {
            database: DatabaseId(number(database)?),
            table: TableId(number(table)?),
            segment,
            epoch: Epoch(number(epoch)?),
            n: number(n)?,
        })
    }
}

/// A number as keys have it: no sign, no leading zeros.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::fixture::table;
    use crate::flush::object_key;
    use crate::format::manifest::{Manifest, ManifestId, ObjectKind};

    #[test]
    fn every_key_is_read_back() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let table = table();
        let (database, id) = (table.database, table.id);
        for _ in 0..500 {
            let mut number = || random.random::<u64>() >> random.random_range(0..64);
            let (segment, epoch, n) = (SegmentId(number()), Epoch(number()), number());
            let column = number() as u32;
            let kinds = [
                ObjectKind::Scalars,
                ObjectKind::Keys,
                ObjectKind::Deletes,
                ObjectKind::Vectors(column),
                ObjectKind::Index(column),
                ObjectKind::UniqueKeys(column),
            ];
            for kind in kinds {
                let key = object_key(&table, segment, epoch, n, kind);
                let name = ObjectName { database, table: id, segment: Some(segment), epoch, n };
                assert_eq!(ObjectName::parse(&key), Some(name), "{key}");
            }
            let key = Manifest::key(database, id, ManifestId { epoch, n });
            let name = ObjectName { database, table: id, segment: None, epoch, n };
            assert_eq!(ObjectName::parse(&key), Some(name), "{key}");
        }
    }

    #[test]
    fn other_keys_are_not_ours() {
        for key in
            ["", "a", "5/6/manifest", "5/6/manifest/1", "5/6/0/7/1-2", "5/6/0/7/1-2-", "5/6/0/7/1-x-keys"]
        {
            assert_eq!(ObjectName::parse(&Path::from(key)), None, "{key}");
        }
        for key in
            ["05/6/0/7/1-2-keys", "5/6/x/7/1-2-keys", "backup/6/0/7/1-2-keys", "5/6/0/7/1-2-3-keys/more"]
        {
            assert_eq!(ObjectName::parse(&Path::from(key)), None, "{key}");
        }
    }
}
