//! One panel: what it shows, in which unit, with which colours.

use serde_json::{Value, json};

/// How a panel draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanelType {
    /// One number, of the end of the range.
    Stat,
    Lines,
    /// Areas on top of each other.
    Stacked,
    /// Counts of events, one bar for each interval.
    Bars,
    Table,
}

/// A panel of a dashboard.
pub struct Panel {
    pub title: &'static str,
    pub description: String,
    pub panel_type: PanelType,
    /// The id of one of Grafana's units.
    pub unit: &'static str,
    /// Of the grid's 24 columns.
    pub width: u32,
    /// Where colours change; from the first on the good one holds.
    pub thresholds: Vec<(Option<f64>, &'static str)>,
    queries: Vec<(String, &'static str)>,
    /// What a stat says when there is nothing.
    no_value: Option<&'static str>,
    /// The axis reaches at least so high: a flat zero is drawn at the bottom, not across a panel of 10,000 %.
    soft_max: Option<f64>,
}

impl Panel {
    /// A panel without queries. `unit` is the id of one of Grafana's units (`s`, `short`, `percentunit`, …).
    pub fn new(panel_type: PanelType, title: &'static str, unit: &'static str, description: impl Into<String>) -> Self {
        Self {
            title,
            description: description.into(),
            panel_type,
            unit,
            width: if panel_type == PanelType::Stat { 4 } else { 8 },
            thresholds: Vec::new(),
            queries: Vec::new(),
            no_value: None,
            soft_max: match unit {
                "percentunit" => Some(1.0),
                _ if panel_type == PanelType::Stat || panel_type == PanelType::Table => None,
                _ => Some(1.0),
            },
        }
    }

    /// One more query; the legend may name labels as `{{label}}`.
    pub fn query(mut self, expression: impl Into<String>, legend: &'static str) -> Self {
        self.queries.push((expression.into(), legend));
        self
    }

    /// Green below the first bound, then orange, then red.
    pub fn bounds(mut self, orange: f64, red: f64) -> Self {
        self.thresholds = vec![(None, "green"), (Some(orange), "orange"), (Some(red), "red")];
        self
    }

    /// So many of the 24 columns.
    pub fn wide(mut self, width: u32) -> Self {
        self.width = width;
        self
    }

    /// What a stat says when there is nothing.
    pub fn or_else(mut self, text: &'static str) -> Self {
        self.no_value = Some(text);
        self
    }

    /// How many grid rows it takes.
    pub fn height(&self) -> u32 {
        if self.panel_type == PanelType::Stat { 4 } else { 8 }
    }

    /// Grafana's JSON, at a place of the grid.
    pub fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let instant = matches!(self.panel_type, PanelType::Stat | PanelType::Table);
        let targets: Vec<Value> = self
            .queries
            .iter()
            .zip('A'..)
            .map(|((expression, legend), letter)| {
                json!({
                    "datasource": datasource(),
                    "editorMode": "code",
                    "expr": expression,
                    "format": if self.panel_type == PanelType::Table { "table" } else { "time_series" },
                    "instant": instant,
                    "range": !instant,
                    "legendFormat": legend,
                    "refId": letter.to_string(),
                })
            })
            .collect();
        json!({
            "id": id,
            "type": self.kind(),
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height()},
            "interval": "30s",
            "targets": targets,
            "fieldConfig": {"defaults": self.defaults(), "overrides": if self.panel_type == PanelType::Stat { Vec::new() } else { colours() }},
            "options": self.options(),
        })
    }

    fn kind(&self) -> &'static str {
        match self.panel_type {
            PanelType::Stat => "stat",
            PanelType::Table => "table",
            PanelType::Lines | PanelType::Stacked | PanelType::Bars => "timeseries",
        }
    }

    fn defaults(&self) -> Value {
        let plain = vec![(None, "blue")];
        let steps: Vec<Value> = if self.thresholds.is_empty() { &plain } else { &self.thresholds }
            .iter()
            .map(|(value, colour)| json!({"color": colour, "value": value}))
            .collect();
        let mut defaults = json!({
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
        });
        if self.unit == "percentunit" || self.panel_type != PanelType::Stat {
            defaults["min"] = json!(0);
        }
        if let Some(text) = self.no_value {
            defaults["noValue"] = json!(text);
        }
        match self.panel_type {
            PanelType::Stat => defaults["color"] = json!({"mode": "thresholds"}),
            PanelType::Table => {}
            PanelType::Lines | PanelType::Stacked | PanelType::Bars => {
                defaults["color"] = json!({"mode": "palette-classic"});
                defaults["custom"] = self.drawing();
            }
        }
        defaults
    }

    fn drawing(&self) -> Value {
        let bars = self.panel_type == PanelType::Bars;
        let stacked = self.panel_type != PanelType::Lines;
        let mut drawing = json!({
            "drawStyle": if bars { "bars" } else { "line" },
            "fillOpacity": if bars { 80 } else if stacked { 60 } else { 8 },
            // The line of an area that is nothing would be drawn in its colour on top of the others.
            "lineWidth": u8::from(bars || !stacked),
            "showPoints": "never",
            "spanNulls": false,
            "stacking": {"group": "A", "mode": if stacked { "normal" } else { "none" }},
            "thresholdsStyle": {"mode": if self.thresholds.is_empty() { "off" } else { "line" }},
        });
        if let Some(max) = self.soft_max {
            drawing["axisSoftMax"] = json!(max);
        }
        drawing
    }

    fn options(&self) -> Value {
        match self.panel_type {
            PanelType::Stat => json!({
                "colorMode": if self.thresholds.is_empty() { "none" } else { "value" },
                "graphMode": "none",
                "justifyMode": "center",
                "orientation": "auto",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                "textMode": "value",
            }),
            PanelType::Table => json!({"cellHeight": "sm", "showHeader": true}),
            PanelType::Lines | PanelType::Stacked | PanelType::Bars => json!({
                "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
        }
    }
}

/// The data source is the dashboard's variable: nobody's uid is built in.
pub fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// What a word means has one colour everywhere.
fn colours() -> Vec<Value> {
    const COLOURS: [(&str, &[&str]); 6] = [
        ("green", &["Succeeded", "succeeded", "ok", "started", "given"]),
        ("red", &["Failed", "failed", "error", "access_denied", "credentials", "not given", "restarts"]),
        ("orange", &["Stopped", "Stopping", "throttled", "limit_exceeded", "warn", "invalid"]),
        ("yellow", &["CompletedWithFailures", "timeout", "outcome_unknown"]),
        ("blue", &["Executing", "running", "info", "found again"]),
        ("purple", &["Unknown", "other"]),
    ];
    let of_words = |(colour, words): &(&str, &[&str])| {
        json!({
            "matcher": {"id": "byRegexp", "options": format!("/^({})$/", words.join("|"))},
            "properties": [{"id": "color", "value": {"fixedColor": colour, "mode": "fixed"}}],
        })
    };
    COLOURS.iter().map(of_words).collect()
}
