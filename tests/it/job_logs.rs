//! Logs of failed jobs as containers write them: which line tells why, what of them is shown, and that no secret is.

use awf_aws::{
    logs::{OWN_LINES, TAIL_BYTES, for_own_log, reason, says_little, tail},
    pipelines::{Time, jobs::LogLine},
};

/// Events as CloudWatch has them, one for each line of the text.
fn log(text: &str) -> Vec<LogLine> {
    text.lines().map(event).collect()
}

fn event(text: &str) -> LogLine {
    LogLine { at: Time::at(1_795_295_298_428), text: text.to_owned() }
}

const TOOLKIT: &str = r#"2026-11-28 12:00:01,100 sagemaker-training-toolkit INFO     Invoking user script
epoch 1/3 loss=0.51
/opt/conda/lib/python3.12/site-packages/torch/nn/modules/loss.py:1: UserWarning: reduction is deprecated
Traceback (most recent call last):
  File "/opt/ml/code/train.py", line 96, in <module>
    main()
    ~~~~^^
  File "/opt/ml/code/train.py", line 61, in main
    model.fit(features, labels)
ValueError: Input contains NaN.
2026-11-28 12:00:09,100 sagemaker-training-toolkit INFO     Waiting for the process to finish and give a return code.
2026-11-28 12:00:09,200 sagemaker-training-toolkit ERROR    Reporting training FAILURE
2026-11-28 12:00:09,200 sagemaker-training-toolkit ERROR    ExecuteUserScriptError:
ExitCode 1
ErrorMessage "ValueError: Input contains NaN."
Command "/opt/conda/bin/python3.12 train.py --epochs 3"
"#;

const XGBOOST: &str = r#"[2026-11-28:12:00:01:INFO] Imported framework sagemaker_xgboost_container.training
[2026-11-28:12:00:02:INFO] Single node training.
[2026-11-28:12:00:03:ERROR] Reporting training FAILURE
[2026-11-28:12:00:03:ERROR] framework error:
Traceback (most recent call last):
  File "/miniconda3/lib/python3.9/site-packages/sagemaker_containers/_trainer.py", line 84, in train
    entrypoint()
xgboost.core.XGBoostError: [12:00:03] ../src/objective/regression_obj.cu:50: Check failed: labels are not correctly provided
Stack trace:
  [bt] (0) /miniconda3/lib/libxgboost.so(+0x8a) [0x7f]
"#;

const CHAINED: &str = r#"Traceback (most recent call last):
  File "/opt/ml/processing/input/code/prep.py", line 3, in read
    frame = table[column]
KeyError: 'price'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/opt/ml/processing/input/code/prep.py", line 9, in <module>
    read()
prep.errors.NoSuchColumn: there is no column price
"#;

const TORCHRUN: &str = r#"[rank0]: Traceback (most recent call last):
[rank0]:   File "/opt/ml/code/train.py", line 3, in <module>
[rank0]:     loss.backward()
[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
E1128 12:00:03.100000 99 torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: 1) local_rank: 0
Traceback (most recent call last):
  File "/opt/conda/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
"#;

const SPARK: &str = r#"26/11/28 12:00:01 INFO SparkContext: Running Spark version 3.5.1
26/11/28 12:00:02 ERROR ApplicationMaster: User class threw exception: org.apache.spark.sql.AnalysisException: Path does not exist: s3://in/x
Exception in thread "main" org.apache.spark.SparkException: Application application_1 finished with failed status
	at org.apache.spark.deploy.yarn.Client.run(Client.scala:1)
Caused by: java.io.FileNotFoundException: No such file or directory: s3://in/x
	at org.apache.hadoop.fs.s3a.S3AFileSystem.s3GetFileStatus(S3AFileSystem.java:1)
"#;

#[test]
fn the_reason_is_the_programs_own_last_word() {
    for (what, text, expected) in [
        ("a training toolkit", TOOLKIT, Some("ValueError: Input contains NaN.")),
        (
            "XGBoost's container",
            XGBOOST,
            Some(
                "xgboost.core.XGBoostError: [12:00:03] ../src/objective/regression_obj.cu:50: Check failed: labels are not \
                 correctly provided",
            ),
        ),
        ("an exception with a name of its own", CHAINED, Some("prep.errors.NoSuchColumn: there is no column price")),
        (
            "torchrun, which only says that a worker failed",
            TORCHRUN,
            Some("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
        ),
        ("Spark", SPARK, Some("java.io.FileNotFoundException: No such file or directory: s3://in/x")),
        (
            "only what the toolkit quotes",
            "loading\nExecuteUserScriptError:\nExitCode 1\nErrorMessage \"raise Bad()\\n Bad: no rows\"\nCommand \"python a\"",
            Some("Bad: no rows"),
        ),
        (
            "only a wrapper",
            "Traceback (most recent call last):\n  File \"a.py\"\nsubprocess.CalledProcessError: Command '['x']' returned 2.",
            Some("subprocess.CalledProcessError: Command '['x']' returned 2."),
        ),
        (
            "two processes at once",
            "[rank0]: Traceback (most recent call last):\n[rank1]: Traceback (most recent call last):\n[rank0]:   File \"a.py\"\n\
             step 3\n[rank1]: zlib.error: bad block\n[rank0]:   File \"b.py\"",
            Some("zlib.error: bad block"),
        ),
        ("a shell", "starting\n/bin/sh: 1: jq: not found\ndone", Some("/bin/sh: 1: jq: not found")),
        (
            "Python without a script",
            "python3: can't open file '/opt/x.py': [Errno 2] No such file or directory",
            Some("python3: can't open file '/opt/x.py': [Errno 2] No such file or directory"),
        ),
        ("the kernel", "step 1\nKilled", Some("Killed")),
        (
            "an exception behind a logger's head",
            "2026-11-28 12:00:00,1 ERROR:root:RuntimeError: stuck\nbye",
            Some("RuntimeError: stuck"),
        ),
        (
            "MPI's ranks",
            "[1,mpirank:0,algo-1]<stderr>:IndexError: list index out of range",
            Some("IndexError: list index out of range"),
        ),
        ("metrics are no errors", "mean_squared_error: 0.31\nvalidation-error: 0.2 epoch 3/3", None),
        ("nothing that looks like a reason", "epoch 1/3\nepoch 2/3", None),
        ("nothing", "", None),
    ] {
        assert_eq!(reason(&log(text), 250).as_deref(), expected, "{what}");
    }
}

#[test]
fn a_line_of_json_is_its_message_and_its_traceback() {
    let events = [
        event(r#"{"level":"INFO","message":"read 3 files","time":"2026-11-28T12:00:00Z"}"#),
        event(
            r#"{"level":"ERROR","msg":"training failed","exc_info":"Traceback (most recent call last):\n  File \"a.py\", line 1\nOSError: disk full"}"#,
        ),
        event(r#"{"loss": 0.5}"#),
    ];
    assert_eq!(reason(&events, 250).as_deref(), Some("OSError: disk full"));
    let shown = tail(&events, TAIL_BYTES);
    assert!(shown.starts_with("read 3 files\ntraining failed\nTraceback"), "{shown}");
    assert!(shown.ends_with("OSError: disk full\n{\"loss\": 0.5}"), "{shown}");
}

#[test]
fn windows_ends_progress_bars_colours_and_control_characters_are_shown_as_a_terminal_would() {
    let events = [
        event("reading\r\n"),
        event("  0%|     |\r 50%|##   |\r100%|#####|\r"),
        event("\u{1b}[31mTypeError\u{1b}[0m: bad\u{0}\u{7} \u{9b}value\r\n"),
        event("\t\r\n"),
        event("first\r\nsecond\n"),
    ];
    assert_eq!(tail(&events, TAIL_BYTES), "reading\n100%|#####|\nTypeError: bad value\nfirst\nsecond");
    assert_eq!(reason(&events, 250).as_deref(), Some("TypeError: bad value"));
}

#[test]
fn a_tail_is_whole_lines_within_its_room_without_what_the_toolkits_add() {
    let shown = tail(&log(TOOLKIT), 60);
    assert_eq!(shown, "ValueError: Input contains NaN.", "the toolkit's next line needs more than is left");
    let all = tail(&log(TOOLKIT), TAIL_BYTES);
    assert!(
        all.starts_with("2026-11-28 12:00:01,100 sagemaker-training-toolkit INFO") && all.len() <= TAIL_BYTES,
        "{all}"
    );
    for trailer in ["Reporting training", "ExecuteUserScriptError", "ExitCode", "ErrorMessage", "Command"] {
        assert!(!all.contains(trailer), "{trailer} in {all}");
    }
    assert_eq!(tail(&[], TAIL_BYTES), "");
    // Each byte counts, the newline between two lines too.
    let three = log("aaaa\nbbbb\ncccc");
    for (room, expected) in [(14, "aaaa\nbbbb\ncccc"), (13, "bbbb\ncccc"), (9, "bbbb\ncccc"), (8, "cccc"), (4, "cccc")]
    {
        assert_eq!(tail(&three, room), expected, "{room}");
    }
    assert_eq!(tail(&three, 3), "…");
}

#[test]
fn a_line_of_256_kib_is_cut_at_a_character_and_costs_no_other_its_place() {
    let long = format!("ValueError: {}", "ü".repeat(128 * 1024));
    let events = [event("before"), event(&long)];
    let shown = tail(&events, TAIL_BYTES);
    assert!(
        shown.starts_with("ValueError: üü") && shown.ends_with('…') && shown.len() <= TAIL_BYTES,
        "{}",
        shown.len()
    );
    let why = reason(&events, 250).unwrap();
    assert!(why.starts_with("ValueError: ü") && why.len() <= 250, "{why}");
    let own = for_own_log(&events);
    assert_eq!((own.len(), own[0].as_str()), (2, "before"));
    assert!(own[1].len() <= 1000);
}

#[test]
fn the_own_log_gets_the_newest_lines_whatever_they_are() {
    let many: Vec<LogLine> = (0..200).map(|n| event(&format!("line {n}"))).collect();
    let own = for_own_log(&many);
    assert_eq!((own.len(), own[0].as_str(), own[49].as_str()), (OWN_LINES, "line 150", "line 199"));
    assert!(for_own_log(&log(TOOLKIT)).iter().any(|line| line.starts_with("Command ")));
}

#[test]
fn no_secret_of_a_job_is_in_what_is_shown() {
    let secret = "kJ8sd0+Kd93kdlSKw02kd/93kdLSmc02kdK30dlQ";
    let text = format!(
        "export AWS_SECRET_ACCESS_KEY={secret}\nTraceback (most recent call last):\n  File \"a.py\"\nConnectionError: cannot reach \
         postgres://app:hunter2@db:5432/x with password=hunter2"
    );
    let events = log(&text);
    let why = reason(&events, 250).unwrap();
    assert_eq!(why, "ConnectionError: cannot reach postgres://[redacted]@db:5432/x with password=[redacted]");
    for shown in [tail(&events, TAIL_BYTES), for_own_log(&events).join("\n")] {
        assert!(!shown.contains("hunter2") && !shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_log_is_heard_where_sagemaker_blames_the_container_and_says_no_more() {
    for poor in [
        "AlgorithmError: , exit code: 1",
        "AlgorithmError: See job logs for more information",
        "ClientError: See job logs for more information",
        "AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage \"\"",
        "Algorithm Error: (caused by ValueError)",
        "No training job succeeded after 5 attempts. For additional details, please take a look at the training job failures",
    ] {
        assert!(says_little(poor), "{poor}");
    }
    for good in [
        "ClientError: Data download failed: NoSuchBucket",
        "CapacityError: Unable to provision requested ML compute capacity.",
        "InternalServerError: We encountered an internal error. Please try again.",
        "ClientError: Please use an instance type with more memory, or reduce the size of training data, exit code: 137",
    ] {
        assert!(!says_little(good), "{good}");
    }
}
