package sbus

import (
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	type step struct {
		peer    string
		release bool
		flags   nameFlags
		result  uint32
		changes []change
	}
	const name = "org.example.Name"
	tests := map[string]struct {
		steps []step
		queue []string
	}{
		"the first to ask owns the name": {
			steps: []step{{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}},
			queue: []string{"a"},
		},
		"the owner owns it already": {
			steps: []step{{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "a", result: alreadyOwner}},
			queue: []string{"a"},
		},
		"who comes later waits": {
			steps: []step{{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "b", result: inQueue}, {peer: "b", result: inQueue}},
			queue: []string{"a", "b"},
		},
		"who does not want to wait is refused": {
			steps: []step{{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "b", flags: doNotQueue, result: nameExists}},
			queue: []string{"a"},
		},
		"who waits may stop waiting by asking again": {
			steps: []step{{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "b", result: inQueue}, {peer: "b", flags: doNotQueue, result: nameExists}},
			queue: []string{"a"},
		},
		"who waits follows": {
			steps: []step{
				{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "b", result: inQueue},
				{peer: "a", release: true, result: nameReleased, changes: []change{{name, "a", "b"}}},
			},
			queue: []string{"b"},
		},
		"an owner that allows it is replaced, and waits": {
			steps: []step{
				{peer: "a", flags: allowReplacement, result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "b", result: inQueue},
				{peer: "c", flags: replaceExisting, result: primaryOwner, changes: []change{{name, "a", "c"}}},
			},
			queue: []string{"c", "a", "b"},
		},
		"an owner that does not queue is replaced and gone": {
			steps: []step{
				{peer: "a", flags: allowReplacement | doNotQueue, result: primaryOwner, changes: []change{{name, "", "a"}}},
				{peer: "b", flags: replaceExisting, result: primaryOwner, changes: []change{{name, "a", "b"}}},
			},
			queue: []string{"b"},
		},
		"an owner that does not allow it is not replaced": {
			steps: []step{{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "b", flags: replaceExisting | doNotQueue, result: nameExists}},
			queue: []string{"a"},
		},
		"a released name is free": {
			steps: []step{
				{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "a", release: true, result: nameReleased, changes: []change{{name, "a", ""}}},
				{peer: "a", release: true, result: nameNonExistent},
			},
		},
		"only who has a claim can give it up": {
			steps: []step{{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "b", release: true, result: notOwner}},
			queue: []string{"a"},
		},
		"who waits may give up": {
			steps: []step{{peer: "a", result: primaryOwner, changes: []change{{name, "", "a"}}}, {peer: "b", result: inQueue}, {peer: "b", release: true, result: nameReleased}},
			queue: []string{"a"},
		},
	}
	for title, tc := range tests {
		t.Run(title, func(t *testing.T) {
			n := make(names)
			for i, s := range tc.steps {
				var code uint32
				var changes []change
				if s.release {
					code, changes = n.release(name, s.peer)
				} else {
					code, changes = n.request(name, s.peer, s.flags)
				}
				if code != s.result || !slices.Equal(changes, s.changes) {
					t.Fatalf("step %d: %d %v, want %d %v", i, code, changes, s.result, s.changes)
				}
			}
			var queue []string
			for _, c := range n[name] {
				queue = append(queue, c.peer)
			}
			if !slices.Equal(queue, tc.queue) {
				t.Errorf("queue is %v, want %v", queue, tc.queue)
			}
		})
	}
}

func TestAPeerThatLeavesGivesUpAllItsNames(t *testing.T) {
	n := make(names)
	n.request("a.b", "x", 0)
	n.request("c.d", "x", 0)
	n.request("c.d", "y", 0)
	n.request("e.f", "y", 0)
	n.request("e.f", "x", 0)
	want := []change{{"a.b", "x", ""}, {"c.d", "x", "y"}}
	if got := n.releaseAll("x"); !slices.Equal(got, want) {
		t.Errorf("changes are %v, want %v", got, want)
	}
	if left := n.claimedBy("x"); len(left) != 0 {
		t.Errorf("still claims %v", left)
	}
}

func TestValidNames(t *testing.T) {
	for name, want := range map[string]bool{
		"sssd.kcm": true, "org.freedesktop.DBus": true, "a.b-c._d9": true,
		"": false, "sssd": false, ":1.5": false, "a..b": false, ".a.b": false, "a.b.": false, "a.9b": false, "a.b c": false, "a.ü": false,
	} {
		if validName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
