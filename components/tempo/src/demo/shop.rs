//! A small shop: a storefront in front of cart, checkout, payment, inventory and mail, with a database, a cache and a queue.
//!
//! Pure: a random generator and a time give one request's spans. Children lie inside their parents; one payment in eight is
//! declined and makes the request an error.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanLinks},
};
use rand::{Rng as _, rngs::SmallRng};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    Storefront,
    Cart,
    Checkout,
    Payment,
    Inventory,
    Mail,
}

impl Service {
    pub(super) const ALL: [Service; 6] = [
        Service::Storefront,
        Service::Cart,
        Service::Checkout,
        Service::Payment,
        Service::Inventory,
        Service::Mail,
    ];

    fn name(self) -> &'static str {
        match self {
            Service::Storefront => "storefront",
            Service::Cart => "cart",
            Service::Checkout => "checkout",
            Service::Payment => "payment",
            Service::Inventory => "inventory",
            Service::Mail => "mail",
        }
    }

    fn language(self) -> &'static str {
        match self {
            Service::Storefront => "nodejs",
            Service::Cart | Service::Inventory => "go",
            Service::Checkout | Service::Payment => "java",
            Service::Mail => "python",
        }
    }

    pub(super) fn resource(self) -> Resource {
        let name = self.name();
        Resource::builder_empty()
            .with_service_name(name)
            .with_attributes([
                KeyValue::new("service.namespace", "shop"),
                KeyValue::new("service.version", "1.4.2"),
                KeyValue::new("deployment.environment.name", "demo"),
                KeyValue::new("k8s.namespace.name", "shop"),
                KeyValue::new("k8s.pod.name", format!("{name}-7d9f8b6c5-x2x9k")),
                KeyValue::new("telemetry.sdk.language", self.language()),
            ])
            .build()
    }
}

/// One request to the shop.
#[derive(Debug)]
pub(super) struct ShopRequest {
    pub(super) trace_id: TraceId,
    pub(super) name: &'static str,
    pub(super) spans: Vec<(Service, SpanData)>,
}

/// A span to be: what it does and what it calls.
struct Call {
    service: Service,
    name: &'static str,
    kind: SpanKind,
    /// Work of its own, half before and half after its children.
    micros: u64,
    attributes: Vec<KeyValue>,
    error: Option<&'static str>,
    children: Vec<Call>,
}

impl Call {
    fn new(service: Service, kind: SpanKind, name: &'static str, micros: u64) -> Call {
        Call { service, name, kind, micros, attributes: Vec::new(), error: None, children: Vec::new() }
    }

    fn with(mut self, key: &'static str, value: impl Into<opentelemetry::Value>) -> Call {
        self.attributes.push(KeyValue::new(key, value));
        self
    }

    fn calls(mut self, child: Call) -> Call {
        self.children.push(child);
        self
    }
}

/// One request that begins at `start`.
pub(super) fn request(random: &mut SmallRng, start: SystemTime) -> ShopRequest {
    let call = match random.random_range(0..4) {
        0 => browse(random),
        1 => add_to_cart(random),
        _ => check_out(random),
    };
    let name = call.name;
    let mut writer = Writer {
        trace_id: TraceId::from_bytes(random.random::<u128>().to_be_bytes()),
        random,
        spans: Vec::new(),
    };
    writer.write(call, start, SpanId::INVALID);
    ShopRequest { trace_id: writer.trace_id, name, spans: writer.spans }
}

fn page(random: &mut SmallRng, name: &'static str, method: &'static str, route: &'static str) -> Call {
    Call::new(Service::Storefront, SpanKind::Server, name, random.random_range(800..4_000))
        .with("http.request.method", method)
        .with("http.route", route)
        .with("http.response.status_code", 200)
        .with("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0")
        .with("enduser.id", format!("user-{}", random.random_range(1..500)))
}

/// A client span and the server span behind it.
fn rpc(random: &mut SmallRng, from: Service, to: Service, name: &'static str, work: Vec<Call>) -> Call {
    let mut server = Call::new(to, SpanKind::Server, name, random.random_range(300..2_500))
        .with("rpc.system", "grpc")
        .with("rpc.grpc.status_code", 0);
    server.children = work;
    Call::new(from, SpanKind::Client, name, random.random_range(150..900))
        .with("rpc.system", "grpc")
        .with("server.address", to.name())
        .with("server.port", 8080)
        .calls(server)
}

fn select(random: &mut SmallRng, service: Service, name: &'static str, query: &'static str) -> Call {
    Call::new(service, SpanKind::Client, name, random.random_range(400..9_000))
        .with("db.system.name", "postgresql")
        .with("db.namespace", "shop")
        .with("db.query.text", query)
        .with("db.response.returned_rows", random.random_range(1..40_i64))
}

fn browse(random: &mut SmallRng) -> Call {
    let query = select(
        random,
        Service::Inventory,
        "SELECT products",
        "SELECT id, name, price FROM products WHERE category = $1 LIMIT 40",
    );
    let list = rpc(random, Service::Storefront, Service::Inventory, "inventory.Products/List", vec![query]);
    page(random, "GET /products", "GET", "/products").calls(list)
}

fn add_to_cart(random: &mut SmallRng) -> Call {
    let cache = Call::new(Service::Cart, SpanKind::Client, "HSET", random.random_range(80..600))
        .with("db.system.name", "redis")
        .with("db.operation.name", "HSET");
    let add = rpc(random, Service::Storefront, Service::Cart, "cart.Cart/Add", vec![cache]);
    page(random, "POST /cart", "POST", "/cart").calls(add)
}

fn check_out(random: &mut SmallRng) -> Call {
    let cart = Call::new(Service::Cart, SpanKind::Client, "HGETALL", random.random_range(80..600))
        .with("db.system.name", "redis")
        .with("db.operation.name", "HGETALL");
    let cart = rpc(random, Service::Checkout, Service::Cart, "cart.Cart/Get", vec![cart]);
    let stock = select(
        random,
        Service::Inventory,
        "UPDATE stock",
        "UPDATE stock SET reserved = reserved + $1 WHERE product_id = $2 AND available >= $1",
    );
    let reserve = rpc(random, Service::Checkout, Service::Inventory, "inventory.Stock/Reserve", vec![stock]);

    let is_declined = random.random_range(0..8) == 0;
    let mut bank =
        Call::new(Service::Payment, SpanKind::Client, "POST", random.random_range(20_000..180_000))
            .with("http.request.method", "POST")
            .with("server.address", "bank.example.com")
            .with("url.full", "https://bank.example.com/v1/charges")
            .with("http.response.status_code", if is_declined { 402 } else { 200 });
    bank.error = is_declined.then_some("card declined");
    let mut pay = rpc(random, Service::Checkout, Service::Payment, "payment.Payments/Charge", vec![bank])
        .with("payment.amount", f64::from(random.random_range(500..30_000)) / 100.0)
        .with("payment.currency", "EUR");
    pay.error = is_declined.then_some("card declined");

    let mut order = rpc(random, Service::Storefront, Service::Checkout, "checkout.Orders/Place", Vec::new());
    if let Some(server) = order.children.first_mut() {
        server.children = vec![cart, reserve, pay];
        if !is_declined {
            let mail = Call::new(
                Service::Mail,
                SpanKind::Consumer,
                "process orders",
                random.random_range(2_000..30_000),
            )
            .with("messaging.system", "kafka")
            .with("messaging.destination.name", "orders");
            let publish = Call::new(
                Service::Checkout,
                SpanKind::Producer,
                "send orders",
                random.random_range(200..1_500),
            )
            .with("messaging.system", "kafka")
            .with("messaging.destination.name", "orders")
            .calls(mail);
            server.children.push(publish);
        }
        server.error = is_declined.then_some("payment failed");
    }
    order.error = is_declined.then_some("payment failed");
    let mut page = page(random, "POST /checkout", "POST", "/checkout").calls(order);
    page.error = is_declined.then_some("payment failed");
    page
}

/// Gives calls their ids and times.
struct Writer<'a> {
    trace_id: TraceId,
    random: &'a mut SmallRng,
    spans: Vec<(Service, SpanData)>,
}

impl Writer<'_> {
    /// Writes `call` and everything below it; returns when it ended.
    fn write(&mut self, call: Call, start: SystemTime, parent: SpanId) -> SystemTime {
        let Call { service, name, kind, micros, attributes, error, children } = call;
        let span_id = SpanId::from_bytes(self.random.random::<u64>().to_be_bytes());
        let half = Duration::from_micros(micros / 2);
        let mut now = start + half;
        for child in children {
            now = self.write(child, now, span_id);
        }
        let end = now + half;
        let mut events = SpanEvents::default();
        if let Some(message) = error {
            let attributes = vec![
                KeyValue::new("exception.type", "PaymentError"),
                KeyValue::new("exception.message", message),
            ];
            events.events.push(Event::new("exception", now, attributes, 0));
        }
        let context =
            SpanContext::new(self.trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::default());
        let span = SpanData {
            span_context: context,
            parent_span_id: parent,
            parent_span_is_remote: matches!(kind, SpanKind::Server | SpanKind::Consumer),
            span_kind: kind,
            name: name.into(),
            start_time: start,
            end_time: end,
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("shop").with_version("1.4.2").build(),
        };
        self.spans.push((service, span));
        end
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn every_span_but_one_has_its_parent_in_the_trace_and_lies_inside_it() {
        for seed in 0..50 {
            let request = request(&mut SmallRng::seed_from_u64(seed), SystemTime::UNIX_EPOCH);

            let spans: Vec<&SpanData> = request.spans.iter().map(|(_, span)| span).collect();
            let mut roots = 0;
            for span in &spans {
                if span.parent_span_id == SpanId::INVALID {
                    roots += 1;
                    continue;
                }
                let parent = spans.iter().find(|p| p.span_context.span_id() == span.parent_span_id);
                let parent = parent.unwrap_or_else(|| panic!("seed {seed}: {} has no parent", span.name));
                assert!(parent.start_time <= span.start_time && span.end_time <= parent.end_time);
            }
            assert_eq!(roots, 1, "seed {seed}");
        }
    }
}
