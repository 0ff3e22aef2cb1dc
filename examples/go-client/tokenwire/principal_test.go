package tokenwire

import (
	"strings"
	"testing"
	"time"
)

func TestATokenIsAJWTOfTheContract(t *testing.T) {
	token, err := Principal{"alice", []byte(strings.Repeat("k", 32))}.token(time.Unix(1_763_841_600, 0))
	if err != nil {
		t.Fatal(err)
	}
	// Made by another library: {"sub":"alice","aud":"tokenwire-core","iat":1763841600,"exp":1763841660}
	want := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6InRva2Vud2lyZS1jb3JlIiwiaWF0IjoxNzYzODQxNjAwLCJleHAiOjE3NjM4NDE2NjB9.LzSe8UgJ-xEC71JE8y5iKF8XDp7FxmEuj_NT9S2awbc"
	if token != want {
		t.Errorf("signed %s", token)
	}
}
