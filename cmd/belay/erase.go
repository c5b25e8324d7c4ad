package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
)

type eraseCmd struct {
	oneEvent
	Why string `env:"-" placeholder:"TEXT" help:"Kept with the tombstone."`
	Yes bool   `env:"-" short:"y" help:"Do not ask."`
}

// Help shows how it is used.
func (*eraseCmd) Help() string {
	return `Everything that Belay keeps of one event is overwritten: its body and headers, what
chains have parked and noted of it, its dead letters, and the notifications that
chains have made of it. What remains is a tombstone: its id, who erased it, when and
why. A chain that has not handled it yet never will.

  belay erase github/default/72d3162e-cc78-11e3-81ab-4c9367dc0958 --why 'request 4711'

What has been sent on, and backups, are not reached.`
}

// Run erases.
func (c *eraseCmd) Run(ctx context.Context, s streams) error {
	api, err := c.dial()
	if err != nil {
		return err
	}
	path, err := c.path()
	if err != nil {
		return err
	}
	if !c.Yes {
		if err := confirm(os.Stdin, s.err, "erase "+c.ID+" for good?"); err != nil {
			return err
		}
	}
	var t struct{ Messages int }
	answer, err := api.Call(ctx, http.MethodPost, path+"/erase", map[string]string{"why": c.Why, "key": c.EventKey}, &t)
	if err != nil {
		return err
	}
	return c.tell(s, answer, fmt.Sprintf("erased: %d stored messages overwritten", t.Messages))
}
