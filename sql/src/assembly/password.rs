//! The password of the one user: read from a file, kept as a verifier in the meta store.
//!
//! Invariants: the password is written nowhere; once set it stays in force, also for starts without the option,
//! until another file changes it.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use cluster::meta::{Guard, MetaStore, Outcome, Write};
use proto::time::Dice;

use super::StartError;
use crate::authentication::Verifier;

/// Where the verifier of user `elanus` is kept.
const KEY: &str = "authentication/elanus";

/// The verifier in force: made of the file's password when one is given, else the stored one if any.
///
/// # Errors
/// A file that cannot be read or holds no password; a stored verifier that is damaged; the meta store's own.
pub(super) async fn load(
    file: Option<&Path>,
    meta: &Arc<dyn MetaStore>,
    dice: &dyn Dice,
) -> Result<Option<Arc<Verifier>>, StartError> {
    let entry = meta.get(KEY).await?;
    let stored = entry.as_ref().map(|entry| stored_verifier(&entry.value)).transpose()?;
    let Some(file) = file else { return Ok(stored.map(Arc::new)) };
    let password = read(file)?;
    if let Some(stored) = stored.filter(|stored| stored.is_of(&password)) {
        return Ok(Some(Arc::new(stored)));
    }
    let verifier = Verifier::of_password(&password, dice);
    let guard = entry.map_or_else(
        || Guard::Absent { key: KEY.to_owned() },
        |entry| Guard::WrittenAt { key: KEY.to_owned(), revision: entry.revision },
    );
    match meta.commit(vec![guard], vec![Write::put(KEY, verifier.to_string())]).await? {
        Outcome::Committed(_) => Ok(Some(Arc::new(verifier))),
        Outcome::Refused { .. } => Err(StartError::Password("it was changed by another process".to_owned())),
    }
}

fn stored_verifier(value: &[u8]) -> Result<Verifier, StartError> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    Verifier::from_str(text).map_err(|error| StartError::Password(format!("what is stored of it is {error}")))
}

/// The file's first line.
fn read(file: &Path) -> Result<String, StartError> {
    let text = std::fs::read_to_string(file).map_err(|source| StartError::Io {
        what: format!("read password file {}", file.display()),
        source,
    })?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(StartError::Password(format!("{} is empty", file.display()))),
    }
}

#[cfg(test)]
mod tests {
    use cluster::clock::{SystemClock, SystemDice};
    use cluster::meta::MemoryMeta;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a user writes the file")]
    #[tokio::test]
    async fn a_password_stays_until_another_one_comes() {
        let meta: Arc<dyn MetaStore> = Arc::new(MemoryMeta::new(Arc::new(SystemClock::new())));
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("password");
        assert_eq!(load(None, &meta, &SystemDice).await.expect("none yet"), None);
        std::fs::write(&file, "first\nignored\n").expect("write");
        let first = load(Some(&file), &meta, &SystemDice).await.expect("set").expect("a verifier");
        assert!(first.is_of("first"));
        let again = load(Some(&file), &meta, &SystemDice).await.expect("same").expect("a verifier");
        assert_eq!(first, again, "the same password keeps its salt");
        assert_eq!(load(None, &meta, &SystemDice).await.expect("kept"), Some(Arc::clone(&first)));
        std::fs::write(&file, "second").expect("write");
        let second = load(Some(&file), &meta, &SystemDice).await.expect("changed").expect("a verifier");
        assert!(second.is_of("second") && !second.is_of("first"));
        std::fs::write(&file, "\n").expect("write");
        load(Some(&file), &meta, &SystemDice).await.expect_err("no password");
    }
}
