//! Paths into JSON as pipelines write them: `a.b[0]['c'].d`, with or without `$.` before.

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Name(String),
    Place(usize),
}

/// What lies at the path in a document.
pub fn find<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    walk(document, path, |_, _| None)
}

/// The same in a job's description, where a list's items are also found by their names: `Outputs['train']`.
pub fn find_named<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    walk(document, path, |items, name| {
        let is_named = |item: &&Value| {
            item.as_object().is_some_and(|all| all.iter().any(|(member, v)| member.ends_with("Name") && v == name))
        };
        items.iter().find(is_named)
    })
}

fn walk<'a>(
    document: &'a Value,
    path: &str,
    named: impl Fn(&'a [Value], &str) -> Option<&'a Value>,
) -> Option<&'a Value> {
    segments(path)?.iter().try_fold(document, |at, segment| match (segment, at) {
        (Segment::Place(n), _) => at.get(*n),
        (Segment::Name(name), Value::Array(items)) => named(items, name),
        (Segment::Name(name), _) => at.get(name),
    })
}

/// `None` for what is no path.
fn segments(path: &str) -> Option<Vec<Segment>> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut found = Vec::new();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'));
            let (text, after) = match quote {
                Some(quote) => inner[1..].split_once(&format!("{quote}]"))?,
                None => inner.split_once(']')?,
            };
            found.push(match quote {
                Some(_) => Segment::Name(text.to_owned()),
                None => Segment::Place(text.parse().ok()?),
            });
            rest = after;
        } else {
            let inner = rest.strip_prefix('.').unwrap_or(rest);
            let end = inner.find(['.', '[']).unwrap_or(inner.len());
            let (name, after) = inner.split_at(end);
            if name.is_empty() {
                return None;
            }
            found.push(Segment::Name(name.to_owned()));
            rest = after;
        }
    }
    (!found.is_empty()).then_some(found)
}
