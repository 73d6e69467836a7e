"""Sends one trace through the OpenTelemetry Python SDK and prints what the server must give back.

send.py grpc HOST:PORT | http URL   [gzip]
"""

import json
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags


def exporter(transport, target, gzip):
    if transport == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(
            endpoint=target, insecure=True, compression=Compression.Gzip if gzip else Compression.NoCompression
        )
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=target, compression=Compression.Gzip if gzip else Compression.NoCompression)


def main():
    transport, target = sys.argv[1:3]
    provider = TracerProvider(resource=Resource.create({"service.name": "python-shop", "host.cores": 2}))
    provider.add_span_processor(SimpleSpanProcessor(exporter(transport, target, "gzip" in sys.argv[3:])))
    tracer = provider.get_tracer("e2e.python", "1.2.3")
    linked = SpanContext(0x1234567890ABCDEF1234567890ABCDEF, 0x1234567890ABCDEF, False, TraceFlags(1))
    with tracer.start_as_current_span("checkout", kind=SpanKind.SERVER) as root:
        root.set_attributes({"text": "grüße", "flag": True, "count": 7, "share": 0.5, "list": ["a", "b"], "empty": ""})
        with tracer.start_as_current_span("pay", kind=SpanKind.CLIENT, links=[Link(linked, {"why": "retry"})]) as child:
            child.add_event("declined", {"code": 51})
            child.set_status(Status(StatusCode.ERROR, "card declined"))
    provider.shutdown()
    context = root.get_span_context()
    print(
        json.dumps(
            {
                "trace_id": trace.format_trace_id(context.trace_id),
                "service": "python-shop",
                "scope": "e2e.python",
                "root": trace.format_span_id(context.span_id),
                "child": trace.format_span_id(child.get_span_context().span_id),
            }
        )
    )


main()
