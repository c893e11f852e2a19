//! Poll rounds that workflows of a process share: who is told what, and how many calls it costs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use awf_aws::{
    pipelines::{Arn, Call, CallError, CallErrorKind, ClientKey, Execution, Status, Time},
    rounds::{Act, LookEnd, PAGE, Plan, Rounds, Settings, Site, Wanted, interval, plan},
};
use fastrand::Rng;
use proptest::prelude::*;

const POLL_MIN: Duration = Duration::from_secs(5);
const POLL_MAX: Duration = Duration::from_secs(30);
const HOUR: i64 = 3_600_000;

fn uid_of(description: &str) -> Option<&str> {
    description.strip_prefix("of ")
}

fn site() -> Site {
    let client = ClientKey { region: "eu-west-1".to_owned(), role_arn: None, external_id: None };
    Site { client, pipeline: "Train".to_owned() }
}

/// AWS as lists and describes show it, and the workflows that follow some of it.
struct World {
    rounds: Rounds<u32>,
    /// Oldest first.
    executions: Vec<(Execution, u32)>,
    /// By workflow and execution: when it is to be looked at.
    due: BTreeMap<(u32, usize), Time>,
    /// What each workflow's look under way has not shown.
    looking: BTreeMap<u32, BTreeSet<usize>>,
    /// Who knows that which execution has ended.
    known: BTreeSet<(u32, usize)>,
    lists: usize,
    describes: usize,
    now: Time,
    fails: Option<CallErrorKind>,
    strangers: Vec<Execution>,
}

fn execution(number: usize, created: i64, owner: Option<u32>) -> Execution {
    Execution {
        arn: format!("arn:aws:sagemaker:eu-west-1:100000000002:pipeline/Train/execution/E{number:06}"),
        status: Status::Executing,
        created: Some(Time::at(created)),
        modified: None,
        description: owner.map(|owner| format!("of {owner}")),
        failure_reason: None,
        started_by: None,
    }
}

impl World {
    /// So many workflows with so many executions each, all started within an hour, an hour ago.
    fn new(workflows: u32, each: usize) -> Self {
        let mut random = Rng::with_seed(7);
        let mut created: Vec<i64> = (0..workflows as usize * each).map(|_| random.i64(0..HOUR)).collect();
        created.sort_unstable();
        let owner = |number: usize| number as u32 % workflows;
        let executions =
            created.iter().enumerate().map(|(n, at)| (execution(n, *at, Some(owner(n))), owner(n))).collect();
        let settings = Settings { poll_min: POLL_MIN, poll_max: POLL_MAX };
        let mut world = Self {
            rounds: Rounds::new(settings, uid_of),
            executions,
            due: BTreeMap::new(),
            looking: BTreeMap::new(),
            known: BTreeSet::new(),
            lists: 0,
            describes: 0,
            now: Time::at(2 * HOUR),
            fails: None,
            strangers: Vec::new(),
        };
        for number in 0..world.executions.len() {
            let at = world.now.plus(Duration::from_millis(random.u64(0..30_000)));
            world.due.insert((owner(number), number), at);
        }
        world
    }

    fn number(&self, arn: &str) -> usize {
        let digits = arn.rsplit(['E', 'e']).next().unwrap();
        digits.parse().unwrap()
    }

    /// Somebody looks, or is shown something.
    fn learns(&mut self, who: u32, number: usize, live: bool) {
        self.due.remove(&(who, number));
        if live {
            let age = self.now.since(self.executions[number].0.created.unwrap());
            self.due.insert((who, number), self.now.plus(interval(age, POLL_MIN, POLL_MAX)));
        } else {
            self.known.insert((who, number));
        }
    }

    fn follow(&mut self, acts: Vec<Act<u32>>) {
        let mut acts = std::collections::VecDeque::from(acts);
        while let Some(act) = acts.pop_front() {
            match act {
                Act::WantTurn(lane) => acts.extend(self.rounds.turn(&lane, self.now)),
                Act::GiveBackTurn(_) => {}
                Act::Call(site, Call::ListExecutions { created_after, next_token, .. }, _) => {
                    self.lists += 1;
                    let answer = match self.fails {
                        Some(kind) => Err(CallError { kind, code: None, message: "no".to_owned(), request_id: None }),
                        None => Ok(self.page(created_after, next_token.as_deref())),
                    };
                    acts.extend(self.rounds.answered(&site, answer, Some(self.now), self.now));
                }
                Act::Call(_, other, _) => panic!("a round never calls {other:?}"),
                Act::Tell(who, seen) => {
                    for shown in seen.shown {
                        let number = self.number(&shown.arn);
                        if let Some(rest) = self.looking.get_mut(&who) {
                            rest.remove(&number);
                        }
                        self.learns(who, number, shown.status.is_live());
                    }
                    let Some(end) = seen.over else { continue };
                    let rest = self.looking.remove(&who).expect("a look ends once");
                    for number in rest {
                        match &end {
                            LookEnd::Describe => {
                                self.describes += 1;
                                let live = self.executions[number].0.status.is_live();
                                self.learns(who, number, live);
                            }
                            LookEnd::Failed(_) => {
                                self.due.insert((who, number), self.now.plus(POLL_MAX));
                            }
                        }
                    }
                }
            }
        }
    }

    fn page(&self, created_after: Option<Time>, next_token: Option<&str>) -> (Vec<Execution>, Option<String>) {
        let from: usize = next_token.map_or(0, |token| token.parse().unwrap());
        let all = self.executions.iter().map(|(execution, _)| execution).chain(&self.strangers);
        let mut all: Vec<&Execution> =
            all.filter(|e| created_after.is_none_or(|after| e.created >= Some(after))).collect();
        all.sort_by_key(|e| std::cmp::Reverse(e.created));
        let page = all.iter().skip(from).take(PAGE).map(|e| (*e).clone()).collect();
        (page, (from + PAGE < all.len()).then(|| (from + PAGE).to_string()))
    }

    /// Lets time pass in steps of a tenth of a second.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now = self.now.plus(Duration::from_millis(100));
            let due: Vec<(u32, usize)> =
                self.due.iter().filter(|(_, at)| **at <= self.now).map(|(key, _)| *key).collect();
            let mut by_workflow: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for (who, number) in due {
                if !self.looking.contains_key(&who) {
                    by_workflow.entry(who).or_default().push(number);
                }
            }
            for (who, mut numbers) in by_workflow {
                // Another one's list may have shown them.
                numbers.retain(|number| self.due.get(&(who, *number)).is_some_and(|at| *at <= self.now));
                if numbers.is_empty() {
                    continue;
                }
                for number in &numbers {
                    self.due.remove(&(who, *number));
                }
                let wanted = |number: &usize| Wanted {
                    arn: Arn::from(self.executions[*number].0.arn.as_str()),
                    created: self.executions[*number].0.created.unwrap(),
                    due: true,
                };
                let wanted = numbers.iter().map(wanted).collect();
                self.looking.insert(who, numbers.into_iter().collect());
                let acts = self.rounds.look(&who, &who.to_string(), &site(), wanted, self.now, self.now);
                self.follow(acts);
            }
        }
    }

    /// Calls within so many seconds.
    fn calls_in(&mut self, seconds: u64) -> usize {
        (self.lists, self.describes) = (0, 0);
        self.pass(seconds);
        self.lists + self.describes
    }
}

#[test]
fn executions_of_many_workflows_cost_as_much_as_those_of_one() {
    for (workflows, each) in [(1, 1000), (10, 100), (50, 20), (500, 2), (1000, 1)] {
        let mut world = World::new(workflows, each);
        world.pass(120);
        let calls = world.calls_in(300);
        let rounds = 300 / POLL_MAX.as_secs() as usize;
        assert!(calls <= rounds * (1000 / PAGE + 2), "{calls} calls for {workflows} workflows");
    }
}

#[test]
fn a_few_executions_of_a_few_workflows_are_cheap_too() {
    for (workflows, each, most) in [(1, 1, 1), (1, 10, 2), (2, 1, 2), (10, 1, 2), (30, 3, 3)] {
        let mut world = World::new(workflows, each);
        world.pass(120);
        let calls = world.calls_in(300);
        assert!(calls <= 10 * most, "{calls} calls for {workflows} workflows with {each} each");
    }
}

#[test]
fn a_page_is_told_to_everybody_who_follows_what_it_shows_and_to_the_owner_of_a_marker() {
    let mut world = World::new(5, 4);
    world.pass(60);
    // Started by another pod of workflow 3, which does not know it.
    let number = world.executions.len();
    world.executions.push((execution(number, world.now.millis(), Some(3)), 3));
    world.pass(60);
    assert!(world.due.contains_key(&(3, number)), "told by its marker");
    assert!(!world.due.contains_key(&(2, number)));
}

#[test]
fn long_lists_of_others_are_given_up_and_what_was_not_shown_is_described() {
    let mut world = World::new(2, 5);
    let strangers = (0..5000).map(|n| execution(100_000 + n, world.now.millis() - 1000 - n as i64, None));
    world.strangers = strangers.collect();
    world.pass(60);
    let calls = world.calls_in(300);
    // A round of ten gives up after five pages, and lists are not tried again for some minutes.
    assert!(calls <= 2 * 5 + 11 * 10, "{calls}");
    world.executions[0].0.status = Status::Succeeded;
    world.pass(31);
    assert!(world.known.contains(&(0, 0)));
}

#[test]
fn a_list_that_fails_ends_every_look_with_the_reason_and_the_next_one_lists_again() {
    let mut world = World::new(3, 10);
    world.pass(60);
    world.fails = Some(CallErrorKind::Throttled);
    world.executions.iter_mut().for_each(|(execution, _)| execution.status = Status::Failed);
    world.pass(300);
    assert_eq!(world.known.len(), 0);
    assert!(world.looking.is_empty(), "nobody waits for ever");
    world.fails = None;
    world.pass(31);
    assert_eq!(world.known.len(), 30);
}

#[test]
fn a_workflow_that_is_gone_is_told_nothing_and_costs_nothing() {
    let mut world = World::new(2, 50);
    world.pass(60);
    world.rounds.forget(&1);
    world.due.retain(|(who, _), _| *who == 0);
    world.looking.remove(&1);
    world.pass(60);
    assert!(world.due.keys().all(|(who, _)| *who == 0), "{:?}", world.due);
    world.rounds.forget(&0);
    (world.due, world.looking) = Default::default();
    assert_eq!(world.calls_in(60), 0);
}

/// How many executions of others a workflow is told of when it says that one has started.
fn of_others(rounds: &mut Rounds<u32>, who: u32, number: usize, site: &Site) -> usize {
    of_others_at(Time::at(HOUR), rounds, who, number, site)
}

fn of_others_at(now: Time, rounds: &mut Rounds<u32>, who: u32, number: usize, site: &Site) -> usize {
    let Execution { arn, created, .. } = execution(number, HOUR, Some(who));
    let started = Wanted { arn: arn.as_str().into(), created: created.unwrap(), due: false };
    let acts = rounds.look(&who, &who.to_string(), site, vec![started], now, now);
    let [Act::Tell(told, seen)] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!((*told, &seen.over), (who, &None));
    seen.of_others
}

#[test]
fn who_starts_something_is_told_how_many_executions_the_others_follow() {
    let mut rounds: Rounds<u32> = Rounds::new(Settings { poll_min: POLL_MIN, poll_max: POLL_MAX }, uid_of);
    let elsewhere = Site { pipeline: "Other".to_owned(), ..site() };
    assert_eq!(of_others(&mut rounds, 1, 1, &site()), 0);
    assert_eq!(of_others(&mut rounds, 1, 2, &elsewhere), 0);
    assert_eq!(of_others(&mut rounds, 2, 3, &site()), 2);
    assert_eq!(of_others(&mut rounds, 1, 4, &site()), 1);
    assert_eq!(of_others(&mut rounds, 1, 4, &site()), 1, "said twice");
    assert_eq!(of_others(&mut rounds, 2, 4, &site()), 2, "what both follow is not another's");
    rounds.forget(&1);
    assert_eq!(of_others(&mut rounds, 3, 5, &site()), 2);
}

#[test]
fn what_a_describe_has_shown_ended_is_not_counted_for_long() {
    let mut rounds: Rounds<u32> = Rounds::new(Settings { poll_min: POLL_MIN, poll_max: POLL_MAX }, uid_of);
    let elsewhere = Site { pipeline: "Other".to_owned(), ..site() };
    assert_eq!(of_others(&mut rounds, 1, 1, &elsewhere), 0);
    assert_eq!(of_others(&mut rounds, 2, 2, &site()), 1);
    let later = Time::at(HOUR).plus(POLL_MAX * 3);
    assert_eq!(of_others_at(later, &mut rounds, 2, 3, &site()), 0, "nobody has asked for it again");
}

#[test]
fn what_was_created_earlier_than_its_workflow_thought_is_listed_from_then_on() {
    let mut rounds: Rounds<u32> = Rounds::new(Settings { poll_min: POLL_MIN, poll_max: POLL_MAX }, uid_of);
    let (start, earlier) = (Time::at(HOUR), Time::at(HOUR - 60_000));
    for number in 0..5 {
        of_others(&mut rounds, 1, number, &site());
    }
    let due = |number| Wanted { arn: execution(number, 0, None).arn.as_str().into(), created: earlier, due: true };
    let later = start.plus(POLL_MIN);
    let acts = rounds.look(&1, "1", &site(), (0..5).map(due).collect(), later, later);
    let [Act::WantTurn(lane)] = &acts[..] else { panic!("{acts:?}") };
    let acts = rounds.turn(lane, later);
    let [Act::Call(_, Call::ListExecutions { created_after: Some(after), .. }, _)] = &acts[..] else {
        panic!("{acts:?}")
    };
    assert!(*after < earlier, "{after:?}");
}

#[test]
fn what_has_started_is_listed_with_what_is_due() {
    let mut rounds: Rounds<u32> = Rounds::new(Settings { poll_min: POLL_MIN, poll_max: POLL_MAX }, uid_of);
    let (start, later) = (Time::at(HOUR), Time::at(HOUR).plus(POLL_MIN));
    for number in 0..10 {
        of_others(&mut rounds, number, number as usize, &site());
    }
    let Execution { arn, .. } = execution(3, HOUR, Some(3));
    let due = |created| vec![Wanted { arn: arn.as_str().into(), created, due: true }];
    let acts = rounds.look(&3, "3", &site(), due(start), later, later);
    assert!(matches!(&acts[..], [Act::WantTurn(_)]), "one is due, ten are ripe: {acts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever is shared, every end is known as soon as when everything is described in its time, and it never costs more
    /// calls than that.
    #[test]
    fn ends_are_known_as_soon_as_by_describing_everything_and_for_fewer_calls(
        workflows in 1_u32..40, each in 1_usize..30, strangers in 0_usize..400, seed in 0_u64..1000
    ) {
        let mut random = Rng::with_seed(seed);
        let mut world = World::new(workflows, each);
        let begin = world.now.millis() - HOUR;
        world.strangers = (0..strangers).map(|n| execution(100_000 + n, begin + random.i64(0..HOUR), None)).collect();
        world.pass(30);
        let ended: Vec<usize> = (0..world.executions.len()).filter(|_| random.bool()).collect();
        for number in &ended {
            world.executions[*number].0.status = Status::Succeeded;
        }
        let calls = world.calls_in(31);
        for number in &ended {
            prop_assert!(world.known.contains(&(world.executions[*number].1, *number)), "the end of {number} is not known");
        }
        // Each is looked at once or twice in that time; a list that is given up costs half of what it should have saved.
        prop_assert!(calls <= world.executions.len() * 5 / 2 + 2, "{calls} calls for {}", world.executions.len());
    }

    #[test]
    fn a_plan_never_costs_more_than_describing(due in 0_usize..5000, more in 0_usize..20_000) {
        match plan(due, due + more, Time::at(HOUR)) {
            Plan::DescribeEach => {}
            Plan::List { created_after, max_pages } => {
                prop_assert!(max_pages < due, "{max_pages} pages for {due}");
                prop_assert!(created_after < Time::at(HOUR));
            }
        }
    }
}

#[test]
fn a_list_says_how_long_it_has_waited_for_its_turn() {
    let mut rounds: Rounds<u32> = Rounds::new(Settings { poll_min: POLL_MIN, poll_max: POLL_MAX }, uid_of);
    let start = Time::at(HOUR);
    let wanted = |number| {
        let Execution { arn, created, .. } = execution(number, 0, Some(1));
        Wanted { arn: arn.as_str().into(), created: created.unwrap(), due: true }
    };
    let acts = rounds.look(&1, "1", &site(), (0..50).map(wanted).collect(), start, start);
    let [Act::WantTurn(lane)] = &acts[..] else { panic!("{acts:?}") };
    let acts = rounds.turn(lane, start.plus(Duration::from_secs(7)));
    assert!(matches!(&acts[..], [Act::Call(_, _, waited)] if *waited == Duration::from_secs(7)), "{acts:?}");
}
