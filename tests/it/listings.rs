//! Listings before a first start, which workflows that begin together share.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use awf_aws::{
    pace::{self, Direction, LaneKey, Request, Urgency},
    pipelines::{Call, CallEnded, CallError, CallErrorKind, CallReply, ClientKey, Time},
    rounds::{self, Page, Site, Wanted},
    shared::{Deed, Shared},
    workflow::identity::Marker,
};

const START: Time = Time::at(1_795_000_000_000);
const LATENCY: Duration = Duration::from_millis(50);

fn client() -> ClientKey {
    ClientKey { region: "us-west-2".to_owned(), role_arn: None, external_id: None }
}

fn page_after(created_after: Time, next_token: Option<&str>) -> Page {
    let (pipeline, next_token) = ("Train".to_owned(), next_token.map(str::to_owned));
    let call = Call::ListExecutions { pipeline, created_after: Some(created_after), next_token };
    Page::of(&client(), &call).expect("a page")
}

fn shared() -> Shared<u32> {
    let rounds = rounds::Settings { poll_min: Duration::from_secs(5), poll_max: Duration::from_secs(30) };
    Shared::new(pace::Settings::default(), rounds, 1, Marker::uid_of)
}

fn reply(next_token: Option<&str>) -> CallEnded {
    let reply = CallReply::Executions { page: Vec::new(), next_token: next_token.map(str::to_owned) };
    CallEnded { result: Ok(reply), server_time: None }
}

/// Whose calls were answered.
fn told(deeds: &[Deed<u32>]) -> Vec<(u32, u64)> {
    let told = deeds.iter().filter_map(|deed| match deed {
        Deed::Listed(who, number, _) => Some((*who, *number)),
        _ => None,
    });
    told.collect()
}

/// In whose name pages are asked for.
fn asked(deeds: &[Deed<u32>]) -> Vec<u32> {
    deeds.iter().filter_map(|deed| if let Deed::List(who, ..) = deed { Some(*who) } else { None }).collect()
}

#[test]
fn who_asks_while_a_page_is_on_its_way_is_told_of_the_next_one() {
    let (mut shared, page) = (shared(), page_after(START, None));
    assert_eq!(asked(&shared.page_asked(1, 10, &page, START)), [1]);
    for who in 2..=500 {
        assert_eq!(shared.page_asked(who, 20, &page, START), [], "the page that left tells of earlier");
    }
    let deeds = shared.page_answered(&page, reply(None), START, START);
    assert_eq!((told(&deeds), asked(&deeds)), (vec![(1, 10)], vec![2]));
    let deeds = shared.page_answered(&page, reply(None), START, START);
    assert_eq!((told(&deeds).len(), asked(&deeds)), (499, vec![]));
    assert_eq!(asked(&shared.page_asked(7, 30, &page, START)), [7], "nothing is kept");
}

#[test]
fn a_page_that_fails_fails_for_all_who_wanted_it() {
    let (mut shared, page) = (shared(), page_after(START, None));
    shared.page_asked(1, 10, &page, START);
    let error = CallError { kind: CallErrorKind::Denied, code: None, message: "no".to_owned(), request_id: None };
    let ended = CallEnded { result: Err(error), server_time: None };
    let deeds = shared.page_answered(&page, ended.clone(), START, START);
    assert!(matches!(&deeds[..], [Deed::Listed(1, 10, told)] if **told == ended), "{deeds:?}");
}

#[test]
fn who_has_died_is_not_asked_for_and_what_nobody_wants_is_not_either() {
    let (mut shared, page) = (shared(), page_after(START, None));
    for who in [1, 2, 3] {
        shared.page_asked(who, 10, &page, START);
    }
    shared.forget(2);
    let deeds = shared.page_answered(&page, reply(None), START, START);
    assert_eq!((told(&deeds), asked(&deeds)), (vec![(1, 10)], vec![3]));
    shared.page_asked(4, 10, &page, START);
    shared.forget(4);
    let deeds = shared.page_answered(&page, reply(None), START, START);
    assert_eq!((told(&deeds), asked(&deeds)), (vec![(3, 10)], vec![]));
}

/// Uses up what a lane has at once.
fn exhaust(shared: &mut Shared<u32>) {
    let lane = LaneKey::in_direction(&client(), Direction::Read);
    shared.turns_asked(99, &lane, Request::Want(Urgency::Poll, 1000), START);
}

#[test]
fn a_page_waits_for_its_turn_before_polls_and_its_workflows_hear_that_it_waits() {
    let (mut shared, page) = (shared(), page_after(START, None));
    exhaust(&mut shared);
    assert_eq!(shared.page_asked(1, 10, &page, START), [Deed::ListingWaits(1, 10)]);
    assert_eq!(shared.page_asked(2, 20, &page, START), [Deed::ListingWaits(2, 20)]);
    // Who dies meanwhile has no page, and no turn is lost on it.
    let other = page_after(START, Some("other"));
    shared.page_asked(3, 30, &other, START);
    shared.forget(3);
    let at = shared.next_due().expect("turns come");
    let deeds = shared.due(at);
    assert!(
        matches!(&deeds[0], Deed::List(1, asked, waited) if *asked == page && *waited == at.since(START)),
        "{deeds:?}"
    );
    let deeds = shared.page_answered(&page, reply(None), at, at);
    assert_eq!(told(&deeds), [(1, 10), (2, 20)]);
    let mut polls = 0;
    for _ in 0..5 {
        let at = shared.next_due().expect("polls wait");
        polls += shared.due(at).iter().filter(|deed| matches!(deed, Deed::Pace(99, ..))).count();
    }
    assert!(polls >= 4, "{polls}");
}

#[test]
fn a_list_of_a_round_goes_before_polls_for_it_stands_for_many() {
    let mut shared = shared();
    exhaust(&mut shared);
    let site = Site { client: client(), pipeline: "Train".to_owned() };
    let wanted = |n: u32| Wanted { arn: format!("arn:{n}").as_str().into(), created: START, due: true };
    shared.looked((1, "uid-1"), &site, (0..10).map(wanted).collect(), START, START);
    let at = shared.next_due().expect("turns come");
    let deeds = shared.due(at);
    assert!(matches!(&deeds[0], Deed::Call(asked, Call::ListExecutions { .. }, _) if *asked == site), "{deeds:?}");
}

#[test]
fn a_page_that_is_wanted_again_after_all_who_wanted_it_have_died_is_asked_for_once() {
    let (mut shared, page) = (shared(), page_after(START, None));
    exhaust(&mut shared);
    shared.page_asked(1, 10, &page, START);
    shared.forget(1);
    shared.page_asked(2, 20, &page, START);
    let mut lists = Vec::new();
    for _ in 0..5 {
        let at = shared.next_due().expect("polls wait");
        lists.extend(asked(&shared.due(at)));
    }
    assert_eq!(lists, [2]);
    assert_eq!(told(&shared.page_answered(&page, reply(None), START, START)), [(2, 20)]);
}

#[test]
fn pages_are_the_same_that_begin_in_one_minute_and_never_begin_later_than_wanted() {
    let begin = Time::at(START.millis() - START.millis() % 60_000);
    let page = page_after(begin, None);
    for seconds in [0, 1, 59] {
        assert_eq!(page_after(begin.plus(Duration::from_secs(seconds)), None), page);
    }
    assert_ne!(page_after(begin.plus(Duration::from_secs(60)), None), page);
    assert_ne!(page_after(begin, Some("next")), page);
    let Call::ListExecutions { created_after, .. } = page_after(begin.plus(LATENCY), None).call() else { panic!() };
    assert_eq!(created_after, Some(begin));
    assert_eq!(Page::of(&client(), &Call::GetCallerIdentity), None);
}

/// Workflows that list three pages each, one after the other, while others poll as much as they may.
struct Listers {
    shared: Shared<u32>,
    now: Time,
    /// Calls on their way, by when they come back.
    away: VecDeque<(Time, Page, Time)>,
    /// The page that each is at.
    at: BTreeMap<u32, usize>,
    calls: usize,
}

const TOKENS: [Option<&str>; 4] = [None, Some("second"), Some("third"), None];

impl Listers {
    fn ask(&mut self, who: u32) {
        let page = page_after(START, TOKENS[self.at[&who]]);
        let deeds = self.shared.page_asked(who, 1, &page, self.now);
        self.follow(deeds);
    }

    fn follow(&mut self, deeds: Vec<Deed<u32>>) {
        for deed in deeds {
            match deed {
                Deed::List(_, page, _) => {
                    self.calls += 1;
                    self.away.push_back((self.now.plus(LATENCY), page, self.now));
                }
                Deed::Listed(who, _, _) => {
                    let at = self.at.get_mut(&who).unwrap();
                    *at += 1;
                    if *at < 3 {
                        self.ask(who);
                    }
                }
                Deed::ListingWaits(..) | Deed::Pace(99, ..) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn five_hundred_workflows_that_begin_together_list_as_fast_as_a_few() {
    let at = (0..500).map(|who| (who + 100, 0)).collect();
    let mut listers = Listers { shared: shared(), now: START, away: VecDeque::new(), at, calls: 0 };
    exhaust(&mut listers.shared);
    for who in 100..600 {
        listers.ask(who);
    }
    while listers.at.values().any(|at| *at < 3) {
        let turns = listers.shared.next_due();
        let back = listers.away.front().map(|(at, ..)| *at);
        listers.now = turns.into_iter().chain(back).min().expect("all of them come to an end").max(listers.now);
        let deeds = match listers.away.pop_front_if(|(at, ..)| *at <= listers.now) {
            Some((_, page, sent)) => {
                let token = TOKENS.iter().position(|token| page == page_after(START, *token)).unwrap();
                listers.shared.page_answered(&page, reply(TOKENS[token + 1]), sent, listers.now)
            }
            None => listers.shared.due(listers.now),
        };
        listers.follow(deeds);
    }
    assert!(listers.calls <= 6, "{} calls for three pages", listers.calls);
    assert!(listers.now.since(START) < Duration::from_secs(5), "{:?}", listers.now.since(START));
}
