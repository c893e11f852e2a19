//! Metrics, dashboards and alerts, with the real parts: the binary, Prometheus, promtool, Alertmanager.

mod catalogue;
mod linger;
