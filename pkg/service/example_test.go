package service_test

import (
	"context"
	"fmt"

	"github.com/belay-hooks/belay/pkg/service"
)

// Components are stopped in the reverse of the order in which they were added.
func ExampleGroup() {
	component := func(name string) service.Component {
		return service.Func(func(ctx context.Context) error {
			<-ctx.Done()
			fmt.Println(name, "has finished")
			return nil
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()

	var g service.Group
	g.Add("store", component("store"))
	g.Add("server", component("server"))
	fmt.Println(g.Run(ctx))
	// Output:
	// server has finished
	// store has finished
	// <nil>
}
