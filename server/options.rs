//! Settings of the service.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use candor_detect::EngineOptions;

use crate::error::{Error, Result};

/// Settings of the service. [`AppState`](crate::AppState) checks them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// Requests that may wait for the model; one more gets 429.
    pub queue: usize,
    /// Most requests in one forward pass.
    pub batch: usize,
    /// Longest time from the arrival of a request to its verdict; later it gets 504.
    pub timeout: Duration,
    /// Longest time that a shutdown waits for requests in flight.
    pub drain_timeout: Duration,
    /// Longest request body, in bytes; a longer one gets 413.
    pub max_body_bytes: usize,
    /// Leaves the texts of tokens out of every reply.
    pub no_text: bool,
    /// Key that every route but `/health` asks for, as `Authorization: Bearer <key>`.
    pub api_key: Option<ApiKey>,
    /// Serves addresses that other machines can reach although no key is set.
    pub allow_open: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            queue: 64,
            batch: 8,
            timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(30),
            max_body_bytes: 32 << 20,
            no_text: false,
            api_key: None,
            allow_open: false,
        }
    }
}

impl ServerOptions {
    /// Checks every range, before a port is bound.
    ///
    /// # Errors
    /// [`Error::Option`] for the first setting out of range.
    pub fn check(&self) -> Result<()> {
        let hour = Duration::from_hours(1);
        let checks: [(&'static str, bool, String, &'static str); 5] = [
            // The engine allocates its queue at once.
            (
                "queue",
                (1..=65_536).contains(&self.queue),
                self.queue.to_string(),
                "1 to 65536",
            ),
            (
                "batch",
                (1..=1024).contains(&self.batch),
                self.batch.to_string(),
                "1 to 1024",
            ),
            (
                "timeout",
                !self.timeout.is_zero() && self.timeout <= hour,
                format!("{:?}", self.timeout),
                "more than 0, at most an hour",
            ),
            (
                "drain_timeout",
                self.drain_timeout <= hour,
                format!("{:?}", self.drain_timeout),
                "at most an hour",
            ),
            (
                "max_body_bytes",
                (1024..=1 << 30).contains(&self.max_body_bytes),
                self.max_body_bytes.to_string(),
                "1 KiB to 1 GiB",
            ),
        ];
        match checks.into_iter().find(|check| !check.1) {
            Some((name, _, found, expected)) => Err(Error::Option {
                name,
                found,
                expected,
            }),
            None => Ok(()),
        }
    }

    /// Checks that an address that other machines can reach is protected by a key, or left open on purpose.
    ///
    /// # Errors
    /// [`Error::PublicAddress`].
    pub fn check_address(&self, address: SocketAddr) -> Result<()> {
        if address.ip().is_loopback() || self.api_key.is_some() || self.allow_open {
            return Ok(());
        }
        Err(Error::PublicAddress { address })
    }

    pub(crate) fn engine(&self) -> EngineOptions {
        EngineOptions {
            queue: self.queue,
            batch: self.batch,
        }
    }
}

/// A secret that callers must know. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key of visible ASCII characters, as it can stand in a header.
    ///
    /// # Errors
    /// [`Error::Option`] for an empty key or other characters.
    pub fn new(key: impl Into<String>) -> Result<Self> {
        let key = key.into();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Option {
                name: "api_key",
                found: format!("a key of {} bytes", key.len()),
                expected: "visible ASCII characters without spaces",
            });
        }
        Ok(Self(key))
    }

    /// Whether `given` is the key. Takes the same time wherever they differ.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        let key = self.0.as_bytes();
        let difference = key
            .iter()
            .enumerate()
            .fold(0u8, |difference, (index, byte)| {
                difference | (byte ^ given.get(index).copied().unwrap_or(!byte))
            });
        std::hint::black_box(difference) == 0 && key.len() == given.len()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(ServerOptions::default().check().is_ok());
        let check = |name: &str, change: fn(&mut ServerOptions)| {
            let mut options = ServerOptions::default();
            change(&mut options);
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        };
        check("queue", |options| options.queue = 0);
        check("queue", |options| options.queue = usize::MAX);
        check("batch", |options| options.batch = 0);
        check("timeout", |options| options.timeout = Duration::ZERO);
        check("timeout", |options| options.timeout = Duration::MAX);
        check("drain_timeout", |options| {
            options.drain_timeout = Duration::MAX;
        });
        check("max_body_bytes", |options| options.max_body_bytes = 0);
        check("max_body_bytes", |options| {
            options.max_body_bytes = usize::MAX;
        });
    }

    #[test]
    fn an_open_door_is_left_open_only_on_purpose() {
        let closed = ServerOptions::default();
        let keyed = ServerOptions {
            api_key: Some(ApiKey::new("k").unwrap()),
            ..ServerOptions::default()
        };
        let open = ServerOptions {
            allow_open: true,
            ..ServerOptions::default()
        };
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1"] {
            assert!(closed.check_address(address.parse().unwrap()).is_ok());
        }
        for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            let address = address.parse().unwrap();
            assert!(matches!(
                closed.check_address(address),
                Err(Error::PublicAddress { .. })
            ));
            assert!(keyed.check_address(address).is_ok());
            assert!(open.check_address(address).is_ok());
        }
    }

    #[test]
    fn keys_are_compared_whole_and_never_shown() {
        let key = ApiKey::new("sk-secret").unwrap();
        assert!(key.is(b"sk-secret"));
        for wrong in ["", "sk-secre", "sk-secret2", "sk-Secret", "xk-secret"] {
            assert!(!key.is(wrong.as_bytes()), "{wrong}");
        }
        let options = ServerOptions {
            api_key: Some(key),
            ..ServerOptions::default()
        };
        assert!(!format!("{options:?}").contains("secret"));
        for bad in ["", "with space", "tab\t", "ü"] {
            assert!(ApiKey::new(bad).is_err());
        }
    }
}
