// Command buswatch subscribes to org.gosssd.Kcm1 on the bus whose socket it is
// given, and prints each signal with the cache's name and principal.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/godbus/dbus/v5"
)

func main() {
	if err := watch(os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func watch(socket string) error {
	conn, err := dbus.Connect("unix:path=" + socket)
	if err != nil {
		return err
	}
	signals := make(chan *dbus.Signal, 1024)
	conn.Signal(signals)
	// Twice: that it is told once all the same is seen by its output.
	kcm := conn.Object("org.gosssd.Kcm1", "/org/gosssd/Kcm1")
	for range 2 {
		if err := kcm.Call("org.gosssd.Kcm1.Subscribe", 0).Err; err != nil {
			return err
		}
	}
	fmt.Println("subscribed")
	for s := range signals {
		member, isOurs := strings.CutPrefix(s.Name, "org.gosssd.Kcm1.")
		if !isOurs || len(s.Body) != 1 {
			continue
		}
		switch body := s.Body[0].(type) {
		case string:
			fmt.Println(member, body)
		case map[string]dbus.Variant:
			fmt.Println(member, body["name"].Value(), body["principal"].Value(), "renewal", body["next_renewal"].Value())
		}
	}
	return nil
}
