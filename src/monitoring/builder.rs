//! A dashboard: rows of panels on Grafana's grid of 24 columns, and what all three share.

use serde_json::{Value, json};

use super::panel::{Panel, datasource};
use crate::metrics::catalogue;

/// Grafana's grid.
const COLUMNS: u32 = 24;

/// A dashboard in the making.
pub struct DashboardBuilder {
    uid: &'static str,
    title: &'static str,
    description: &'static str,
    panels: Vec<Value>,
    x: u32,
    y: u32,
    line: u32,
}

impl DashboardBuilder {
    /// An empty dashboard. Grafana tells dashboards apart by `uid`, so it never changes.
    pub fn new(uid: &'static str, title: &'static str, description: &'static str) -> Self {
        Self { uid, title, description, panels: Vec::new(), x: 0, y: 0, line: 0 }
    }

    fn next_id(&self) -> u32 {
        u32::try_from(self.panels.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn break_line(&mut self) {
        self.y += self.line;
        (self.x, self.line) = (0, 0);
    }

    /// A heading and the panels below it, from left to right.
    pub fn row(mut self, title: &'static str, panels: Vec<Panel>) -> Self {
        self.break_line();
        self.panels.push(json!({
            "id": self.next_id(),
            "type": "row",
            "title": title,
            "collapsed": false,
            "gridPos": {"x": 0, "y": self.y, "w": COLUMNS, "h": 1},
            "panels": [],
        }));
        self.y += 1;
        for panel in panels {
            if self.x + panel.width > COLUMNS {
                self.break_line();
            }
            self.panels.push(panel.json(self.next_id(), self.x, self.y));
            self.x += panel.width;
            self.line = self.line.max(panel.height());
        }
        self
    }

    /// Grafana's JSON of it.
    pub fn json(self) -> Value {
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["awf-aws"],
            "schemaVersion": 39,
            "version": 1,
            "editable": false,
            "graphTooltip": 1,
            "timezone": "",
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "timepicker": {},
            "links": [{
                "asDropdown": true, "icon": "external link", "includeVars": true, "keepTime": true,
                "tags": ["awf-aws"], "targetBlank": false, "title": "awf-aws", "tooltip": "", "type": "dashboards", "url": "",
            }, {
                "asDropdown": true, "icon": "external link", "includeVars": true, "keepTime": true,
                "tags": ["argo-workflows"], "targetBlank": false, "title": "Argo Workflows", "tooltip": "",
                "type": "dashboards", "url": "",
            }],
            "annotations": {"list": [{
                "datasource": datasource(),
                "enable": true,
                "expr": "ALERTS{alertname=~\"AwfAws.+\", alertstate=\"firing\", severity!=\"info\", namespace=~\"$namespace|\"}",
                "iconColor": "red",
                "name": "Alerts",
                "titleFormat": "{{alertname}}",
            }]},
            "templating": {"list": variables()},
            "panels": self.panels,
        })
    }
}

/// "All" is `.+`: written out, it would be a pattern of thousands of dead sidecars.
fn variables() -> Vec<Value> {
    let build = catalogue::BUILD.full_name();
    let query = |name: &str, label: &str, selector: String, all: &str, hide: u8| {
        let query = format!("label_values({build}{selector}, {name})");
        json!({
            "name": name,
            "label": label,
            "type": "query",
            "datasource": datasource(),
            "definition": query,
            "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "allValue": all,
            "current": {"selected": true, "text": "All", "value": "$__all"},
            "hide": hide,
            "includeAll": true,
            "multi": true,
            "options": [],
            "refresh": 2,
            "regex": "",
            "sort": 1,
        })
    };
    let within = |labels: &[&str]| {
        let matchers: Vec<String> = labels.iter().map(|label| format!("{label}=~\"${label}\"")).collect();
        format!("{{{}}}", matchers.join(", "))
    };
    vec![
        json!({
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
            "current": {}, "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "",
        }),
        // One cluster alone has no such label.
        query("cluster", "Cluster", String::new(), ".*", 2),
        query("namespace", "Namespace", within(&["cluster"]), ".+", 0),
        query("job", "Job", within(&["cluster", "namespace"]), ".+", 0),
        query("instance", "Instance", within(&["cluster", "namespace", "job"]), ".+", 0),
    ]
}
