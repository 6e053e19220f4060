//! The real etcd, Kafka and S3 server that tests run Elanus on; `scripts/services` installs and starts them.
//!
//! Invariant: a test that cannot have them fails; every `Place` is empty when it is made.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::prefix::PrefixStore;
use rand::Rng as _;

use crate::server::Options;

/// A prefix of its own in each of the three.
#[derive(Clone, Debug)]
pub struct Place {
    environment: HashMap<String, String>,
    prefix: String,
}

impl Place {
    /// An unused place; the services are started unless they run.
    ///
    /// # Panics
    /// When they cannot be installed or started.
    #[must_use]
    pub fn fresh() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
        let output = Command::new(script).arg("start").output();
        let output = output.unwrap_or_else(|error| panic!("{script} cannot be run: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script} start failed: {errors}");
        let said = String::from_utf8_lossy(&output.stdout);
        let pairs = said.lines().filter_map(|line| line.split_once('='));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { environment, prefix: format!("it-{:016x}", rand::rng().random::<u64>()) }
    }

    /// The address of a back end in this place: `META`, `LOG` or `STORE` of the command line.
    #[must_use]
    pub fn address(&self, service: &str) -> String {
        format!("{}/{}", self.environment[&format!("ELANUS_TEST_{service}")], self.prefix)
    }

    /// The objects of this place.
    ///
    /// # Panics
    /// When the address is none.
    #[must_use]
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        let mut builder = AmazonS3Builder::new();
        for (name, value) in self.options(&[]).environment {
            let key: AmazonS3ConfigKey = name.to_lowercase().parse().expect("a setting of S3");
            builder = builder.with_config(key, value);
        }
        let url = self.address("S3");
        let (bucket, prefix) = url.trim_start_matches("s3://").split_once('/').expect("bucket and prefix");
        let store = builder.with_bucket_name(bucket).build().expect("a client");
        Arc::new(PrefixStore::new(store, prefix))
    }

    /// How to start a server here, on all three or on those that are named (`--meta`, `--log`, `--store`).
    #[must_use]
    pub fn options(&self, only: &[&str]) -> Options {
        let mut options = Options::default();
        for (option, service) in [("--meta", "ETCD"), ("--log", "KAFKA"), ("--store", "S3")] {
            if only.is_empty() || only.contains(&option) {
                options.arguments.extend([option.into(), self.address(service).into()]);
            }
        }
        let aws = self.environment.iter().filter(|(name, _)| name.starts_with("AWS_"));
        options.environment = aws.map(|(name, value)| (name.clone(), value.clone())).collect();
        options
    }
}
