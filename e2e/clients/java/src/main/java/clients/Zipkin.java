package clients;

import java.util.List;
import zipkin2.Endpoint;
import zipkin2.Span;
import zipkin2.codec.SpanBytesEncoder;
import zipkin2.reporter.AsyncReporter;
import zipkin2.reporter.BytesEncoder;
import zipkin2.reporter.Encoding;
import zipkin2.reporter.InMemoryReporterMetrics;
import zipkin2.reporter.urlconnection.URLConnectionSender;

/**
 * Sends spans with every feature of Zipkin's model through zipkin-reporter: {@code JSON_V1 | THRIFT | JSON_V2 | PROTO3
 * URL TRACE_ID}. The spans are the same in every format; only the trace's id differs.
 */
public final class Zipkin {
  /** The reporter knows the encoders of version 2; the older ones are those of Zipkin's server. */
  private record Encoder(SpanBytesEncoder encoder, Encoding encoding) implements BytesEncoder<Span> {
    @Override
    public int sizeInBytes(Span span) {
      return encoder.sizeInBytes(span);
    }

    @Override
    public byte[] encode(Span span) {
      return encoder.encode(span);
    }
  }

  private static List<Span> spans(String traceId) {
    Endpoint front = Endpoint.newBuilder().serviceName("front").ip("10.0.0.1").port(8080).build();
    Endpoint back = Endpoint.newBuilder().serviceName("back").ip("2001:db8::c001").port(9000).build();
    long start = 1700000000500000L;
    Span client =
        Span.newBuilder()
            .traceId(traceId)
            .id("1111111111111111")
            .name("get /")
            .kind(Span.Kind.CLIENT)
            .timestamp(start)
            .duration(500000)
            .localEndpoint(front)
            .remoteEndpoint(back)
            .addAnnotation(start + 250000, "cache miss")
            .putTag("http.path", "/")
            .putTag("text", "grüße")
            .putTag("empty", "")
            .debug(true)
            .build();
    Span server =
        Span.newBuilder()
            .traceId(traceId)
            .id("1111111111111111")
            .name("get /")
            .kind(Span.Kind.SERVER)
            .shared(true)
            .timestamp(start + 125000)
            .duration(250000)
            .localEndpoint(back)
            .remoteEndpoint(front)
            .build();
    Span local =
        Span.newBuilder()
            .traceId(traceId)
            .id("2222222222222222")
            .parentId("1111111111111111")
            .name("query")
            .timestamp(start + 187500)
            .duration(62500)
            .localEndpoint(back)
            .putTag("error", "timed out")
            .build();
    return List.of(client, server, local);
  }

  public static void main(String[] arguments) {
    SpanBytesEncoder encoder = SpanBytesEncoder.valueOf(arguments[0]);
    Encoding encoding =
        switch (encoder) {
          case JSON_V1, JSON_V2 -> Encoding.JSON;
          case THRIFT -> Encoding.THRIFT;
          case PROTO3 -> Encoding.PROTO3;
        };
    URLConnectionSender sender =
        URLConnectionSender.newBuilder().endpoint(arguments[1]).encoding(encoding).build();
    InMemoryReporterMetrics metrics = new InMemoryReporterMetrics();
    AsyncReporter<Span> reporter =
        AsyncReporter.builder(sender).metrics(metrics).build(new Encoder(encoder, encoding));
    spans(arguments[2]).forEach(reporter::report);
    reporter.flush();
    reporter.close();
    sender.close();
    if (metrics.spansDropped() > 0) {
      throw new IllegalStateException("spans were not sent: " + metrics.messagesDroppedByCause());
    }
  }
}
