// Sends spans with every feature of Zipkin's version 2 through openzipkin's Go library.
//
//	zipkin json | proto URL
package main

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/proto/zipkin_proto3"
	"github.com/openzipkin/zipkin-go/reporter"
	httpreporter "github.com/openzipkin/zipkin-go/reporter/http"
)

func main() {
	format, url := os.Args[1], os.Args[2]
	var serializer reporter.SpanSerializer = reporter.JSONSerializer{}
	trace := model.TraceID{High: 0x463ac35c9f6413ad, Low: 0x48485a3953bb6111}
	if format == "proto" {
		serializer = zipkin_proto3.SpanSerializer{}
		trace.Low++
	}
	reporter := httpreporter.NewReporter(url, httpreporter.Serializer(serializer))
	for _, span := range spans(trace) {
		reporter.Send(span)
	}
	if err := reporter.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func spans(trace model.TraceID) []model.SpanModel {
	start := time.UnixMicro(1700000000500000)
	front := &model.Endpoint{ServiceName: "front", IPv4: net.IPv4(10, 0, 0, 1), Port: 8080}
	back := &model.Endpoint{ServiceName: "back", IPv6: net.ParseIP("2001:db8::c001"), Port: 9000}
	root, child := model.ID(0x1111111111111111), model.ID(0x2222222222222222)
	return []model.SpanModel{
		{
			SpanContext: model.SpanContext{TraceID: trace, ID: root, Debug: true},
			Name:        "get /", Kind: model.Client, Timestamp: start, Duration: 500 * time.Millisecond,
			LocalEndpoint: front, RemoteEndpoint: back,
			Annotations: []model.Annotation{{Timestamp: start.Add(250 * time.Millisecond), Value: "cache miss"}},
			Tags:        map[string]string{"http.path": "/", "text": "grüße", "empty": ""},
		},
		{
			SpanContext: model.SpanContext{TraceID: trace, ID: root},
			Name:        "get /", Kind: model.Server, Shared: true, Timestamp: start.Add(125 * time.Millisecond),
			Duration: 250 * time.Millisecond, LocalEndpoint: back, RemoteEndpoint: front,
		},
		{
			SpanContext: model.SpanContext{TraceID: trace, ID: child, ParentID: &root},
			Name:        "query", Timestamp: start.Add(187500 * time.Microsecond), Duration: 62500 * time.Microsecond,
			LocalEndpoint: back, Tags: map[string]string{"error": "timed out"},
		},
	}
}
