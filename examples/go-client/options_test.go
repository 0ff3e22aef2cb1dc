package main

import (
	"fmt"
	"reflect"
	"testing"
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

const runID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"

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
