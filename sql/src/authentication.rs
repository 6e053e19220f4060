//! Whether a client is who it says: SCRAM-SHA-256 against the stored verifier of the one user.
//!
//! What it is not: no messages (`exchange` speaks them), no roles, no encryption; without TLS there is nothing to
//! bind a channel to, so that is not offered.
//!
//! Invariants: the password itself is never kept; a user that does not exist goes through the same exchange as a
//! wrong password and is told the same.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, gen_salted_password};
use proto::time::Dice;

mod exchange;

pub(crate) use exchange::authenticate;

/// Bytes of salt, as in PostgreSQL.
const SALT_BYTES: usize = 16;
/// What the stored form begins with.
const MECHANISM: &str = "SCRAM-SHA-256";

/// What is kept of a password: enough to check a proof, not enough to give one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: usize,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Verifier {
    /// The verifier of a password with a fresh salt.
    #[must_use]
    pub fn of_password(password: &str, dice: &dyn Dice) -> Self {
        let salt = (0..SALT_BYTES / 8).flat_map(|_| dice.next_u64().to_be_bytes()).collect();
        Self::derived(password, salt, SCRAM_ITERATIONS)
    }

    fn derived(password: &str, salt: Vec<u8>, iterations: usize) -> Self {
        let salted = gen_salted_password(password, &salt, iterations);
        match ScramSecret::verifier_from_salted_password(salt, salted, iterations) {
            ScramSecret::Verifier { salt, iterations, stored_key, server_key } => {
                Self { salt, iterations, stored_key, server_key }
            }
            // What the function above never makes; such a verifier lets nobody in.
            ScramSecret::SaltedPassword { salt, .. } => {
                Self { salt, iterations, stored_key: Vec::new(), server_key: Vec::new() }
            }
        }
    }

    /// Whether it was made of this password.
    #[must_use]
    pub fn is_of(&self, password: &str) -> bool {
        Self::derived(password, self.salt.clone(), self.iterations) == *self
    }

    fn secret(&self) -> ScramSecret {
        ScramSecret::Verifier {
            salt: self.salt.clone(),
            iterations: self.iterations,
            stored_key: self.stored_key.clone(),
            server_key: self.server_key.clone(),
        }
    }

    /// The secret of a user that does not exist: no proof fits it, and its salt is the same each time, so that
    /// nobody learns from it which users there are.
    fn secret_of_nobody(&self, user: &str) -> ScramSecret {
        let hash =
            |part: &[u8]| xxhash_rust::xxh3::xxh3_128(&[&self.server_key, part, user.as_bytes()].concat());
        let key = || [hash(b"key"), hash(b"more")].map(u128::to_be_bytes).concat();
        ScramSecret::Verifier {
            salt: hash(b"salt").to_be_bytes().to_vec(),
            iterations: self.iterations,
            stored_key: key(),
            server_key: key(),
        }
    }
}

/// PostgreSQL's form: `SCRAM-SHA-256$4096:salt$stored key:server key`.
impl fmt::Display for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = |bytes: &[u8]| STANDARD.encode(bytes);
        write!(
            formatter,
            "{MECHANISM}${}:{}${}:{}",
            self.iterations,
            encoded(&self.salt),
            encoded(&self.stored_key),
            encoded(&self.server_key)
        )
    }
}

/// Key material is never printed.
impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// A text that is no verifier.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SCRAM-SHA-256 verifier")]
pub struct NoVerifier;

impl FromStr for Verifier {
    type Err = NoVerifier;

    fn from_str(text: &str) -> Result<Self, NoVerifier> {
        let mut parts = text.split('$');
        let (Some(MECHANISM), Some(salted), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoVerifier);
        };
        let (iterations, salt) = salted.split_once(':').ok_or(NoVerifier)?;
        let (stored, server) = keys.split_once(':').ok_or(NoVerifier)?;
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| NoVerifier);
        let verifier = Self {
            salt: bytes(salt)?,
            iterations: iterations.parse().map_err(|_| NoVerifier)?,
            stored_key: bytes(stored)?,
            server_key: bytes(server)?,
        };
        let is_whole = verifier.stored_key.len() == 32 && verifier.server_key.len() == 32;
        if is_whole { Ok(verifier) } else { Err(NoVerifier) }
    }
}

#[cfg(test)]
mod tests {
    use cluster::clock::SystemDice;

    use super::*;

    #[test]
    fn a_verifier_knows_its_password_and_survives_its_text() {
        let verifier = Verifier::of_password("päss", &SystemDice);
        let text = verifier.to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:"), "{text}");
        assert!(!text.contains("päss"));
        let read: Verifier = text.parse().expect("its own text");
        assert!(read.is_of("päss"));
        assert!(!read.is_of("pass"));
        assert!(!format!("{read:?}").contains(text.split('$').nth(2).expect("keys")));
    }

    /// Made by PostgreSQL 16: ALTER ROLE … PASSWORD 'secret'.
    #[test]
    fn postgresqls_verifiers_are_understood() {
        let text = "SCRAM-SHA-256$4096:XhX1Web9R+9ZDFDrrXxcQQ==$oOb8N/u0EGL2N8FExPqslVFl8e2ZzNh8pRnk6leiKWg=:hKfIFeadGORz35zPcLHVCZ5N3UYoBRXNkkfLxI8lRq0=";
        let verifier: Verifier = text.parse().expect("PostgreSQL's form");
        assert!(verifier.is_of("secret"));
        assert_eq!(verifier.to_string(), text);
    }

    #[test]
    fn other_texts_are_no_verifiers() {
        for text in
            ["", "secret", "SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAA", "SCRAM-SHA-256$x:c2FsdA==$AAAA:AAAA"]
        {
            assert_eq!(text.parse::<Verifier>(), Err(NoVerifier), "{text}");
        }
    }

    #[test]
    fn nobody_has_the_same_salt_each_time_and_no_ones_key() {
        let verifier = Verifier::of_password("secret", &SystemDice);
        let parts = |secret: ScramSecret| match secret {
            ScramSecret::Verifier { salt, stored_key, .. } => (salt, stored_key),
            ScramSecret::SaltedPassword { .. } => panic!("not a verifier"),
        };
        let (first, second) = (verifier.secret_of_nobody("eve"), verifier.secret_of_nobody("eve"));
        let (first, second) = (parts(first), parts(second));
        assert_eq!(first, second);
        assert_eq!(first.0.len(), SALT_BYTES);
        assert_ne!(first.0, parts(verifier.secret_of_nobody("mallory")).0);
        assert_ne!(first.1, parts(verifier.secret()).1);
    }
}
