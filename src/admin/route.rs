//! The routes. Each asks the console one thing and answers with its view.

use std::{future::Future, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, Resource, guard,
    rt::time::timeout,
    web::{self, Data, Path, Payload, ServiceConfig},
};
use actors::port::{Console, OperateError};
use serde::Serialize;
use serde_json::json;

use super::{answer::ApiError, order};

/// The console, as handlers get it.
pub(super) type Desk = Data<Arc<dyn Console>>;

type Answer = Result<HttpResponse, ApiError>;

/// How long the node may take to answer; orders are in force within 100 ms.
const CONSOLE_MS_MAX: u64 = 10_000;

/// What `GET /` tells: every route, its methods, what it is for.
const ROUTES: &[(&str, &str, &str)] = &[
    ("/v1/status", "GET", "the node as a whole"),
    ("/v1/peers", "GET", "every peer"),
    ("/v1/peers/{id}", "GET, PATCH, DELETE", "one peer; change its cap, floor, weight, class; disconnect it"),
    ("/v1/peers/{id}/explain", "GET", "why it has the rates it has"),
    ("/v1/transfers", "GET", "every transfer"),
    ("/v1/transfers/{id}", "PATCH", "change its cap, floor, weight, class"),
    ("/v1/limits", "GET, PATCH", "the totals"),
    ("/v1/groups", "GET", "every group"),
    ("/v1/groups/{name}", "PATCH", "change its cap, floor, weight, class"),
    ("/v1/drain", "POST", "take no more sessions, let transfers end, stop"),
];

/// Puts every route into the application.
pub(super) fn configure(app: &mut ServiceConfig) {
    app.service(at("/", "GET, HEAD").route(read().to(index)))
        .service(at("/v1/status", "GET, HEAD").route(read().to(status)))
        .service(at("/v1/peers", "GET, HEAD").route(read().to(peers)))
        .service(
            at("/v1/peers/{id}", "GET, HEAD, PATCH, DELETE")
                .route(read().to(peer))
                .route(web::patch().to(set_peer))
                .route(web::delete().to(disconnect)),
        )
        .service(at("/v1/peers/{id}/explain", "GET, HEAD").route(read().to(explain)))
        .service(at("/v1/transfers", "GET, HEAD").route(read().to(transfers)))
        .service(at("/v1/transfers/{id}", "PATCH").route(web::patch().to(set_transfer)))
        .service(at("/v1/limits", "GET, HEAD, PATCH").route(read().to(limits)).route(web::patch().to(set_limits)))
        .service(at("/v1/groups", "GET, HEAD").route(read().to(groups)))
        .service(at("/v1/groups/{name}", "PATCH").route(web::patch().to(set_group)))
        .service(at("/v1/drain", "POST").route(web::post().to(drain)))
        .default_service(web::to(nowhere));
}

/// A resource that says which methods it takes.
fn at(path: &'static str, allow: &'static str) -> Resource {
    let refuse = move |request: HttpRequest| async move {
        Answer::Err(ApiError::method(request.method().as_str(), request.path(), allow))
    };
    web::resource(path).default_service(web::to(refuse))
}

/// GET, and HEAD, whose body actix leaves out.
fn read() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

async fn nowhere(request: HttpRequest) -> Answer {
    Err(ApiError::not_found(format!("nothing is at {}; GET / lists what there is", request.path())))
}

async fn index() -> HttpResponse {
    let routes: Vec<_> = ROUTES
        .iter()
        .map(|(path, methods, purpose)| json!({ "path": path, "methods": methods, "purpose": purpose }))
        .collect();
    let note = "rates are bytes per second; null is unlimited, and in an order takes back what was set; errors are {\"error\": {\"code\", \"message\"}}";
    HttpResponse::Ok().json(json!({ "name": "evenkeel", "api": "v1", "note": note, "routes": routes }))
}

/// A question that always has an answer.
async fn show<T: Serialize>(answer: impl Future<Output = T>) -> Answer {
    let answer = timeout(Duration::from_millis(CONSOLE_MS_MAX), answer).await.map_err(|_| ApiError::no_answer())?;
    Ok(HttpResponse::Ok().json(answer))
}

/// A question or an order that may be refused.
async fn ask<T: Serialize>(answer: impl Future<Output = Result<T, OperateError>>) -> Answer {
    let answer = timeout(Duration::from_millis(CONSOLE_MS_MAX), answer).await.map_err(|_| ApiError::no_answer())?;
    Ok(HttpResponse::Ok().json(answer?))
}

async fn status(desk: Desk) -> Answer {
    show(desk.status()).await
}

async fn peers(desk: Desk) -> Answer {
    show(desk.peers()).await
}

async fn peer(desk: Desk, id: Path<String>) -> Answer {
    ask(desk.peer(id.into_inner())).await
}

async fn explain(desk: Desk, id: Path<String>) -> Answer {
    ask(desk.explain(id.into_inner())).await
}

async fn transfers(desk: Desk) -> Answer {
    show(desk.transfers()).await
}

async fn limits(desk: Desk) -> Answer {
    show(desk.limits()).await
}

async fn groups(desk: Desk) -> Answer {
    show(desk.groups()).await
}

async fn set_limits(desk: Desk, request: HttpRequest, payload: Payload) -> Answer {
    ask(desk.set_limits(order::read(&request, payload).await?)).await
}

async fn set_peer(desk: Desk, id: Path<String>, request: HttpRequest, payload: Payload) -> Answer {
    ask(desk.set_peer(id.into_inner(), order::read(&request, payload).await?)).await
}

async fn set_transfer(desk: Desk, id: Path<String>, request: HttpRequest, payload: Payload) -> Answer {
    ask(desk.set_transfer(id.into_inner(), order::read(&request, payload).await?)).await
}

async fn set_group(desk: Desk, name: Path<String>, request: HttpRequest, payload: Payload) -> Answer {
    ask(desk.set_group(name.into_inner(), order::read(&request, payload).await?)).await
}

async fn disconnect(desk: Desk, id: Path<String>) -> Answer {
    ask(desk.disconnect(id.into_inner())).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn drain(desk: Desk) -> Answer {
    show(desk.drain()).await?;
    Ok(HttpResponse::Accepted().json(json!({ "state": "draining" })))
}
