// Sends one trace through Uber's jaeger-client for JavaScript and prints the ids that it chose.
//
// send.cjs udp HOST PORT (thrift binary, it has no other) | http URL

const { initTracer } = require('jaeger-client');
const opentracing = require('jaeger-client').opentracing;

const START = 1700000000000.001;
const [transport, ...target] = process.argv.slice(2);
const reporter = transport === 'http' ? { collectorEndpoint: target[0] } : { agentHost: target[0], agentPort: Number(target[1]) };
const tracer = initTracer(
  {
    serviceName: 'javascript-shop',
    sampler: { type: 'const', param: 1 },
    reporter: { flushIntervalMs: 100, ...reporter },
    traceId128bit: true,
  },
  { tags: { 'host.cores': 2 }, logger: { info() {}, error: (text) => { console.error(text); process.exit(1); } } },
);

const hex = (id) => id.toString('hex');
const root = tracer.startSpan('checkout', { startTime: START, tags: { 'span.kind': 'server', text: 'grüße' } });
root.addTags({ flag: true, count: 7, share: 0.5, empty: '', bytes: Buffer.from([0, 255]) });
const other = tracer.startSpan('other', { startTime: START });
const child = tracer.startSpan('pay', {
  startTime: START + 1,
  references: [opentracing.childOf(root.context()), opentracing.followsFrom(other.context())],
  tags: { 'span.kind': 'client', error: true },
});
child.log({ event: 'declined', code: 51, retry: false }, START + 1.5);
child.finish(START + 2);
root.finish(START + 3);
tracer.close(() => {
  console.log(
    JSON.stringify({
      trace_id: hex(root.context().traceId),
      root: hex(root.context().spanId),
      child: hex(child.context().spanId),
      other_trace: hex(other.context().traceId),
      other: hex(other.context().spanId),
    }),
  );
  process.exit(0);
});
