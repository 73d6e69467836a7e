"""Sends one trace through OpenTelemetry's Jaeger exporters for Python and prints the ids that it chose.

send_opentelemetry.py udp HOST PORT | thrift URL | grpc HOST:PORT
"""

import json
import os
import sys

# The exporter's messages are older than the compiled protobuf can read.
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

START = 1700000000000001000


def exporter(transport, target):
    if transport == "grpc":
        from opentelemetry.exporter.jaeger.proto.grpc import JaegerExporter

        return JaegerExporter(collector_endpoint=target[0], insecure=True)
    from opentelemetry.exporter.jaeger.thrift import JaegerExporter

    if transport == "udp":
        return JaegerExporter(agent_host_name=target[0], agent_port=int(target[1]))
    return JaegerExporter(collector_endpoint=target[0])


def main():
    transport, *target = sys.argv[1:]
    provider = TracerProvider(resource=Resource({"service.name": "otel-shop", "host.cores": 2}))
    provider.add_span_processor(SimpleSpanProcessor(exporter(transport, target)))
    tracer = provider.get_tracer("e2e.python", "1.2.3")
    state = TraceState([("vendor", "1")])
    linked = SpanContext(0x1234567890ABCDEF1234567890ABCDEF, 0x1234567890ABCDEF, False, TraceFlags(1), state)
    root = tracer.start_span("checkout", kind=SpanKind.SERVER, start_time=START)
    root.set_attributes({"text": "grüße", "flag": True, "count": 7, "share": 0.5, "list": ["a", "b"], "empty": ""})
    within = trace.set_span_in_context(root)
    child = tracer.start_span(
        "pay", within, kind=SpanKind.CLIENT, links=[Link(linked, {"why": "retry"})], start_time=START + 1000000
    )
    child.add_event("declined", {"code": 51}, timestamp=START + 1500000)
    child.set_status(Status(StatusCode.ERROR, "card declined"))
    child.end(START + 2000000)
    root.set_status(Status(StatusCode.OK))
    root.end(START + 3000000)
    provider.shutdown()
    context = root.get_span_context()
    print(
        json.dumps(
            {
                "trace_id": trace.format_trace_id(context.trace_id),
                "root": trace.format_span_id(context.span_id),
                "child": trace.format_span_id(child.get_span_context().span_id),
            }
        )
    )


main()
