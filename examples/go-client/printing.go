package main

import (
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protojson"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

// printer returns what shows events: as one line of JSON each, or to a person.
func printer(asJSON bool, answer, aside io.Writer) func(*pb.Event) error {
	return func(event *pb.Event) error {
		switch {
		case event.Payload == nil: // newer than this client: no error
			return nil
		case asJSON:
			return writeJSON(event, answer)
		}
		return write(event, answer, aside)
	}
}

func writeJSON(event *pb.Event, to io.Writer) error {
	line, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(event)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(to, "%s\n", line)
	return err
}

// write shows an event to a person: the answer, and the rest aside.
func write(event *pb.Event, answer, aside io.Writer) (err error) {
	switch payload := event.Payload.(type) {
	case *pb.Event_TextDelta:
		_, err = fmt.Fprint(answer, payload.TextDelta.Content)
	case *pb.Event_Progress:
		percent := "..."
		if payload.Progress.Percent != nil {
			percent = fmt.Sprintf("%g%%", *payload.Progress.Percent)
		}
		_, err = fmt.Fprintf(aside, "[%s] %s\n", percent, payload.Progress.Message)
	case *pb.Event_ToolStart:
		_, err = fmt.Fprintf(aside, "-> %s %s\n", payload.ToolStart.Tool, payload.ToolStart.ArgsJson)
	case *pb.Event_ToolResult:
		mark := "<-"
		if payload.ToolResult.IsError {
			mark = "failed"
		}
		_, err = fmt.Fprintf(aside, "%s %s %s\n", mark, payload.ToolResult.Tool, payload.ToolResult.ResultJson)
	case *pb.Event_InputRequested:
		asked := payload.InputRequested
		_, err = fmt.Fprintf(aside, "? %s (waiting: answer with SendInput, input_id %s)\n", asked.Prompt, asked.InputId)
	case *pb.Event_Done:
		_, err = fmt.Fprintln(answer)
	case *pb.Event_Error:
		_, err = fmt.Fprintf(aside, "%s: %s\n", payload.Error.Code, payload.Error.Message)
	}
	return err
}
