"""Posts a Jaeger batch with one span over gRPC, a given number of bytes long, and prints the status that it is answered.

post_spans.py HOST:PORT BYTES
"""

import json
import sys

import grpc


def field(number, value):
    length = len(value)
    head = [number << 3 | 2]
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*head, length]) + value


def main():
    target, size = sys.argv[1], int(sys.argv[2])
    span = field(1, bytes([1] * 16)) + field(2, bytes([2] * 8)) + field(3, b"x" * size)
    request = field(1, field(1, span) + field(2, field(1, b"shop")))
    with grpc.insecure_channel(target) as channel:
        post = channel.unary_unary("/jaeger.api_v2.CollectorService/PostSpans")
        try:
            post(request, timeout=10)
            answer = {"code": "OK", "message": ""}
        except grpc.RpcError as error:
            answer = {"code": error.code().name, "message": error.details()}
    print(json.dumps(answer))


main()
