//! Reads settings from Hugging Face's `config.json`.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// An object of `config.json`. A setting of `null` counts as left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HfConfig<'a> {
    /// The file's name, for messages.
    file: &'static str,
    settings: &'a Map<String, Value>,
}

impl<'a> HfConfig<'a> {
    /// The object that is all of `file`.
    pub(crate) fn new(file: &'static str, value: &'a Value) -> Result<Self> {
        let settings = value.as_object().ok_or_else(|| Error::Config {
            file,
            key: String::new(),
            expected: "an object",
        })?;
        Ok(Self { file, settings })
    }

    /// Whether the setting is there, be it `null`.
    pub(crate) fn mentions(&self, key: &str) -> bool {
        self.settings.contains_key(key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.settings.get(key).filter(|value| !value.is_null())
    }

    /// An object inside this one.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Self>> {
        let object = |value: &'a Value| {
            value
                .as_object()
                .ok_or_else(|| self.wrong(key, "an object"))
        };
        let settings = self.get(key).map(object).transpose()?;
        Ok(settings.map(|settings| Self {
            file: self.file,
            settings,
        }))
    }

    pub(crate) fn string(&self, key: &str) -> Result<&'a str> {
        let value = self.get(key).and_then(Value::as_str);
        value.ok_or_else(|| self.wrong(key, "a string"))
    }

    /// A count in `1..=limit`.
    pub(crate) fn count(&self, key: &str, limit: usize) -> Result<usize> {
        let value = self.get(key).and_then(Value::as_u64);
        value
            .and_then(|value| usize::try_from(value).ok())
            .filter(|value| (1..=limit).contains(value))
            .ok_or_else(|| self.wrong(key, "a positive count of a plausible size"))
    }

    /// A count that may be left out where the original implementation has a default.
    pub(crate) fn count_or(
        &self,
        key: &str,
        limit: usize,
        default: Option<usize>,
    ) -> Result<usize> {
        match (self.get(key), default) {
            (None, Some(default)) => Ok(default),
            _ => self.count(key, limit),
        }
    }

    pub(crate) fn float(&self, key: &str) -> Result<f64> {
        let value = self.get(key).and_then(Value::as_f64);
        value
            .filter(|value| value.is_finite())
            .ok_or_else(|| self.wrong(key, "a finite number"))
    }

    pub(crate) fn float_or(&self, key: &str, default: Option<f64>) -> Result<f64> {
        match (self.get(key), default) {
            (None, Some(default)) => Ok(default),
            _ => self.float(key),
        }
    }

    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    /// Positive numbers.
    pub(crate) fn floats(&self, key: &str) -> Result<Vec<f32>> {
        let values = self.get(key).and_then(Value::as_array);
        let values: Option<Vec<f32>> = values.and_then(|values| {
            let number = |value: &Value| value.as_f64().map(|value| value as f32);
            let positive = |value: &f32| value.is_finite() && *value > 0.0;
            values
                .iter()
                .map(|value| number(value).filter(positive))
                .collect()
        });
        values.ok_or_else(|| self.wrong(key, "an array of positive numbers"))
    }

    /// Refuses a setting unless it is left out, false, 0 or empty.
    pub(crate) fn must_be_off(&self, key: &str) -> Result<()> {
        let off = match self.get(key) {
            None => true,
            Some(Value::Bool(on)) => !on,
            Some(Value::Number(number)) => number.as_f64() == Some(0.0),
            Some(Value::Array(values)) => values.is_empty(),
            Some(_) => false,
        };
        if off {
            return Ok(());
        }
        Err(self.unsupported(key, "off"))
    }

    /// Refuses a name other than `expected`, which is also meant where it is left out.
    pub(crate) fn must_be(&self, key: &str, expected: &str) -> Result<()> {
        match self.get(key) {
            None => Ok(()),
            Some(Value::String(found)) if found == expected => Ok(()),
            Some(_) => Err(self.unsupported(key, expected)),
        }
    }

    pub(crate) fn unsupported(&self, key: &str, supported: &str) -> Error {
        let found = self.settings.get(key).map(Value::to_string);
        let mut found = found.unwrap_or_else(|| "left out".into());
        if found.len() > 80 {
            let end = (0..=80).rev().find(|&end| found.is_char_boundary(end));
            found.truncate(end.unwrap_or(0));
            found.push('…');
        }
        Error::Unsupported {
            setting: key.to_owned(),
            found,
            supported: supported.to_owned(),
        }
    }

    /// The error of a setting that is not as `expected`.
    pub(crate) fn wrong(&self, key: &str, expected: &'static str) -> Error {
        Error::Config {
            file: self.file,
            key: key.to_owned(),
            expected,
        }
    }
}
