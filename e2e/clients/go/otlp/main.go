// Sends one trace through the OpenTelemetry Go SDK and prints what the server must give back.
//
//	otlp grpc HOST:PORT | http URL   [gzip]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], len(os.Args) > 3 && os.Args[3] == "gzip"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func exporter(ctx context.Context, transport, target string, gzip bool) (*otlptrace.Exporter, error) {
	if transport == "grpc" {
		options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(target), otlptracegrpc.WithInsecure()}
		if gzip {
			options = append(options, otlptracegrpc.WithCompressor("gzip"))
		}
		return otlptracegrpc.New(ctx, options...)
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(target)}
	if gzip {
		options = append(options, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}
	return otlptracehttp.New(ctx, options...)
}

func run(ctx context.Context, transport, target string, gzip bool) error {
	exporter, err := exporter(ctx, transport, target, gzip)
	if err != nil {
		return err
	}
	// What the processor cannot export is told to nobody else.
	var failed error
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { failed = errors.Join(failed, err) }))
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "go-shop"), attribute.Int("host.cores", 2))),
	)
	tracer := provider.Tracer("e2e.go", trace.WithInstrumentationVersion("1.2.3"))
	within, root := tracer.Start(ctx, "checkout", trace.WithSpanKind(trace.SpanKindServer))
	root.SetAttributes(
		attribute.String("text", "grüße"), attribute.Bool("flag", true), attribute.Int("count", 7),
		attribute.Float64("share", 0.5), attribute.StringSlice("list", []string{"a", "b"}), attribute.String("empty", ""))
	linked := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0x12, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0xef, 0x12, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0xef},
		SpanID:  trace.SpanID{0x12, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0xef},
	})
	_, child := tracer.Start(within, "pay", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithLinks(trace.Link{SpanContext: linked, Attributes: []attribute.KeyValue{attribute.String("why", "retry")}}))
	child.AddEvent("declined", trace.WithAttributes(attribute.Int("code", 51)))
	child.SetStatus(codes.Error, "card declined")
	child.End()
	root.End()
	if err := errors.Join(provider.Shutdown(ctx), failed); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"trace_id": root.SpanContext().TraceID().String(),
		"service":  "go-shop",
		"scope":    "e2e.go",
		"root":     root.SpanContext().SpanID().String(),
		"child":    child.SpanContext().SpanID().String(),
	})
}
