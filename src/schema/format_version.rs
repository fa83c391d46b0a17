//! The version that every file format carries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A format version `major.minor`, written as a string.
///
/// A reader accepts every minor version of the majors it knows and refuses a newer major.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FormatVersion {
    /// Changes when old readers would misread the file.
    pub major: u16,
    /// Changes when something is added that old readers may ignore.
    pub minor: u16,
}

impl FormatVersion {
    /// The version of every format written by this release.
    pub const CURRENT: Self = Self { major: 1, minor: 0 };

    /// Checks that a reader of [`FormatVersion::CURRENT`] may read this version of `what`.
    ///
    /// # Errors
    /// [`Error::NewerFormat`] if the major version is newer.
    pub fn accept(self, what: &'static str) -> Result<(), Error> {
        if self.major > Self::CURRENT.major {
            return Err(Error::NewerFormat {
                what,
                found: self.to_string(),
                supported: Self::CURRENT.to_string(),
            });
        }
        Ok(())
    }
}

impl Default for FormatVersion {
    fn default() -> Self {
        Self::CURRENT
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for FormatVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::FormatVersion {
            text: text.to_owned(),
        };
        let (major, minor) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self {
            major: major.parse().map_err(|_| bad())?,
            minor: minor.parse().map_err(|_| bad())?,
        })
    }
}

impl TryFrom<String> for FormatVersion {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<FormatVersion> for String {
    fn from(version: FormatVersion) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_minor_is_read_and_newer_major_refused() {
        let minor: FormatVersion = "1.7".parse().unwrap();
        assert_eq!(minor.accept("verdict"), Ok(()));
        let major: FormatVersion = "2.0".parse().unwrap();
        assert!(matches!(
            major.accept("verdict"),
            Err(Error::NewerFormat {
                what: "verdict",
                ..
            })
        ));
    }

    #[test]
    fn refuses_what_is_not_a_version() {
        for text in ["", "1", "1.", ".1", "1.0.0", "a.b", "-1.0", "1.99999"] {
            assert!(text.parse::<FormatVersion>().is_err(), "{text}");
        }
    }
}
