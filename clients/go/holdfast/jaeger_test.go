package holdfast_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"

	"holdfast.dev/go/holdfast"
)

const jaegerConfiguration = `
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {receivers: [otlp], exporters: [jaeger_storage_exporter]}
  telemetry:
    metrics: {level: none}
extensions:
  jaeger_storage:
    backends: {memory: {memory: {max_traces: 1000}}}
  jaeger_query:
    storage: {traces: memory}
    http: {endpoint: "127.0.0.1:%d"}
    grpc: {endpoint: "127.0.0.1:%d"}
receivers:
  otlp:
    protocols:
      http: {endpoint: "127.0.0.1:%d"}
exporters:
  jaeger_storage_exporter: {trace_storage: memory}
`

// Starts Jaeger. Returns its addresses for queries and for spans.
func startJaeger(t *testing.T) (query, spans string) {
	t.Helper()
	if _, err := exec.LookPath("jaeger"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("no Jaeger: %v", err)
	}
	var ports [3]int
	for index := range ports {
		listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
		ports[index] = listener.Addr().(*net.TCPAddr).Port
		_ = listener.Close()
	}
	config := filepath.Join(t.TempDir(), "jaeger.yaml")
	text := fmt.Sprintf(jaegerConfiguration, ports[0], ports[1], ports[2])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	process := exec.Command("jaeger", "--config", config)
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	return fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[2])
}

type span struct {
	Name, SpanID, ParentSpanID, Service string
}

// Returns the spans of a trace by their ids, and the span of a name and service, once it is among them.
func traceWith(t *testing.T, query, traceID, service, name string) (map[string]span, span) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for ends := time.Now().Add(time.Minute); time.Now().Before(ends); time.Sleep(100 * time.Millisecond) {
		answer, err := client.Get("http://" + query + "/api/v3/traces/" + traceID)
		if err != nil {
			continue
		}
		var found struct {
			Result struct {
				ResourceSpans []struct {
					Resource struct {
						Attributes []struct {
							Key   string
							Value struct{ StringValue string }
						}
					}
					ScopeSpans []struct{ Spans []span }
				}
			}
		}
		err = json.NewDecoder(answer.Body).Decode(&found)
		_ = answer.Body.Close()
		if err != nil {
			continue
		}
		spans, sought := map[string]span{}, span{}
		for _, of := range found.Result.ResourceSpans {
			for _, attribute := range of.Resource.Attributes {
				if attribute.Key == "service.name" {
					for _, scope := range of.ScopeSpans {
						for _, each := range scope.Spans {
							each.Service = attribute.Value.StringValue
							spans[each.SpanID] = each
							if each.Service == service && each.Name == name {
								sought = each
							}
						}
					}
				}
			}
		}
		// The batches of both programs arrive in any order.
		if sought.SpanID != "" && spans[sought.ParentSpanID].SpanID != "" {
			return spans, sought
		}
	}
	t.Fatalf("trace %s has no span %s of %s below another one", traceID, name, service)
	return nil, span{}
}

func TestOneTraceHasTheSpansOfTheEngineOfThisClientAndOfThePythonServer(t *testing.T) {
	query, collector := startJaeger(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+collector)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	exporter := must[*otlptrace.Exporter](t)(otlptracehttp.New(t.Context(), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
		Enabled: true, InitialInterval: 50 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: time.Minute,
	})))
	named := resource.NewSchemaless(attribute.String("service.name", "go-engine"))
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(named))
	defer func() { _ = provider.Shutdown(context.Background()) }()
	client := serve(t, holdfast.WithTracerProvider(provider))

	ctx, engine := provider.Tracer("engine").Start(t.Context(), "step 1")
	saved := must[*holdfast.Checkpoint](t)(client.Save(ctx, "n", "w", holdfast.Bytes([]byte("x")), format, holdfast.SaveOptions{}))
	engine.End()
	if traceID := engine.SpanContext().TraceID().String(); saved.TraceID != traceID {
		t.Fatalf("the checkpoint has trace %s, expected %s", saved.TraceID, traceID)
	}
	if err := provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	method := "holdfast.v1.CheckpointService/Save"
	spans, served := traceWith(t, query, saved.TraceID, "holdfast-server", method)
	attempt := spans[served.ParentSpanID]
	call := spans[attempt.ParentSpanID]
	step := spans[call.ParentSpanID]
	if attempt.Name != method+" attempt" || call.Name != method || step.Name != "step 1" || step.Service != "go-engine" {
		t.Fatalf("above the server's span are %+v, %+v, %+v", attempt, call, step)
	}
}
