package clients;

import io.jaegertracing.internal.JaegerSpan;
import io.jaegertracing.internal.JaegerTracer;
import io.jaegertracing.internal.reporters.RemoteReporter;
import io.jaegertracing.internal.samplers.ConstSampler;
import io.jaegertracing.spi.Sender;
import io.jaegertracing.thrift.internal.senders.HttpSender;
import io.jaegertracing.thrift.internal.senders.UdpSender;
import io.opentracing.References;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Sends one trace through Jaeger's own client and prints the ids that it chose: {@code udp HOST PORT} (thrift compact) or
 * {@code http URL} (thrift binary).
 */
public final class Jaeger {
  private static final long START = 1700000000000001L;

  private static Sender sender(String[] args) throws Exception {
    if (args[0].equals("udp")) {
      return new UdpSender(args[1], Integer.parseInt(args[2]), 0);
    }
    return new HttpSender.Builder(args[1]).build();
  }

  private static void finish(JaegerTracer tracer, JaegerSpan root, JaegerSpan child, JaegerSpan other) {
    Map<String, Object> fields = new LinkedHashMap<>();
    fields.put("event", "declined");
    fields.put("code", 51);
    fields.put("retry", false);
    child.log(START + 1500, fields);
    child.finish(START + 2000);
    root.finish(START + 3000);
    tracer.close();
    System.out.printf(
        "{\"trace_id\":\"%s\",\"root\":\"%016x\",\"child\":\"%016x\",\"other_trace\":\"%s\",\"other\":\"%016x\"}%n",
        root.context().getTraceId(),
        root.context().getSpanId(),
        child.context().getSpanId(),
        other.context().getTraceId(),
        other.context().getSpanId());
  }

  public static void main(String[] args) throws Exception {
    RemoteReporter reporter = new RemoteReporter.Builder().withSender(sender(args)).build();
    JaegerTracer tracer =
        new JaegerTracer.Builder("java-shop")
            .withSampler(new ConstSampler(true))
            .withReporter(reporter)
            .withTraceId128Bit()
            .withTag("host.cores", 2)
            .build();
    JaegerSpan root =
        tracer
            .buildSpan("checkout")
            .withStartTimestamp(START)
            .withTag("span.kind", "server")
            .withTag("text", "grüße")
            .withTag("flag", true)
            .withTag("count", 7)
            .withTag("negative", -(1L << 40))
            .withTag("share", 0.5)
            .withTag("empty", "")
            .start();
    JaegerSpan other = tracer.buildSpan("other").withStartTimestamp(START).start();
    JaegerSpan child =
        tracer
            .buildSpan("pay")
            .withStartTimestamp(START + 1000)
            .addReference(References.CHILD_OF, root.context())
            .addReference(References.FOLLOWS_FROM, other.context())
            .withTag("span.kind", "client")
            .withTag("error", true)
            .start();
    finish(tracer, root, child, other);
  }

  private Jaeger() {}
}
