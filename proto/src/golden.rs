//! Files of earlier builds: what is written today must be the same bytes.
#![allow(clippy::disallowed_methods, reason = "tests read files")]

use bytes::Bytes;

/// The golden file `testdata/format-1/<name>`, which must be what is written now.
pub(crate) fn as_golden(name: &str, now: &[u8]) -> Bytes {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format-1").join(name);
    if std::env::var_os("ELANUS_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, now).expect("a golden file");
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(now, golden, "{name} is written differently than format 1 was");
    golden.into()
}
