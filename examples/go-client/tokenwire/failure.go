package tokenwire

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// isRich tells whether the core itself refused a call; otherwise it is the transport that failed.
func isRich(err error) bool {
	return len(status.Convert(err).Details()) > 0
}

// IsRefusal tells whether the core itself refused a call for good: with details, and without RetryInfo.
func IsRefusal(err error) bool {
	return isRich(err) && isFinal(err)
}

// RetryAfter returns how long the core asks us to wait before we try again; 0 when it does not.
func RetryAfter(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// Describe returns what a failed call says, as lines for a person. Details of unknown types are passed over.
func Describe(err error) string {
	failure := status.Convert(err)
	head := fmt.Sprintf("%s: %s", code.Code(failure.Code()), failure.Message())
	var facts []string
	for _, detail := range failure.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			head += fmt.Sprintf(" [%s]", detail.GetReason())
			facts = append(facts, sortedFacts(detail.GetMetadata())...)
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				facts = append(facts, fmt.Sprintf("  %s: %s", violation.GetField(), violation.GetDescription()))
			}
		case *errdetails.RetryInfo:
			facts = append(facts, fmt.Sprintf("  retry after %d ms", detail.GetRetryDelay().AsDuration().Milliseconds()))
		}
	}
	return strings.Join(append([]string{head}, facts...), "\n")
}

func sortedFacts(metadata map[string]string) []string {
	facts := make([]string, 0, len(metadata))
	for name, value := range metadata {
		facts = append(facts, fmt.Sprintf("  %s: %s", name, value))
	}
	sort.Strings(facts)
	return facts
}
