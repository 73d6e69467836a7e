package clients;

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Sends one trace through the OpenTelemetry SDK: {@code grpc HOST:PORT | http URL [gzip]}; prints what must come back. */
public final class Otlp {
  private static SpanExporter exporter(String transport, String target, String compression) {
    if (transport.equals("grpc")) {
      return OtlpGrpcSpanExporter.builder().setEndpoint("http://" + target).setCompression(compression).build();
    }
    return OtlpHttpSpanExporter.builder().setEndpoint(target).setCompression(compression).build();
  }

  public static void main(String[] arguments) {
    String compression = arguments.length > 2 ? arguments[2] : "none";
    Resource resource =
        Resource.create(
            Attributes.of(AttributeKey.stringKey("service.name"), "java-shop", AttributeKey.longKey("host.cores"), 2L));
    SdkTracerProvider provider =
        SdkTracerProvider.builder()
            .setResource(resource)
            .addSpanProcessor(
                BatchSpanProcessor.builder(exporter(arguments[0], arguments[1], compression)).build())
            .build();
    Tracer tracer = provider.tracerBuilder("e2e.java").setInstrumentationVersion("1.2.3").build();
    Span root = tracer.spanBuilder("checkout").setSpanKind(SpanKind.SERVER).startSpan();
    root.setAttribute("text", "grüße");
    root.setAttribute("flag", true);
    root.setAttribute("count", 7);
    root.setAttribute("share", 0.5);
    root.setAttribute(AttributeKey.stringArrayKey("list"), List.of("a", "b"));
    root.setAttribute("empty", "");
    SpanContext linked =
        SpanContext.create(
            "1234567890abcdef1234567890abcdef", "1234567890abcdef", TraceFlags.getSampled(), TraceState.getDefault());
    Span child =
        tracer
            .spanBuilder("pay")
            .setSpanKind(SpanKind.CLIENT)
            .setParent(Context.root().with(root))
            .addLink(linked, Attributes.of(AttributeKey.stringKey("why"), "retry"))
            .startSpan();
    child.addEvent("declined", Attributes.of(AttributeKey.longKey("code"), 51L));
    child.setStatus(StatusCode.ERROR, "card declined");
    child.end();
    root.end();
    CompletableResultCode done = provider.shutdown().join(20, TimeUnit.SECONDS);
    if (!done.isSuccess()) {
      throw new IllegalStateException("spans were not exported");
    }
    System.out.printf(
        "{\"trace_id\":\"%s\",\"service\":\"java-shop\",\"scope\":\"e2e.java\",\"root\":\"%s\",\"child\":\"%s\"}%n",
        root.getSpanContext().getTraceId(), root.getSpanContext().getSpanId(), child.getSpanContext().getSpanId());
  }
}
