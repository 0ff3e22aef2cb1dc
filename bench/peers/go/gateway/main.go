// grpc-gateway: its generated handler, with a marshaler that writes events as the edge does.
//
//	gateway 127.0.0.1:8001 127.0.0.1:50051
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	generated "example.com/tokenwire/peers/build/gateway"
	"example.com/tokenwire/peers/frames"
)

// sse is a marshaler for streams: what a handler streams comes as {"result": response}.
type sse struct{ runtime.JSONPb }

func (*sse) ContentType(any) string       { return "text/event-stream" }
func (*sse) StreamContentType(any) string { return "text/event-stream" }
func (*sse) Delimiter() []byte            { return nil }

func (m *sse) Marshal(value any) ([]byte, error) {
	if chunk, ok := value.(map[string]any); ok {
		value = chunk["result"]
	}
	if response, ok := value.(*pb.StreamRunResponse); ok {
		return frames.Append(make([]byte, 0, 160), response), nil
	}
	return m.JSONPb.Marshal(value)
}

func main() {
	gateway := runtime.NewServeMux(runtime.WithMarshalerOption(runtime.MIMEWildcard, &sse{}))
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	err := generated.RegisterAgentServiceHandlerFromEndpoint(context.Background(), gateway, os.Args[2], options)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /health/ready", func(w http.ResponseWriter, _ *http.Request) {})
	http.Handle("POST /api/chat", gateway)
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
