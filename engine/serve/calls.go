package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/engine/serve/inferpb"
)

// inferenceCalls answers the calls of the inference protocol with what HTTP answers.
type inferenceCalls struct {
	inferpb.UnimplementedGRPCInferenceServiceServer
	s *Server
}

// like makes a message of what HTTP answers with, whose fields are called the same.
func like[M proto.Message](answer any, message M) (M, error) {
	text, err := json.Marshal(answer)
	if err != nil {
		return message, err
	}
	return message, protojson.Unmarshal(text, message)
}

func (inferenceCalls) ServerLive(context.Context, *inferpb.ServerLiveRequest) (*inferpb.ServerLiveResponse, error) {
	return &inferpb.ServerLiveResponse{Live: true}, nil
}

func (c inferenceCalls) ServerReady(context.Context, *inferpb.ServerReadyRequest) (*inferpb.ServerReadyResponse,
	error) {
	return &inferpb.ServerReadyResponse{Ready: !c.s.draining.Load()}, nil
}

func (c inferenceCalls) ModelReady(_ context.Context, ask *inferpb.ModelReadyRequest) (*inferpb.ModelReadyResponse,
	error) {
	_, err := c.s.version(ask.Name, ask.Version)
	return &inferpb.ModelReadyResponse{Ready: err == nil}, nil // as Triton says of a model that it does not have
}

func (c inferenceCalls) ServerMetadata(context.Context, *inferpb.ServerMetadataRequest) (
	*inferpb.ServerMetadataResponse, error) {
	return like(c.s.metadata(), &inferpb.ServerMetadataResponse{})
}

func (c inferenceCalls) ModelMetadata(_ context.Context, ask *inferpb.ModelMetadataRequest) (
	*inferpb.ModelMetadataResponse, error) {
	m, err := c.s.version(ask.Name, ask.Version)
	if err != nil {
		return nil, err
	}
	g, done := m.use()
	defer done()
	return like(metadataOf(m, g), &inferpb.ModelMetadataResponse{})
}

func (c inferenceCalls) ModelConfig(_ context.Context, ask *inferpb.ModelConfigRequest) (*inferpb.ModelConfigResponse,
	error) {
	m, err := c.s.version(ask.Name, ask.Version)
	if err != nil {
		return nil, err
	}
	g, done := m.use()
	defer done()
	config, err := like(c.s.config(m, g), &inferpb.ModelConfig{})
	return &inferpb.ModelConfigResponse{Config: config}, err
}

func (c inferenceCalls) ModelStatistics(_ context.Context, ask *inferpb.ModelStatisticsRequest) (
	*inferpb.ModelStatisticsResponse, error) {
	all := c.s.statistics()
	if ask.Name != "" {
		m, err := c.s.version(ask.Name, ask.Version)
		if err != nil {
			return nil, err
		}
		all.Models = []modelStatistics{m.statistics()}
	}
	return like(all, &inferpb.ModelStatisticsResponse{})
}

func (c inferenceCalls) RepositoryIndex(context.Context, *inferpb.RepositoryIndexRequest) (
	*inferpb.RepositoryIndexResponse, error) {
	return like(map[string]any{"models": c.s.index()}, &inferpb.RepositoryIndexResponse{})
}

func (c inferenceCalls) ModelInfer(ctx context.Context, ask *inferpb.ModelInferRequest) (*inferpb.ModelInferResponse,
	error) {
	m, err := c.s.version(ask.ModelName, ask.ModelVersion)
	if err != nil {
		return nil, err
	}
	request, err := readCall(ask)
	if err != nil {
		return nil, err
	}
	reply, err := c.s.inference(ctx, m, request)
	if err != nil {
		return nil, err
	}
	out := &inferpb.ModelInferResponse{ModelName: reply.Model, ModelVersion: reply.Version, Id: reply.ID}
	for _, t := range reply.Outputs {
		o := &inferpb.ModelInferResponse_InferOutputTensor{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape}
		if len(ask.RawInputContents) > 0 { // as it was asked
			out.RawOutputContents = append(out.RawOutputContents, t.bytes())
		} else {
			o.Contents = &inferpb.InferTensorContents{Fp32Contents: t.floats, BytesContents: t.elements}
		}
		out.Outputs = append(out.Outputs, o)
	}
	return out, nil
}

// readCall is an inference request as HTTP brings it.
func readCall(ask *inferpb.ModelInferRequest) (request inferRequest, err error) {
	if n := len(ask.RawInputContents); n > 0 && n != len(ask.Inputs) {
		return request, badRequest("%d raw_input_contents for %d inputs", n, len(ask.Inputs))
	}
	request.ID = ask.Id
	for i, in := range ask.Inputs {
		t := tensor{Name: in.Name, Datatype: in.Datatype, Shape: in.Shape}
		if len(ask.RawInputContents) > 0 {
			if in.Contents != nil {
				return request, badRequest("input %.100q has contents and raw_input_contents", in.Name)
			}
			if t.raw = ask.RawInputContents[i]; t.raw == nil {
				t.raw = []byte{}
			}
		} else {
			t.floats, t.elements = in.Contents.GetFp32Contents(), in.Contents.GetBytesContents()
		}
		request.Inputs = append(request.Inputs, t)
	}
	if request.Parameters.Classes, err = classesOf(ask.Parameters); err != nil {
		return request, err
	}
	for _, out := range ask.Outputs {
		want := wantedOutput{Name: out.Name}
		if want.Parameters.Classes, err = classesOf(out.Parameters); err != nil {
			return request, err
		}
		request.Outputs = append(request.Outputs, want)
	}
	return request, nil
}

// classesOf is the parameter classification, the one that means something here.
func classesOf(given map[string]*inferpb.InferParameter) (*int, error) {
	p := given["classification"]
	if p == nil {
		return nil, nil
	}
	n := p.GetInt64Param()
	if u, is := p.ParameterChoice.(*inferpb.InferParameter_Uint64Param); is {
		n = int64(min(u.Uint64Param, math.MaxInt32))
	} else if _, is := p.ParameterChoice.(*inferpb.InferParameter_Int64Param); !is {
		return nil, badRequest("classification is no int64_param")
	}
	k := int(min(n, math.MaxInt32))
	return &k, nil
}

// healthCalls answers gRPC's own health protocol, of the whole server and of the inference service. Watching it is left
// to those who ask again.
type healthCalls struct {
	grpc_health_v1.UnimplementedHealthServer
	s *Server
}

func (c healthCalls) Check(_ context.Context, ask *grpc_health_v1.HealthCheckRequest) (
	*grpc_health_v1.HealthCheckResponse, error) {
	service := inferpb.GRPCInferenceService_ServiceDesc.ServiceName
	if ask.Service != "" && ask.Service != service {
		return nil, &failure{http.StatusNotFound, fmt.Sprintf("no service %.100q; there is %s", ask.Service, service)}
	}
	serving := grpc_health_v1.HealthCheckResponse_SERVING
	if c.s.draining.Load() {
		serving = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return &grpc_health_v1.HealthCheckResponse{Status: serving}, nil
}
