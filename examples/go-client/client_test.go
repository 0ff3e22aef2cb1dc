package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestCoresAreGivenWithCommasOrRepeated(t *testing.T) {
	given, err := parse([]string{"--core", "a:1, b:2", "--core", "c:3", "hello"})
	if want := []string{"a:1", "b:2", "c:3"}; err != nil || !reflect.DeepEqual(given.cores, want) {
		t.Errorf("%v, %v", given.cores, err)
	}
	if _, err := parse([]string{"--core", "a:1,,b:2", "hello"}); err == nil {
		t.Error("an empty address was accepted")
	}
}

func TestARefusalIsDescribedInFull(t *testing.T) {
	refused, err := status.New(codes.InvalidArgument, "No.").WithDetails(
		&errdetails.ErrorInfo{Reason: "BAD", Metadata: map[string]string{"b": "2", "a": "1"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "run.message", Description: "is empty"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
		&errdetails.Help{},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := "INVALID_ARGUMENT: No. [BAD]\n  a: 1\n  b: 2\n  run.message: is empty\n  retry after 1500 ms"
	if got := describe(refused.Err()); got != want {
		t.Errorf("described as\n%s\nnot\n%s", got, want)
	}
	if got := retryAfter(refused.Err()); got != 1500*time.Millisecond {
		t.Errorf("retry after %v", got)
	}
}

func TestACursorIsAnEventsIDOrASequence(t *testing.T) {
	for text, want := range map[string]string{"41": "1.41", runID + ".2.41": "2.41"} {
		cursor, err := parseCursor(text)
		if err != nil || fmt.Sprintf("%d.%d", cursor.Epoch, cursor.Sequence) != want {
			t.Errorf("%s: %v, %v", text, cursor, err)
		}
	}
	if _, err := parseCursor(runID + ".1.x"); err == nil {
		t.Error("a cursor that names no event was accepted")
	}
}

func TestATokenIsAJWTOfTheContract(t *testing.T) {
	token, err := principal{"alice", []byte(strings.Repeat("k", 32))}.token(time.Unix(1_763_841_600, 0))
	if err != nil {
		t.Fatal(err)
	}
	// Made by another library: {"sub":"alice","aud":"tokenwire-core","iat":1763841600,"exp":1763841660}
	want := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6InRva2Vud2lyZS1jb3JlIiwiaWF0IjoxNzYzODQxNjAwLCJleHAiOjE3NjM4NDE2NjB9.LzSe8UgJ-xEC71JE8y5iKF8XDp7FxmEuj_NT9S2awbc"
	if token != want {
		t.Errorf("signed %s", token)
	}
}
