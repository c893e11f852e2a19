//! The two HTTP services: the API for Argo's agent, and probes and metrics for the operators.
//!
//! Of the actors, only [`SupervisorHandle`] is visible here.

use std::sync::Arc;

use actix_web::{
    Error, HttpResponse, Resource,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    guard,
    http::header,
    middleware::Next,
    web,
};

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

/// The routes of the API; the application's data must hold an [`AppState`].
pub fn api(routes: &mut web::ServiceConfig) {
    routes
        .service(
            web::resource(EXECUTE_PATH)
                .app_data(Route::Execute)
                .route(web::route().guard(guard::Post()).to(execute::execute))
                // Never 404 on this path: it makes the agent drop the plugin for good.
                .default_service(web::to(post_only)),
        )
        .service(get("/healthz", Route::Health).to(ops::healthz));
}

/// The routes for operators; the application's data must hold an [`AppState`].
pub fn ops(routes: &mut web::ServiceConfig) {
    routes
        .service(get("/metrics", Route::Metrics).to(ops::metrics))
        .service(get("/healthz", Route::Health).to(ops::healthz))
        .service(get("/readyz", Route::Health).to(ops::readyz));
}

/// A resource that is only read.
fn get(path: &str, counted_as: Route) -> Resource {
    web::resource(path).guard(guard::Get()).app_data(counted_as)
}

/// Counts every request by the route that took it, never by its path: anybody can invent paths.
pub async fn count<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let answered = next.call(request).await?;
    let request = answered.request();
    if let Some(state) = request.app_data::<web::Data<AppState>>() {
        let route = request.app_data::<Route>().copied().unwrap_or(Route::Other);
        state.metrics.http_answered(route, answered.status().as_u16());
    }
    Ok(answered)
}

async fn post_only() -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, "POST"))
        .content_type("text/plain; charset=utf-8")
        .body("template.execute takes POST only")
}
