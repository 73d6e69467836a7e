// Sends spans through Zipkin's clients for JavaScript and prints what the server must give back.
//
// zipkin.mjs zipkin JSON_V1|JSON_V2 URL | opentelemetry URL

const [library, ...rest] = process.argv.slice(2);

async function zipkin(encoding, endpoint) {
  const { default: zipkin } = await import('zipkin');
  const { default: transport } = await import('zipkin-transport-http');
  const { Annotation, BatchRecorder, ExplicitContext, InetAddress, Tracer, jsonEncoder } = zipkin;
  const logger = new transport.HttpLogger({ endpoint, httpInterval: 50, jsonEncoder: jsonEncoder[encoding] });
  const answered = new Promise((resolve, reject) => {
    logger.on('success', resolve);
    logger.on('error', reject);
  });
  const tracer = new Tracer({
    ctxImpl: new ExplicitContext(),
    recorder: new BatchRecorder({ logger }),
    localServiceName: 'javascript-shop',
    traceId128Bit: true,
    defaultTags: { region: 'eu' },
  });
  const root = tracer.createRootId();
  const child = tracer.letId(root, () => tracer.createChildId());
  const start = 1700000000000001;
  const record = (id, annotation, after = 0) =>
    tracer.letId(id, () => tracer.recordAnnotation(annotation, start + after));
  record(root, new Annotation.ServiceName('javascript-shop'));
  record(root, new Annotation.LocalAddr({ host: new InetAddress('10.0.0.1'), port: 8080 }));
  record(root, new Annotation.Rpc('get /'));
  record(root, new Annotation.ServerRecv());
  record(root, new Annotation.ClientAddr({ host: new InetAddress('10.0.0.7'), port: 40000 }));
  record(root, new Annotation.BinaryAnnotation('text', 'grüße'));
  record(child, new Annotation.ServiceName('javascript-shop'));
  record(child, new Annotation.Rpc('query'));
  record(child, new Annotation.ClientSend(), 1000);
  record(child, new Annotation.ServerAddr({ serviceName: 'db', host: new InetAddress('10.0.0.9'), port: 3306 }));
  record(child, new Annotation.Message('cache miss'), 1500);
  record(child, new Annotation.BinaryAnnotation('error', 'timed out'));
  record(child, new Annotation.ClientRecv(), 2000);
  record(root, new Annotation.ServerSend(), 3000);
  // The logger's own timer does not keep node running.
  const alive = setInterval(() => {}, 1000);
  await answered.finally(() => clearInterval(alive));
  return { trace_id: root.traceId, root: root.spanId, child: child.spanId };
}

async function opentelemetry(url) {
  const { SpanKind, SpanStatusCode, context, trace } = await import('@opentelemetry/api');
  const { resourceFromAttributes } = await import('@opentelemetry/resources');
  const { BasicTracerProvider, SimpleSpanProcessor } = await import('@opentelemetry/sdk-trace-base');
  const { ZipkinExporter } = await import('@opentelemetry/exporter-zipkin');
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'javascript-shop', 'host.name': 'shop-1' }),
    spanProcessors: [new SimpleSpanProcessor(new ZipkinExporter({ url }))],
  });
  const tracer = provider.getTracer('e2e.javascript', '1.2.3');
  const root = tracer.startSpan('checkout', { kind: SpanKind.SERVER, startTime: [1700000000, 1000] });
  root.setAttributes({ text: 'grüße', flag: true, count: 7 });
  const within = trace.setSpan(context.active(), root);
  const child = tracer.startSpan('pay', { kind: SpanKind.CLIENT, startTime: [1700000000, 2000] }, within);
  child.addEvent('declined', [1700000000, 3000]);
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'card declined' });
  child.end([1700000000, 5000]);
  root.end([1700000000, 9000]);
  await provider.forceFlush();
  await provider.shutdown();
  return {
    trace_id: root.spanContext().traceId,
    root: root.spanContext().spanId,
    child: child.spanContext().spanId,
  };
}

const facts = library === 'zipkin' ? await zipkin(...rest) : await opentelemetry(...rest);
console.log(JSON.stringify(facts));
