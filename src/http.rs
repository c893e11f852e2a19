//! The two HTTP services: the API for Argo's agent, and probes and metrics for the operators.
//!
//! Of the actors, only [`SupervisorHandle`] is visible here.

use std::sync::Arc;

use actix_web::{HttpResponse, guard, http::header, web};

use crate::{
    actors::SupervisorHandle,
    metrics::{Metrics, labels::Route},
};

pub mod auth;
pub mod execute;
pub mod ops;
pub mod reread;

use auth::Token;
use reread::Reread;

/// The path that Argo's agent posts to.
pub const EXECUTE_PATH: &str = "/api/v1/template.execute";

/// What the handlers of both services work with; the application's data (`web::Data`).
#[derive(Clone)]
pub struct AppState {
    pub supervisor: SupervisorHandle,
    pub token: Arc<Token>,
    /// Patterns of the roles that tasks may name.
    pub allowed_roles: Arc<[String]>,
    /// Tasks that were read before.
    pub reread: Arc<Reread>,
    pub metrics: Arc<Metrics>,
}

impl AppState {
    /// Counts an answer by the route that gives it, never by the request's path: anybody can invent paths. Every handler
    /// ends with this, so that no middleware is in the way of each answer.
    fn counted(&self, route: Route, answer: HttpResponse) -> HttpResponse {
        self.metrics.http_answered(route, answer.status().as_u16());
        answer
    }
}

/// The routes of the API; the application's data must hold an [`AppState`].
pub fn api(routes: &mut web::ServiceConfig) {
    routes
        .service(
            web::resource(EXECUTE_PATH)
                .route(web::route().guard(guard::Post()).to(execute::execute))
                // Never 404 on this path: it makes the agent drop the plugin for good.
                .default_service(web::to(post_only)),
        )
        .route("/healthz", web::get().to(ops::healthz))
        .default_service(web::to(not_found));
}

/// The routes for operators; the application's data must hold an [`AppState`].
pub fn ops(routes: &mut web::ServiceConfig) {
    routes
        .route("/metrics", web::get().to(ops::metrics))
        .route("/healthz", web::get().to(ops::healthz))
        .route("/readyz", web::get().to(ops::readyz))
        .default_service(web::to(not_found));
}

async fn post_only(state: web::Data<AppState>) -> HttpResponse {
    let answer = HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, "POST"))
        .content_type("text/plain; charset=utf-8")
        .body("template.execute takes POST only");
    state.counted(Route::Execute, answer)
}

async fn not_found(state: web::Data<AppState>) -> HttpResponse {
    state.counted(Route::Other, HttpResponse::NotFound().finish())
}
