//! How the checks are printed, and what they mean as an exit code.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Check, Content, Fix, Verdict};

/// All checks, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub checks: Vec<Check>,
}

impl Report {
    /// 0: all is well; 1: something is broken; 70: nothing is, but not all could be looked at.
    pub fn exit_code(&self) -> u8 {
        match (self.any(Verdict::Broken), self.any(Verdict::Unknown)) {
            (true, _) => 1,
            (false, true) => 70,
            (false, false) => 0,
        }
    }

    fn any(&self, verdict: Verdict) -> bool {
        self.checks.iter().any(|check| check.verdict == verdict)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// A line for each check, after a cross what to change, and a line with the sums.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let line = format!("{} {:<18} {}\n", mark(check.verdict), check.name, check.saw);
            text.push_str(&line);
            if let Some(fix) = &check.fix {
                write_fix(&mut text, fix);
            }
        }
        let (broken, unknown) = (self.count(Verdict::Broken), self.count(Verdict::Unknown));
        let sums = match (broken, unknown) {
            (0, 0) => "all is well".to_owned(),
            _ => format!("{broken} broken, {unknown} not known"),
        };
        let (well, skipped) = (self.count(Verdict::Well), self.count(Verdict::Skipped));
        text.push_str(&format!("\n{sums} ({well} checks well, {skipped} left out)\n"));
        text
    }

    /// The same as one object.
    pub fn json(&self) -> Value {
        let checks: Vec<Value> = self.checks.iter().map(of_check).collect();
        json!({"well": self.exit_code() == 0, "checks": checks})
    }
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Well => "✓",
        Verdict::Broken => "✗",
        Verdict::Unknown => "?",
        Verdict::Skipped => "-",
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Well => "well",
        Verdict::Broken => "broken",
        Verdict::Unknown => "unknown",
        Verdict::Skipped => "skipped",
    }
}

fn write_fix(text: &mut String, fix: &Fix) {
    let mut indented = |lines: &str| {
        for line in lines.lines() {
            // Writing to a text cannot fail.
            writeln!(text, "    {line}").unwrap_or_default();
        }
    };
    indented(&fix.say);
    for document in &fix.documents {
        indented(&format!("\n# {}", document.title));
        match &document.content {
            Content::Policy(policy) => indented(&format!("{policy:#}")),
            Content::Manifest(manifest) => indented(manifest),
        }
    }
    if !fix.commands.is_empty() {
        indented("\n");
    }
    for command in &fix.commands {
        indented(&format!("$ {command}"));
    }
    text.push('\n');
}

fn of_check(check: &Check) -> Value {
    let mut object = json!({"check": check.name, "verdict": word(check.verdict), "saw": check.saw});
    if let Some(fix) = &check.fix {
        let documents: Vec<Value> = fix
            .documents
            .iter()
            .map(|document| match &document.content {
                Content::Policy(policy) => json!({"title": document.title, "policy": policy}),
                Content::Manifest(manifest) => json!({"title": document.title, "manifest": manifest}),
            })
            .collect();
        object["fix"] = json!({"say": fix.say, "documents": documents, "commands": fix.commands});
    }
    object
}
