"""Sends spans through Zipkin's clients for Python and prints what the server must give back where that is not fixed.

zipkin.py py_zipkin V1_JSON|V2_JSON|V2_PROTO3 URL TRACE_ID
zipkin.py opentelemetry v1|v2 URL
"""

import json
import sys

import requests


def py_zipkin(encoding, url, trace_id):
    from py_zipkin import Encoding, Kind
    from py_zipkin.encoding import Endpoint, Span, get_encoder

    types = {"V2_PROTO3": "application/x-protobuf"}
    front = Endpoint("front", "10.0.0.1", None, 8080)
    back = Endpoint("back", None, "2001:db8::c001", 9000)
    root, child = "1111111111111111", "2222222222222222"
    # Numbers that a float holds exactly: the encoders round in different ways.
    start = 1700000000.5
    spans = [
        Span(
            trace_id, "get /", parent_id=None, span_id=root, kind=Kind.CLIENT, timestamp=start, duration=0.5,
            local_endpoint=front, remote_endpoint=back, annotations={"cache miss": start + 0.25},
            tags={"http.path": "/", "text": "grüße", "empty": ""},
        ),
        Span(
            trace_id, "get /", parent_id=None, span_id=root, kind=Kind.SERVER, timestamp=start + 0.125, duration=0.25,
            local_endpoint=back, remote_endpoint=front, shared=True,
        ),
        Span(
            trace_id, "query", parent_id=root, span_id=child, kind=Kind.LOCAL, timestamp=start + 0.1875,
            duration=0.0625, local_endpoint=back, tags={"error": "timed out"},
        ),
    ]
    encoder = get_encoder(Encoding[encoding])
    body = encoder.encode_queue([encoder.encode_span(span) for span in spans])
    headers = {"Content-Type": types.get(encoding, "application/json")}
    answer = requests.post(url, data=body, headers=headers, timeout=20)
    assert (answer.status_code, answer.text) == (202, ""), (answer.status_code, answer.text)


def opentelemetry(version, url):
    from opentelemetry import trace
    from opentelemetry.exporter.zipkin.json import Protocol, ZipkinExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode

    exporter = ZipkinExporter(Protocol[version.upper()], url, "10.0.0.1", None, 8080, 256)
    provider = TracerProvider(resource=Resource({"service.name": "python-shop", "host.name": "shop-1"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("e2e.python", "1.2.3")
    with tracer.start_as_current_span("checkout", kind=SpanKind.SERVER) as root:
        root.set_attributes({"text": "grüße", "flag": True, "count": 7, "list": ["a", "b"]})
        with tracer.start_as_current_span("pay", kind=SpanKind.CLIENT) as child:
            child.add_event("declined", {"code": 51})
            child.set_status(Status(StatusCode.ERROR, "card declined"))
    provider.shutdown()
    print(
        json.dumps(
            {
                "trace_id": trace.format_trace_id(root.get_span_context().trace_id),
                "root": trace.format_span_id(root.get_span_context().span_id),
                "child": trace.format_span_id(child.get_span_context().span_id),
                "root_start": root.start_time,
                "root_end": root.end_time,
                "child_start": child.start_time,
                "child_end": child.end_time,
                "event": child.events[0].timestamp,
            }
        )
    )


if sys.argv[1] == "py_zipkin":
    py_zipkin(*sys.argv[2:])
else:
    opentelemetry(*sys.argv[2:])
