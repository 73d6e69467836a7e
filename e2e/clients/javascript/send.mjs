// Sends one trace through the OpenTelemetry JavaScript SDK and prints what the server must give back.
//
// send.mjs grpc HOST:PORT | http URL (JSON) | proto URL (protobuf)   [gzip]

import { SpanKind, SpanStatusCode, context, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';

const packages = {
  grpc: '@opentelemetry/exporter-trace-otlp-grpc',
  http: '@opentelemetry/exporter-trace-otlp-http',
  proto: '@opentelemetry/exporter-trace-otlp-proto',
};
const [transport, target, compression] = process.argv.slice(2);
const { OTLPTraceExporter } = await import(packages[transport]);
const exporter = new OTLPTraceExporter({
  url: transport === 'grpc' ? `http://${target}` : target,
  compression: compression === 'gzip' ? 'gzip' : 'none',
});
const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ 'service.name': 'javascript-shop', 'host.cores': 2 }),
  spanProcessors: [new SimpleSpanProcessor(exporter)],
});
const tracer = provider.getTracer('e2e.javascript', '1.2.3');

const linked = { traceId: '1234567890abcdef1234567890abcdef', spanId: '1234567890abcdef', traceFlags: 1 };
const root = tracer.startSpan('checkout', { kind: SpanKind.SERVER });
root.setAttributes({ text: 'grüße', flag: true, count: 7, share: 0.5, list: ['a', 'b'], empty: '' });
const within = trace.setSpan(context.active(), root);
const links = [{ context: linked, attributes: { why: 'retry' } }];
const child = tracer.startSpan('pay', { kind: SpanKind.CLIENT, links }, within);
child.addEvent('declined', { code: 51 });
child.setStatus({ code: SpanStatusCode.ERROR, message: 'card declined' });
child.end();
root.end();
await provider.forceFlush();
await provider.shutdown();
console.log(
  JSON.stringify({
    trace_id: root.spanContext().traceId,
    service: 'javascript-shop',
    scope: 'e2e.javascript',
    root: root.spanContext().spanId,
    child: child.spanContext().spanId,
  }),
);
