//! A metric as data, and the typed handles through which it is written.

use std::{
    marker::PhantomData,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::{
    Error, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

use super::labels::{Label, SELDOM};

/// The prefix of every name but those of the process.
pub const NAMESPACE: &str = "awf_aws";

/// What kind of metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

impl Kind {
    /// Prometheus' word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Which series exist from the start, at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    All,
    /// Only those that end so; the others appear with their first event.
    Ending(&'static [&'static str]),
    /// Each appears with its first event.
    Lazy,
}

/// A set of labels: none, one or two.
pub trait Labels: Copy + 'static {
    /// Names and values of the labels.
    fn labels() -> Vec<(&'static str, Vec<&'static str>)>;
    /// The values of one series.
    fn values(self) -> Vec<&'static str>;
    /// Every series there can be.
    fn all() -> Vec<Self>;
    /// Which of [`Self::all`] this one is, from 0.
    fn place(self) -> usize;
}

fn words<A: Label>() -> (&'static str, Vec<&'static str>) {
    (A::NAME, A::ALL.iter().map(|value| value.as_str()).collect())
}

impl Labels for () {
    fn labels() -> Vec<(&'static str, Vec<&'static str>)> {
        Vec::new()
    }

    fn values(self) -> Vec<&'static str> {
        Vec::new()
    }

    fn all() -> Vec<Self> {
        vec![()]
    }

    fn place(self) -> usize {
        0
    }
}

impl<A: Label> Labels for A {
    fn labels() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![words::<A>()]
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.as_str()]
    }

    fn all() -> Vec<Self> {
        A::ALL.to_vec()
    }

    fn place(self) -> usize {
        Label::place(self)
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn labels() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![words::<A>(), words::<B>()]
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.0.as_str(), self.1.as_str()]
    }

    fn all() -> Vec<Self> {
        A::ALL.iter().flat_map(|a| B::ALL.iter().map(move |b| (*a, *b))).collect()
    }

    fn place(self) -> usize {
        self.0.place() * B::ALL.len() + self.1.place()
    }
}

/// One metric of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Def<L> {
    /// Without the prefix.
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// Which of its series there are from the start.
    pub known: Known,
    labels: PhantomData<fn(L)>,
}

/// The same without its labels' types, for tables and checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// With the prefix.
    pub name: String,
    pub kind: Kind,
    pub help: &'static str,
    /// Each label with all of its values.
    pub labels: Vec<(&'static str, Vec<&'static str>)>,
    /// How many of its lines a fresh process shows.
    pub at_start: usize,
    /// How many it can show at the most.
    pub at_most: usize,
}

impl<L: Labels> Def<L> {
    /// A metric all of whose series exist from the start. `name` is without the prefix, and ends in its unit.
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, help, known: Known::All, labels: PhantomData }
    }

    /// Not all of its series exist from the start.
    pub const fn known(self, known: Known) -> Self {
        Self { known, ..self }
    }

    /// The name with its prefix.
    pub fn full_name(&self) -> String {
        format!("{NAMESPACE}_{}", self.name)
    }

    /// The same as a plain value.
    pub fn family(&self) -> Family {
        // Each histogram also has +Inf, a sum and a count.
        let lines = if let Kind::Histogram(buckets) = self.kind { buckets.len() + 3 } else { 1 };
        Family {
            name: self.full_name(),
            kind: self.kind,
            help: self.help,
            labels: L::labels(),
            at_start: self.series_at_start().len() * lines,
            at_most: L::all().len() * lines,
        }
    }

    fn series_at_start(&self) -> Vec<Vec<&'static str>> {
        let seldom = |values: &Vec<&'static str>| SELDOM.iter().any(|operation| values.contains(&operation.as_str()));
        let wanted = |values: &Vec<&'static str>| match self.known {
            _ if seldom(values) => false,
            Known::All => true,
            Known::Ending(ends) => values.last().is_some_and(|last| ends.contains(last)),
            Known::Lazy => false,
        };
        L::all().into_iter().map(L::values).filter(wanted).collect()
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help).namespace(NAMESPACE)
    }

    fn label_names() -> Vec<&'static str> {
        L::labels().into_iter().map(|(name, _)| name).collect()
    }
}

/// Counts what was written since the process began: whether a scrape has seen everything can be told from it.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<AtomicU64>);

impl Changes {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn one_more(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The series of a metric that were written, each at its labels' place: to find one, the library hashes the words of its
/// labels under a lock, and a request writes seven.
#[derive(Clone)]
struct Written<M>(Box<[OnceLock<M>]>);

impl<M> Written<M> {
    fn none<L: Labels>() -> Self {
        Self(L::all().iter().map(|_| OnceLock::new()).collect())
    }

    fn series<L: Labels>(&self, labels: L, find: impl FnOnce(&[&'static str]) -> M) -> &M {
        self.0[labels.place()].get_or_init(|| find(&labels.values()))
    }
}

/// A counter with typed labels.
pub struct Counter<L> {
    family: IntCounterVec,
    written: Written<IntCounter>,
    changes: Changes,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Counter<L> {
    /// Registers it. An error is a name that is taken.
    pub fn new(def: &Def<L>, registry: &Registry, changes: &Changes) -> Result<Self, Error> {
        let family = IntCounterVec::new(def.opts(), &Def::<L>::label_names())?;
        def.series_at_start().iter().for_each(|values| drop(family.with_label_values(values)));
        registry.register(Box::new(family.clone()))?;
        Ok(Self { family, written: Written::none::<L>(), changes: changes.clone(), labels: PhantomData })
    }

    /// Counts one.
    pub fn inc(&self, labels: L) {
        self.add(labels, 1);
    }

    /// Counts so many; zero is no change.
    pub fn add(&self, labels: L, count: u64) {
        if count > 0 {
            self.series(labels).inc_by(count);
            self.changes.one_more();
        }
    }

    /// Sets it to what was counted elsewhere.
    pub(super) fn set(&self, labels: L, count: u64) {
        let series = self.series(labels);
        series.inc_by(count.saturating_sub(series.get()));
    }

    fn series(&self, labels: L) -> &IntCounter {
        self.written.series(labels, |values| self.family.with_label_values(values))
    }
}

/// A gauge with typed labels.
#[derive(Clone)]
pub struct Gauge<L> {
    family: IntGaugeVec,
    written: Written<IntGauge>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Gauge<L> {
    /// Registers it. An error is a name that is taken.
    pub fn new(def: &Def<L>, registry: &Registry) -> Result<Self, Error> {
        let gauge = Self::unregistered(def)?;
        registry.register(Box::new(gauge.family.clone()))?;
        Ok(gauge)
    }

    /// For a collector of the module's own.
    pub(super) fn unregistered(def: &Def<L>) -> Result<Self, Error> {
        let family = IntGaugeVec::new(def.opts(), &Def::<L>::label_names())?;
        def.series_at_start().iter().for_each(|values| drop(family.with_label_values(values)));
        Ok(Self { family, written: Written::none::<L>(), labels: PhantomData })
    }

    /// Sets the value.
    pub fn set(&self, labels: L, value: i64) {
        self.series(labels).set(value);
    }

    /// Moves the value by so much, up or down.
    pub fn add(&self, labels: L, value: i64) {
        self.series(labels).add(value);
    }

    fn series(&self, labels: L) -> &IntGauge {
        self.written.series(labels, |values| self.family.with_label_values(values))
    }

    pub(super) fn collector(&self) -> &dyn Collector {
        &self.family
    }
}

/// A gauge of fractions with typed labels.
pub struct FloatGauge<L> {
    family: GaugeVec,
    written: Written<prometheus::Gauge>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> FloatGauge<L> {
    /// For a collector of the module's own.
    pub(super) fn unregistered(def: &Def<L>) -> Result<Self, Error> {
        let family = GaugeVec::new(def.opts(), &Def::<L>::label_names())?;
        Ok(Self { family, written: Written::none::<L>(), labels: PhantomData })
    }

    /// Sets the value.
    pub fn set(&self, labels: L, value: f64) {
        self.series(labels).set(value);
    }

    fn series(&self, labels: L) -> &prometheus::Gauge {
        self.written.series(labels, |values| self.family.with_label_values(values))
    }

    pub(super) fn collector(&self) -> &dyn Collector {
        &self.family
    }
}

/// A moment as a gauge: seconds since the epoch, absent when there is none.
pub struct TimeGauge(GaugeVec);

impl TimeGauge {
    pub(super) fn unregistered(def: &Def<()>) -> Result<Self, Error> {
        Ok(Self(GaugeVec::new(def.opts(), &[])?))
    }

    pub(super) fn set(&self, seconds: Option<f64>) {
        match seconds {
            Some(seconds) => self.0.with_label_values::<&str>(&[]).set(seconds),
            None => self.0.reset(),
        }
    }

    pub(super) fn collector(&self) -> &dyn Collector {
        &self.0
    }
}

/// A histogram with typed labels.
pub struct Histogram<L> {
    family: HistogramVec,
    written: Written<prometheus::Histogram>,
    changes: Changes,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Histogram<L> {
    /// Registers it with the buckets of its definition. An error is a name that is taken.
    pub fn new(def: &Def<L>, registry: &Registry, changes: &Changes) -> Result<Self, Error> {
        let buckets = if let Kind::Histogram(buckets) = def.kind { buckets.to_vec() } else { Vec::new() };
        let opts = HistogramOpts { common_opts: def.opts(), buckets };
        let family = HistogramVec::new(opts, &Def::<L>::label_names())?;
        def.series_at_start().iter().for_each(|values| drop(family.with_label_values(values)));
        registry.register(Box::new(family.clone()))?;
        Ok(Self { family, written: Written::none::<L>(), changes: changes.clone(), labels: PhantomData })
    }

    /// Counts one duration.
    pub fn observe(&self, labels: L, seconds: f64) {
        self.series(labels).observe(seconds);
        self.changes.one_more();
    }

    fn series(&self, labels: L) -> &prometheus::Histogram {
        self.written.series(labels, |values| self.family.with_label_values(values))
    }
}
