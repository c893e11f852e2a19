//! The walls of the architecture: who may import whom, which crates stay behind which module, how long a file may be.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Longer files hold more than one idea.
const MAX_LINES: usize = 500;

/// Which modules of this crate a module may use. Imports run one way, from `main` down to the wire types.
const MAY_USE: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["app", "config", "demo", "metrics", "monitoring", "simulator", "telemetry"]),
    ("demo", &["pipelines", "protocol", "text"]),
    (
        "app",
        &[
            "actors",
            "backend",
            "config",
            "doctor",
            "http",
            "kubernetes",
            "metrics",
            "observer",
            "orphans",
            "pace",
            "pipelines",
            "simulator",
            "telemetry",
            "workflow",
        ],
    ),
    ("config", &["iam", "pipelines", "protocol"]),
    ("iam", &["input"]),
    ("doctor", &["backend", "config", "iam", "kubernetes", "pipelines"]),
    ("telemetry", &["config", "metrics", "secrets"]),
    ("http", &["actors", "input", "metrics", "protocol", "text"]),
    ("orphans", &["backend", "config", "input", "observer", "pipelines", "text", "workflow"]),
    ("kubernetes", &["input", "observer", "pipelines", "text", "workflow"]),
    (
        "actors",
        &["backend", "input", "metrics", "observer", "pace", "pipelines", "protocol", "rounds", "shared", "workflow"],
    ),
    ("observer", &["input", "workflow"]),
    ("simulator", &["backend", "pipelines", "text"]),
    ("backend", &["metrics", "pipelines", "secrets", "text"]),
    ("monitoring", &["metrics"]),
    ("metrics", &["input", "pace", "pipelines", "protocol", "workflow"]),
    ("workflow", &["input", "links", "logs", "pace", "pipelines", "protocol", "results", "rounds", "text"]),
    ("input", &["pipelines", "protocol", "results", "text"]),
    ("text", &["pipelines", "protocol"]),
    ("protocol", &[]),
    ("pipelines", &[]),
    ("pace", &["pipelines"]),
    ("rounds", &["pace", "pipelines"]),
    ("shared", &["pace", "pipelines", "rounds"]),
    ("links", &[]),
    ("logs", &["pipelines", "secrets", "text"]),
    ("results", &["pipelines", "protocol"]),
    ("secrets", &[]),
];

/// Paths that only some modules may name. A path that ends in `_` stands for all crates whose names begin so.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("actix", &["actors"]),
    ("actix_web", &["http", "simulator", "app"]),
    ("aws_", &["backend"]),
    ("awc", &["demo"]),
    ("kube", &["kubernetes"]),
    ("k8s_openapi", &[]),
    ("std::env", &["config"]),
];

/// What a pure module may not name: clocks, I/O and the words of asynchronous code.
const NOT_PURE: &[&str] = &[
    "SystemTime",
    "Instant",
    "UtcDateTime",
    "OffsetDateTime::now_utc",
    "tokio",
    "async",
    "await",
    "std::fs",
    "std::net",
];

/// Modules in which all decisions are made, without a clock and without I/O.
const PURE: &[&str] = &[
    "workflow",
    "iam",
    "input",
    "text",
    "protocol",
    "pipelines",
    "links",
    "logs",
    "pace",
    "results",
    "rounds",
    "secrets",
    "shared",
];

/// Modules within which no two files use each other.
const NO_CIRCLES: &[&str] = &["backend", "workflow"];

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        if source.module == "lib" {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == source.module) else {
            wrong.push(format!("{}: say in MAY_USE what `{}` may use", source.path.display(), source.module));
            continue;
        };
        for used in used_modules(&source.code) {
            if used != source.module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: `{}` may not use `{used}`", source.path.display(), source.module));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_module_may_use_what_it_does_not_use() {
    let sources = sources("src");
    let mut unused = Vec::new();
    for (module, allowed) in MAY_USE {
        let own = sources.iter().filter(|source| source.module == *module);
        let used: BTreeSet<String> = own.flat_map(|source| used_modules(&source.code)).collect();
        for right in allowed.iter().filter(|&&right| !used.contains(right)) {
            unused
                .push(format!("`{module}` does not use `{right}`: take it out of MAY_USE, and of the table in lib.rs"));
        }
    }
    for (path, modules) in ONLY_IN {
        for module in *modules {
            if !sources.iter().any(|source| source.module == *module && names(&source.code, path)) {
                unused.push(format!("`{module}` does not use `{path}`: take it out of ONLY_IN"));
            }
        }
    }
    assert!(unused.is_empty(), "\n{}", unused.join("\n"));
}

#[test]
fn no_two_files_of_a_room_use_each_other() {
    let sources = sources("src");
    let mut circles = Vec::new();
    for room in NO_CIRCLES {
        let inside: Vec<(String, BTreeSet<String>)> = sources
            .iter()
            .filter(|source| source.path.parent() == Some(&Path::new("src").join(room)))
            .map(|source| (source.name(), used_neighbours(&source.code, room)))
            .collect();
        assert!(inside.len() > 1, "{room} has no files");
        for (file, used) in &inside {
            for (other, used_there) in inside.iter().filter(|(other, _)| file < other) {
                if used.contains(other) && used_there.contains(file) {
                    circles.push(format!("{room}: `{file}` and `{other}`"));
                }
            }
        }
    }
    assert!(circles.is_empty(), "these use each other:\n{}", circles.join("\n"));
}

#[test]
fn foreign_crates_stay_behind_their_walls() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        for (path, modules) in ONLY_IN {
            if !modules.contains(&source.module.as_str()) && names(&source.code, path) {
                wrong.push(format!("{}: `{path}` belongs into {modules:?} only", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn decisions_know_no_clock_and_no_io() {
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().filter(|source| PURE.contains(&source.module.as_str())) {
        for word in NOT_PURE.iter().filter(|word| names(&source.code, word)) {
            wrong.push(format!("{}: `{word}` in a pure module", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_one_idea() {
    let long: Vec<String> = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .filter(|source| source.lines > MAX_LINES)
        .map(|source| format!("{}: {} lines", source.path.display(), source.lines))
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn the_walls_see_code_and_only_code() {
    let code = code_of(
        "// actix::A\n/* aws_x::B */ let s = \"kube::C '\"; let q = '\"'; let r = r#\"awc::D\"#; fn f<'a>() {}",
    );
    for hidden in ["actix", "aws_", "kube", "awc"] {
        assert!(!names(&code, hidden), "{hidden} in {code}");
    }
    assert!(names("use actix::Actor;", "actix") && names("use aws_config::X;", "aws_"));
    assert!(!names("let aws_now = 1;", "aws_"));
    assert!(!names("use actix_web::App;", "actix") && !names("my_actix::A", "actix"));
    assert!(names("use std::{env, fs};", "std::env") && !names("use std::{fs};", "std::env"));
    let used = used_modules("use crate::{a::{b, c}, d, e::f};\ncrate::g::h()");
    assert_eq!(used, ["a", "d", "e", "g"].map(str::to_owned).into());
    let neighbours = used_neighbours("use super::{a::b, c};\ncrate::room::d::e(); crate::other::f()", "room");
    assert_eq!(neighbours, ["a", "c", "d"].map(str::to_owned).into());
}

pub struct Source {
    pub path: PathBuf,
    /// The top-level module it belongs to: `http` for `src/http.rs` and for all of `src/http/`.
    module: String,
    /// Its text without comments and literals.
    pub code: String,
    lines: usize,
}

impl Source {
    /// Its own module's name: `errors` for `src/backend/errors.rs`.
    fn name(&self) -> String {
        self.path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
    }
}

/// Every Rust file below a directory of the repository.
pub fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut open) = (Vec::new(), vec![root.join(directory)]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let inside = path.strip_prefix(root.join(directory)).expect("below the folder");
                let first = inside.components().next().expect("not the folder itself");
                let module = Path::new(&first).file_stem().expect("a name").to_string_lossy().into_owned();
                let path = path.strip_prefix(root).expect("below the root").to_owned();
                found.push(Source { path, module, code: code_of(&text), lines: text.lines().count() });
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {directory}");
    found
}

/// Source text with comments and string and character literals blanked.
fn code_of(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            let hashes = rest[1..].chars().take_while(|&c| c == '#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            match rest[1 + hashes..].strip_prefix('"').and_then(|body| body.find(&end)) {
                Some(length) => 2 + hashes + length + end.len(),
                None => 0,
            }
        } else if c == '"' {
            let mut escaped = false;
            let closes = |c: char| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            };
            rest[1..].find(closes).map_or(rest.len(), |end| end + 2)
        } else if let Some(literal) = rest.strip_prefix("'\\") {
            literal.char_indices().skip(1).find(|&(_, c)| c == '\'').map_or(0, |(end, _)| end + 3)
        } else if c == '\'' && rest.chars().nth(2) == Some('\'') {
            rest.char_indices().nth(3).map_or(rest.len(), |(end, _)| end)
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// Whether code names a path or word. `std::env` is also found in `std::{env, …}`.
fn names(code: &str, path: &str) -> bool {
    if let Some((first, second)) = path.split_once("::")
        && groups(code, first).contains(second)
    {
        return true;
    }
    code.match_indices(path).any(|(at, found)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + found.len()..];
        let ends = match path.ends_with('_') {
            true => after.trim_start_matches(is_word).starts_with("::"),
            false => !after.starts_with(is_word),
        };
        !before.is_some_and(is_word) && ends
    })
}

/// The modules of this crate that code names: `a`, `b` and `c` for `use crate::{a::x, b}` and `crate::c::y()`.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = groups(code, "crate");
    used.append(&mut groups(code, "awf_aws"));
    used
}

/// The files beside it that a file of a room names, as `super::x` or `crate::room::x`.
fn used_neighbours(code: &str, room: &str) -> BTreeSet<String> {
    let mut used = groups(code, "super");
    used.append(&mut groups(code, room));
    used
}

/// First words that follow `root::`, singly or in braces.
pub fn groups(code: &str, root: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let needle = format!("{root}::");
    for (at, _) in code.match_indices(&needle) {
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &code[at + needle.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let mut depth = 0_i32;
        let mut item = 0;
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    found.insert(word(list[item..i].trim_start()));
                    item = i + 1;
                }
                _ => {}
            }
            if c == '}' && depth == 0 && item == i + 1 {
                break;
            }
        }
    }
    found.remove("");
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|&c| is_word(c)).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
