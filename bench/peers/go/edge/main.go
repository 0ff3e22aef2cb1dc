// A bridge in Go, written by hand: one grpc-go call per browser, net/http, one write and flush per message.
//
//	edge 127.0.0.1:8001 127.0.0.1:50051
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/tokenwire/peers/frames"
)

type chat struct {
	Message   string `json:"message"`
	SessionID string `json:"sessionId"`
	Agent     string `json:"agent"`
}

// stream answers one question with the events of its run.
func stream(client pb.AgentServiceClient, w http.ResponseWriter, r *http.Request) {
	var asked chat
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, "The body is not valid JSON.", http.StatusBadRequest)
		return
	}
	spec := &pb.RunSpec{Message: asked.Message, SessionId: asked.SessionID, Agent: asked.Agent}
	events, err := client.StreamRun(r.Context(), &pb.StreamRunRequest{Run: spec})
	if err != nil {
		http.Error(w, "No core can be reached.", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache, no-transform")
	flusher := w.(http.Flusher)
	var out []byte
	for {
		response, err := events.Recv()
		if err != nil {
			return
		}
		out = frames.Append(out[:0], response)
		if _, err := w.Write(out); err != nil {
			return
		}
		flusher.Flush()
	}
}

func main() {
	connection, err := grpc.NewClient(os.Args[2], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	client := pb.NewAgentServiceClient(connection)
	http.HandleFunc("GET /health/ready", func(w http.ResponseWriter, _ *http.Request) {})
	http.HandleFunc("POST /api/chat", func(w http.ResponseWriter, r *http.Request) { stream(client, w, r) })
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
