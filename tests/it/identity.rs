//! The table of the contract's section 5, row by row, and the names that make a start recognisable.

use awf_aws::{
    input::OnRetry,
    pipelines::{Status, Time},
    workflow::{
        Group,
        identity::{
            Continues, Decision, Known, Marker, arn_key, decide, display_name, resume_token, start_token, stop_token,
        },
        run::{CLOCKS_APART, Run},
    },
};

use crate::machine::{key_of, task, with};

/// Without stamps what is younger than this counts as of the run.
const EPOCH: Time = Time::at(10_000_000);
const RUN: Run = Run { stamp: None, began: Time::at(EPOCH.millis() + CLOCKS_APART.as_millis() as i64) };

fn known(id: &str, attempt: u32, status: Status, created: i64, modified: i64) -> Known {
    Known {
        arn: id.into(),
        attempt,
        origin: attempt,
        status,
        created: Time::at(EPOCH.millis() + created * 1000),
        modified: Time::at(EPOCH.millis() + modified * 1000),
        run: None,
        witnessed: false,
        resumed: false,
        same_pipeline: true,
    }
}

#[test]
fn every_row_of_the_table_gives_its_answer() {
    use Status::{CompletedWithFailures, Executing, Failed, Stopping, Succeeded};
    let follow = |arn: &str| Decision::Follow(arn.into());
    let report = |arn: &str| Decision::Report(arn.into());
    let start = |pred: Option<&str>| Decision::Start { predecessor: pred.map(Into::into), after: None };
    let again = |pred: Option<&str>| Decision::Start { predecessor: pred.map(Into::into), after: Some("a".into()) };
    let rows: Vec<(&str, Vec<Known>, u32, u32, Decision)> = vec![
        ("nothing known", vec![], 0, 0, start(None)),
        ("live of this attempt", vec![known("a", 0, Executing, 5, 6)], 0, 0, follow("a")),
        ("live of another attempt is this node's", vec![known("a", 0, Executing, 5, 6)], 1, 1, follow("a")),
        ("live since before the epoch", vec![known("a", 2, Executing, -500, -400)], 0, 0, follow("a")),
        ("stopping since this epoch", vec![known("a", 0, Stopping, -500, 5)], 0, 0, follow("a")),
        (
            "stopping since before the epoch",
            vec![known("a", 0, Stopping, -500, -400)],
            0,
            0,
            Decision::AwaitEnd("a".into()),
        ),
        (
            "a newer word counts as live",
            vec![known("a", 0, Status::Unknown("Dreaming".into()), 5, 6)],
            0,
            0,
            follow("a"),
        ),
        ("succeeded, whatever the attempt and epoch", vec![known("a", 3, Succeeded, -900, -800)], 0, 0, report("a")),
        ("failed before the epoch", vec![known("a", 0, Failed, -900, -800)], 0, 0, again(Some("a"))),
        ("failed before the epoch, for another attempt", vec![known("a", 1, Failed, -900, -800)], 0, 0, again(None)),
        (
            "completed with failures is no success",
            vec![known("a", 0, CompletedWithFailures, -900, -800)],
            0,
            0,
            again(Some("a")),
        ),
        ("failed in this epoch, for this attempt", vec![known("a", 0, Failed, 5, 50)], 0, 0, report("a")),
        (
            "failed in this epoch, for an earlier attempt",
            vec![known("a", 0, Failed, 5, 50)],
            1,
            1,
            Decision::RecheckThenStart { arn: "a".into(), predecessor: None },
        ),
        (
            "an earlier attempt asks for its own end",
            vec![known("a", 0, Failed, 5, 50), known("b", 1, Executing, 60, 61)],
            0,
            1,
            report("a"),
        ),
        (
            "an earlier attempt without an end, later one ended",
            vec![known("b", 1, Failed, 60, 70)],
            0,
            1,
            Decision::Superseded(1),
        ),
        ("a later attempt was asked for, nothing is known", vec![], 0, 2, Decision::Superseded(2)),
        ("live outranks newer", vec![known("a", 0, Executing, 5, 6), known("b", 0, Failed, 7, 8)], 0, 0, follow("a")),
    ];
    for (name, executions, attempt, newest_asked, expected) in rows {
        assert_eq!(decide(&executions, attempt, newest_asked, &RUN), expected, "{name}");
    }
}

#[test]
fn what_was_started_of_another_pipeline_is_not_what_an_attempt_replaces() {
    let elsewhere = Known { same_pipeline: false, ..known("a", 0, Status::Failed, -900, -800) };
    let here = known("b", 0, Status::Failed, -1900, -1800);
    for (all, replaced) in [(vec![elsewhere.clone()], None), (vec![elsewhere, here], Some("b".into()))] {
        let expected = Decision::Start { predecessor: replaced, after: Some("a".into()) };
        assert_eq!(decide(&all, 0, 0, &RUN), expected);
    }
}

#[test]
fn a_run_is_told_by_its_stamp_and_by_the_clock_only_where_one_is_missing() {
    let began = EPOCH;
    let run = Run { stamp: Some(Time::at(1)), began };
    let failed = |run: Option<i64>, modified: i64| Known {
        run: run.map(Time::at),
        ..known("a", 0, Status::Failed, -5000, modified)
    };
    let rows = [
        ("this run's, however old by the clock", failed(Some(1), -4000), false),
        ("an earlier run's that ended a second before", failed(Some(0), -1), true),
        ("an earlier run's that lived on into this one", failed(Some(0), 1), false),
        ("without a stamp, ended just before: in doubt, so this run's", failed(None, -899), false),
        ("without a stamp, ended long before", failed(None, -901), true),
        ("seen to execute by this process", Known { witnessed: true, ..failed(Some(0), -4000) }, false),
    ];
    for (name, known, earlier) in rows {
        assert_eq!(run.comes_after(&known), earlier, "{name}");
    }
    assert!(run.has_started(&failed(Some(1), 0)) && !run.has_started(&failed(Some(0), 0)));
    assert!(run.may_come_after(&failed(None, -899)) && !run.may_come_after(&failed(Some(1), -899)));
}

#[test]
fn nodes_that_argo_hands_out_together_are_a_group() {
    let together = [
        ("wf[0].a(0:x)", "wf[0].a(1:y)"),
        ("wf[0].a", "wf[0].b(3:z)"),
        ("wf.task(0:a.b)", "wf.task(1:c (d))"),
        ("wf[0].a(0:x)[1].b", "wf[0].a(0:x)[1].c"),
    ];
    for (one, other) in together {
        assert!(Group::of(one).is_some() && Group::of(one) == Group::of(other), "{one} and {other}");
    }
    for (one, other) in
        [("wf[0].a", "wf[1].a"), ("wf.one(0:x)", "wf.two(0:x)"), ("wf[0].a(0:x)[1].b", "wf[0].a(1:y)[1].b")]
    {
        assert_ne!(Group::of(one), Group::of(other), "{one} and {other}");
    }
    // Tasks of a DAG begin when they may.
    for alone in ["wf", "wf.a", "wf[0].dag.b", "wf[0].a(0:x).b", "wf(0)", "free text"] {
        assert_eq!(Group::of(alone), None, "{alone}");
    }
    let group = Group::of("wf[0].a").expect("a step");
    assert_eq!(Group::parse(&group.hex()), Some(group));
}

#[test]
fn a_stop_after_a_revival_has_another_token_and_a_repeat_the_same() {
    let token = |arn, process, series| stop_token(arn, Time::at(process), series);
    assert_eq!(token("arn:a", 1, 0), token("arn:a", 1, 0));
    assert_ne!(token("arn:a", 1, 0), token("arn:a", 1, 1));
    assert_ne!(token("arn:a", 1, 0), token("arn:a", 2, 0), "an earlier process may have stopped it before the revival");
    assert_ne!(token("arn:a", 1, 0), token("arn:b", 1, 0));
}

#[test]
fn an_execution_is_the_same_however_its_arn_is_spelled() {
    assert_eq!(
        arn_key("arn:aws:sagemaker:us-west-2:1:pipeline/MyPipeline/execution/a"),
        arn_key("arn:aws:sagemaker:us-west-2:1:pipeline/mypipeline/execution/a")
    );
}

#[test]
fn the_token_tells_apart_everything_that_must_not_share_an_execution() {
    let base = task("wf[0].a", 0);
    let key = key_of(&base);
    let token = start_token(&base, &key, None);
    assert_eq!(token.len(), 64);
    assert_eq!(token, start_token(&base.clone(), &key, None), "a repeat is the same token");
    let retry = task("wf[0].a", 1);
    assert_ne!(token, start_token(&retry, &key_of(&retry), None), "another attempt");
    let sibling = task("wf[0].b", 0);
    assert_ne!(token, start_token(&sibling, &key_of(&sibling), None), "another node");
    assert_ne!(token, start_token(&base, &key, Some("arn:old")), "another predecessor");
    let mut other = base.clone();
    other.workflow.uid = "another".to_owned();
    assert_ne!(token, start_token(&other, &key_of(&other), None), "another workflow");
}

#[test]
fn a_node_that_resumes_has_one_token_for_all_its_attempts_and_a_resume_one_for_each_end() {
    let node = |attempt| with(task("wf[0].a", attempt), |e| e.on_retry = OnRetry::Resume);
    let start = |attempt, predecessor| start_token(&node(attempt), &key_of(&node(attempt)), predecessor);
    assert_eq!(start(0, None), start(2, None), "where lists are denied, a later attempt finds its execution by it");
    assert_ne!(start(1, None), start(1, Some("arn:old")), "what replaces an execution is another");
    let token = resume_token("arn:aws:x/MyPipeline/execution/a", 1, Time::at(5));
    assert_eq!(token.len(), 64);
    assert_eq!(token, resume_token("arn:aws:x/mypipeline/execution/a", 1, Time::at(5)), "however it is spelled");
    assert_ne!(token, resume_token("arn:aws:x/mypipeline/execution/b", 1, Time::at(5)));
    assert_ne!(token, resume_token("arn:aws:x/mypipeline/execution/a", 2, Time::at(5)), "another attempt");
    assert_ne!(
        token,
        resume_token("arn:aws:x/mypipeline/execution/a", 1, Time::at(6)),
        "another end: of a later run, say"
    );
}

#[test]
fn a_marker_says_which_end_its_attempt_continues() {
    let task = task("wf[0].a", 2);
    let mut marker = Marker::of(&task, &key_of(&task), None, "0123456789ab", None);
    for run in [None, Some(Time::at(1_795_000_000_000))] {
        let (end, since) = (Time::at(1_795_000_450_996), Time::at(1_795_004_636_547));
        marker.continues = Some(Continues { attempt: 1, run, end, since, origin: 0 });
        let description = marker.describe(Some("nightly"));
        assert_eq!(Marker::parse(&description).as_ref(), Some(&marker), "{description}");
    }
    for broken in ["1:-:5:6", "1:-:x:6:0", "", "1"] {
        let text = marker.describe(None);
        let (before, _) = text.split_once(" continues=").unwrap();
        let parsed = Marker::parse(&format!("{before} continues={broken}")).unwrap();
        assert_eq!(parsed.continues, None, "{broken}");
    }
}

#[test]
fn the_end_that_was_continued_is_told_to_nobody_and_the_new_one_to_its_attempt() {
    use Status::{Executing, Failed};
    let resumed = |status, modified| Known { origin: 0, resumed: true, ..known("a", 1, status, 60, modified) };
    let report = Decision::Report("a".into());
    let start = Decision::RecheckThenStart { arn: "a".into(), predecessor: None };
    for (name, execution, attempt, expected) in [
        ("it runs for the later attempt", resumed(Executing, 61), 1, Decision::Follow("a".into())),
        ("an earlier attempt has no end any more", resumed(Executing, 61), 0, Decision::Superseded(1)),
        ("nor when it has failed again", resumed(Failed, 90), 0, Decision::Superseded(1)),
        ("its end is the later attempt's", resumed(Failed, 90), 1, report),
        ("and the next one comes after it", resumed(Failed, 90), 2, start),
    ] {
        assert_eq!(decide(&[execution], attempt, attempt.max(1), &RUN), expected, "{name}");
    }
    // What attempt 0 has started it replaces, whoever it ran for last.
    let before = Known { origin: 0, resumed: true, ..known("a", 1, Failed, -900, -800) };
    let again = Decision::Start { predecessor: Some("a".into()), after: Some("a".into()) };
    assert_eq!(decide(&[before], 0, 0, &RUN), again);
}

#[test]
fn a_marker_survives_any_user_text_and_the_limit_of_a_description() {
    let task = task("wf[0].a", 7);
    let key = key_of(&task);
    let marker = Marker::of(
        &task,
        &key,
        Some("arn:aws:sagemaker:x:1:pipeline/p/execution/abcdefghijkl"),
        "0123456789ab",
        Some(Time::at(1_795_000_000_000)),
    );
    for text in ["", "nightly | awf-aws/1 ns=fake", &"ü".repeat(1400)] {
        let description = marker.describe(Some(text));
        assert!(description.len() <= 3072);
        assert_eq!(Marker::parse(&description).as_ref(), Some(&marker));
    }
    assert_eq!(marker.predecessor.as_deref(), Some("abcdefghijkl"));
    assert_eq!(Marker::parse("somebody else's text"), None);
}

#[test]
fn a_display_name_is_one_that_sagemaker_takes() {
    for (workflow, expected) in
        [("train-7xk2p", "train-7xk2p-"), ("a.b_c", "a-b-c-"), ("--x--", "x-"), ("...", "workflow-")]
    {
        let mut task = task("n", 3);
        task.workflow.name = workflow.to_owned();
        let name = display_name(&task, &key_of(&task));
        assert!(name.starts_with(expected) && name.ends_with("-3"), "{name}");
        assert!(name.len() <= 82 && !name.contains("--"));
    }
}
