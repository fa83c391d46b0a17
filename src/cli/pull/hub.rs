//! Downloads files from the Hugging Face Hub, or from a mirror that `HF_ENDPOINT` names.
//!
//! Redirects are followed here and not by `ureq`: the token must stay with the endpoint, and the
//! endpoint's own answer, before it redirects to storage, states the file's SHA-256 and size.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ureq::http::{Response, Uri, header};
use ureq::{Agent, Body};

use super::{Progress, checked};

const PUBLIC_ENDPOINT: &str = "https://huggingface.co";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const BACKOFF: Duration = Duration::from_secs(1);
const MAX_TRIES: u32 = 6;
const MAX_REDIRECTS: usize = 10;
/// Largest file taken where its size is not known beforehand.
const MAX_BYTES: u64 = 1 << 40;

/// A file in a repository on the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubFile {
    repo: String,
    file: String,
}

impl HubFile {
    pub(super) fn new(repo: &str, file: &str) -> Self {
        Self {
            repo: repo.to_owned(),
            file: file.to_owned(),
        }
    }

    /// Reads `owner/repo/file.gguf`; the file may lie in folders of the repository.
    pub(super) fn parse(name: &str) -> anyhow::Result<Self> {
        // The name becomes part of a path and of a URL, so it is kept to what the Hub itself allows.
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let parts: Vec<&str> = name.split('/').collect();
        let is_gguf = Path::new(name)
            .extension()
            .is_some_and(|suffix| suffix == "gguf");
        if parts.len() < 3 || !parts.iter().all(|part| plain(part)) || !is_gguf {
            bail!("`hf:{name}` is not of the form `hf:owner/repo/file.gguf`");
        }
        Ok(Self {
            repo: parts[..2].join("/"),
            file: parts[2..].join("/"),
        })
    }

    /// Where the file lies in the folder of models: repositories may use the same file name.
    pub(super) fn local_path(&self) -> PathBuf {
        Path::new("hf").join(&self.repo).join(&self.file)
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.repo, self.file)
    }
}

/// What is known about a file before it is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) sha256: Option<String>,
    pub(super) n_bytes: Option<u64>,
}

impl Facts {
    /// Takes in what a server states; it must not contradict what is known.
    fn learn(&mut self, sha256: Option<String>, n_bytes: Option<u64>) -> anyhow::Result<()> {
        if let (Some(expected), Some(found)) = (&self.sha256, &sha256)
            && expected != found
        {
            bail!("the file there has sha256 {found}, expected {expected}");
        }
        if let (Some(expected), Some(found)) = (self.n_bytes, n_bytes)
            && expected != found
        {
            bail!("the file there has {found} bytes, expected {expected}");
        }
        self.sha256 = self.sha256.take().or(sha256);
        self.n_bytes = self.n_bytes.or(n_bytes);
        Ok(())
    }
}

/// A failed try.
enum Failed {
    /// Trying again would fail again.
    ForGood(anyhow::Error),
    /// The connection or the server gave way.
    ForNow(anyhow::Error),
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::ForGood(error)
    }
}

/// A server of model files. Not `Debug`, because it holds a token.
pub(super) struct Hub {
    endpoint: Uri,
    token: Option<String>,
    agent: Agent,
    backoff: Duration,
}

impl Hub {
    /// `HF_ENDPOINT` and `HF_TOKEN`, as the Hub's own client reads them.
    pub(super) fn from_env() -> anyhow::Result<Self> {
        let value = |key| {
            let value = std::env::var(key).ok().map(|value| value.trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        let endpoint = value("HF_ENDPOINT").unwrap_or_else(|| PUBLIC_ENDPOINT.to_owned());
        Self::new(&endpoint, value("HF_TOKEN"), BACKOFF)
    }

    pub(super) fn new(
        endpoint: &str,
        token: Option<String>,
        backoff: Duration,
    ) -> anyhow::Result<Self> {
        let endpoint = endpoint.trim_end_matches('/');
        let uri = endpoint.parse::<Uri>().ok().filter(is_web);
        let endpoint =
            uri.with_context(|| format!("`HF_ENDPOINT` is `{endpoint}`, expected a web address"))?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("candor/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(ANSWER_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT));
        if is_loopback(&endpoint) {
            // A proxy cannot reach this machine's own addresses.
            config = config.proxy(None);
        }
        Ok(Self {
            endpoint,
            token,
            agent: config.build().new_agent(),
            backoff,
        })
    }

    /// Downloads `file` to `path`, going on from `path.part` where an earlier run left one.
    pub(super) fn fetch(
        &self,
        file: &HubFile,
        facts: Facts,
        path: &Path,
        progress: Progress,
    ) -> anyhow::Result<()> {
        let part = part_of(path);
        let result = self.fetch_part(file, facts, path, &part, progress);
        // Nothing to go on from.
        if fs::metadata(&part).is_ok_and(|metadata| metadata.len() == 0) {
            let _ = fs::remove_file(&part);
        }
        result
    }

    fn fetch_part(
        &self,
        file: &HubFile,
        mut facts: Facts,
        path: &Path,
        part: &Path,
        progress: Progress,
    ) -> anyhow::Result<()> {
        let endpoint = self.endpoint.to_string();
        let endpoint = endpoint.trim_end_matches('/');
        let url = format!("{endpoint}/{}/resolve/main/{}", file.repo, file.file);
        let url: Uri = url
            .parse()
            .with_context(|| format!("`{file}` gives no address"))?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(&url, part, &mut facts, tries, progress) {
                Ok(()) => break,
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::ForNow(error)) if tries == MAX_TRIES => {
                    return Err(error.context(format!("gave up after {tries} tries")));
                }
                Err(Failed::ForNow(_)) => std::thread::sleep(self.backoff * 2u32.pow(tries - 1)),
            }
        }
        let Some(sha256) = &facts.sha256 else {
            bail!("`{file}` cannot be checked: the server states no sha256");
        };
        checked::keep(part, path, sha256)
    }

    /// One request; the body is added to `part`.
    fn attempt(
        &self,
        url: &Uri,
        part: &Path,
        facts: &mut Facts,
        tries: u32,
        progress: Progress,
    ) -> Result<(), Failed> {
        let writable = || format!("cannot write `{}`", part.display());
        let mut out = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(part)
            .with_context(writable)?;
        let mut done = out.metadata().with_context(writable)?.len();
        if facts.n_bytes.is_some_and(|n_bytes| done > n_bytes) {
            out.set_len(0).with_context(writable)?;
            done = 0;
        }
        // Complete, but cut off before its checksum was looked at.
        if done > 0 && facts.n_bytes == Some(done) && facts.sha256.is_some() {
            return Ok(());
        }

        let response = self.get(url, done, facts, tries)?;
        let status = response.status().as_u16();
        let from = match status {
            200 => 0,
            206 => {
                let range = content_range(&response).filter(|range| range.0 == done);
                let (from, total) =
                    range.context("the server sent another part of the file than asked for")?;
                facts.learn(None, total)?;
                from
            }
            416 if done > 0 => {
                out.set_len(0).with_context(writable)?;
                let error = anyhow!("the server has nothing after byte {done}");
                return Err(Failed::ForNow(error));
            }
            429 | 500.. => return Err(Failed::ForNow(anyhow!("the server answered {status}"))),
            401 | 403 => {
                let error =
                    anyhow!("the server answered {status}; gated files need `HF_TOKEN` set");
                return Err(error.into());
            }
            _ => return Err(anyhow!("the server answered {status}").into()),
        };
        if let Some(length) = number(&response, header::CONTENT_LENGTH.as_str()) {
            facts.learn(None, Some(from.saturating_add(length)))?;
        }
        let limit = facts.n_bytes.unwrap_or(MAX_BYTES);
        if limit > MAX_BYTES {
            return Err(anyhow!("the file has {limit} bytes, more than any model").into());
        }

        // A server that ignores the range sends the file from its start.
        out.set_len(from).with_context(writable)?;
        out.seek(SeekFrom::Start(from)).with_context(writable)?;
        done = from;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            progress(done, facts.n_bytes.unwrap_or(0));
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => {
                    let cut = format!("the connection was cut after {done} bytes");
                    return Err(Failed::ForNow(anyhow::Error::new(error).context(cut)));
                }
            };
            if n as u64 > limit - done {
                out.set_len(0).with_context(writable)?;
                return Err(anyhow!("the server sent more than the expected {limit} bytes").into());
            }
            out.write_all(&buffer[..n]).with_context(writable)?;
            done += n as u64;
        }
        match facts.n_bytes {
            Some(n_bytes) if done < n_bytes => Err(Failed::ForNow(anyhow!(
                "the connection was cut after {done} of {n_bytes} bytes"
            ))),
            _ => Ok(()),
        }
    }

    /// Asks for the file from byte `from` on, through redirects.
    fn get(
        &self,
        url: &Uri,
        from: u64,
        facts: &mut Facts,
        tries: u32,
    ) -> Result<Response<Body>, Failed> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let host = url.host().unwrap_or_default().to_owned();
            let mut request = self.agent.get(&url);
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let trusted = origin(&url) == origin(&self.endpoint);
            let secret = url.scheme_str() == Some("https") || is_loopback(&url);
            if let Some(token) = self.token.as_ref().filter(|_| trusted && secret) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| {
                let error = anyhow::Error::new(error).context(format!("cannot reach `{host}`"));
                // A machine that cannot reach the server at all is to fall through fast.
                if tries == 1 {
                    Failed::ForGood(error)
                } else {
                    Failed::ForNow(error)
                }
            })?;
            if trusted && response.status().as_u16() < 400 {
                let n_bytes = number(&response, "x-linked-size");
                facts.learn(stated_sha256(&response), n_bytes)?;
            }
            if !response.status().is_redirection() {
                return Ok(response);
            }
            url = redirected(&url, &response)?;
        }
        Err(anyhow!("the server redirects more than {MAX_REDIRECTS} times").into())
    }
}

/// Where a download lies until it is complete and checked.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}

/// Where a redirect leads. Never from encrypted to plain.
fn redirected(url: &Uri, response: &Response<Body>) -> anyhow::Result<Uri> {
    let location = response.headers().get(header::LOCATION);
    let location = location
        .and_then(|location| location.to_str().ok())
        .context("the server redirects to nowhere")?;
    let (scheme, host, _) = origin(url);
    let address = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        let authority = url.authority().map_or(host.as_str(), |a| a.as_str());
        format!("{scheme}://{authority}{location}")
    } else {
        location.to_owned()
    };
    // The address itself stays out of messages: storage signs it, so it is as good as a key.
    let next = address.parse::<Uri>().ok().filter(is_web);
    let next = next.with_context(|| format!("`{host}` redirects to what is no web address"))?;
    if scheme == "https" && next.scheme_str() != Some("https") {
        bail!("`{host}` redirects from https to http");
    }
    Ok(next)
}

fn is_web(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Scheme, host and port.
fn origin(uri: &Uri) -> (String, String, u16) {
    let scheme = uri.scheme_str().unwrap_or_default().to_owned();
    let default_port = if scheme == "https" { 443 } else { 80 };
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    (scheme, host, uri.port_u16().unwrap_or(default_port))
}

fn number(response: &Response<Body>, header: &str) -> Option<u64> {
    response.headers().get(header)?.to_str().ok()?.parse().ok()
}

/// The SHA-256 in the Hub's `X-Linked-Etag`, the only tag that is one (large files; git's own are SHA-1).
fn stated_sha256(response: &Response<Body>) -> Option<String> {
    let tag = response.headers().get("x-linked-etag")?.to_str().ok()?;
    let tag = tag.trim_start_matches("W/").trim_matches('"');
    let is_sha256 = tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_sha256.then(|| tag.to_ascii_lowercase())
}

/// First byte and whole size in `Content-Range: bytes 5-9/10`.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let range = response.headers().get(header::CONTENT_RANGE)?;
    let (range, total) = range
        .to_str()
        .ok()?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let from = range.split_once('-')?.0.parse().ok()?;
    Some((from, total.parse().ok()))
}

#[cfg(test)]
pub(super) mod tests;
