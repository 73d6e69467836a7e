"""Sends one trace through Uber's jaeger-client (thrift compact over UDP) and prints the ids that it chose.

send_jaeger.py HOST PORT   [64 bit ids: 64]
"""

import json
import sys
import time

import opentracing
from jaeger_client import Config

START = 1700000000.000001


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    config = Config(
        config={
            "sampler": {"type": "const", "param": 1},
            "local_agent": {"reporting_host": host, "reporting_port": port},
            "generate_128bit_trace_id": "64" not in sys.argv[3:],
            "tags": {"host.cores": 2},
        },
        service_name="python-shop",
        validate=True,
    )
    tracer = config.initialize_tracer()
    root = tracer.start_span("checkout", start_time=START, tags={"span.kind": "server", "text": "grüße"})
    root.set_tag("flag", True).set_tag("count", 7).set_tag("negative", -(2**40)).set_tag("share", 0.5)
    root.set_tag("empty", "").set_tag("again", 1).set_tag("again", 2)
    other = tracer.start_span("other", start_time=START)
    child = tracer.start_span(
        "pay",
        start_time=START + 0.001,
        references=[opentracing.child_of(root.context), opentracing.follows_from(other.context)],
        tags={"span.kind": "client", "error": True},
    )
    child.log_kv({"event": "declined", "code": 51, "retry": False}, timestamp=START + 0.0015)
    child.finish(finish_time=START + 0.002)
    root.finish(finish_time=START + 0.003)
    closed = tracer.close()
    while not closed.done():
        time.sleep(0.01)
    closed.result()
    print(
        json.dumps(
            {
                "trace_id": f"{root.trace_id:032x}",
                "root": f"{root.span_id:016x}",
                "child": f"{child.span_id:016x}",
                "other_trace": f"{other.trace_id:032x}",
                "other": f"{other.span_id:016x}",
            }
        )
    )


main()
