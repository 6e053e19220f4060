//! Where a file runs: a fresh `elanus` process, or a fresh database of a server given by URL.

use std::collections::BTreeMap;
use std::path::Path;

use ::tests::server::{Options, Server};
use ::tests::wire::{Address, Connection};

/// What every session begins with, so that the expectations do not depend on the server's surroundings.
const SESSION_SETUP: [&str; 2] = ["SET TIME ZONE 'UTC'", "SET client_min_messages = warning"];

/// Which servers files run on.
#[derive(Clone, Debug)]
pub enum Place {
    /// A fresh process per file.
    Fresh,
    /// A fresh database per file on a running server.
    Running(Address),
}

impl Place {
    /// Prepares what one file runs on.
    ///
    /// # Errors
    /// When the server does not start or refuses the session.
    pub fn open(&self, file: &Path) -> Result<Target, String> {
        let mut target = match self {
            Self::Fresh => {
                let server = Server::start_with(Options::default());
                let address = server.address().clone();
                Target { server: Some(server), address, sessions: BTreeMap::new() }
            }
            Self::Running(address) => {
                let stem =
                    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                let database = format!("slt_{}_{stem}", std::process::id());
                let mut session = Connection::open(address).map_err(|error| error.to_string())?;
                session.run(&format!("CREATE DATABASE {database}")).map_err(|error| error.to_string())?;
                let address = address.with_database(&database);
                Target { server: None, address, sessions: BTreeMap::new() }
            }
        };
        let session = target.session("default")?;
        session.run("CREATE EXTENSION IF NOT EXISTS vector").map_err(|error| error.to_string())?;
        Ok(target)
    }
}

/// A server and the sessions that one file has on it.
#[derive(Debug)]
pub struct Target {
    server: Option<Server>,
    address: Address,
    sessions: BTreeMap<String, Connection>,
}

impl Target {
    /// The session of a name, opened at its first use.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn session(&mut self, name: &str) -> Result<&mut Connection, String> {
        if !self.sessions.contains_key(name) {
            let mut session = Connection::open(&self.address).map_err(|error| error.to_string())?;
            for setup in SESSION_SETUP {
                session.run(setup).map_err(|error| format!("{setup}: {error}"))?;
            }
            self.sessions.insert(name.to_owned(), session);
        }
        self.sessions.get_mut(name).ok_or_else(|| "no session".to_owned())
    }

    /// Forgets a session that broke, so that the next record opens a new one.
    pub fn forget(&mut self, name: &str) {
        self.sessions.remove(name);
    }

    /// Kills the server and starts it again on the same directory; without an own server nothing happens.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&mut self) -> Result<(), String> {
        let Some(server) = self.server.take() else { return Ok(()) };
        self.sessions.clear();
        let server = server.restart()?;
        self.address = server.address().clone();
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.server.is_none() {
            self.sessions.clear();
            let database = self.address.database.clone();
            let ended = Connection::open(&self.address.with_database("postgres"))
                .and_then(|mut session| session.run(&format!("DROP DATABASE {database} WITH (FORCE)")));
            if let Err(failure) = ended {
                eprintln!("database {database} stays behind: {failure}");
            }
        }
    }
}
