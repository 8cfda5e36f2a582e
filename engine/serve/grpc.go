package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vitft/vitft/engine/serve/inferpb"
)

// gRPC is spoken on the port of HTTP: a call is a POST of HTTP/2, which net/http receives like any other, so that the
// bounds on bodies, pace, time and the queue, the token, the metrics and the end are the same.

// newGRPC makes the server that calls are handed to once they have arrived.
func newGRPC(s *Server) *grpc.Server {
	g := grpc.NewServer(grpc.UnaryInterceptor(s.intercept), grpc.MaxRecvMsgSize(int(s.options.MaxBody)))
	inferpb.RegisterGRPCInferenceServiceServer(g, inferenceCalls{s: s})
	grpc_health_v1.RegisterHealthServer(g, healthCalls{s: s})
	reflection.Register(g)
	return g
}

// openCalls are those that ask for no token.
var openCalls = []string{
	inferpb.GRPCInferenceService_ServerLive_FullMethodName, inferpb.GRPCInferenceService_ServerReady_FullMethodName,
	grpc_health_v1.Health_Check_FullMethodName,
}

// callRoutes are the calls as routes, by the paths that gRPC gives them.
func (s *Server) callRoutes() (routes []route) {
	inference := inferpb.File_inference_proto.Services().ByName("GRPCInferenceService")
	for name, service := range s.grpc.GetServiceInfo() {
		for _, method := range service.Methods {
			var takes protoreflect.MessageDescriptor
			if name == string(inference.FullName()) {
				takes = inference.Methods().ByName(protoreflect.Name(method.Name)).Input()
			}
			path := "/" + name + "/" + method.Name
			handle := s.call(takes, method.IsClientStream)
			routes = append(routes, route{"POST " + path, slices.Contains(openCalls, path), handle})
		}
	}
	return routes
}

// isCall says whether a request is a call of gRPC, whose answers have a form of their own.
func isCall(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return r.ProtoMajor >= 2 && (kind == "application/grpc" || strings.HasPrefix(kind, "application/grpc+"))
}

// outcome is the status that a call would have had in HTTP, if it has failed.
type outcome struct{ status atomic.Int64 }

type outcomeKey struct{}

// call hands a call on once its message, of that kind, is there; a stream, of small messages, as it comes.
func (s *Server) call(takes protoreflect.MessageDescriptor, stream bool) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !isCall(r) {
			text := fmt.Sprintf("%s is a call of gRPC: POST it with HTTP/2 as application/grpc", r.URL.Path)
			return &failure{http.StatusUnsupportedMediaType, text}
		}
		if !stream {
			message, err := readAll(r)
			if err != nil {
				return err
			}
			if n := elementsOf(message[min(5, len(message)):], takes); n > mostList { // behind flags and length
				return badRequest("a message of more than %d elements", mostList)
			}
			r.Body = io.NopCloser(bytes.NewReader(message))
		}
		var was outcome
		s.grpc.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), outcomeKey{}, &was)))
		code := w.Header().Get(codeHeader)
		if err := r.Context().Err(); err != nil && code == "" { // it ended before there was an answer
			return err
		}
		switch status := int(was.status.Load()); {
		case status != 0:
			w.(*tally).status = status
		case code == strconv.Itoa(int(codes.Unimplemented)):
			w.(*tally).status = http.StatusNotImplemented
		case code != "0": // what gRPC itself could not read
			w.(*tally).status = http.StatusBadRequest
		}
		return nil
	}
}

// elementsOf counts what a message on the wire has of elements that take more room than their bytes: fields, and
// numbers of varying length, at any depth. It stops at more than mostList.
func elementsOf(wire []byte, message protoreflect.MessageDescriptor) (n int) {
	for message != nil && len(wire) > 0 && n <= mostList {
		number, kind, tag := protowire.ConsumeTag(wire)
		if tag < 0 {
			return n // decoding says what is wrong
		}
		size := protowire.ConsumeFieldValue(number, kind, wire[tag:])
		if size < 0 {
			return n
		}
		value := wire[tag : tag+size]
		wire = wire[tag+size:]
		field := message.Fields().ByNumber(number)
		if field == nil || kind == protowire.Fixed32Type || kind == protowire.Fixed64Type {
			continue
		}
		n++
		if kind != protowire.BytesType {
			continue
		}
		switch value, _ = protowire.ConsumeBytes(value); field.Kind() {
		case protoreflect.MessageKind:
			n += elementsOf(value, field.Message())
		case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind:
			n += len(value)
		}
	}
	return n
}

// intercept runs a call, and says an error of it in the words of gRPC.
func (s *Server) intercept(ctx context.Context, ask any, call *grpc.UnaryServerInfo, run grpc.UnaryHandler) (
	reply any, err error) {
	defer func() {
		if p := recover(); p != nil { // which is in no goroutine of net/http
			err = s.panicked(call.FullMethod, p, debug.Stack())
		}
		if _, said := status.FromError(err); said { // also nil
			return
		}
		code, text := s.verdict(call.FullMethod, err)
		ctx.Value(outcomeKey{}).(*outcome).status.Store(int64(code))
		if again := s.retryAfter(code); again != "" {
			grpc.SetHeader(ctx, metadata.Pairs("retry-after", again))
		}
		err = status.Error(codeOf(code, err), text)
	}()
	return run(ctx, ask)
}

const codeHeader = "Grpc-Status"

// failCall answers a call that is not handed on.
func failCall(t *tally, status int, text string, err error) {
	h := t.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set(codeHeader, strconv.Itoa(int(codeOf(status, err))))
	h.Set("Grpc-Message", url.PathEscape(text))
	if t.status == 0 {
		t.WriteHeader(http.StatusOK)
	}
	t.status = status
}

// codeOf is gRPC's word for a status of HTTP.
func codeOf(status int, err error) codes.Code {
	switch {
	case errors.Is(err, context.DeadlineExceeded), status == http.StatusRequestTimeout:
		return codes.DeadlineExceeded
	case status == http.StatusUnauthorized:
		return codes.Unauthenticated
	case status == http.StatusMisdirectedRequest:
		return codes.PermissionDenied
	case status == http.StatusNotFound:
		return codes.NotFound
	case status == http.StatusRequestEntityTooLarge:
		return codes.ResourceExhausted
	case status == http.StatusNotImplemented, status == http.StatusUnsupportedMediaType:
		return codes.Unimplemented
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable: // it may be tried again
		return codes.Unavailable
	case status == statusCanceled:
		return codes.Canceled
	case status >= 500:
		return codes.Internal
	}
	return codes.InvalidArgument
}
