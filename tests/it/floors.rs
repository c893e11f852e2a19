//! The floors of the machine's house, `src/workflow`: who may look down on whom, and that nobody calls back up.

use std::collections::{BTreeMap, BTreeSet};

use crate::walls::{Source, groups, sources};

/// The modules of `workflow` from the ground up. A module may use those on the floors below its own, and none beside it.
const FLOORS: &[&[&str]] = &[
    // Words and tables.
    &["clocks", "closing", "definition", "key", "known", "ranks", "room", "settings", "shown", "slab"],
    &["group", "notes", "outbox", "polls", "queue", "report", "tally"],
    &["marker", "trouble"],
    // Everything that leaves the machine; when this run began.
    &["effects", "run"],
    &["client", "conversation", "identity", "rest", "siblings", "watch"],
    // What AWS has shown.
    &["execution", "pipeline"],
    &["executions"],
    &["world"],
    // What Argo asks for.
    &["attempt", "stop_node", "validation"],
    &["nodes"],
    &["drain", "gauges"],
    // The spine.
    &["machine"],
];

/// Who owns state: no field of these is for others to change.
const OWNERS: [(&str, &str); 20] = [
    ("attempt", "Attempt"),
    ("client", "Client"),
    ("closing", "Closing"),
    ("conversation", "Conversation"),
    ("effects", "Effects"),
    ("execution", "TrackedExecution"),
    ("executions", "Executions"),
    ("nodes", "Nodes"),
    ("outbox", "Outbox"),
    ("pipeline", "Pipeline"),
    ("pipeline", "Pipelines"),
    ("pipeline/listing", "Listing"),
    ("polls", "Polls"),
    ("queue", "StartQueue"),
    ("rest", "Rest"),
    ("run", "RunKnown"),
    ("stop_node", "StopNode"),
    ("tally", "Tally"),
    ("validation", "Validation"),
    ("watch", "Watch"),
];

/// The module of `workflow` that a file belongs to: `attempt` for `attempt.rs` and for all of `attempt/`.
fn module_of(source: &Source) -> Option<String> {
    let inside = source.path.strip_prefix("src/workflow").ok()?;
    let first = inside.components().next()?;
    Some(first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned())
}

fn house() -> Vec<(String, Source)> {
    sources("src").into_iter().filter_map(|source| Some((module_of(&source)?, source))).collect()
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn the_machines_files_look_down_only() {
    let mut wrong = Vec::new();
    for (module, source) in house() {
        let Some(floor) = floor_of(&module) else {
            wrong.push(format!("{}: say in FLOORS where `{module}` stands", source.path.display()));
            continue;
        };
        // `super` is the house itself only in the files that stand directly in it.
        let mut used = groups(&source.code, "workflow");
        if source.path.parent().is_some_and(|folder| folder.ends_with("workflow")) {
            used.append(&mut groups(&source.code, "super"));
        }
        for other in used.into_iter().filter(|other| *other != module) {
            if floor_of(&other).is_some_and(|below| below >= floor) {
                wrong.push(format!("{}: `{module}` may not use `{other}`", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_two_files_of_a_module_of_the_machine_call_each_other() {
    // Between modules the floors forbid it: nobody can name who stands above.
    let house = house();
    let mut homes: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (file, (_, source)) in house.iter().enumerate() {
        for name in defined(&source.code) {
            homes.entry(name).or_default().insert(file);
        }
    }
    // A name that several files define tells nothing.
    let home = |name: &str| homes.get(name).filter(|files| files.len() == 1).and_then(|files| files.first().copied());
    let calls: Vec<BTreeSet<usize>> = house
        .iter()
        .enumerate()
        .map(|(file, (_, source))| called(&source.code).filter_map(home).filter(|other| *other != file).collect())
        .collect();
    let mut both = Vec::new();
    for (file, others) in calls.iter().enumerate() {
        let same_module = |other: &&usize| house[**other].0 == house[file].0;
        for other in others.iter().filter(same_module).filter(|other| file < **other && calls[**other].contains(&file))
        {
            both.push(format!("{} and {}", house[file].1.path.display(), house[*other].1.path.display()));
        }
    }
    assert!(calls.iter().filter(|others| !others.is_empty()).count() > 20, "calls are seen");
    assert!(both.is_empty(), "these call each other:\n{}", both.join("\n"));
}

#[test]
fn the_machine_is_one_and_owns_its_fields() {
    let house = house();
    let of_machine = house.iter().filter(|(_, source)| source.code.contains("impl Machine"));
    assert_eq!(of_machine.map(|(module, _)| module.as_str()).collect::<Vec<_>>(), ["machine"]);
    // Whoever is asked together in `World`, and every node, changes by its own methods alone.
    for (file, owner) in OWNERS {
        let path = format!("src/workflow/{file}.rs");
        let source = house.iter().map(|(_, source)| source).find(|source| source.path.ends_with(&path));
        let source = source.unwrap_or_else(|| panic!("there is no {path}"));
        let fields = fields(&source.code, owner).unwrap_or_else(|| panic!("{path} has no {owner}"));
        assert!(!fields.contains("pub "), "{path}: everybody may change {owner} {fields}");
    }
}

/// The text between the braces, or parentheses, of a struct.
fn fields<'a>(code: &'a str, name: &str) -> Option<&'a str> {
    let start = [format!("pub struct {name} {{"), format!("pub struct {name}(")];
    let (at, head) = start.iter().find_map(|head| code.find(head.as_str()).map(|at| (at, head)))?;
    code[at + head.len()..].split(['}', ')']).next()
}

/// Names of the functions that code defines.
fn defined(code: &str) -> BTreeSet<String> {
    let names = code.match_indices("fn ").map(|(at, _)| word(&code[at + 3..]));
    names.filter(|name| !name.is_empty()).collect()
}

/// Names that code calls, as `name(` or `.name(`.
fn called(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices('(').filter_map(|(at, _)| {
        let before = &code[..at];
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
        let name = &before[start..];
        let defines = before[..start].ends_with("fn ");
        (!name.is_empty() && !defines).then_some(name)
    })
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
