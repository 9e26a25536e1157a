//! The OpenAPI description, made from the table of routes and from the types
//! that are sent.

use std::sync::OnceLock;

use axum::http::Method;
use utoipa::ToSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItemBuilder, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{
    ArrayBuilder, ComponentsBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder,
};

use super::call::{Answer, answer};
use super::checkpoint::Checkpoint;
use super::encoding::JSON;
use super::have::Missing;
use super::info::Info;
use super::problem::{PROBLEM_JSON, Problem, ProblemJson};
use super::route::{Content, Id, Kind, Needs, Parameter, Route, Shape};
use crate::sync::wire;
use crate::view::counts::Counts;
use crate::view::erasure::{ErasedJson, ErasureJson, PlanJson};
use crate::view::fork::ForkJson;
use crate::view::id::MIN_DIGITS;
use crate::view::imported::ImportedJson;
use crate::view::record::{AllJson, EntryJson, ReceiptJson};
use crate::view::thing::ThingJson;

/// The name of the way to show a token.
const TOKEN: &str = "token";

/// Problems that any route may answer, with what they mean.
const ALWAYS: [u16; 2] = [500, 503];

/// Problems of routes that need a token.
const WITH_TOKEN: [u16; 2] = [401, 429];

/// The description of all `routes`, as it is sent. It is made once.
pub(crate) fn answer_with<R: Iterator<Item = &'static Route>>(routes: impl FnOnce() -> R) -> Answer {
    static TEXT: OnceLock<Option<String>> = OnceLock::new();
    match TEXT.get_or_init(|| describe(routes()).to_json().ok()) {
        Some(text) => Ok(answer(JSON, text.as_str())),
        None => Err(Problem::unexpected("the description has no JSON")),
    }
}

fn describe(routes: impl Iterator<Item = &'static Route>) -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut by_path: Vec<(&str, PathItemBuilder)> = Vec::new();
    for route in routes {
        let method = if route.method == Method::POST { HttpMethod::Post } else { HttpMethod::Get };
        let item = match by_path.iter().position(|(path, _)| *path == route.path) {
            Some(at) => by_path.swap_remove(at).1,
            None => PathItemBuilder::new(),
        };
        by_path.push((route.path, item.operation(method, operation(route))));
    }
    for (path, item) in by_path {
        paths = paths.path(path, item.build());
    }
    let info = InfoBuilder::new()
        .title("ThingDB peer server")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Histories of things: read, written, exchanged between nodes."));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components().build())).build()
}

fn components() -> ComponentsBuilder {
    let components = ComponentsBuilder::new()
        .schema("EntryId", text(Some("^[0-9a-f]{64}$")))
        .security_scheme(TOKEN, SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()));
    let components = with::<EntryJson>(components);
    let components = with::<AllJson>(components);
    let components = with::<PlanJson>(components);
    let components = with::<ErasedJson>(components);
    let components = with::<ErasureJson>(components);
    let components = with::<ForkJson>(components);
    let components = with::<Counts>(components);
    let components = with::<ThingJson>(components);
    let components = with::<ReceiptJson>(components);
    let components = with::<ImportedJson>(components);
    let components = with::<Info>(components);
    let components = with::<Missing>(components);
    let components = with::<Checkpoint>(components);
    let components = with::<wire::State>(components);
    let components = with::<wire::Shown>(components);
    let components = with::<wire::Seen>(components);
    let components = with::<wire::PassedOn>(components);
    let components = with::<wire::Receipts>(components);
    let components = with::<wire::ReceiptsGiven>(components);
    let components = with::<wire::ChangedEntries>(components);
    let components = with::<wire::Grown>(components);
    let components = with::<wire::Received>(components);
    with::<ProblemJson>(components)
}

/// Adds a schema and those that it names.
fn with<T: ToSchema>(components: ComponentsBuilder) -> ComponentsBuilder {
    let mut named = Vec::new();
    T::schemas(&mut named);
    components.schema(T::name(), T::schema()).schemas_from_iter(named)
}

fn operation(route: &Route) -> OperationBuilder {
    let mut operation = OperationBuilder::new().operation_id(Some(route.name)).summary(Some(route.about));
    if let Some(id) = route.id {
        let schema = match id {
            Id::Thing => RefOr::T(Schema::Object(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .min_length(Some(1))
                    .max_length(Some(512))
                    .pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f]+$"))
                    .build(),
            )),
            Id::Ledger => text(Some("^[0-9a-f]{64}$")),
            Id::Entry => text(Some(&format!("^[0-9a-f]{{{MIN_DIGITS},64}}$"))),
        };
        let id = ParameterBuilder::new().name("id").parameter_in(ParameterIn::Path).required(Required::True);
        operation = operation.parameter(id.schema(Some(schema)));
    }
    for parameter in route.query {
        operation = operation.parameter(described(parameter, ParameterIn::Query));
    }
    // What HTTP itself defines is not described as a parameter.
    for parameter in route.headers.iter().filter(|parameter| parameter.name != "Accept") {
        operation = operation.parameter(described(parameter, ParameterIn::Header));
    }
    if !route.body.is_empty() {
        let mut body = RequestBodyBuilder::new().required(Some(Required::True));
        for content in route.body {
            body = body.content(content.0, ContentBuilder::new().schema(Some(schema(content.1))).build());
        }
        operation = operation.request_body(Some(body.build()));
    }
    for reply in route.answers {
        let mut response = ResponseBuilder::new().description(reply.about);
        for Content(media_type, shape) in reply.content {
            response = response.content(*media_type, ContentBuilder::new().schema(Some(schema(*shape))).build());
        }
        operation = operation.response(reply.status.to_string(), response);
    }
    for status in problems(route) {
        operation = operation.response(status.to_string(), problem(status));
    }
    let security = match route.needs {
        Needs::Nothing | Needs::Signature => SecurityRequirement::default(),
        Needs::Token => SecurityRequirement::new(TOKEN, Vec::<String>::new()),
        Needs::Scope(scope) => SecurityRequirement::new(TOKEN, [scope.as_str()]),
    };
    operation.security(security)
}

/// The statuses of all problems that a route may answer.
pub(crate) fn problems(route: &Route) -> Vec<u16> {
    let mut statuses = route.problems.to_vec();
    statuses.extend(ALWAYS);
    // A query that the route does not know.
    statuses.push(400);
    match route.needs {
        Needs::Nothing => {}
        Needs::Signature => statuses.push(429),
        Needs::Token | Needs::Scope(_) => statuses.extend(WITH_TOKEN),
    }
    if matches!(route.needs, Needs::Scope(_)) {
        statuses.push(403);
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn problem(status: u16) -> ResponseBuilder {
    let about = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut response = ResponseBuilder::new()
        .description(about.unwrap_or("Problem"))
        .content(PROBLEM_JSON, ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemJson::name()))).build());
    let header = match status {
        401 => Some("WWW-Authenticate"),
        429 | 503 => Some("Retry-After"),
        _ => None,
    };
    if let Some(name) = header {
        response = response.header(name, HeaderBuilder::new().schema(Some(text(None))).build());
    }
    response
}

fn described(parameter: &Parameter, place: ParameterIn) -> ParameterBuilder {
    let schema = match parameter.kind {
        Kind::Text => text(None),
        Kind::Number(most) => number(0, most),
        Kind::Count(most) => number(1, most),
        Kind::Flag => RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::Boolean).build())),
    };
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(parameter.about))
        .schema(Some(schema))
}

fn number(least: u64, most: u64) -> RefOr<Schema> {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(Some(most));
    RefOr::T(Schema::Object(number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64))).build()))
}

fn text(pattern: Option<&str>) -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).pattern(pattern).build()))
}

fn schema(shape: Shape) -> RefOr<Schema> {
    match shape {
        Shape::One(name) => RefOr::Ref(Ref::from_schema_name(name)),
        Shape::Many(name) => RefOr::T(Schema::Array(ArrayBuilder::new().items(Ref::from_schema_name(name)).build())),
        Shape::Text => text(None),
        Shape::Any => RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(SchemaType::AnyValue).build())),
        Shape::Bytes => {
            let bytes = ObjectBuilder::new().schema_type(Type::String);
            RefOr::T(Schema::Object(bytes.format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).build()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::server::routes;

    fn described() -> Value {
        serde_json::from_str(&describe(routes::all()).to_json().unwrap()).unwrap()
    }

    #[test]
    fn the_description_has_what_the_table_has_and_no_more() {
        let described = described();
        assert_eq!(described["openapi"], "3.1.0");
        let mut listed = BTreeSet::new();
        for (path, item) in described["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                listed.insert((path.clone(), method.to_uppercase()));
                let route =
                    routes::all().find(|route| route.path == path && route.method.as_str() == method.to_uppercase());
                let route = route.unwrap_or_else(|| panic!("{method} {path} is not in the table"));
                let answers: BTreeSet<String> = operation["responses"].as_object().unwrap().keys().cloned().collect();
                let wanted = route.answers.iter().map(|reply| reply.status).chain(problems(route));
                assert_eq!(answers, wanted.map(|status| status.to_string()).collect(), "{method} {path}");
                let scope = match route.needs {
                    Needs::Nothing | Needs::Signature => Value::Object(serde_json::Map::new()),
                    Needs::Token => serde_json::json!({"token": []}),
                    Needs::Scope(scope) => serde_json::json!({"token": [scope.as_str()]}),
                };
                assert_eq!(operation["security"], serde_json::json!([scope]), "{method} {path}");
            }
        }
        assert_eq!(listed.len(), routes::all().count());
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let described = described();
        let mut found = BTreeSet::new();
        references(&described, &mut found);
        assert!(found.len() >= 8, "{found:?}");
        for name in found {
            let path = name.strip_prefix('#').unwrap_or(&name);
            assert!(described.pointer(path).is_some(), "{name}");
        }
    }
}
