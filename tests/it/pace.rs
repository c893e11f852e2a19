//! The governor: how fast calls may leave, and whose turn it is.

use std::{collections::HashMap, time::Duration};

use awf_aws::{
    pace::{Answer, Direction, FLOOR, Governor, Lane, LaneKey, Rate, Request, Settings, Urgency},
    pipelines::{Call, ClientKey, Time},
};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const CEILING: f64 = 50.0;
/// Tokens of a lane that begins with five calls a second.
const BURST: f64 = 50.0;

fn lane() -> Lane<u32> {
    Lane::new(Rate::new(5.0, CEILING, Time::at(0)), 1, Time::at(0))
}

/// Takes all there is.
fn drain(rate: &mut Rate, now: Time) -> u32 {
    let mut taken = 0;
    while rate.take(now).is_ok() {
        taken += 1;
    }
    taken
}

/// A rate that has run for so many seconds, used up and answered, and the time it is then.
fn searched(seconds: i64) -> (Rate, Time) {
    let mut rate = Rate::new(5.0, CEILING, Time::at(0));
    for tenth in 0..seconds * 10 {
        let now = Time::at(tenth * 100);
        drain(&mut rate, now);
        rate.answered(now, now);
    }
    (rate, Time::at(seconds * 1000))
}

fn turns(lane: &mut Lane<u32>, now: Time) -> Vec<(u32, Urgency)> {
    lane.grant(now).0.into_iter().map(|turn| (turn.who, turn.urgency)).collect()
}

/// A lane of whose burst so many turns are left.
fn lane_with(left: u32) -> Lane<u32> {
    let mut lane = lane();
    lane.want(&999, Urgency::Ask, 50 - left);
    assert_eq!(turns(&mut lane, Time::at(0)).len() as u32, 50 - left);
    lane
}

#[test]
fn a_first_wave_goes_at_once_and_then_five_a_second() {
    let mut rate = Rate::new(5.0, CEILING, Time::at(0));
    assert_eq!(drain(&mut rate, Time::at(0)), 50);
    assert_eq!(drain(&mut rate, Time::at(1001)), 5);
}

#[test]
fn the_rate_doubles_while_it_is_used_up_and_answered_and_stops_at_the_ceiling() {
    let (rate, now) = searched(2);
    assert!((10.0..=20.0).contains(&rate.at(now)), "{}", rate.at(now));
    let (rate, now) = searched(20);
    assert_eq!(rate.at(now), CEILING);

    let mut unused = Rate::new(5.0, CEILING, Time::at(0));
    let mut unanswered = Rate::new(5.0, CEILING, Time::at(0));
    for second in 0..20 {
        let now = Time::at(second * 1000);
        assert!(unused.take(now).is_ok());
        unused.answered(now, now);
        unused.sated(now);
        drain(&mut unanswered, now);
    }
    assert_eq!(unused.at(Time::at(20_000)), 5.0, "nobody wanted more");
    assert_eq!(unanswered.at(Time::at(20_000)), 5.0, "AWS has said nothing");
}

#[test]
fn a_wave_of_throttles_is_one_congestion() {
    let (mut rate, now) = searched(20);
    for late in 0..30 {
        rate.throttled(now, now.plus(Duration::from_millis(late)));
    }
    let fallen = now.plus(Duration::from_millis(30));
    assert!((rate.at(fallen) - 0.7 * CEILING).abs() < 1.0, "{}", rate.at(fallen));
    // Repeated at once and throttled again: still the same.
    rate.throttled(fallen, now.plus(SECOND / 2));
    assert!(rate.at(now.plus(SECOND)) > 0.7 * CEILING);
    // It left later: another.
    let before = rate.at(now.plus(2 * SECOND));
    rate.throttled(now.plus(2 * SECOND - Duration::from_millis(1)), now.plus(2 * SECOND));
    assert!((rate.at(now.plus(2 * SECOND)) - 0.7 * before).abs() < 0.01);
}

#[test]
fn a_throttle_empties_the_bucket() {
    let mut rate = Rate::new(5.0, CEILING, Time::at(0));
    rate.throttled(Time::at(0), Time::at(0));
    assert!(rate.take(Time::at(0)).is_err());
}

#[test]
fn ten_quiet_seconds_bring_a_rate_back_to_where_it_had_been() {
    for begin in [1.0, 2.0, 5.0, 20.0, 50.0] {
        let mut rate = Rate::new(begin, CEILING, Time::at(0));
        rate.throttled(Time::at(0), Time::at(0));
        assert!((rate.at(Time::at(0)) - 0.7 * begin).abs() < 1e-9);
        let half = rate.at(Time::at(4000));
        assert!(half > 0.9 * begin && half < begin, "most of it soon: {half} of {begin}");
        assert!((rate.at(Time::at(10_000)) - begin).abs() < 1e-9, "{} of {begin}", rate.at(Time::at(10_000)));
        assert!((rate.at(Time::at(100_000)) - begin).abs() < 1e-9, "no further while it is not used up");
    }
}

#[test]
fn a_slow_rate_comes_back_more_slowly() {
    let mut rate = Rate::new(0.1, CEILING, Time::at(0));
    rate.throttled(Time::at(0), Time::at(0));
    assert!(rate.at(Time::at(8000)) < 0.09);
    assert!((rate.at(Time::at(32_000)) - 0.1).abs() < 1e-9);
}

#[test]
fn no_rate_falls_below_the_floor() {
    let mut rate = Rate::new(5.0, CEILING, Time::at(0));
    for round in 0..100 {
        let now = Time::at(round * 1002);
        rate.answered(now, now);
        rate.throttled(now, now);
    }
    let least = rate.at(Time::at(99 * 1002));
    assert!((FLOOR..1.1 * FLOOR).contains(&least), "{least}");
}

#[test]
fn an_outage_teaches_nothing_about_the_limit() {
    let (mut rate, mut now) = searched(20);
    for _ in 0..60 {
        drain(&mut rate, now);
        rate.throttled(now, now);
        now = now.plus(Duration::from_millis(1001));
    }
    let asking = rate.at(now.plus(10 * SECOND));
    assert!((0.05 * CEILING..0.1 * CEILING).contains(&asking), "still asking, and gently: {asking}");
    for _ in 0..100 {
        drain(&mut rate, now);
        rate.answered(now, now);
        now = now.plus(SECOND / 10);
    }
    assert!(rate.at(now) >= 0.99 * CEILING, "{} ten seconds after it", rate.at(now));
}

#[test]
fn urgency_comes_before_the_order_of_arrival() {
    let mut lane = lane();
    for (who, urgency) in [(1, Urgency::Poll), (2, Urgency::Ask), (3, Urgency::Start), (4, Urgency::Stop)] {
        lane.want(&who, urgency, 1);
    }
    let order: Vec<u32> = turns(&mut lane, Time::at(0)).into_iter().map(|(who, _)| who).collect();
    assert_eq!(order, [4, 3, 2, 1]);
    assert_eq!(lane.waiting(), 0);
}

#[test]
fn workflows_take_turns_however_much_one_of_them_wants() {
    let mut lane = lane();
    lane.want(&1, Urgency::Start, 1000);
    lane.want(&2, Urgency::Start, 2);
    lane.want(&3, Urgency::Start, 1);
    let order: Vec<u32> = turns(&mut lane, Time::at(0)).into_iter().map(|(who, _)| who).take(6).collect();
    assert_eq!(order, [1, 2, 3, 1, 2, 1]);
}

#[test]
fn a_poll_goes_after_seven_questions_but_never_before_a_stop() {
    let mut lane = lane();
    lane.want(&1, Urgency::Ask, 100);
    lane.want(&2, Urgency::Poll, 100);
    let order = turns(&mut lane, Time::at(0));
    let polls: Vec<usize> = (0..order.len()).filter(|turn| order[*turn].1 == Urgency::Poll).collect();
    assert_eq!(polls, [7, 15, 23, 31, 39, 47]);

    let mut lane = lane_with(7);
    lane.want(&1, Urgency::Ask, 100);
    lane.want(&2, Urgency::Poll, 1);
    assert_eq!(turns(&mut lane, Time::at(0)), [(1, Urgency::Ask); 7]);
    lane.want(&3, Urgency::Stop, 1);
    lane.give_back(Time::at(0));
    assert_eq!(turns(&mut lane, Time::at(0)), [(3, Urgency::Stop)]);
}

#[test]
fn stops_leave_although_the_pace_is_used_up() {
    let mut lane = lane_with(0);
    lane.throttled(Time::at(0), Time::at(0));
    lane.want(&1, Urgency::Start, 1);
    assert_eq!(turns(&mut lane, Time::at(1)), []);
    lane.want(&1, Urgency::Stop, 2);
    assert_eq!(turns(&mut lane, Time::at(2)), [(1, Urgency::Stop); 2]);
}

#[test]
fn a_turn_that_is_given_back_is_the_next_ones() {
    let mut lane = lane_with(0);
    lane.want(&1, Urgency::Ask, 1);
    assert_eq!(turns(&mut lane, Time::at(1)), []);
    lane.give_back(Time::at(2));
    assert_eq!(turns(&mut lane, Time::at(2)), [(1, Urgency::Ask)]);
}

#[test]
fn who_is_forgotten_or_wants_no_more_gets_no_turn() {
    let mut lane = lane();
    lane.want(&1, Urgency::Poll, 3);
    lane.want(&1, Urgency::Stop, 3);
    lane.want(&2, Urgency::Poll, 3);
    lane.unwant(&2, Urgency::Poll, 1);
    lane.unwant(&3, Urgency::Poll, 1);
    lane.forget(&1);
    assert_eq!(lane.waiting(), 2);
    assert_eq!(turns(&mut lane, Time::at(0)), [(2, Urgency::Poll); 2]);
    assert_eq!(lane.grant(Time::at(0)), (vec![], None));

    let mut lane = lane_with(1);
    lane.want(&1, Urgency::Poll, 1);
    lane.want(&2, Urgency::Poll, 1);
    lane.unwant(&1, Urgency::Poll, 1);
    assert_eq!(turns(&mut lane, Time::at(0)), [(2, Urgency::Poll)], "no turn is lost on who has left");
}

fn key(region: &str, direction: Direction) -> LaneKey {
    LaneKey { account: "123456789012".to_owned(), region: region.to_owned(), direction }
}

fn granted(urgency: Urgency, turns: u32) -> Answer {
    Answer::Granted { urgency, turns, reserved: false }
}

/// What a workflow that asks is told.
fn asks(governor: &mut Governor<u32>, who: u32, request: Request, now: Time) -> Vec<(u32, Answer)> {
    let told = governor.asked(&who, &key("eu-west-1", Direction::Read), request, now);
    told.into_iter().map(|told| (told.who, told.answer)).collect()
}

#[test]
fn who_asks_is_told_at_once_what_it_gets_and_that_it_waits_for_the_rest() {
    let (mut governor, now) = (Governor::new(Settings::default(), 1), Time::at(0));
    let ask = Request::Want(Urgency::Ask, 60);
    assert_eq!(asks(&mut governor, 1, ask, now), [(1, granted(Urgency::Ask, 50)), (1, Answer::Waits)]);
    assert_eq!(asks(&mut governor, 2, Request::Want(Urgency::Poll, 1), now), [(2, Answer::Waits)]);
    assert_eq!(asks(&mut governor, 3, Request::GiveBack(1), now), [(1, granted(Urgency::Ask, 1))], "used by another");
    assert_eq!(asks(&mut governor, 1, Request::Unwant(Urgency::Ask, 9), now), []);
    let at = governor.next_due().expect("somebody waits");
    let told: Vec<(u32, Answer)> = governor.due(at).into_iter().map(|told| (told.who, told.answer)).collect();
    assert_eq!(told, [(2, granted(Urgency::Poll, 1))]);
    assert_eq!(governor.next_due(), None);
}

#[test]
fn lanes_do_not_slow_each_other_and_a_workflow_leaves_them_all() {
    let mut governor = Governor::new(Settings::default(), 1);
    let keys =
        [key("eu-west-1", Direction::Read), key("eu-west-1", Direction::Write), key("us-east-1", Direction::Read)];
    for key in &keys {
        governor.asked(&1, key, Request::Want(Urgency::Ask, 100), Time::at(0));
    }
    governor.answered(&keys[0], Time::at(0), true, Time::at(0));
    let rates: Vec<f64> = governor.lanes().map(|(_, lane)| lane.rate(Time::at(0))).collect();
    assert_eq!(rates, [3.5, 2.0, 5.0]);
    governor.forget(&1);
    assert_eq!(governor.lanes().map(|(_, lane)| lane.waiting()).collect::<Vec<_>>(), [0; 3]);
}

#[test]
fn calls_of_a_role_share_the_limits_of_its_account_and_sts_has_no_lane() {
    let client = |role: Option<&str>| ClientKey {
        region: "eu-west-1".to_owned(),
        role_arn: role.map(str::to_owned),
        external_id: None,
    };
    let lane = |role| LaneKey::of(&client(role), &Call::DescribeExecution { arn: String::new() }).expect("a lane");
    let role = "arn:aws:iam::123456789012:role/one";
    assert_eq!(lane(Some(role)), key("eu-west-1", Direction::Read));
    assert_eq!(lane(Some("arn:aws:iam::123456789012:role/path/two")), lane(Some(role)));
    assert_ne!(lane(None), lane(Some(role)));
    assert_eq!(LaneKey::of(&client(None), &Call::GetCallerIdentity), None);
}

/// What may be told to a rate, and after how many milliseconds.
#[derive(Clone, Copy, Debug)]
enum Told {
    Taken,
    Answered,
    Throttled(u64),
    GivenBack,
    Sated,
}

fn told() -> impl Strategy<Value = Vec<(u64, Told)>> {
    let one = prop_oneof![
        6 => Just(Told::Taken),
        3 => Just(Told::Answered),
        2 => (0_u64..200).prop_map(Told::Throttled),
        1 => Just(Told::Sated),
        1 => Just(Told::GivenBack),
    ];
    prop::collection::vec((0_u64..400, one), 1..200)
}

proptest! {
    #[test]
    fn never_more_turns_than_the_rate_has_filled_and_never_below_the_floor(story in told()) {
        let mut rate = Rate::new(5.0, CEILING, Time::at(0));
        let (mut now, mut filled, mut taken) = (Time::at(0), BURST, 0.0);
        for (pause, told) in story {
            for _ in 0..pause {
                let next = now.plus(Duration::from_millis(1));
                filled += rate.at(now).max(rate.at(next)) / 1000.0;
                now = next;
            }
            match told {
                Told::Taken => taken += f64::from(drain(&mut rate, now)),
                Told::Answered => rate.answered(now, now),
                Told::Throttled(ago) => rate.throttled(now.minus(Duration::from_millis(ago)), now),
                Told::GivenBack if taken >= 1.0 => {
                    rate.give_back(now);
                    taken -= 1.0;
                }
                Told::GivenBack => {}
                Told::Sated => rate.sated(now),
            }
            prop_assert!(taken <= filled + 1e-6, "{taken} of {filled} at {now:?}");
            prop_assert!((FLOOR..=CEILING).contains(&rate.at(now)));
        }
    }

    #[test]
    fn who_comes_when_told_to_gets_a_turn(story in told()) {
        let mut lane = lane();
        let mut now = Time::at(0);
        for (pause, told) in story {
            now = now.plus(Duration::from_millis(pause));
            match told {
                Told::Taken | Told::Sated => lane.want(&1, Urgency::Poll, 20),
                Told::Answered => lane.answered(now, now),
                Told::Throttled(ago) => lane.throttled(now.minus(Duration::from_millis(ago)), now),
                Told::GivenBack => lane.give_back(now),
            }
            if let (_, Some(next)) = lane.grant(now) {
                let (granted, _) = lane.clone().grant(next);
                prop_assert!(!granted.is_empty(), "told to come at {next:?} for nothing");
                let longest = Duration::from_secs_f64(1.5 / FLOOR) + SECOND;
                prop_assert!(next.since(now) <= longest);
            }
        }
    }

    #[test]
    fn nobody_starves(wants in prop::collection::vec((0_u32..8, 0_usize..4, 1_u32..40), 1..40)) {
        let mut lane = lane();
        let mut wanted: HashMap<(u32, Urgency), u32> = HashMap::new();
        for (who, urgency, turns) in wants {
            let urgency = Urgency::ALL[urgency];
            lane.want(&who, urgency, turns);
            *wanted.entry((who, urgency)).or_default() += turns;
        }
        let total: u32 = wanted.values().sum();
        prop_assert_eq!(lane.waiting(), total as usize);
        let (mut now, mut order) = (Time::at(0), Vec::new());
        loop {
            let (granted, next) = lane.grant(now);
            order.extend(granted.into_iter().map(|turn| (turn.who, turn.urgency)));
            let Some(next) = next else { break };
            now = next;
        }
        prop_assert_eq!(order.len(), total as usize);
        // Within an urgency nobody is two turns ahead of one who still waits.
        let mut got: HashMap<(u32, Urgency), u32> = HashMap::new();
        for turn in order {
            *got.entry(turn).or_default() += 1;
            for (other, wanted) in wanted.iter().filter(|(other, _)| other.1 == turn.1) {
                let others = got.get(other).copied().unwrap_or(0);
                prop_assert!(others == *wanted || got[&turn] <= others + 1, "{turn:?} before {other:?}");
            }
        }
        prop_assert_eq!(got, wanted);
    }
}
