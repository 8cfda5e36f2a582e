package serve_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/engine/serve/inferpb"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// dial is a connection to a test server with s behind it, and its URL.
func dial(t testing.TB, s *serve.Server) (*grpc.ClientConn, string) {
	t.Helper()
	server := httptest.NewUnstartedServer(s.Handler())
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return connect(t, server.Listener.Addr().String()), server.URL
}

func connect(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// askFor is a request about encoded images.
func askFor(images ...[]byte) *inferpb.ModelInferRequest {
	input := &inferpb.ModelInferRequest_InferInputTensor{
		Name: "image", Datatype: "BYTES", Shape: []int64{int64(len(images))},
		Contents: &inferpb.InferTensorContents{BytesContents: images},
	}
	return &inferpb.ModelInferRequest{
		ModelName: "stripes", Id: "7", Inputs: []*inferpb.ModelInferRequest_InferInputTensor{input},
	}
}

// However an image comes, a call gets the answer that a Classifier gives, to the bit, in the form it was asked in.
func TestCallsGiveSameAnswers(t *testing.T) {
	c, err := classify.Open(folder(t, "across", "down"), classify.Options{Device: onCPU})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, _ := dial(t, start(t, serve.Options{}))
	client := inferpb.NewGRPCInferenceServiceClient(conn)
	for i := range 4 {
		image := trained.Photo(i%2, uint64(100+i))
		want, err := c.ClassifyBytes(t.Context(), image)
		if err != nil {
			t.Fatal(err)
		}
		pixels := make([]float32, c.Preprocess().Size())
		if err := c.Preprocess().Bytes(image, pixels); err != nil {
			t.Fatal(err)
		}
		typed := askFor(image)
		url := askFor([]byte("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(image)))
		raw := askFor(image)
		raw.Inputs[0].Contents = nil
		raw.RawInputContents = [][]byte{append(binary.LittleEndian.AppendUint32(nil, uint32(len(image))), image...)}
		values := askFor()
		values.Inputs[0] = &inferpb.ModelInferRequest_InferInputTensor{
			Name: "pixel_values", Datatype: "FP32", Shape: []int64{1, 3, 28, 28},
			Contents: &inferpb.InferTensorContents{Fp32Contents: pixels},
		}
		rawValues := proto.CloneOf(values)
		rawValues.Inputs[0].Contents = nil
		bits, err := binary.Append(nil, binary.LittleEndian, pixels)
		if err != nil {
			t.Fatal(err)
		}
		rawValues.RawInputContents = [][]byte{bits}
		for name, ask := range map[string]*inferpb.ModelInferRequest{
			"typed": typed, "data URL": url, "raw": raw, "pixels": values, "raw pixels": rawValues,
		} {
			got, err := client.ModelInfer(t.Context(), ask)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got.ModelName != "stripes" || got.ModelVersion != "1" || got.Id != "7" || len(got.Outputs) != 4 ||
				(len(got.RawOutputContents) > 0) != (len(ask.RawInputContents) > 0) {
				t.Errorf("%s: %v", name, got)
			}
			for k, o := range got.Outputs {
				floats, label := o.Contents.GetFp32Contents(), o.Contents.GetBytesContents()
				if got.RawOutputContents != nil {
					part := got.RawOutputContents[k]
					if floats = make([]float32, len(part)/4); o.Datatype == "FP32" {
						if _, err := binary.Decode(part, binary.LittleEndian, floats); err != nil {
							t.Fatal(err)
						}
					}
					label = [][]byte{part[min(4, len(part)):]}
				}
				same := map[string]bool{
					"label":         len(label) == 1 && string(label[0]) == want.Label && len(o.Shape) == 1,
					"probabilities": slices.Equal(floats, want.Probabilities) && slices.Equal(o.Shape, []int64{1, 2}),
					"logits":        slices.Equal(floats, want.Logits),
					"embedding":     slices.Equal(floats, want.Embedding),
				}
				if !same[o.Name] {
					t.Errorf("%s: %s is %v %s", name, o.Name, floats, label)
				}
			}
		}
	}
}

// What is asked of server and models is answered as HTTP does.
func TestCallsAboutModels(t *testing.T) {
	s := start(t, serve.Options{Models: []string{"stripes=" + folder(t, "across", "down"), folder(t, "left", "right")}})
	conn, _ := dial(t, s)
	client, ctx := inferpb.NewGRPCInferenceServiceClient(conn), t.Context()
	if _, err := client.ModelInfer(ctx, askFor(trained.Photo(0, 1), trained.Photo(1, 2))); err != nil {
		t.Fatal(err)
	}
	for want, ask := range map[string]func() (proto.Message, error){
		`live:true`:  func() (proto.Message, error) { return client.ServerLive(ctx, nil) },
		`ready:true`: func() (proto.Message, error) { return client.ServerReady(ctx, nil) },
		`ready:true `: func() (proto.Message, error) {
			return client.ModelReady(ctx, &inferpb.ModelReadyRequest{Name: "stripes", Version: "1"})
		},
		`extensions:"classification"`: func() (proto.Message, error) { return client.ServerMetadata(ctx, nil) },
		`inputs:{name:"pixel_values" datatype:"FP32" shape:-1 shape:3 shape:28 shape:28}`: func() (proto.Message, error) {
			return client.ModelMetadata(ctx, &inferpb.ModelMetadataRequest{Name: "stripes"})
		},
		`output:{name:"probabilities" data_type:TYPE_FP32 dims:2}`: func() (proto.Message, error) {
			return client.ModelConfig(ctx, &inferpb.ModelConfigRequest{Name: "stripes"})
		},
		`models:{name:"left-right" version:"1" state:"READY"}`: func() (proto.Message, error) {
			return client.RepositoryIndex(ctx, nil)
		},
		`inference_count:2`: func() (proto.Message, error) {
			return client.ModelStatistics(ctx, &inferpb.ModelStatisticsRequest{Name: "stripes"})
		},
		`name:"left-right" version:"1" inference_stats:`: func() (proto.Message, error) {
			return client.ModelStatistics(ctx, &inferpb.ModelStatisticsRequest{})
		},
		`status:SERVING`: func() (proto.Message, error) {
			return grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		},
	} {
		got, err := ask()
		if text := strings.ReplaceAll(fmt.Sprint(got), "  ", " "); err != nil ||
			!strings.Contains(text, strings.TrimSpace(want)) {
			t.Errorf("%s (%v), want %s", text, err, want)
		}
	}
	if r, err := client.ModelReady(ctx, &inferpb.ModelReadyRequest{Name: "spots"}); err != nil || r.Ready {
		t.Errorf("a model that there is not: %v, %v", r, err)
	}
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{
			FileContainingSymbol: "inference.GRPCInferenceService"}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil || len(r.GetFileDescriptorResponse().GetFileDescriptorProto()) != 1 {
		t.Errorf("reflection: %v, %v", r, err)
	}
	stream.CloseSend()
}

// What is wrong with a call is said with the code of gRPC that fits, and counted under the status that HTTP would have.
func TestCallsFail(t *testing.T) {
	s := start(t, serve.Options{MaxImages: 3, MaxBody: 100_000, Queue: 4})
	conn, url := dial(t, s)
	client, image := inferpb.NewGRPCInferenceServiceClient(conn), trained.Photo(0, 1)
	type request = inferpb.ModelInferRequest
	with := func(change func(*request)) *request {
		ask := askFor(image)
		change(ask)
		return ask
	}
	class := func(p *inferpb.InferParameter) map[string]*inferpb.InferParameter {
		return map[string]*inferpb.InferParameter{"classification": p}
	}
	for _, x := range []struct {
		ask  *inferpb.ModelInferRequest
		code codes.Code
		want string
	}{
		{with(func(a *request) { a.ModelName = "spots" }), codes.NotFound, `no model "spots" here`},
		{with(func(a *request) { a.ModelVersion = "2" }), codes.NotFound, "no version 2"},
		{with(func(a *request) { a.Inputs = nil }), codes.InvalidArgument, "0 inputs"},
		{with(func(a *request) { a.Id = strings.Repeat("x", 1001) }), codes.InvalidArgument, "the id"},
		{with(func(a *request) { a.Inputs[0].Shape = nil }), codes.InvalidArgument, "has the shape []"},
		{with(func(a *request) { a.Inputs[0].Contents = nil }), codes.InvalidArgument, "has 0 elements"},
		{with(func(a *request) { a.RawInputContents = [][]byte{nil} }), codes.InvalidArgument,
			"contents and raw_input_contents"},
		{with(func(a *request) { a.RawInputContents = [][]byte{nil, nil} }), codes.InvalidArgument,
			"2 raw_input_contents for 1 inputs"},
		{with(func(a *request) {
			a.Parameters = class(&inferpb.InferParameter{ParameterChoice: &inferpb.InferParameter_StringParam{}})
		}), codes.InvalidArgument, "classification is no int64_param"},
		{askFor([]byte("no image")), codes.InvalidArgument, "image 0: image is unusable"},
		{askFor(image, image, image, image), codes.ResourceExhausted, "more than 3 images"},
		{askFor(make([]byte, 100_000)), codes.ResourceExhausted, "larger than 100000 bytes"},
	} {
		_, err := client.ModelInfer(t.Context(), x.ask)
		if status.Code(err) != x.code || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %v %s", err, x.code, x.want)
		}
	}
	var none inferpb.ModelReadyResponse
	const stream = "/inference.GRPCInferenceService/ModelStreamInfer"
	err := conn.Invoke(t.Context(), stream, &inferpb.ModelReadyRequest{}, &none)
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "ModelStreamInfer") {
		t.Errorf("a stream: %v", err)
	}
	var header metadata.MD
	s.Occupy(4)
	_, err = client.ModelInfer(t.Context(), askFor(image), grpc.Header(&header))
	s.Occupy(-4)
	if status.Code(err) != codes.Unavailable || len(header.Get("retry-after")) == 0 {
		t.Errorf("a full queue: %v, %v", err, header)
	}
	if r, text := post(t, url+"/inference.GRPCInferenceService/ModelInfer", "application/grpc",
		strings.NewReader("")); r.StatusCode != 415 || !strings.Contains(text, "HTTP/2") {
		t.Errorf("a call by HTTP/1.1: %d %s", r.StatusCode, text)
	}
	_, text := get(t, url+"/metrics")
	const route = `vitft_http_requests_total{code="%d",route="POST /inference.GRPCInferenceService/ModelInfer"} %d`
	for code, n := range map[int]int{400: 8, 404: 2, 413: 2, 415: 1, 429: 1} {
		if want := fmt.Sprintf(route, code, n); !strings.Contains(text, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}

// Messages of many small elements are counted before there is room made for them.
func TestCallsOfSmallElements(t *testing.T) {
	conn, _ := dial(t, start(t, serve.Options{}))
	for _, number := range []protowire.Number{4, 5, 6, 7} {
		small := protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), nil)
		ask := &inferpb.ModelInferRequest{ModelName: "stripes"}
		if err := proto.Unmarshal(bytes.Repeat(small, 70_000), ask); err != nil {
			t.Fatal(err)
		}
		if number == 4 { // entries of one map
			continue
		}
		_, err := inferpb.NewGRPCInferenceServiceClient(conn).ModelInfer(t.Context(), ask)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "more than 65536") {
			t.Errorf("field %d: %v", number, err)
		}
	}
}

// With a token, calls ask for it, but for those about health.
func TestTokenOfCalls(t *testing.T) {
	conn, _ := dial(t, start(t, serve.Options{Token: "sesame"}))
	client := inferpb.NewGRPCInferenceServiceClient(conn)
	if _, err := client.ServerReady(t.Context(), nil); err != nil {
		t.Error(err)
	}
	for token, want := range map[string]codes.Code{"": codes.Unauthenticated, "Bearer x": codes.Unauthenticated,
		"Bearer sesame": codes.OK} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", token)
		if _, err := client.ModelInfer(ctx, askFor(trained.Photo(0, 1))); status.Code(err) != want {
			t.Errorf("%q: %v, want %v", token, err, want)
		}
	}
}

// A call that has stalled is over long before the timeout; while the server ends it says so, and answers.
func TestCallsAndTheEnd(t *testing.T) {
	s := start(t, serve.Options{Timeout: 3 * time.Second, Drain: new(300 * time.Millisecond)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	conn := connect(t, l.Addr().String())
	stalled, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true},
		"/inference.GRPCInferenceService/ModelInfer")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := stalled.SendMsg(askFor(trained.Photo(0, 1))); err != nil {
		t.Fatal(err)
	}
	err = stalled.RecvMsg(&inferpb.ModelInferResponse{})
	if took := time.Since(begin); status.Code(err) != codes.DeadlineExceeded || took > 2*time.Second {
		t.Errorf("a call that does not end its message: %v after %v", err, took)
	}
	client := inferpb.NewGRPCInferenceServiceClient(conn)
	cancel()
	for {
		r, err := client.ServerReady(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Ready {
			break
		}
	}
	if _, err := client.ModelInfer(t.Context(), askFor(trained.Photo(0, 1))); err != nil {
		t.Errorf("while it ends: %v", err)
	}
	if err := <-ended; err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
