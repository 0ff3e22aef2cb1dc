// Package frames writes events as server-sent events, in the form that the edge gives them.
package frames

import (
	"strconv"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

// Append appends one frame for each event of a response.
func Append(out []byte, response *pb.StreamRunResponse) []byte {
	for _, event := range response.Events {
		out = append(out, "id: "...)
		out = append(out, response.RunId...)
		out = append(out, '.')
		out = strconv.AppendUint(out, uint64(event.Epoch), 10)
		out = append(out, '.')
		out = strconv.AppendUint(out, event.Sequence, 10)
		out = append(out, "\ndata: "...)
		out = appendEvent(out, event)
		out = append(out, "\n\n"...)
	}
	return out
}

func appendEvent(out []byte, event *pb.Event) []byte {
	kind, text, key := "done", "", ""
	switch payload := event.Payload.(type) {
	case *pb.Event_RunStarted:
		kind = "run_started"
	case *pb.Event_TextDelta:
		kind, key, text = "text_delta", "content", payload.TextDelta.Content
	case *pb.Event_Error:
		kind, key, text = "error", "message", payload.Error.Message
	}
	created := event.CreateTime
	milliseconds := float64(created.GetSeconds())*1000 + float64(created.GetNanos()/100_000)/10
	out = append(out, `{"type":"`...)
	out = append(out, kind...)
	out = append(out, `","timestamp":`...)
	out = strconv.AppendFloat(out, milliseconds, 'f', -1, 64)
	if key != "" {
		out = append(out, `,"`...)
		out = append(out, key...)
		out = append(out, `":`...)
		out = appendString(out, text)
	}
	return append(out, '}')
}

const hex = "0123456789abcdef"

// appendString appends a JSON string. The strings of protobuf are valid UTF-8, so only these need an escape.
func appendString(out []byte, text string) []byte {
	out = append(out, '"')
	for index := 0; index < len(text); index++ {
		switch char := text[index]; {
		case char == '"' || char == '\\':
			out = append(out, '\\', char)
		case char < 0x20:
			out = append(out, '\\', 'u', '0', '0', hex[char>>4], hex[char&15])
		default:
			out = append(out, char)
		}
	}
	return append(out, '"')
}
