//! The downloader against a server on this machine that misbehaves as told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

/// What a request was.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
}

/// What the server answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes of the body after which the connection is closed.
    cut: Option<usize>,
    /// Whether `Content-Length` is left out.
    no_length: bool,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// A whole file.
    pub(crate) fn file(body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            ..Self::status(200)
        }
    }

    /// The rest of a file, as the request's range has it; the whole file without one.
    pub(crate) fn ranged(asked: &Asked, body: &[u8]) -> Self {
        let Some(range) = asked.headers.get("range") else {
            return Self::file(body);
        };
        let from = range.strip_prefix("bytes=").unwrap().trim_end_matches('-');
        let from: usize = from.parse().unwrap();
        let (last, n) = (body.len() - 1, body.len());
        Self {
            body: body[from..].to_vec(),
            ..Self::status(206)
        }
        .with("Content-Range", &format!("bytes {from}-{last}/{n}"))
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn cut(mut self, n_bytes: usize) -> Self {
        self.cut = Some(n_bytes);
        self
    }

    fn redirect(location: &str) -> Self {
        Self::status(302).with("Location", location)
    }
}

/// A web server on 127.0.0.1 that lives as long as the test process.
pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// `answer` gets the number of requests before this one, and the request.
    pub(crate) fn start(answer: impl Fn(usize, &Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let Some(request) = read_request(&stream) else {
                    continue;
                };
                let n_before = log.lock().unwrap().len();
                log.lock().unwrap().push(request.clone());
                // The client may have hung up, which is its right.
                let _ = write_answer(&stream, &answer(n_before, &request));
            }
        });
        Self { port, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn ranges(&self) -> Vec<Option<String>> {
        let range = |asked: Asked| asked.headers.get("range").cloned();
        self.asked().into_iter().map(range).collect()
    }

    fn tokens(&self) -> Vec<Option<String>> {
        let token = |asked: Asked| asked.headers.get("authorization").cloned();
        self.asked().into_iter().map(token).collect()
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split_whitespace().nth(1)?.to_owned();
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
    let headers = headers.collect();
    Some(Asked { path, headers })
}

fn write_answer(mut stream: &TcpStream, answer: &Answer) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {} X\r\nConnection: close\r\n",
        answer.status
    )?;
    if !answer.no_length {
        write!(stream, "Content-Length: {}\r\n", answer.body.len())?;
    }
    for (name, value) in &answer.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(&answer.body[..answer.cut.unwrap_or(answer.body.len())])
}

/// 300 kB that look random.
pub(crate) fn content() -> Vec<u8> {
    (0u32..75_000)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

pub(crate) fn hub(endpoint: &str, token: Option<&str>) -> Hub {
    let token = token.map(str::to_owned);
    Hub::new(endpoint, token, Duration::from_millis(1)).unwrap()
}

struct Download {
    folder: TempDir,
    result: anyhow::Result<()>,
    /// What the callback was told last.
    progress: (u64, u64),
}

impl Download {
    /// Downloads a file of which checksum and size are known.
    fn run(hub: &Hub) -> Self {
        Self::go_on(hub, tempfile::tempdir().unwrap(), facts())
    }

    fn go_on(hub: &Hub, folder: TempDir, facts: Facts) -> Self {
        let mut progress = (0, 0);
        let file = HubFile::new("owner/repo", "m.gguf");
        let path = folder.path().join("m.gguf");
        let result = hub.fetch(&file, facts, &path, &mut |done, total| {
            progress = (done, total);
        });
        Self {
            folder,
            result,
            progress,
        }
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("m.gguf.part")
    }

    #[track_caller]
    fn check_right(&self) {
        self.result.as_ref().unwrap();
        let found = fs::read(self.folder.path().join("m.gguf")).unwrap();
        assert!(found == content(), "{} bytes", found.len());
        assert!(!self.part().exists());
    }

    #[track_caller]
    fn check_failed(&self, part: &str) {
        let error = format!("{:#}", self.result.as_ref().unwrap_err());
        assert!(error.contains(part), "`{error}` lacks `{part}`");
        assert!(!self.folder.path().join("m.gguf").exists());
    }
}

fn facts() -> Facts {
    Facts {
        sha256: Some(sha256(&content())),
        n_bytes: Some(content().len() as u64),
    }
}

#[test]
fn plain() {
    let server = Server::start(|_, _| Answer::file(&content()));
    let download = Download::run(&hub(&server.url(), None));
    download.check_right();
    assert_eq!(download.progress, (300_000, 300_000));
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/owner/repo/resolve/main/m.gguf");
    assert!(asked[0].headers["user-agent"].starts_with("candor/"));
    assert_eq!(server.tokens(), [None]);
}

#[test]
fn an_endpoint_may_have_a_path() {
    let server = Server::start(|_, _| Answer::file(&content()));
    Download::run(&hub(&format!("{}/mirror/", server.url()), None)).check_right();
    assert_eq!(
        server.asked()[0].path,
        "/mirror/owner/repo/resolve/main/m.gguf"
    );
}

#[test]
fn token_stays_with_the_endpoint() {
    let server = Server::start(|_, asked| match asked.path.as_str() {
        "/same" => {
            let port = asked.headers["host"].rsplit(':').next().unwrap().to_owned();
            Answer::redirect(&format!("http://localhost:{port}/other?signed=1"))
        }
        "/other?signed=1" => Answer::file(&content()),
        _ => Answer::redirect("/same"),
    });
    Download::run(&hub(&server.url(), Some("secret"))).check_right();
    let sent = Some("Bearer secret".to_owned());
    assert_eq!(server.tokens(), [sent.clone(), sent, None]);
    assert!(server.asked()[2].headers["host"].starts_with("localhost:"));
}

#[test]
fn token_does_not_go_to_another_port() {
    let storage = Server::start(|_, _| Answer::file(&content()));
    let url = storage.url();
    let server = Server::start(move |_, _| Answer::redirect(&format!("{url}/x")));
    Download::run(&hub(&server.url(), Some("secret"))).check_right();
    assert_eq!(storage.tokens(), [None]);
}

#[test]
fn a_range_is_asked_for_after_a_cut_and_through_redirects() {
    let storage = Server::start(|n, asked| match n {
        0 => Answer::ranged(asked, &content()).cut(100_000),
        1 => Answer::ranged(asked, &content()).cut(50_000),
        _ => Answer::ranged(asked, &content()),
    });
    let url = storage.url();
    let server = Server::start(move |_, _| Answer::redirect(&format!("{url}/x")));
    Download::run(&hub(&server.url(), None)).check_right();
    let ranges = [None, Some("bytes=100000-"), Some("bytes=150000-")];
    assert_eq!(
        storage.ranges(),
        ranges.map(|range| range.map(str::to_owned))
    );
}

#[test]
fn a_cut_without_a_length_is_noticed() {
    let server = Server::start(|n, asked| {
        let mut answer = Answer::ranged(asked, &content());
        answer.no_length = true;
        if n == 0 { answer.cut(1234) } else { answer }
    });
    Download::run(&hub(&server.url(), None)).check_right();
    assert_eq!(server.ranges()[1].as_deref(), Some("bytes=1234-"));
}

#[test]
fn a_server_that_ignores_the_range_starts_over() {
    let server = Server::start(|n, _| {
        let answer = Answer::file(&content());
        if n == 0 { answer.cut(100_000) } else { answer }
    });
    Download::run(&hub(&server.url(), None)).check_right();
    assert_eq!(server.ranges()[1].as_deref(), Some("bytes=100000-"));
}

#[test]
fn another_range_than_asked_for_is_refused() {
    let server = Server::start(|n, asked| {
        if n == 0 {
            return Answer::file(&content()).cut(100_000);
        }
        let mut other = asked.clone();
        other.headers.insert("range".into(), "bytes=7-".into());
        Answer::ranged(&other, &content())
    });
    Download::run(&hub(&server.url(), None)).check_failed("another part of the file");
}

#[test]
fn a_part_of_an_earlier_run_is_gone_on_from() {
    let server = Server::start(|_, _| Answer::file(&content()).cut(1000));
    let first = Download::run(&hub(&server.url(), None));
    first.check_failed("gave up after 6 tries: the connection was cut");
    assert_eq!(fs::metadata(first.part()).unwrap().len(), 1000);

    let server = Server::start(|_, asked| Answer::ranged(asked, &content()));
    let second = Download::go_on(&hub(&server.url(), None), first.folder, facts());
    second.check_right();
    assert_eq!(server.ranges(), [Some("bytes=1000-".to_owned())]);
}

#[test]
fn a_part_that_is_complete_is_only_checked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.gguf.part"), content()).unwrap();
    let server = Server::start(|_, _| Answer::status(500));
    Download::go_on(&hub(&server.url(), None), folder, facts()).check_right();
    assert!(server.asked().is_empty());
}

#[test]
fn a_part_that_is_too_long_is_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.gguf.part"), vec![0; 400_000]).unwrap();
    let server = Server::start(|_, asked| Answer::ranged(asked, &content()));
    Download::go_on(&hub(&server.url(), None), folder, facts()).check_right();
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn a_range_that_the_server_does_not_have_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.gguf.part"), [0; 1000]).unwrap();
    let server = Server::start(|n, asked| match n {
        0 => Answer::status(416),
        _ => Answer::ranged(asked, &content()),
    });
    Download::go_on(&hub(&server.url(), None), folder, facts()).check_right();
    assert_eq!(server.ranges(), [Some("bytes=1000-".to_owned()), None]);
}

#[test]
fn a_wrong_checksum_deletes_the_part() {
    let mut wrong = content();
    wrong[5] ^= 1;
    let found = sha256(&wrong);
    let server = Server::start(move |_, _| Answer::file(&wrong));
    let download = Download::run(&hub(&server.url(), None));
    download.check_failed(&format!("sha256 {found}, expected {}", sha256(&content())));
    assert!(!download.part().exists());
}

#[test]
fn a_stated_checksum_is_compared_before_the_download() {
    let other = sha256(b"other");
    let server = Server::start(move |_, asked| match asked.path.as_str() {
        "/blob" => Answer::file(&content()),
        _ => Answer::redirect("/blob").with("X-Linked-Etag", &format!("\"{other}\"")),
    });
    Download::run(&hub(&server.url(), None)).check_failed("the file there has sha256");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_stated_checksum_serves_where_none_is_known() {
    for (stated, right) in [(sha256(&content()), true), (sha256(b"other"), false)] {
        let server = Server::start(move |_, asked| match asked.path.as_str() {
            "/blob" => Answer::file(&content()),
            _ => Answer::redirect("/blob").with("X-Linked-Etag", &format!("\"{stated}\"")),
        });
        let folder = tempfile::tempdir().unwrap();
        let download = Download::go_on(&hub(&server.url(), None), folder, Facts::default());
        if right {
            download.check_right();
        } else {
            download.check_failed("expected");
        }
    }
    let server = Server::start(|_, _| Answer::file(&content()));
    let folder = tempfile::tempdir().unwrap();
    let download = Download::go_on(&hub(&server.url(), None), folder, Facts::default());
    download.check_failed("states no sha256");
}

#[test]
fn statuses() {
    let check = |status: u16, part: &str, n_asked: usize| {
        let server = Server::start(move |_, _| Answer::status(status));
        Download::run(&hub(&server.url(), None)).check_failed(part);
        assert_eq!(server.asked().len(), n_asked, "{status}");
    };
    check(404, "answered 404", 1);
    check(401, "HF_TOKEN", 1);
    check(403, "HF_TOKEN", 1);
    check(204, "answered 204", 1);
    check(503, "gave up after 6 tries: the server answered 503", 6);
    check(429, "answered 429", 6);
    check(302, "redirects to nowhere", 1);
}

#[test]
fn too_many_redirects() {
    let server = Server::start(|n, _| Answer::redirect(&format!("/again/{n}")));
    Download::run(&hub(&server.url(), None)).check_failed("redirects more than 10 times");
    assert_eq!(server.asked().len(), 11);
}

#[test]
fn redirects_to_what_is_no_web_address() {
    for location in ["file:///etc/passwd", "ftp://127.0.0.1/x", "x y", "relative"] {
        let server = Server::start(move |_, _| Answer::redirect(location));
        Download::run(&hub(&server.url(), None)).check_failed("no web address");
    }
}

#[test]
fn redirects_do_not_leave_encryption() {
    let from: Uri = "https://example.org/a".parse().unwrap();
    let answer = |location: &str| {
        let response = Response::builder().header("location", location);
        response.body(Body::builder().data(Vec::new())).unwrap()
    };
    assert!(redirected(&from, &answer("http://example.org/b")).is_err());
    let check = |location: &str, expected: &str| {
        assert_eq!(redirected(&from, &answer(location)).unwrap(), expected);
    };
    check("/b?c=d", "https://example.org/b?c=d");
    check("//cdn.example.org/b", "https://cdn.example.org/b");
    check("https://cdn.example.org/b", "https://cdn.example.org/b");
}

#[test]
fn oversized_bodies() {
    // Announced.
    let server = Server::start(|_, _| Answer::file(&vec![0; 400_000]));
    let download = Download::run(&hub(&server.url(), None));
    download.check_failed("400000 bytes, expected 300000");
    // Not announced.
    let server = Server::start(|_, _| {
        let mut answer = Answer::file(&vec![0; 400_000]);
        answer.no_length = true;
        answer
    });
    let download = Download::run(&hub(&server.url(), None));
    download.check_failed("more than the expected 300000 bytes");
    assert!(!download.part().exists());
}

#[test]
fn a_server_that_is_not_there_fails_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let start = std::time::Instant::now();
    Download::run(&hub(&url, None)).check_failed("cannot reach `127.0.0.1`");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn names_of_files() {
    let file = HubFile::parse("owner/repo-1.0/a/b.Q4_K.gguf").unwrap();
    assert_eq!(file, HubFile::new("owner/repo-1.0", "a/b.Q4_K.gguf"));
    for name in [
        "",
        "repo/a.gguf",
        "o/r/a.bin",
        "o/../a.gguf",
        "o/r/../../a.gguf",
        "o//a.gguf",
        "/o/r/a.gguf",
        "o/r/a?b.gguf",
        "o/r/.gguf",
        "o/r/a b.gguf",
    ] {
        assert!(HubFile::parse(name).is_err(), "{name}");
    }
}

#[test]
fn endpoints() {
    for endpoint in ["", "huggingface.co", "ftp://huggingface.co", "https://"] {
        assert!(Hub::new(endpoint, None, BACKOFF).is_err(), "{endpoint}");
    }
    let origin_of = |uri: &str| origin(&uri.parse().unwrap());
    assert_eq!(
        origin_of("https://A.org/x"),
        origin_of("https://a.org:443/y")
    );
    assert_ne!(origin_of("https://a.org"), origin_of("http://a.org:443"));
    assert_ne!(origin_of("https://a.org"), origin_of("https://b.a.org"));
    for (uri, expected) in [
        ("http://localhost:1", true),
        ("http://127.9.0.1", true),
        ("http://[::1]:80", true),
        ("http://localhost.example.org", false),
    ] {
        assert_eq!(is_loopback(&uri.parse().unwrap()), expected, "{uri}");
    }
}
