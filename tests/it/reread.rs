//! Requests that were read before are not read again, and are never taken for others.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use actix_web::web::Bytes;
use awf_aws::{
    http::reread::Reread,
    input::{Task, read_task},
    protocol::ExecuteTemplateArgs,
};
use serde_json::json;

/// The body of a node's request.
fn body(node: usize) -> Bytes {
    let body = json!({
        "workflow": {"metadata": {"name": "train", "namespace": "ml", "uid": "uid-1"}},
        "template": {"name": "execute", "plugin": {"awf-aws-plugin": {
            "action": "execute", "account_id": "100000000002", "region_name": "us-west-2", "pipeline_name": "Churn",
            "execution_key": format!("train.node({node})"),
        }}},
    });
    Bytes::from(body.to_string())
}

fn read(body: &[u8]) -> Arc<Task> {
    let args: ExecuteTemplateArgs<'_> = serde_json::from_slice(body).expect("the body is a request");
    Arc::new(read_task(&args).expect("the input is valid").expect("the template is ours"))
}

/// Keeps what so many nodes ask for.
fn keep(reread: &Reread, nodes: std::ops::Range<usize>) {
    for node in nodes {
        reread.keep(body(node), &read(&body(node)));
    }
}

#[test]
fn the_same_bytes_are_the_same_task() {
    let reread: Reread = Reread::default();
    assert_eq!(reread.task(&body(1)), None);
    keep(&reread, 0..100);
    for node in 0..100 {
        assert_eq!(reread.task(&body(node)), Some(read(&body(node))), "node {node}");
    }
    assert_eq!(reread.task(&body(100)), None);
}

#[test]
fn one_other_byte_is_another_request() {
    let reread: Reread = Reread::default();
    keep(&reread, 1..2);
    let mut other = body(1).to_vec();
    for place in 0..other.len() {
        other[place] ^= 1;
        assert_eq!(reread.task(&other), None, "byte {place}");
        other[place] ^= 1;
    }
    assert!(reread.task(&other).is_some());
}

/// Gives every body the same hash.
#[derive(Default)]
struct Collides;

impl Hasher for Collides {
    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        7
    }
}

#[test]
fn bodies_of_the_same_hash_are_not_taken_for_each_other() {
    let reread: Reread<BuildHasherDefault<Collides>> = Reread::default();
    reread.keep(body(1), &read(&body(1)));
    assert_eq!(reread.task(&body(2)), None);
    reread.keep(body(2), &read(&body(2)));
    assert_eq!(reread.task(&body(1)), None);
    assert_eq!(reread.task(&body(2)), Some(read(&body(2))));
}

#[test]
fn a_thousand_nodes_that_are_asked_for_in_turn_are_read_once_each() {
    let reread: Reread = Reread::default();
    let mut read_anew = 0;
    for _ in 0..3 {
        for node in 0..1_000 {
            if reread.task(&body(node)).is_none() {
                keep(&reread, node..node + 1);
                read_anew += 1;
            }
        }
    }
    assert_eq!(read_anew, 1_000);
}

#[test]
fn new_nodes_take_the_place_of_old_ones() {
    let reread: Reread = Reread::default();
    keep(&reread, 0..3_000);
    assert!((2_999..3_000).chain(2_500..2_999).all(|node| reread.task(&body(node)).is_some()), "the last are kept");
    assert_eq!(reread.task(&body(0)), None);
}

#[test]
fn no_more_than_a_thousand_requests_are_kept() {
    let reread: Reread = Reread::default();
    keep(&reread, 0..10_000);
    let kept: Vec<usize> = (0..10_000).filter(|node| reread.task(&body(*node)).is_some()).collect();
    assert!((512..=1_024).contains(&kept.len()), "{} are kept", kept.len());
    assert!(kept.iter().all(|node| *node >= 10_000 - 1_024), "the last ones are");
}

#[test]
fn a_long_request_is_read_each_time() {
    let reread: Reread = Reread::default();
    let mut long = body(1).to_vec();
    long.extend([b' '; 8 * 1024]);
    reread.keep(long.clone().into(), &read(&long));
    assert_eq!(reread.task(&long), None);
}
